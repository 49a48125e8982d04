"""Settings of the published methods."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mmidd.training.config.backbone import Frozen
from mmidd.training.config.base import TrainConfig
from mmidd.training.config.labels import Labels


class LnclipConfig(TrainConfig):
    """LNCLIP-DF (arXiv 2508.06248 v1) and GenD (its v3): LayerNorms and a linear head on the unit sphere.

    Attributes:
        variant: `lnclip-df` adds spherical interpolations between features of one class, `gend` does not.
        trainable: `layernorm` is the method, `all` for a random encoder, `none` leaves the head alone.
        normalise: whether features are brought to the unit sphere, where alignment, uniformity and
            interpolation live; without it they are off.
        alignment: weight of the loss that pulls a class together.
        uniformity: weight of the loss that spreads features.
        slerp_mode: of `lnclip-df`: `expand` adds interpolations until there are `slerp_k` times as many
            features, `replace` puts one in place of each.
        head_gain: multiplies the head's initial weights. On unit features a default head gives logits near
            zero; an encoder that starts from random weights then gets no steady direction.
    """

    method: Literal["lnclip"] = "lnclip"
    variant: Literal["lnclip-df", "gend"] = "lnclip-df"
    trainable: Literal["layernorm", "all", "none"] = "layernorm"
    normalise: bool = True
    alignment: float = Field(default=0.1, ge=0)
    uniformity: float = Field(default=0.5, ge=0)
    slerp_mode: Literal["expand", "replace"] = "expand"
    slerp_k: int = Field(default=8, ge=1)
    head_gain: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _sphere(self) -> Self:
        if not self.normalise and (self.variant != "gend" or self.alignment or self.uniformity):
            raise ValueError("without normalise set variant to gend, alignment and uniformity to 0")
        return self


class Lora(Frozen):
    """LoRA on projections of transformer blocks, by the names that `SplitAttention` gives them."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    targets: tuple[Literal["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"], ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "out_proj",
    )


class Sd2Config(TrainConfig):
    """SD2 (OpenReview hNd5L7WnjC): CLAM, adapter, the three losses and their scales.

    Attributes:
        trainable: `lora` is the method, `all` for random towers.
        clam: attention over the layers' class tokens; without it the final token alone is adapted.
        clam_norm: CLIP's own last LayerNorm on every layer's token (`post`), or the raw tokens.
        adapter: the printed formula (`literal`), or CLIP's own projection plus a zero-initialised
            correction (`residual`).
        labels: sentences of each class; the first is what images are compared with at inference.
        label_mode: one sampled sentence per class and step, or the mean of all.
        temperature: of the type loss: `learned` from CLIP's, or CLIP's `frozen` one.
        alpha: weight of the type loss.
        separation: weight of the label separation, 1 in the paper.
        contrast_face: weight of the contrast with face captions, 1 in the paper.
        contrast_environment: weight of the contrast with environment captions, 1 in the paper.
        contrast_scale: initial temperature of the contrast, learned.
        contrast_bias: initial bias of the contrast, learned.
    """

    method: Literal["sd2"] = "sd2"
    trainable: Literal["lora", "all"] = "lora"
    lora: Lora = Lora()
    clam: bool = True
    clam_heads: int = Field(default=8, ge=1)
    clam_norm: Literal["post", "none"] = "post"
    adapter: Literal["literal", "residual"] = "literal"
    adapter_width: int = Field(default=1024, ge=1)
    labels: Labels = Labels()
    label_mode: Literal["sample", "mean"] = "sample"
    temperature: Literal["learned", "frozen"] = "learned"
    alpha: float = Field(default=2.0, ge=0)
    separation: float = Field(default=1.0, ge=0)
    contrast_face: float = Field(default=1.0, ge=0)
    contrast_environment: float = Field(default=1.0, ge=0)
    contrast_scale: float = Field(default=10.0, gt=0)
    contrast_bias: float = -10.0
