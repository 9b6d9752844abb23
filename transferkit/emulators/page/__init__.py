"""The web page of `transferkit emulate`: shows live what the emulators receive and send, and controls them.

* `page`: serves the page and its live updates
* `document`: the whole page
* `sections`: the parts of the page that change
* `diagram`: the sequence diagram of a transfer
* `stories`: the journals, grouped by call and transfer
* `reported`: the transferkit events that a callback results in
* `actions`: the buttons
* `html`: building markup

The server renders everything; the script in the browser only replaces the parts that have changed.
"""

from transferkit.emulators.page.page import Page

__all__ = ["Page"]
