"""Helpers that several test files share; import them as `from support.NAME import …`."""
