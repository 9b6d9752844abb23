"""Helpers for all packages: redaction, validation, immutable mappings, names of log records."""
