"""Walk, or replay one walk: `python tests/walks/run.py --walks 1000`, `--mode 'graph group call' --seed 17`.

Everything in a walk follows from its mode and seed. With `--seed` one walk is played and told event by event.
Exits with 1 where a mode that is held to it shows a fault.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from provider_walks.figures import HEADING, LEGEND, Figures, walk_many
from provider_walks.judge import judge
from provider_walks.modes import MODES
from provider_walks.story import tell
from provider_walks.walk import Walk

CHUNK = 500


def replay(name: str, seed: int) -> int:
    """Play one walk and tell it."""
    walk = Walk(MODES[name], seed, tracing=True).play()
    verdict = judge(walk)
    for line in tell(walk):
        sys.stdout.write(f"{line}\n")
    for fault in verdict.faults:
        sys.stdout.write(f"FAULT: T{fault.number + 1}: {fault.kind}: {fault.text}\n")
    return 1 if verdict.faults else 0


def quiet() -> None:
    """The client logs what it refuses; thousands of walks need none of it."""
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # a fifth faster


def walk_modes(names: list[str], *, walks: int, first: int = 0, processes: int = 2) -> list[Figures]:
    """The figures of each mode, its seeds shared out over processes."""
    chunks = [range(start, min(start + CHUNK, first + walks)) for start in range(first, first + walks, CHUNK)]
    found = []
    with ProcessPoolExecutor(processes, initializer=quiet) as pool:
        for name in names:
            total = Figures(name)
            for figures in pool.map(walk_many, repeat(name), chunks):
                total += figures
            found.append(total)
            sys.stdout.write("\n".join([total.row(), *total.faults(), ""]))
            sys.stdout.flush()
    return found


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=sorted(MODES), action="append", help="only this; may be repeated")
    parser.add_argument("--walks", type=int, default=1000, help="of each mode")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="replay this one, of one mode")
    asked = parser.parse_args()
    quiet()
    names = asked.mode or list(MODES)
    if asked.seed is not None:
        return max(replay(name, asked.seed) for name in names)
    begun = time.perf_counter()
    sys.stdout.write(f"{HEADING}\n")
    found = walk_modes(names, walks=asked.walks, first=asked.first, processes=asked.processes)
    sys.stdout.write(f"{LEGEND}{time.perf_counter() - begun:.0f} s\n")
    return 1 if any(figures.kinds for figures in found if MODES[figures.mode].held) else 0


if __name__ == "__main__":
    sys.exit(main())
