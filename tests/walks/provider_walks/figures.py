"""Statistics of many walks, and the first walks that show a fault."""

from collections import Counter

from attrs import Factory, define

from provider_walks.judge import judge
from provider_walks.modes import MODES
from provider_walks.walk import Walk


@define
class Figures:
    """The statistics of many walks of one mode."""

    mode: str
    counts: Counter = Factory(Counter)
    kinds: Counter = Factory(Counter)
    seeds: dict = Factory(dict)
    """The first seed with each kind of fault."""

    @property
    def wrong(self):
        return sum(count for kind, count in self.kinds.items() if kind.startswith("stated "))

    def add(self, seed, verdict):
        self.counts += verdict.counts
        for fault in verdict.faults:
            self.kinds[fault.kind] += 1
            self.seeds.setdefault(fault.kind, seed)

    def __add__(self, other):
        seeds = {
            kind: min(s for s in (self.seeds.get(kind), other.seeds.get(kind)) if s is not None)
            for kind in self.seeds | other.seeds
        }
        return Figures(self.mode, self.counts + other.counts, self.kinds + other.kinds, seeds)

    def share(self, part, whole):
        return f"{100 * self.counts[part] / self.counts[whole]:.1f} %" if self.counts[whole] else "-"

    def row(self):
        counts = self.counts
        stated = counts["completed stated"] + counts["failed stated"]
        return (
            f"{self.mode:34} {counts['walks']:6} {counts['transfers']:9} {stated:7} {self.wrong:6} "
            f"{sum(self.kinds.values()) - self.wrong:6} {self.share('expired', 'transfers'):>8} "
            f"{counts['ordinary']:8} {self.share('ordinary expired', 'ordinary'):>8} "
            f"{counts['repeated codes']:8} {self.share('repeated codes expired', 'repeated codes'):>8} "
            f"{_inferred(counts):8} {counts['wrong inferred']:6} {self._unknown_alive():>8}"
        )

    def _unknown_alive(self):
        failed = self.counts["failed stated"] + self.counts["failed inferred"]
        return f"{100 * self.counts['call_alive unknown'] / failed:.1f} %" if failed else "-"

    def faults(self):
        return [
            f"    {count:6} {kind}: python tests/walks/run.py --mode {self.mode!r} --seed {self.seeds[kind]}"
            for kind, count in self.kinds.most_common()
        ]


def _inferred(counts):
    return counts["completed inferred"] + counts["failed inferred"]


HEADING = (
    f"{'mode':34} {'walks':>6} {'transfers':>9} {'stated':>7} {'wrong':>6} {'other':>6} {'expired':>8} "
    f"{'ordinary':>8} {'expired':>8} {'repeated':>8} {'expired':>8} "
    f"{'inferred':>8} {'wrong':>6} {'alive?':>8}"
)
LEGEND = """\
wrong: stated outcomes that are not true; other: other faults (call_alive, a second outcome or attempt)
ordinary: transfers after stated failures only, in a walk without loss and without delays up to a deadline
repeated: ordinary transfers whose failure has the same codes as an earlier failure of the call (Graph)
inferred: inferred outcomes except expired, and how many of them are not true
alive?: failures that do not say whether the call is alive
"""


def walk_many(name, seeds, *, trusts_all_verdicts=False):
    """Play and judge the seeds of one mode."""
    figures = Figures(name)
    for seed in seeds:
        figures.add(seed, judge(Walk(MODES[name], seed, trusts_all_verdicts=trusts_all_verdicts).play()))
    return figures
