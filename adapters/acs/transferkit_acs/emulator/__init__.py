"""An emulator of ACS Call Automation, for tests with no resource, no phone number and no internet.

Read in this order: refusals, access, repeatability, schema, codes, calls, events, eventgrid, stories,
operations, routes, service.
"""

from transferkit_acs.emulator.eventgrid import EventSchema
from transferkit_acs.emulator.service import AcsEmulator

__all__ = ["AcsEmulator", "EventSchema"]
