"""The cache of encoded states."""

from transferkit._lifecycle import CallKey, CallState
from transferkit.stores import encoding


def test_a_full_cache_drops_its_oldest_state(monkeypatch):
    monkeypatch.setattr(encoding, "_STATES_KEPT", 1)
    cache = encoding.StateCache()
    calls = [CallKey("fake", name) for name in ("one", "two")]
    states = [CallState(sequence=number) for number in (1, 2)]
    first, second = map(cache.write, calls, states)
    assert list(cache._known) == [calls[1]]
    assert cache.read(calls[0], first) == states[0]
    assert cache.read(calls[1], second) is states[1]
