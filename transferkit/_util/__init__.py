"""Small helpers without a subject of their own: redaction, validation, frozen mappings."""
