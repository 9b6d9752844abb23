"""Random cases against all that reads what strangers wrote: made from a seed, checked, kept as JSON."""
