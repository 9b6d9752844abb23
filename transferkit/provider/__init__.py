"""What an adapter author works with: the adapter contract, capabilities, facts, results, HTTP."""
