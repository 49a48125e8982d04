"""Where an answer's verdict stands in tokens: `<answer>`, one token, `</answer>`, the end."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mmidd.errors import UsageError
from mmidd.schema import Label
from mmidd.training.models.mllm.model import Generalist
from mmidd.training.rl.chain import ANSWER, WORDS


class VerdictTokens:
    """The answer's parts, each tokenised by itself, in training as in inference.

    Args:
        generalist: whose tokenizer it is.

    Raises:
        UsageError: Real and Fake are not one token each, and different.
    """

    def __init__(self, generalist: Generalist) -> None:
        self.opening = generalist.encode(ANSWER[0])
        self.closing = [*generalist.encode(ANSWER[1]), generalist.ends[0]]
        spelled = [generalist.encode(WORDS[label]) for label in (Label.REAL, Label.FAKE)]
        if any(len(tokens) != 1 for tokens in spelled) or spelled[0] == spelled[1]:
            raise UsageError(
                f"the tokenizer does not write {' and '.join(WORDS.values())} as one token each; "
                "take a model with another --set mllm.name"
            )
        self.words: tuple[int, int] = (spelled[0][0], spelled[1][0])

    def two_way(self, logits: Tensor) -> Tensor:
        """Of logits (..., vocabulary) those of real and fake, (..., 2)."""
        return logits[..., list(self.words)]

    def before(self, said: Sequence[int]) -> list[int]:
        """What was said up to the verdict; where there is none, all of it but its end, and the opening."""
        width = len(self.opening)
        places = [p for p in range(len(said) - width + 1) if list(said[p : p + width]) == self.opening]
        if places:
            return list(said[: places[0] + width])
        kept = said[:-1] if said and said[-1] == self.closing[-1] else said
        return [*kept, *self.opening]
