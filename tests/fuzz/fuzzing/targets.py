"""Every target that can be fuzzed with what is installed."""

from __future__ import annotations

from fuzzing import bodies
from fuzzing.configuration import Configuration
from fuzzing.decoding import Decoding
from fuzzing.surface import Surface
from fuzzing.target import Target, installed
from fuzzing.verification import Keys, Tokens

__all__ = ["targets"]


def targets() -> dict[str, Target]:
    """By name."""
    found: list[Target] = [Tokens(), Keys(), Configuration(), Surface()]
    if installed("transferkit_graph"):
        from transferkit_graph import GraphAdapter

        found.append(Decoding(GraphAdapter, bodies.GRAPH, routes=("graph",), weight=35))
    if installed("transferkit_acs"):
        from transferkit_acs import AcsAdapter

        found.append(Decoding(AcsAdapter, bodies.ACS, routes=("", "eventgrid"), weight=35))
    return {target.name: target for target in found}
