"""Training and validation samples as batches, in an order fixed by (seed, epoch)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmidd.dialogue.conversation import Message
from mmidd.dialogue.instructions import load_instructions
from mmidd.errors import DataError, UsageError
from mmidd.schema import Label, Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.loader import Loaded, Loader
from mmidd.shards.sampling import encode
from mmidd.shards.stream import Stream
from mmidd.training.alternating import Alternating, Batches, Instructed
from mmidd.training.augment import Draw
from mmidd.training.augment.device import apply_batch, apply_to_masks
from mmidd.training.config import KfdLlmConfig, TrainConfig
from mmidd.training.online import OnlineSamples
from mmidd.training.prepare import About, AsItIs, Augmented
from mmidd.training.ranks import Ranks
from mmidd.training.samples import Samples

COLOURS = 3
NO_MASKS = torch.empty(0, dtype=torch.uint8)
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
            labels = set(encode(samples.column("label"))[0])
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
        """Hash that tells the data of both splits apart; a run is resumed on the same data only."""
        return hashlib.sha256(f"{self.train.identity}\n{self.val.identity}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """Samples side by side: images (B, S, S, 3) uint8; label and type (B,) int64.

    `mask` (B, S, S) uint8 holds the soft masks of forgeries, 0 for reals, and is (0,) where the method needs
    none. A forgery that was drawn online has the `pair_id` of its real.

    `rollouts` is what a policy did of each image, see `training.rl.rollout`.

    `changes` is what the device still has to render; `unusable` says of every sample that is missing
    from the batch why.
    """

    images: Tensor
    label: Tensor
    type: Tensor
    face_caption: tuple[str | None, ...]
    environment_caption: tuple[str | None, ...]
    sample_id: tuple[str, ...]
    video_id: tuple[str, ...]
    pair_id: tuple[str | None, ...] = ()
    mask: Tensor = NO_MASKS
    conversation: tuple[tuple[Message, ...], ...] = ()
    changes: tuple[Draw, ...] = ()
    rollouts: tuple[Any, ...] = ()
    unusable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Batch:
        fields = {name: value[part] for name, value in vars(self).items() if name != "unusable"}
        return Batch(**fields, unusable=self.unusable)

    def split(self, count: int) -> list[Batch]:
        """So many parts, as equal as can be.

        Raises:
            DataError: it has fewer samples than that.
        """
        if count > len(self):
            raise DataError("unusable_batch", f"{len(self)} samples cannot make {count} micro-batches")
        cuts = [len(self) * number // count for number in range(count + 1)]
        return [self[start:stop] for start, stop in itertools.pairwise(cuts)]

    def without_images(self) -> Batch:
        """What the losses read of a batch."""
        return replace(self, images=self.images.new_empty((len(self), 0)), changes=())

    @staticmethod
    def joined(batches: Sequence[Batch]) -> Batch:
        """Batches behind each other."""
        if len(batches) == 1:
            return batches[0]
        whole: dict[str, Any] = {}
        for name, first in vars(batches[0]).items():
            parts = [getattr(batch, name) for batch in batches]
            whole[name] = torch.cat(parts) if isinstance(first, Tensor) else tuple(itertools.chain(*parts))
        return Batch(**whole)

    def to(self, device: torch.device) -> Batch:
        """The batch with its tensors on a device."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def rendered(self, size: int) -> Batch:
        """The batch with its augmentation, where that was left to the device; images become size x size."""
        if not self.changes:
            return self
        images = apply_batch(self.images, self.changes, size)
        mask = apply_to_masks(self.mask, self.changes, size) if len(self.mask) else self.mask
        return replace(self, images=images, mask=mask, changes=())


def train_stream(
    data: TrainingData, config: TrainConfig, size: int, rank: int = 0, world_size: int = 1
) -> Batches:
    """A rank's augmented batches, epoch after epoch; `size` is the side of what the network sees.

    Raises:
        UsageError: see `Stream` and `load_instructions`.
    """
    on_device = config.augment_on == "device"
    fill = Augmented(data.train, size, config.augment, config.seed, on_device, config.needs_masks)
    place: Any = {
        "seed": config.seed,
        "batch": config.batch,
        "rank": rank,
        "world_size": world_size,
        "workers": config.workers,
    }
    stream = Stream(data.train, fill, config.sampling, **place)
    if not (isinstance(config, KfdLlmConfig) and (general := config.instructions)):
        return stream
    return Alternating(stream, Instructed(load_instructions(general.file, general.images), size), **place)


def eval_batches(samples: Samples, size: int, batch: int, ranks: Ranks | None = None) -> Iterator[Batch]:
    """A rank's batches of unchanged samples, in their own order; every rank has as many."""
    ranks = ranks or Ranks()
    largest = -(-len(samples) // ranks.count)
    share = np.array_split(np.arange(len(samples), dtype=np.int32), ranks.count)[ranks.rank]
    steps = enumerate(np.array_split(share, -(-largest // batch)))
    return map(as_batch, Loader(AsItIs(samples, size), batch).batches(0, steps))


def open_data(shards: Path | str, config: TrainConfig) -> TrainingData:
    """The training and validation splits of a folder of shards, a path or URL."""
    train, val = ShardDataset(shards, Split.TRAIN, config.simulated), ShardDataset(shards, Split.VAL)
    if not config.online:
        return TrainingData(train, val)
    return TrainingData(
        OnlineSamples(train, config.online, config.seed, count=config.reals),
        OnlineSamples(val, config.online, config.seed),
    )


def as_batch(loaded: Loaded[About]) -> Batch:
    """A filled batch as tensors.

    Raises:
        DataError: none of its samples can be used.
    """
    if not loaded.about:
        count, why = len(loaded.unusable), loaded.unusable[0]
        raise DataError("unusable_batch", f"none of its {count} samples can be used: {why}")
    about, planes = loaded.about, torch.from_numpy(loaded.images)
    return Batch(
        images=planes[..., :COLOURS],
        mask=planes[..., COLOURS] if planes.shape[-1] > COLOURS else NO_MASKS,
        label=torch.tensor([one.label for one in about]),
        type=torch.tensor([one.type for one in about]),
        face_caption=tuple(one.face for one in about),
        environment_caption=tuple(one.environment for one in about),
        sample_id=tuple(one.key for one in about),
        video_id=tuple(one.video_id for one in about),
        pair_id=tuple(one.pair_id for one in about),
        conversation=tuple(one.conversation for one in about),
        changes=tuple(one.change for one in about if one.change),
        unusable=tuple(str(why) for why in loaded.unusable),
    )
