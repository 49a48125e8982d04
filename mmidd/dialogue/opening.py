"""The first question about an image: taken apart, and made for a question of one's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mmidd.dialogue.conversation import IMAGE_SLOT, SCORE_SLOT, Message, fill_score
from mmidd.dialogue.templates import templates

_SCORE_SENTENCE = re.compile(rf"[^.?!]*{SCORE_SLOT}[^.?!]*[.?!]")


@dataclass(frozen=True)
class Opening:
    """Parts of a first question: `score` is the sentence with the detector's score.

    A question without that sentence is about no forgery, and all of it is `question`.
    """

    has_image: bool
    description: str
    score: str
    question: str

    def with_score(self, score: float) -> Opening:
        """With the score, 0 to 1, in its place; see `fill_score`."""
        (filled,) = fill_score([{"from": "human", "value": self.score}], score)
        return replace(self, score=filled["value"])


def split_opening(text: str) -> Opening:
    """The parts of a first message, in which `IMAGE_SLOT` may stand anywhere."""
    has_image, text = IMAGE_SLOT in text, text.replace(IMAGE_SLOT, "")
    found = _SCORE_SENTENCE.search(text)
    if found is None:
        return Opening(has_image, "", "", text.strip())
    parts = text[: found.start()], found[0], text[found.end() :]
    return Opening(has_image, *(part.strip() for part in parts))


def opening(question: str | None = None) -> Message:
    """A first question about an image, in the first of the wordings; none asks for the verdict."""
    text = templates()
    asked = question or text.turns["verdict"].questions[0]
    return {"from": "human", "value": f"{IMAGE_SLOT}\n{text.backgrounds[0]} {text.detector[0]} {asked}"}
