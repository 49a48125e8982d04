"""Settings of the baselines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmidd.training.config.base import TrainConfig
from mmidd.training.config.labels import Labels
from mmidd.training.config.methods import Lora


class ClassifierConfig(TrainConfig):
    """A vision encoder with a linear head and cross-entropy: every baseline but the zero-shot prompts.

    Attributes:
        method: the baseline's name, which is that of its presets.
        tune: what learns of the encoder: nothing, LoRA, the residual singular triplets of its attention
            projections (Effort, CLIP-SVD), or all.
        lora: with `tune: lora`.
        svd_rank: singular triplets that stay frozen with `tune: svd`; none is all but one.
    """

    method: Literal["linear", "full", "clip-lora", "effort", "xception", "effnetb4", "sbi"]
    tune: Literal["none", "lora", "svd", "all"]
    lora: Lora = Lora()
    svd_rank: int | None = Field(default=None, ge=1)


class ZeroshotConfig(TrainConfig):
    """Frozen CLIP and the five plain class sentences of sd2; nothing is trained, so there are no epochs."""

    method: Literal["zeroshot"] = "zeroshot"
    labels: Labels = Labels()
    epochs: Literal[0] = 0
