"""What the augmentation of a training crop is drawn from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"a range goes from low to high, not from {pair[0]} to {pair[1]}")
    return pair


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError(f"a kernel has an odd side, not {side}")
    return side


OddSide = Annotated[int, Field(ge=3), AfterValidator(_odd)]
Colour = Literal["jitter", "brightness_contrast", "fancy_pca", "hue_saturation_value"]
Quality = Annotated[int, Field(ge=1, le=100)]
Ascending = AfterValidator(_ascending)


class Augment(BaseModel):
    """Random changes of a training crop, each with its probability and range; the defaults are LNCLIP-DF's.

    Attributes:
        by_pair: a forgery that is drawn online and its real get the same changes.
        rotate: degrees to either side.
        translate: share of the side in every direction.
        border: outside the image it is black (`zero`), or the image's mirror (`reflect`).
        blur_kernel: odd sides in pixels.
        blur_sigma: in pixels; none is OpenCV's kernel of the side.
        resize_p: that the crop is brought to the network's size before colour and compression, by a random
            pair of interpolations. Otherwise that comes last, by area average or, where it grows, cubic.
        colours: one of these: `jitter` multiplies by brightness, then stretches about the mean luma;
            `brightness_contrast` stretches about zero, then adds brightness x 255.
        pca: standard deviation of the weights of the principal components of the image's colours.
        hue: of 180; saturation and value of 255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    by_pair: bool = False
    hflip_p: float = Field(default=0.5, ge=0, le=1)
    affine_p: float = Field(default=1.0, ge=0, le=1)
    rotate: float = Field(default=10.0, ge=0, le=180)
    translate: float = Field(default=0.1, ge=0, lt=1)
    scale: Annotated[tuple[PositiveFloat, PositiveFloat], Ascending] = (0.9, 1.1)
    border: Literal["zero", "reflect"] = "zero"
    blur_p: float = Field(default=0.1, ge=0, le=1)
    blur_kernel: Annotated[tuple[OddSide, OddSide], Ascending] = (7, 7)
    blur_sigma: Annotated[tuple[PositiveFloat, PositiveFloat], Ascending] | None = (0.1, 2.0)
    resize_p: float = Field(default=0.0, ge=0, le=1)
    colour_p: float = Field(default=1.0, ge=0, le=1)
    colours: tuple[Colour, ...] = Field(default=("jitter",), min_length=1)
    brightness: float = Field(default=0.1, ge=0, lt=1)
    contrast: float = Field(default=0.1, ge=0, lt=1)
    pca: float = Field(default=0.1, ge=0)
    hue: float = Field(default=20.0, ge=0, le=90)
    saturation: float = Field(default=30.0, ge=0, le=255)
    value: float = Field(default=20.0, ge=0, le=255)
    jpeg_p: float = Field(default=1.0, ge=0, le=1)
    jpeg_quality: Annotated[tuple[Quality, Quality], Ascending] = (40, 100)
