"""Settings of KFD's detector, the first of its two stages."""

from __future__ import annotations

import itertools
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mmidd.training.config.backbone import Frozen
from mmidd.training.config.base import TrainConfig
from mmidd.training.config.labels import Sentences
from mmidd.training.config.methods import Lora


def _ascending(depths: tuple[float, ...]) -> tuple[float, ...]:
    if any(low >= high for low, high in itertools.pairwise(depths)):
        raise ValueError("depths ascend")
    return depths


Depth = Annotated[float, Field(gt=0, le=1)]
Depths = Annotated[tuple[Depth, ...], Field(min_length=1), AfterValidator(_ascending)]


class Descriptions(Frozen):
    """What the text tower is told of either class; the embeddings of a class are averaged."""

    real: Sentences = (
        "a natural photo of a face",
        "an unedited portrait as the camera took it",
        "a genuine face of one piece",
        "an authentic picture of a person",
        "a real face in even light and colour",
    )
    fake: Sentences = (
        "a manipulated photo of a face",
        "a portrait with parts blended into it",
        "a forged face with visible seams",
        "a deepfake of a person",
        "a fake face whose parts differ in light and colour",
    )


class KfdConfig(TrainConfig):
    """KFD (arXiv 2503.14853), stage 1: where image patches agree with the texts of a real and a fake face.

    Attributes:
        trainable: what learns of the vision tower: nothing, as published; `lora`, which the release's
            checkpoint holds; `all` for random weights.
        lora: with `trainable: lora`.
        depths: shares of the tower's blocks after which patches are taken; 16, 24 and 32 of 32.
        descriptions: sentences of the two classes.
        context: the learned vectors are averaged with the sentences' embeddings (`output`, as released), or
            stand before the sentences' tokens in the text tower (`input`, as in CoOp).
        context_vectors: how many; both classes share them.
        map_size: side in pixels of the maps that are read, and of the map that is given; none is the image's.
        locator_width: channels of each of the locator's branches.
        classifier_width: channels of each branch's first convolution; the last has sixteen times as many.
        localisation: weight of the Dice loss of the maps against the texts.
        reference: weight of the Dice loss of the maps against the pristine image, lambda in the paper.
        focal: weight of the focal loss of every pixel's class, which the release has and the paper lacks.
        gamma: exponent of the focal loss.
        mask_threshold: share of the blended-in source from which on a pixel counts as forged.
        dice_target: what Dice compares with, the mask cut at the threshold or as it is.
        dice_on: images that Dice is a mean of. Of an empty mask it is nearly 1 until less than a pixel in all
            is called forged; pristine images then learn by focal loss and cross-entropy alone.
    """

    method: Literal["kfd"] = "kfd"
    trainable: Literal["none", "lora", "all"] = "none"
    lora: Lora = Lora(rank=32, alpha=1, dropout=0, targets=("q_proj", "v_proj", "out_proj", "c_fc", "c_proj"))
    depths: Depths = (0.5, 0.75, 1.0)
    descriptions: Descriptions = Descriptions()
    context: Literal["output", "input"] = "output"
    context_vectors: int = Field(default=16, ge=1)
    map_size: int | None = Field(default=None, ge=16)
    locator_width: int = Field(default=128, ge=1)
    classifier_width: int = Field(default=16, ge=1)
    localisation: float = Field(default=1.0, ge=0)
    reference: float = Field(default=1.0, ge=0)
    focal: float = Field(default=1.0, ge=0)
    gamma: float = Field(default=2.0, ge=0)
    mask_threshold: float = Field(default=0.3, gt=0, le=1)
    dice_target: Literal["binary", "soft"] = "binary"
    dice_on: Literal["fakes", "all"] = "fakes"

    needs_masks: ClassVar[bool] = True

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if not (self.online and self.sampling.pair and self.augment.by_pair):
            raise ValueError(
                "kfd compares a forgery with its own real; set online, sampling.pair=true and "
                "augment.by_pair=true"
            )
        return self
