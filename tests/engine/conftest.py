from support.client import client, clock, fake, make, store

__all__ = ["client", "clock", "fake", "make", "store"]
