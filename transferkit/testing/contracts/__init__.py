"""Test classes that every adapter and every store must pass."""
