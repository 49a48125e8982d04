"""From a drawn sample to its place in a batch: what the loader's processes do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmidd.dialogue.conversation import Message
from mmidd.errors import DataError
from mmidd.preprocess.detectors.base import Pixels
from mmidd.schema import ForgeryType, Label
from mmidd.shards import loader
from mmidd.shards.ring import Images
from mmidd.training.augment import Draw, apply, apply_to_mask, draw, resize, sample_generator
from mmidd.training.ranges import Augment
from mmidd.training.samples import Sample, Samples


@dataclass(frozen=True, slots=True)
class About:
    """What a batch holds of a sample beside its pixels; `change` is left for the device to render."""

    key: str
    video_id: str
    pair_id: str | None
    label: int
    type: int
    face: str | None
    environment: str | None
    change: Draw | None = None
    conversation: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Augmented:
    """Augmented crops of (seed, epoch, batch, sample); see `loader.Fill`.

    Attributes:
        samples: any epoch's samples.
        size: side of what the network sees.
        ranges: what is drawn from.
        seed: seed of the run.
        on_device: leave the drawing to the device, and give the crop as it is.
        masks: a crop's fourth channel is its soft mask, 0 for reals.
    """

    samples: Samples
    size: int
    ranges: Augment
    seed: int
    on_device: bool = False
    masks: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a crop in the batch."""
        side = self.samples.side if self.on_device else self.size
        return side, side, 4 if self.masks else 3

    def __call__(self, drawn: loader.Draw, out: Images) -> About:
        """See `loader.Fill`."""
        sample = self.samples.at(drawn.epoch)[drawn.index]
        of = sample.row["pair_id"] if self.ranges.by_pair else sample.key
        change = draw(self.ranges, sample_generator(self.seed, drawn.epoch, drawn.step, of))
        now, later = (Draw(), change) if self.on_device else (change, None)
        side = len(out)
        out[..., :3] = apply(sample.image, now, side)
        if self.masks:
            out[..., 3] = apply_to_mask(mask_of(sample), now, side)
        return about(sample, later)


@dataclass(frozen=True)
class AsItIs:
    """Unchanged crops at the network's size; see `loader.Fill`."""

    samples: Samples
    size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a crop in the batch."""
        return self.size, self.size, 3

    def __call__(self, drawn: loader.Draw, out: Images) -> About:
        """See `loader.Fill`."""
        sample = self.samples[drawn.index]
        out[:] = resize(sample.image, self.size)
        return about(sample)


def mask_of(sample: Sample) -> Pixels:
    """Soft mask, uint8 (H, W), 0 for a real.

    Raises:
        DataError: of a forgery that has none nobody knows where it was forged.
    """
    if sample.mask is not None:
        return sample.mask
    if sample.row["label"] == Label.FAKE:
        raise DataError("no_mask", f"{sample.key} is a forgery without a mask")
    return np.zeros(sample.image.shape[:2], dtype=np.uint8)


def about(sample: Sample, change: Draw | None = None) -> About:
    """What a batch holds of a sample."""
    row = sample.row
    return About(
        key=sample.key,
        video_id=row["video_id"] or sample.key,
        pair_id=row.get("pair_id"),
        label=int(row["label"] == Label.FAKE),
        type=ForgeryType(row["type"]).index,
        face=row.get("face"),
        environment=row.get("environment"),
        change=change,
        conversation=tuple(row.get("conversations") or ()),
    )
