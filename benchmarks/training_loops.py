"""Training as a laboratory writes it, around the models of `training_reference`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import lightning
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision.transforms import InterpolationMode, v2

from benchmarks.training_reference import Reference
from benchmarks.training_turns import Job, Turns
from benchmarks.training_world import memory_batch
from mmidd.schema import ForgeryType
from mmidd.training.config import TrainConfig
from mmidd.training.data import Batch

Item = tuple[Batch, Tensor | None]


def plain(model: Reference, config: TrainConfig, batches: Any, turns: Turns) -> None:
    """A loop as PyTorch's tutorials write it, with the scalar loss read in every step."""
    optimiser, generator = adamw(model, config), torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    while True:
        clock = time.perf_counter()
        for item in batches:
            waited = time.perf_counter() - clock
            batch, tokens = moved(item, device)
            with torch.autocast(device.type, torch.bfloat16):
                loss = model(batch, tokens, generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            turns.step(waited)
            clock = time.perf_counter()


class Module(lightning.LightningModule):
    """The reference as Lightning wants it; takes turns at the end of every step."""

    def __init__(self, model: Reference, config: TrainConfig, turns: Turns) -> None:
        super().__init__()
        self.model, self.config, self.turns = model, config, turns
        self.generator = torch.Generator().manual_seed(0)
        self.clock = self.waited = 0.0

    def training_step(self, item: Item, _: int) -> Tensor:
        """The loss."""
        return self.model(*item, self.generator)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.config)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        """Batches are of a class that Lightning does not know."""
        return moved(batch, device)

    def on_train_batch_start(self, *_: Any) -> None:
        """The batch is there."""
        self.waited = time.perf_counter() - self.clock if self.clock else 0.0

    def on_train_batch_end(self, outputs: Any, *_: Any) -> None:
        """The step is done."""
        outputs["loss"].item()
        self.turns.step(self.waited)
        self.clock = time.perf_counter()


def with_lightning(model: Reference, config: TrainConfig, batches: Any, turns: Turns) -> None:
    """Lightning's Trainer with all that is not training switched off."""
    trainer = lightning.Trainer(
        accelerator=next(model.parameters()).device.type,
        devices=1,
        precision="bf16-mixed",
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(model, config, turns), batches)


def adamw(model: Reference, config: TrainConfig) -> torch.optim.Optimizer:
    """Over what learns; one rate for all, since time does not depend on it."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=config.optim.lr, weight_decay=config.optim.weight_decay)


def moved(item: Item, device: torch.device) -> Item:
    """The batch and its tokens on a device."""
    batch, tokens = item
    return batch.to(device), None if tokens is None else tokens.to(device, non_blocking=True)


def batches_of(job: Job, config: TrainConfig, model: Reference, size: int, source: str) -> Any:
    """What a loop reads."""
    if source == "memory":
        device = next(model.parameters()).device
        batch = memory_batch(job.batch, size)
        return DataLoader(Repeated(moved((batch, model.tokens(batch)), device)), batch_size=None)
    return DataLoader(
        Files(job, config, model, size),
        batch_size=job.batch,
        shuffle=True,
        drop_last=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        pin_memory=job.cuda,
        collate_fn=collate,
    )


class Repeated(IterableDataset[Item]):
    """The same batch without end."""

    def __init__(self, item: Item) -> None:
        self.item = item

    def __iter__(self) -> Iterator[Item]:
        while True:
            yield self.item


class Files(Dataset[dict[str, Any]]):
    """Single JPEGs and a list of what they are."""

    def __init__(self, job: Job, config: TrainConfig, model: Reference, size: int) -> None:
        self.world, self.size, self.context = job.world, size, model.context
        self.change = changes(config, size)

    def __len__(self) -> int:
        return len(self.world.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.world.samples[index]
        with Image.open(self.world.root / "files" / sample["file"]) as image:
            pixels = self.change(image.convert("RGB"))
        return {**sample, "pixels": pixels, "index": index}


def collate(samples: Sequence[dict[str, Any]]) -> Item:
    raise NotImplementedError


def changes(config: TrainConfig, size: int) -> Any:
    """The preset's augmentation in torchvision, where it has the operation."""
    given = config.augment
    light = v2.ColorJitter(brightness=given.brightness, contrast=given.contrast)
    if "hue_saturation_value" in given.colours:
        light = v2.RandomChoice([light, v2.ColorJitter(hue=20 / 360, saturation=30 / 255)])
    move = v2.RandomAffine(
        given.rotate,
        translate=(given.translate, given.translate),
        scale=given.scale,
        interpolation=InterpolationMode.BILINEAR,
    )
    blur = v2.GaussianBlur(given.blur_kernel[1], given.blur_sigma or (0.1, 2.0))
    return v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomHorizontalFlip(given.hflip_p),
            v2.RandomApply([move], given.affine_p),
            v2.RandomApply([blur], given.blur_p),
            v2.RandomApply([light], given.colour_p),
            v2.RandomApply([v2.JPEG(given.jpeg_quality)], given.jpeg_p),
            v2.Resize((size, size), antialias=True),
        ]
    )
