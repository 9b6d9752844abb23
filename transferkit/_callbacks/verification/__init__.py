"""Is this callback from the provider: tokens, keys, and the addresses that keys are fetched from."""
