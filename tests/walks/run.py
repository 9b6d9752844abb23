"""Run random walks: `run.py --walks 1000`, or one walk: `run.py --mode 'graph group call' --seed 17`.

Mode and seed determine a walk. With `--seed`, one walk is run and described event by event. Exits with 1
if a mode whose outcomes are enforced shows a fault.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from provider_walks.description import describe
from provider_walks.figures import HEADING, LEGEND, Figures, walk_many
from provider_walks.judge import judge
from provider_walks.modes import MODES
from provider_walks.walk import Walk

CHUNK = 500


def replay(name: str, seed: int) -> int:
    """Run and describe one walk."""
    walk = Walk(MODES[name], seed, tracing=True).play()
    verdict = judge(walk)
    for line in describe(walk):
        sys.stdout.write(f"{line}\n")
    for fault in verdict.faults:
        sys.stdout.write(f"FAULT: T{fault.number + 1}: {fault.kind}: {fault.text}\n")
    return 1 if verdict.faults else 0


def quiet() -> None:
    """Disable logging, and garbage collection of what is loaded: thousands of walks are faster without."""
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def walk_modes(names: list[str], *, walks: int, first: int = 0, processes: int = 2) -> list[Figures]:
    """Return the statistics of each mode. The seeds are distributed over processes."""
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
    """Run the walks that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--mode", choices=sorted(MODES), action="append", help="run only this mode; repeatable"
    )
    parser.add_argument("--walks", type=int, default=1000, help="walks of each mode")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="run and describe the walk with this seed")
    options = parser.parse_args()
    quiet()
    names = options.mode or list(MODES)
    if options.seed is not None:
        return max(replay(name, options.seed) for name in names)
    begun = time.perf_counter()
    sys.stdout.write(f"{HEADING}\n")
    found = walk_modes(names, walks=options.walks, first=options.first, processes=options.processes)
    sys.stdout.write(f"{LEGEND}{time.perf_counter() - begun:.0f} s\n")
    return 1 if any(figures.kinds for figures in found if MODES[figures.mode].enforced) else 0


if __name__ == "__main__":
    sys.exit(main())
