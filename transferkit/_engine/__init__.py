"""From a request to its outcome: planning, the ledger, sending and due work."""
