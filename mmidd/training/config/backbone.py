"""Which encoder a method starts from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Channels = tuple[float, float, float]


def _positive(std: Channels) -> Channels:
    if min(std) <= 0:
        raise ValueError(f"a standard deviation is above 0, not {min(std)}")
    return std


class Frozen(BaseModel):
    """Settings that cannot change; a key that is none of them is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class VisionShape(Frozen):
    """Size of a vision transformer; `head_width` must divide `width`, `patch_size` `image_size`."""

    image_size: int = Field(ge=16)
    patch_size: int = Field(ge=1)
    width: int = Field(ge=8)
    layers: int = Field(ge=1)
    head_width: int = Field(default=64, ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)


class TextShape(Frozen):
    """Size of a text transformer; the vocabulary is always CLIP's 49,408 tokens."""

    context_length: int = Field(default=77, ge=8)
    width: int = Field(ge=8)
    heads: int = Field(ge=1)
    layers: int = Field(ge=1)


class ClipShape(Frozen):
    """Size of a small CLIP; `stem` is explained in models/stem.py."""

    embed_dim: int = Field(ge=8)
    stem: Literal["patch", "conv"] = "patch"
    vision: VisionShape
    text: TextShape


class Backbone(Frozen):
    """An encoder by `name` of a library, or a small CLIP of a `shape`.

    Attributes:
        library: `open_clip` has both towers; `timm` and `transformers` give a vision encoder.
        name: as the library spells it; open_clip also takes `hf-hub:OWNER/NAME`, transformers a folder.
        weights: a tag of the library, a checkpoint file or folder, or `random`.
        image_size: side in pixels of what the encoder sees; none is its own.
        mean: of the normalisation, per channel, of images in [0, 1]; none is the encoder's own.
        std: likewise.
        batch_norm: a named encoder normalises over the batch, as most CNNs do; checked when it is built.
        shape: in place of a name; its weights are random where no file is given.
    """

    library: Literal["open_clip", "timm", "transformers"] = "open_clip"
    name: str | None = None
    weights: str | None = None
    image_size: int | None = Field(default=None, ge=16)
    mean: Channels | None = None
    std: Annotated[Channels, AfterValidator(_positive)] | None = None
    batch_norm: bool = False
    shape: ClipShape | None = None

    @property
    def normalises_over_the_batch(self) -> bool:
        """Whether it has batch normalisation, so that a batch must pass it at once."""
        return self.batch_norm or (self.shape is not None and self.shape.stem == "conv")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.name is None) == (self.shape is None):
            raise ValueError("set either name (with weights) or shape")
        if self.name is not None and self.weights is None:
            raise ValueError(
                "name needs weights: a tag such as openai, a checkpoint file or folder, or random"
            )
        if self.shape is not None and (self.library != "open_clip" or self.image_size is not None):
            raise ValueError("shape is a CLIP of open_clip with an image_size of its own")
        return self
