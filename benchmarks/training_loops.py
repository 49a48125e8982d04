"""Training as a laboratory writes it, around the models of `training_reference`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision.transforms import InterpolationMode, v2

from benchmarks.training_reference import Item, Reference, tokenised
from benchmarks.training_turns import Job, Turns
from benchmarks.training_world import memory_batch
from mmidd.schema import ForgeryType, Label
from mmidd.training.config import TrainConfig


def plain(model: Reference, config: TrainConfig, batches: Any, turns: Turns) -> None:
    """A loop as PyTorch's tutorials write it, with the scalar loss read in every step."""
    optimiser, generator = adamw(model, config), torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    while True:
        clock = time.perf_counter()
        for item in batches:
            waited = time.perf_counter() - clock
            batch = {name: value.to(device, non_blocking=True) for name, value in item.items()}
            with torch.autocast(device.type, torch.bfloat16):
                loss = model(batch, generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            turns.step(waited)
            clock = time.perf_counter()


class Module(lightning.LightningModule):  # type: ignore[misc]
    """The reference as Lightning wants it; takes turns at the end of every step."""

    def __init__(self, model: Reference, config: TrainConfig, turns: Turns) -> None:
        super().__init__()
        self.model, self.config, self.turns = model, config, turns
        self.generator = torch.Generator().manual_seed(0)
        self.clock = self.waited = 0.0

    def training_step(self, item: Item, _: int) -> Tensor:
        """The loss."""
        loss: Tensor = self.model(item, self.generator)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.config)

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


def in_memory(count: int, size: int, context: int | None) -> Item:
    """The batch in memory as tensors."""
    batch = memory_batch(count, size)
    item = {"images": batch.images, "label": batch.label, "type": batch.type}
    if context:
        columns = (batch.face_caption, batch.environment_caption)
        texts = [tokenised([text or "" for text in column], context) for column in columns]
        item["tokens"] = torch.stack(texts, dim=1)
    return item


def batches_of(job: Job, config: TrainConfig, model: Reference, size: int, source: str) -> Any:
    """What a loop reads."""
    if source == "memory":
        device = next(model.parameters()).device
        item = in_memory(job.batch, size, model.context)
        return DataLoader(Repeated({name: x.to(device) for name, x in item.items()}), batch_size=None)
    return DataLoader(
        Files(job, config, model.context, size),
        batch_size=job.batch,
        shuffle=True,
        drop_last=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        pin_memory=job.cuda,
    )


class Repeated(IterableDataset[Item]):
    """The same batch without end."""

    def __init__(self, item: Item) -> None:
        self.item = item

    def __iter__(self) -> Iterator[Item]:
        while True:
            yield self.item


class Files(Dataset[Item]):
    """Single JPEGs and a list of what they are."""

    def __init__(self, job: Job, config: TrainConfig, context: int | None, size: int) -> None:
        self.samples, self.folder, self.context = job.world.samples, job.world.root / "files", context
        self.change = changes(config, size)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample = self.samples[index]
        with Image.open(self.folder / sample["file"]) as image:
            pixels = self.change(image.convert("RGB"))
        item = {
            "images": pixels.permute(1, 2, 0),
            "label": torch.tensor(int(sample["label"] == Label.FAKE)),
            "type": torch.tensor(ForgeryType(sample["type"]).index),
        }
        if self.context:
            item["tokens"] = tokenised([sample["face"], sample["environment"]], self.context)
        return item


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
