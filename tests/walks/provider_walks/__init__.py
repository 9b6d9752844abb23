"""Random walks: a real client transfers calls of models of the providers, which know what really happens.

The models follow what the providers document. They import no code that interprets callbacks and share no code
with the life cycle machine. `Walk.play` runs one seed in virtual time. `judge` compares every outcome with
what really happened.
"""
