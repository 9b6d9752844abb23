"""Random walks of a real client against independent models of the providers.

A model knows what really happens to a call. What a provider publishes is all that the models are made from:
they import nothing that interprets callbacks, and share no code with the life cycle machine. `walk.play` runs
one seed in virtual time; `judge` compares every outcome with the truth.
"""
