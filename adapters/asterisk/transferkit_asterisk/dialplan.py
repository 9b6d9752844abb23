"""The dialplan that the adapter needs in Asterisk."""

from __future__ import annotations

from importlib.resources import files

from transferkit_asterisk.settings import AsteriskSettings

__all__ = ["dialplan"]


def dialplan(settings: AsteriskSettings) -> str:
    """The text for extensions.conf, with the context and the Stasis application of the settings."""
    text = (files("transferkit_asterisk") / "dialplan.conf").read_text("utf-8")
    return text.replace("@CONTEXT@", settings.context).replace("@APP@", settings.app)
