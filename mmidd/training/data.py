"""Training and validation samples as batches, in an order fixed by (seed, epoch)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmidd.errors import DataError, UsageError
from mmidd.schema import ForgeryType, Label, Split
from mmidd.shards.pairs import PairedPlan
from mmidd.shards.plan import EpochPlan, balance_groups
from mmidd.shards.samples import Sample
from mmidd.shards.stream import ShardDataset
from mmidd.training.augment import augment, resize, sample_generator
from mmidd.training.config import TrainConfig
from mmidd.training.online import OnlineSamples
from mmidd.training.samples import Samples

NO_CAPTIONS = "the method needs captions, and the shards lack them; run `mmidd caption`, then `mmidd shard`"


class TrainingData:
    """The only thing training reads: a training and a validation split, never test data.

    Raises:
        UsageError: another split, an empty split, or a split with a single class.
    """

    def __init__(self, train: Samples, val: Samples) -> None:
        for samples, wanted in ((train, Split.TRAIN), (val, Split.VAL)):
            if samples.split is not wanted:
                raise UsageError(
                    f"training takes the {wanted} split here, not {samples.split}; pass {wanted} shards"
                )
            labels = set(samples.rows["label"].to_list())
            if labels != {Label.REAL.value, Label.FAKE.value}:
                found = " and ".join(sorted(labels)) or "no"
                raise UsageError(
                    f"the {wanted} split holds {found} samples only; ingest real and fake data into it"
                )
        self.train = train
        self.val = val

    @property
    def left_out(self) -> int:
        """Reals that cannot be blended online for want of landmarks."""
        return sum(s.left_out for s in (self.train, self.val) if isinstance(s, OnlineSamples))

    def require_captions(self) -> None:
        """Check that the first training sample is captioned.

        Raises:
            UsageError: it is not.
        """
        row = self.train[0].row
        if not (row.get("face") and row.get("environment")):
            raise UsageError(NO_CAPTIONS)

    def fingerprint(self) -> str:
        """Hash of the keys of both splits in order; a run is resumed on the same data only."""
        digest = hashlib.sha256()
        for samples in (self.train, self.val):
            digest.update("\n".join(samples.rows["key"].to_list()).encode() + b"\n\n")
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """Samples side by side: images (B, S, S, 3) uint8; label and type (B,) int64.

    `unusable` says of every sample that is missing from the batch why.
    """

    images: Tensor
    label: Tensor
    type: Tensor
    face_caption: tuple[str | None, ...]
    environment_caption: tuple[str | None, ...]
    sample_id: tuple[str, ...]
    video_id: tuple[str, ...]
    unusable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Batch:
        fields = {name: value[part] for name, value in vars(self).items() if name != "unusable"}
        return Batch(**fields, unusable=self.unusable)

    def to(self, device: torch.device) -> Batch:
        """The batch with its tensors on a device."""
        return replace(
            self, images=self.images.to(device), label=self.label.to(device), type=self.type.to(device)
        )


def train_batches(data: TrainingData, config: TrainConfig, epoch: int, start: int) -> Iterator[Batch]:
    """Augmented batches of an epoch from batch number `start` on; the last may be smaller."""
    dataset = _Prepared(data.train.at(epoch), image_size(config), partial(_augmented, config, epoch))
    batches = enumerate(_plan(data, config, epoch).batches(start), start)
    return _load(dataset, [[(number, i) for i in batch] for number, batch in batches], config.workers)


def steps_per_epoch(data: TrainingData, config: TrainConfig) -> int:
    """Batches in an epoch, the same in all."""
    return _plan(data, config, 0).steps


def eval_batches(samples: Samples, size: int, batch: int) -> Iterator[Batch]:
    """Batches of unchanged samples in their own order."""
    starts = range(0, len(samples), batch)
    numbered = [[(0, i) for i in range(start, min(start + batch, len(samples)))] for start in starts]
    return _load(_Prepared(samples, size, _as_it_is), numbered, workers=0)


def image_size(config: TrainConfig) -> int:
    """Side in pixels of what the network sees."""
    if config.backbone.shape is not None:
        return config.backbone.shape.vision.image_size
    import open_clip

    known = open_clip.get_model_config(config.backbone.name)
    if known is None:
        raise UsageError(f"open_clip knows no model {config.backbone.name!r}; see open_clip.list_models()")
    return int(known["vision_cfg"]["image_size"])


def open_data(shards_dir: Path, config: TrainConfig) -> TrainingData:
    """The training and validation splits of a folder of shards."""
    train, val = ShardDataset(shards_dir, Split.TRAIN, config.simulated), ShardDataset(shards_dir, Split.VAL)
    if not config.online:
        return TrainingData(train, val)
    return TrainingData(*(OnlineSamples(part, config.online, config.seed) for part in (train, val)))


_Key = tuple[int, int]  # number of the batch, index of the sample
_Item = tuple[NDArray[np.uint8], Sample] | str  # or why the sample cannot be used


class _Prepared(Dataset[_Item]):
    """Samples at the network's size, after `change` of (sample, number of its batch)."""

    def __init__(
        self, samples: Samples, size: int, change: Callable[[Sample, int], NDArray[np.uint8]]
    ) -> None:
        self.samples, self.size, self.change = samples, size, change

    def __getitem__(self, key: _Key) -> _Item:
        batch, index = key
        try:
            sample = self.samples[index]
        except DataError as error:
            return str(error)
        return resize(self.change(sample, batch), self.size), sample


def _augmented(config: TrainConfig, epoch: int, sample: Sample, batch: int) -> NDArray[np.uint8]:
    return augment(sample.image, config.augment, sample_generator(config.seed, epoch, batch, sample.key))


def _as_it_is(sample: Sample, batch: int) -> NDArray[np.uint8]:
    return sample.image


def _plan(data: TrainingData, config: TrainConfig, epoch: int) -> EpochPlan | PairedPlan:
    rows = data.train.at(epoch).rows
    if config.balance == "pair":
        return PairedPlan(rows, config.seed, epoch, config.batch)
    return EpochPlan(balance_groups(rows, config.balance), config.seed, epoch, config.batch)


def _load(dataset: Dataset[_Item], batches: list[list[_Key]], workers: int) -> Iterator[Batch]:
    return iter(DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=_collate))


def _collate(items: list[_Item]) -> Batch:
    usable = [item for item in items if not isinstance(item, str)]
    if not usable:
        raise DataError("unusable_batch", f"none of its {len(items)} samples can be used: {items[0]}")
    rows = [sample.row for _, sample in usable]
    return Batch(
        images=torch.from_numpy(np.stack([image for image, _ in usable])),
        label=torch.tensor([int(row["label"] == Label.FAKE) for row in rows]),
        type=torch.tensor([ForgeryType(row["type"]).index for row in rows]),
        face_caption=tuple(row.get("face") for row in rows),
        environment_caption=tuple(row.get("environment") for row in rows),
        sample_id=tuple(sample.key for _, sample in usable),
        video_id=tuple(row["video_id"] or sample.key for (_, sample), row in zip(usable, rows, strict=True)),
        unusable=tuple(item for item in items if isinstance(item, str)),
    )
