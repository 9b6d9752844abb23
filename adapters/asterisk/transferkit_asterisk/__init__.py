"""The Asterisk adapter: transfers of the calls of an Asterisk PBX, through ARI.

`AsteriskAdapter` is the adapter, `AsteriskSettings` the keys of `[providers.asterisk]`.
"""

from transferkit_asterisk.adapter import AsteriskAdapter
from transferkit_asterisk.settings import AsteriskSettings, Mode

__all__ = ["AsteriskAdapter", "AsteriskSettings", "Mode"]
