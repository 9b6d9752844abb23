"""The web page of `transferkit emulate`: what the emulators see and say, live, and buttons to direct them.

`html` builds markup, `hearing` says what transferkit makes of a callback, `storytelling` sorts the journals
into calls and their transfers, `diagram` draws one transfer, `sections` are the parts that change, `document`
is the whole, `actions` are its buttons, and `page` serves it. Everything is rendered here; the script in the
browser only puts new parts in the place of old ones.
"""

from transferkit.emulators.page.page import Page

__all__ = ["Page"]
