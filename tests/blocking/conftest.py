from support.blocking import client, clock, crm, fake, make, overtake, store

__all__ = ["client", "clock", "crm", "fake", "make", "overtake", "store"]
