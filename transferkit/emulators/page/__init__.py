"""The web page of `transferkit emulate`: shows live what the emulators receive and send, and controls them.

* `page`: serves the page and its live updates
* `document`: the whole page
* `sections`: the parts of the page that change
* `stories`: the journals as stories, one for each transfer
* `diagram`: the sequence diagram of a story
* `reported`: the transferkit events that a callback results in
* `actions`: the buttons, which use the control API
* `html`: building markup

The server renders everything; the script in the browser only replaces the parts that have changed.
"""

from transferkit.emulators.page.page import Page

__all__ = ["Page"]
