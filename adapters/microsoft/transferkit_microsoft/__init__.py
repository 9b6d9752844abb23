"""What the adapters of Microsoft Graph and Azure Communication Services share.

Both wires report the same calling service: `codes` says what its call end codes mean, `errors` reads the
bodies of refused requests, `ids` says what its ids look like, `lenient` reads JSON values of any spelling.
"""
