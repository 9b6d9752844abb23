"""Try small changes of the source against the tests: `python tests/mutation/run.py [--only lifecycle]`.

Every change that no test notices is printed with its place. Exits with 1 where there was one. The source is
read at the start and never written; each trial has a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from random import Random
from typing import final

from attrs import frozen
from mutating.changes import Change, changes
from mutating.parts import PARTS, Part
from mutating.trial import ROOT, SURVIVED, TOO_LONG, Changed, prepare, verdicts

LEAST_LIMIT = 20.0
"""Seconds that any trial may take, however fast its tests are."""


@final
@frozen
class Mutant:
    """One change of one file."""

    file: str
    original: str
    change: Change

    def __str__(self) -> str:
        place = f"{self.file}:{self.change.line}: {self.change.what}"
        return "\n    ".join([place, *self.change.difference(self.original).splitlines()])

    @property
    def changed(self) -> Changed:
        """What is tried."""
        return Changed(self.file, self.change.source, self.change.function)


def mutants(part: Part) -> list[Mutant]:
    """All of a part."""
    found: list[Mutant] = []
    for file, within in part.files.items():
        original = (ROOT / file).read_text(encoding="utf-8")
        found += [Mutant(file, original, change) for change in changes(original, within=within)]
    return found


def survivors(part: Part, chosen: list[Mutant], *, slowness: float) -> list[Mutant]:
    """Those that no test noticed; what only takes too long is noticed, and printed."""
    left = {mutant.changed: mutant for mutant in chosen}
    for tests in part.rounds:
        if not left:
            break
        begun = time.perf_counter()
        found: dict[Changed, Mutant] = {}
        for changed, verdict in verdicts(tests, list(left), slowness=slowness, least=LEAST_LIMIT):
            if verdict == SURVIVED:
                found[changed] = left[changed]
            elif verdict == TOO_LONG:
                sys.stdout.write(f"too long: {left[changed]}\n")
                sys.stdout.flush()
        spent = time.perf_counter() - begun
        sys.stdout.write(f"{part.name}: {len(left) - len(found)} of {len(left)} noticed in {spent:.0f} s\n")
        sys.stdout.flush()
        left = found
    return [mutant for mutant in chosen if mutant.changed in left]


def main() -> int:
    """Run, and say how many were noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="this part; may be repeated")
    parser.add_argument("--file", default="", help="only files whose path has this in it")
    parser.add_argument("--sample", type=int, help="so many of each part, by chance")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument(
        "--slowness", type=float, default=20, help="how many times the usual time is too long"
    )
    asked = parser.parse_args()
    prepare()
    total = 0
    for name in asked.only or PARTS:
        chosen = [mutant for mutant in mutants(PARTS[name]) if asked.file in mutant.file]
        possible = len(chosen)
        if asked.sample is not None:
            chosen = Random(asked.seed).sample(chosen, min(asked.sample, possible))  # noqa: S311 - repeatable
        found = survivors(PARTS[name], chosen, slowness=asked.slowness)
        for mutant in found:
            sys.stdout.write(f"survived: {mutant}\n")
        sys.stdout.write(f"{name}: {len(chosen)} of {possible} changes tried, {len(found)} survived\n")
        for file, tried in Counter(mutant.file for mutant in chosen).items():
            survived = sum(mutant.file == file for mutant in found)
            sys.stdout.write(f"  {file}: {tried} tried, {survived} survived\n")
        sys.stdout.flush()
        total += len(found)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
