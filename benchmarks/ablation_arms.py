"""The rows of the ablation table.

Small networks at 64 px, equal steps for all but Xception, which is twenty times as large. `random`: all
weights learn, from random ones, in a transformer with a convolutional stem. `captions`: what the method
tunes learns, in the vision tower of a small plain CLIP that was first trained on images and captions of the
training split without labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STEPS = 900
XCEPTION_STEPS = 200
CAPTION_STEPS = 1500
TEXT = "text: {context_length: 48, width: 64, heads: 2, layers: 1}"
STEM = "stem: conv, vision: {image_size: 64, patch_size: 16, width: 128, layers: 2, head_width: 32}"
PLAIN = "stem: patch, vision: {image_size: 64, patch_size: 8, width: 128, layers: 4, head_width: 32}"
MEAN = "label_mode=mean"
SD2 = {
    "sd2": (MEAN,),
    "sd2 without CLAM": (MEAN, "clam=false"),
    "sd2 without label separation": (MEAN, "separation=0"),
    "sd2 without face contrast": (MEAN, "contrast_face=0"),
    "sd2 without environment contrast": (MEAN, "contrast_environment=0"),
}
UNPAIRED = "sampling={by: [label]}"
LNCLIP = {
    "lnclip-df": ("variant=lnclip-df",),
    "lnclip-df, unpaired": ("variant=lnclip-df", UNPAIRED),
    "gend": ("variant=gend",),
    "gend, unpaired": ("variant=gend", UNPAIRED),
}
TUNED = ("optim.lr=3e-3",)
"""For few weights of a trained network, as in the presets of clip-lora and effort."""


@dataclass(frozen=True)
class Arm:
    """A row of the table: `start` is `random` or `captions`, `options` are those of `mmidd train`."""

    name: str
    start: str
    options: tuple[str, ...]

    def run(self, seed: int) -> str:
        """Name of the run of a seed."""
        slug = "-".join(self.name.replace(",", "").split())
        return f"ablation-{slug}-{self.start}-{seed}"


def arms(captions: Path) -> Iterator[Arm]:
    """All rows; `captions` is the file of the CLIP that was trained on captions."""
    scratch, clip = backbone(STEM), backbone(PLAIN, str(captions))
    for name, settings in SD2.items():
        yield arm(name, "random", "sd2", scratch, *settings)
    for name, settings in LNCLIP.items():
        yield arm(name, "random", "lnclip", scratch, *settings)
    yield arm("full", "random", "full", scratch)
    for name in ("effnetb4", "sbi"):
        yield arm(name, "random", name, "backbone.image_size=64")
    yield arm("xception", "random", "xception", "backbone.image_size=64", f"max_steps={XCEPTION_STEPS}")
    yield arm("zeroshot", "captions", "zeroshot", clip)
    yield arm("linear", "captions", "linear", clip, *TUNED)
    for name in ("clip-lora", "effort"):
        yield arm(name, "captions", name, clip)


def arm(name: str, start: str, method: str, *settings: str) -> Arm:
    """A row by the preset `tiny` of a method, with changes."""
    steps = () if method == "zeroshot" else ("epochs=1000", f"max_steps={STEPS}")
    sets = [word for setting in ("workers=0", *steps, *settings) for word in ("--set", setting)]
    return Arm(name, start, (method, "--preset", "tiny", *sets))


def backbone(vision: str, weights: str = "random") -> str:
    """The setting of a small CLIP."""
    return f"backbone={{shape: {{embed_dim: 128, {vision}, {TEXT}}}, weights: {weights}}}"


CAPTIONS_ALONE = arm(
    *("captions", "random", "sd2", backbone(PLAIN)),
    *("alpha=0", "separation=0", "clam=false", "sampling={pair: false}"),
    *("optim.new_lr=1e-9", "contrast_scale=20", f"max_steps={CAPTION_STEPS}"),
)
"""Sees no label. The adapter stays at zero, the contrast's scale and bias as they are: CLIP alone learns."""
