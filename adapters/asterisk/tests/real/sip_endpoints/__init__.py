"""Real SIP programs for tests: Asterisk, SIPp and baresip, each a process on loopback with its own ports."""
