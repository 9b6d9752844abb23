"""Verification of the senders of callbacks: tokens, signing keys, and the secrets in URLs."""
