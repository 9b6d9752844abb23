"""The parts of the source that are changed, and the tests that should notice."""

from __future__ import annotations

from typing import final

from attrs import field, frozen

__all__ = ["PARTS", "Part"]


@final
@frozen
class Part:
    """`files` from the root; of some, the names of the functions that alone belong to the part.

    `rounds` are arguments for pytest: what one round lets pass, the next one tries.
    """

    name: str
    files: dict[str, tuple[str, ...]]
    rounds: tuple[tuple[str, ...], ...] = field(kw_only=True)


_CALLBACKS = "transferkit/callbacks"
_LIFECYCLE = "transferkit/lifecycle"
_GRAPH = "adapters/graph"
_ACS = "adapters/acs"

PARTS = {
    part.name: part
    for part in (
        Part(
            "lifecycle",
            {
                f"{_LIFECYCLE}/{name}.py": ()
                for name in ("decision", "facts", "inputs", "machine", "state", "turn")
            },
            rounds=(
                ("tests/test_lifecycle.py",),
                (
                    "tests/test_lifecycle_machine.py",
                    "tests/test_seldom.py",
                    "tests/test_stores.py",
                    "tests/test_client.py",
                ),
                ("tests/test_incoming.py", "tests/test_receiver.py", "tests/test_fake.py"),
            ),
        ),
        Part(
            "verification",
            {
                f"{_CALLBACKS}/{name}.py": ()
                for name in ("tokens", "verification", "keys", "addresses", "fetching")
            },
            rounds=(
                ("tests/test_tokens.py", "tests/test_verification_limits.py"),
                ("tests/test_seldom.py", "tests/test_receiver.py", "tests/test_forged_callbacks.py"),
                ("tests/fuzz/test_fuzz.py", "-k", "token or keys or http"),
            ),
        ),
        Part(
            "repetitions",
            {
                "transferkit/stores/contract.py": ("delivery_key",),
                "transferkit/stores/memory.py": ("apply_all", "_apply", "over", "commit"),
                "transferkit/wire.py": ("content_key", "_KEY_WRITER"),
                f"{_GRAPH}/transferkit_graph/callbacks.py": ("_message", "_delivery", "_MESSAGE_ID"),
                f"{_ACS}/transferkit_acs/callbacks.py": ("_delivery", "fact", "_incoming"),
            },
            rounds=(
                (
                    "tests/test_stores.py",
                    "tests/test_wire.py",
                    f"{_GRAPH}/tests/test_graph_callbacks.py",
                    f"{_ACS}/tests/test_acs_callbacks.py",
                    f"{_ACS}/tests/test_acs_repetitions.py",
                ),
                ("tests/test_lifecycle_machine.py", "tests/test_receiver.py", "tests/test_incoming.py"),
                ("tests/test_groups.py", f"{_ACS}/tests/test_acs_published.py", "tests/fuzz/test_fuzz.py"),
            ),
        ),
    )
}
