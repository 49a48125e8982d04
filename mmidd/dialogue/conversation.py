"""Conversations about one face crop, as ShareGPT/LLaVA messages for tuning a language model.

The form follows KFD (arXiv 2503.14853, section 3.2): task description, sentence with the detector's
score and question; an answer whose first word is the label and which names the forged regions; then
follow-up turns. What the human says depends on the generator alone, never on the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypedDict, TypeVar

import numpy as np

from mmidd.dialogue.finding import REGIONS, TRACES, Finding, Region, place
from mmidd.dialogue.templates import KINDS, SCORE_SLOT, Turn, inflect, placeholders, templates
from mmidd.errors import UsageError
from mmidd.schema import Label

__all__ = ["IMAGE_SLOT", "SCORE_SLOT", "Finding", "Message", "Region", "converse", "fill_score", "place"]

IMAGE_SLOT = "<image>"
"""LLaVA's mark for where the image goes, once, on the first line of the first message."""

_MOST_NAMED = 3
_WHOLES = ("center face", "full face")

T = TypeVar("T")
Message = TypedDict("Message", {"from": Literal["human", "gpt"], "value": str})


def converse(finding: Finding, rng: np.random.Generator) -> list[Message]:
    """A first question and answer and 0 to 4 follow-up turns, with `SCORE_SLOT` for the detector's score.

    Generators in equal states give equal human messages for any finding.
    """
    text = templates()
    # All that a human says is drawn first, since answers of the two labels take different draws.
    kinds = [KINDS[i] for i in rng.permutation(len(KINDS))[: rng.integers(len(KINDS) + 1)]]
    turns = [text.turns[kind] for kind in ("verdict", *kinds)]
    opening = f"{IMAGE_SLOT}\n{_pick(text.backgrounds, rng)} {_pick(text.detector, rng)} "
    questions = [_pick(turn.questions, rng) for turn in turns]
    questions[0] = opening + questions[0]
    messages: list[Message] = []
    for question, turn in zip(questions, turns, strict=True):
        messages.append({"from": "human", "value": question})
        messages.append({"from": "gpt", "value": _answer(turn, finding, rng)})
    return messages


def fill_score(messages: Sequence[Message], score: float) -> list[Message]:
    """The messages with the detector's score, 0 (real) to 1 (fake), as integer percent in every slot.

    Raises:
        UsageError: the score is no number in 0..1.
    """
    if not 0 <= score <= 1:
        raise UsageError(f"the score {score} is outside 0..1; pass the detector's probability of a forgery")
    percent = str(math.floor(100 * score + 0.5))
    return [
        {"from": message["from"], "value": message["value"].replace(SCORE_SLOT, percent)}
        for message in messages
    ]


def _answer(turn: Turn, finding: Finding, rng: np.random.Generator) -> str:
    """One answer with its placeholders filled, each by its own draws."""
    template = _pick(turn.fake if finding.label == Label.FAKE else turn.real, rng)
    needed, filled, count = placeholders(template), {}, len(finding.regions)
    if "placed" in needed:
        filled["placed"] = _placed(finding.regions)
    if "regions" in needed:
        filled["regions"] = _joined([_phrase(region.name) for region in finding.regions])
    if "reasons" in needed:
        filled["reasons"] = _joined([inflect(reason, count) for reason in _reasons(finding, rng)])
    if "natural" in needed:
        parts = _natural(finding, rng)
        filled["natural"], count = _joined(parts), len(parts)
    said = inflect(template, count).format_map(filled)
    return said[0].upper() + said[1:]


def _placed(regions: tuple[Region, ...]) -> str:
    """The regions with their places; a place that all share is said once."""
    names, places = [_phrase(region.name) for region in regions], [region.place for region in regions]
    if len({*places}) == 1:
        return f"{_joined(names)} at the {places[0]} of the image"
    return _joined([f"{n} at the {p}" for n, p in zip(names, places, strict=True)]) + " of the image"


def _reasons(finding: Finding, rng: np.random.Generator) -> list[str]:
    """One to three clauses that are true of the picture."""
    text = templates()
    if finding.label == Label.REAL:
        groups = list(text.consistent.values())
    else:
        groups = [text.traces[trace] for trace in TRACES if trace in finding.traces] or [text.untraced]
    return [_pick(group, rng) for group in _some(groups, rng)]


def _natural(finding: Finding, rng: np.random.Generator) -> list[str]:
    """One to three parts that no forged region reaches, or else what surrounds the face."""
    text = templates()
    touched = {region.name for region in finding.regions}
    reached = touched.union(*(text.neighbours[name] for name in REGIONS if name in touched))
    left = [text.regions[name] for name in REGIONS if name not in reached and name not in _WHOLES]
    return _some(left, rng) if left else [_pick(text.surroundings, rng)]


def _some(items: list[T], rng: np.random.Generator) -> list[T]:
    """One to three of the items, in their order."""
    count = 1 + rng.integers(_MOST_NAMED)
    return [items[i] for i in sorted(rng.permutation(len(items))[:count])]


def _pick(lines: Sequence[str], rng: np.random.Generator) -> str:
    return lines[int(rng.integers(len(lines)))]


def _phrase(name: str) -> str:
    return templates().regions[name]


def _joined(items: Sequence[str]) -> str:
    """As in "a", "a and b", "a, b and c"."""
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last
