"""Fuzz what strangers write: `python tests/fuzz/run.py --cases 10000 --seed 1 [--target graph]`.

Every case follows from the seed alone. What breaks a promise is printed, and kept in `corpus/`, which the
tests replay. Exits with 1 where anything did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random

from fuzzing.target import Case, Target
from fuzzing.targets import targets

CORPUS = Path(__file__).parent / "corpus"
MOST_FINDS = 5
"""Of one kind; the rest are counted."""


async def fuzz(target: Target, *, cases: int, seed: int) -> list[tuple[Case, str]]:
    """The cases that broke a promise, and which. A request to the HTTP surface counts as a case."""
    found: list[tuple[Case, str]] = []
    for number in range(0, cases, target.cases_each):
        case = target.make(Random(f"{target.name} {seed} {number}"))  # noqa: S311 - repeatable, not secret
        try:
            await target.check(case)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            found.append((case, f"{type(error).__name__}: {error}"[:300]))
    return found


def keep(target: str, found: list[tuple[Case, str]], *, seed: int) -> None:
    """Some of every kind of find, as files."""
    kinds: Counter[str] = Counter()
    for case, why in found:
        kind = why[:60]
        kinds[kind] += 1
        if kinds[kind] <= MOST_FINDS:
            name = f"{target}-{seed}-{len(kinds)}-{kinds[kind]}.json"
            text = json.dumps({"target": target, "found": why, "case": case}, indent=1)
            (CORPUS / name).write_text(f"{text}\n", encoding="utf-8")
    for kind, count in kinds.most_common():
        sys.stdout.write(f"  {count} times: {kind}\n")


def main() -> int:
    """Run, and say how many cases and how fast."""
    known = targets()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cases", type=int, default=10_000, help="in all, shared out by the targets' weights"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=sorted(known), action="append", help="only this; may be repeated")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    chosen = [known[name] for name in asked.target or known]
    whole = sum(target.weight for target in chosen)
    broken = 0
    for target in chosen:
        cases = max(1, asked.cases * target.weight // whole)
        begun = time.perf_counter()
        found = asyncio.run(fuzz(target, cases=cases, seed=asked.seed))
        spent = time.perf_counter() - begun
        sys.stdout.write(f"{target.name}: {cases} cases in {spent:.1f} s, {len(found)} broke a promise\n")
        keep(target.name, found, seed=asked.seed)
        sys.stdout.flush()
        broken += len(found)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
