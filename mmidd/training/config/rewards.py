"""What a chain is rewarded for."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mmidd.training.config.backbone import Frozen


class Weights(Frozen):
    """Weights of the terms of `training.rl.rewards`, each of which is in [0, 1]; 0 only measures it."""

    label: float = Field(default=1.0, ge=0)
    format: float = Field(default=0.25, ge=0)
    length: float = Field(default=0.1, ge=0)
    distinct: float = Field(default=0.0, ge=0)
    regions: float = Field(default=0.0, ge=0)


class Rewards(Frozen):
    """What a chain is rewarded for; the paper names the label and the format, and no weights.

    Attributes:
        weights: of the terms.
        min_words: fewest words of a thought, for the format as well, which an empty thought would satisfy.
        max_words: most words of a thought.
        ngram: length in words of what a thought should not repeat.
    """

    weights: Weights = Weights()
    min_words: int = Field(default=10, ge=1)
    max_words: int = Field(default=120, ge=1)
    ngram: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        if not any(self.weights.model_dump().values()):
            raise ValueError("every weight is 0; set weights.label")
        return self
