"""The sequence diagram of a story: a list whose style sheet draws lanes and arrows, readable at any width."""

from __future__ import annotations

from collections.abc import Sequence

from transferkit.emulators.page.html import Html, element
from transferkit.emulators.page.stories import Step, Story

__all__ = ["draw"]


def draw(story: Story) -> Html:
    """The diagram; without the style sheet it is a list of sentences."""
    rows: list[list[Step]] = []
    for step in story.steps:
        if step.after is not None or not rows:
            rows.append([])
        rows[-1].append(step)
    return element(
        "ol",
        element("li", [_head(lane, name) for lane, name in enumerate(story.lanes)], aria_hidden="true"),
        [element("li", class_=f"lane at-{lane}", aria_hidden="true") for lane in range(len(story.lanes))],
        [_row(row, story.lanes) for row in rows],
        aria_label=f"{story.title}, {story.outcome}",
        class_=f"diagram lanes-{len(story.lanes)}",
    )


def _head(lane: int, name: str) -> Html:
    return element("span", name, class_=f"head at-{lane}")


def _row(row: Sequence[Step], lanes: Sequence[str]) -> Html:
    return element("li", element("time", f"{row[0].after:.3f} s"), [_arrow(step, lanes) for step in row])


def _arrow(step: Step, lanes: Sequence[str]) -> Html:
    first, last = sorted((step.start, step.end))
    direction = "right" if step.end > step.start else "left"
    return element(
        "span",
        element("span", f"{lanes[step.start]} to {lanes[step.end]}: ", class_="unseen"),
        element("span", step.label, class_="label"),
        element("span", step.note, class_="note"),
        class_=f"arrow {direction} from-{first} to-{last} {step.tone}{' dashed' * step.dashed}",
    )
