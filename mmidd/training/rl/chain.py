"""What a completion says: a thought in tags, then a verdict in tags (methods 5.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmidd.schema import Label

THINK = ("<think>", "</think>")
ANSWER = ("<answer>", "</answer>")
WORDS = {Label.REAL: "Real", Label.FAKE: "Fake"}
"""How a verdict is written."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_LABELS = {word: label for label, word in WORDS.items()}
_WHOLE = re.compile(rf"\s*{THINK[0]}.*{THINK[1]}\s*{ANSWER[0]}.*{ANSWER[1]}\s*", re.DOTALL)


@dataclass(frozen=True)
class Chain:
    """What a completion says.

    Attributes:
        thought: within its one think block, without white space around; empty if it has none or several.
        verdict: of its one answer block, if that holds nothing but one of `WORDS` and is no part of the
            thought; else None.
        well_formed: the whole text is a think block with a word in it, then an answer block with a verdict,
            and nothing but white space around them.
        words: of the thought; runs of letters, so that punctuation and numbers do not count.
    """

    thought: str
    verdict: Label | None
    well_formed: bool
    words: int


def read_chain(text: str) -> Chain:
    """What a completion says; tags and words count as written, in this case and these characters."""
    thought, answer = _between(text, THINK), _between(text, ANSWER)
    aloud = thought is None or not any(tag in thought for tag in ANSWER)
    verdict = _LABELS.get(answer) if answer is not None and aloud else None
    words = len(words_of(thought or ""))
    well_formed = bool(words and verdict and _WHOLE.fullmatch(text))
    return Chain((thought or "").strip(), verdict, well_formed, words)


def words_of(text: str) -> list[str]:
    """Runs of letters, as written; an apostrophe or a hyphen joins two."""
    return _WORD.findall(text)


def written(label: Label) -> str:
    """The answer block of a verdict."""
    return WORDS[label].join(ANSWER)


def _between(text: str, tags: tuple[str, str]) -> str | None:
    """What stands between two tags, if each occurs once and in this order."""
    opening, closing = tags
    if text.count(opening) != 1 or text.count(closing) != 1:
        return None
    inside = text.partition(opening)[2].partition(closing)
    return inside[0] if inside[1] else None
