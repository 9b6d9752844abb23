"""The adapter for Switchboard, a fictional PBX with a small REST API."""

from transferkit_switchboard.adapter import SwitchboardAdapter, SwitchboardSettings

__all__ = ["SwitchboardAdapter", "SwitchboardSettings"]
