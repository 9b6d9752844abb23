"""Calls that mypy and pyright must accept or refuse; no test runs them."""
