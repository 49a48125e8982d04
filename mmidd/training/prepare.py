"""From a drawn sample to its place in a batch: what the loader's processes do."""

from __future__ import annotations

from dataclasses import dataclass

from mmidd.schema import ForgeryType, Label
from mmidd.shards import loader
from mmidd.shards.ring import Images
from mmidd.shards.samples import Sample
from mmidd.training.augment import Draw, apply, draw, resize, sample_generator
from mmidd.training.ranges import Augment
from mmidd.training.samples import Samples


@dataclass(frozen=True, slots=True)
class About:
    """What a batch holds of a sample beside its pixels; `change` is left for the device to render."""

    key: str
    video_id: str
    label: int
    type: int
    face: str | None
    environment: str | None
    change: Draw | None = None


@dataclass(frozen=True)
class Augmented:
    """Augmented crops of (seed, epoch, batch, sample); see `loader.Fill`.

    Attributes:
        samples: any epoch's samples.
        size: side of what the network sees.
        ranges: what is drawn from.
        seed: seed of the run.
        on_device: leave the drawing to the device, and give the crop as it is.
    """

    samples: Samples
    size: int
    ranges: Augment
    seed: int
    on_device: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a crop in the batch."""
        side = self.samples.side if self.on_device else self.size
        return side, side, 3

    def __call__(self, drawn: loader.Draw, out: Images) -> About:
        """See `loader.Fill`."""
        sample = self.samples.at(drawn.epoch)[drawn.index]
        change = draw(self.ranges, sample_generator(self.seed, drawn.epoch, drawn.step, sample.key))
        if self.on_device:
            out[:] = resize(sample.image, self.samples.side)
            return about(sample, change)
        out[:] = apply(sample.image, change, self.size)
        return about(sample)


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


def about(sample: Sample, change: Draw | None = None) -> About:
    """What a batch holds of a sample."""
    row = sample.row
    return About(
        key=sample.key,
        video_id=row["video_id"] or sample.key,
        label=int(row["label"] == Label.FAKE),
        type=ForgeryType(row["type"]).index,
        face=row.get("face"),
        environment=row.get("environment"),
        change=change,
    )
