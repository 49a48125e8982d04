"""KFD, stage 1 (arXiv 2503.14853): a detector that tells where patches agree with a real or a fake face.

Patches of a frozen tower are compared with texts of a real and of a fake face; from these consistency maps
a locator tells every pixel and a classifier the image. In training the locator also sees how the patches
of a forgery agree with those of its pristine image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training import losses
from mmidd.training.config import KfdConfig
from mmidd.training.data import Batch
from mmidd.training.models.clip import add_lora, load_clip, normalisation
from mmidd.training.models.kfd.features import PatchFeatures
from mmidd.training.models.kfd.heads import Classifier, Locator, without_memory
from mmidd.training.models.kfd.maps import reference_maps, text_maps
from mmidd.training.models.kfd.prompts import InputContext, OutputContext
from mmidd.training.models.weights import seeded
from mmidd.training.tasks.base import Described, Features, Group, LossTerms, Scored, Task


@dataclass(frozen=True)
class Examined:
    """What the detector makes of images; `embedding` is CLIP's, (B, D).

    Attributes:
        maps: consistency with the texts, (B, L, 2, M, M).
        forged: P(fake) of every pixel, (B, M, M).
        scores: P(real) and P(fake), (B, 2).
    """

    embedding: Tensor
    maps: Tensor
    forged: Tensor
    scores: Tensor


class Kfd(Task[KfdConfig]):
    """The detector of `kfd`; score is softmax P(fake).

    Locator and classifier normalise over the batch. They run in `losses`, which sees the features of all
    micro-batches and ranks at once, so that statistics and gradient are those of the whole batch.

    Raises:
        UsageError: the backbone has no patches to compare with texts, or see `load_clip`.
    """

    def __init__(self, config: KfdConfig) -> None:
        clip = _clip(config)
        visual = cast(VisionTransformer, clip.visual)
        super().__init__(config, int(visual.image_size[0]), *normalisation(visual, config.backbone))
        self.map_size = config.map_size or self.size
        layers, sentences = len(config.depths), (config.descriptions.real, config.descriptions.fake)
        with seeded(config.seed):
            self.patches = PatchFeatures(visual, config.depths, clip.text_projection.shape[1])
            context = OutputContext if config.context == "output" else InputContext
            self.texts = context(clip, sentences, config.context_vectors)
            self.locator = Locator(layers, config.locator_width)
            self.classifier = Classifier(layers, config.classifier_width)
        visual.requires_grad_(config.trainable == "all")
        if config.trainable == "lora":
            add_lora(visual, config.lora, config.seed)
        for unused in (visual.ln_post.weight, visual.ln_post.bias, visual.proj):
            unused.requires_grad_(False)

    def forward(self, batch: Batch) -> Features:
        """Unit patch features `f`, (B, L, N, D)."""
        return {"f": self.patches(self.normalise(batch.images))[0]}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """Cross-entropy of the image; Dice of both kinds of maps, and focal loss, of the pixels."""
        f, config = features["f"], self.config
        maps = text_maps(f, self.texts(), self.map_size)
        pixels, mask = self.locator(maps), self._mask(batch)
        forged = mask >= config.mask_threshold
        target = forged.float() if config.dice_target == "binary" else mask
        counted = forged.any(dim=(1, 2)) | (config.dice_on == "all")
        parts = {
            "ce": F.cross_entropy(self.classifier(maps), batch.label),
            "dice": _dice(pixels, target, counted),
            "reference": self._reference(f, target, counted, pristine_of(batch)),
            "focal": losses.focal(pixels, forged.long(), config.gamma),
        }
        weights = {"dice": config.localisation, "reference": config.reference, "focal": config.focal}
        total = parts["ce"] + sum(weight * parts[name] for name, weight in weights.items())
        return LossTerms(total, parts)

    def score_pixels(self, images: Tensor) -> Scored:
        """P(fake) of the images and of their pixels; the method knows no types."""
        found = self.examine(images)
        return Scored(found.scores[:, 1], maps=found.forged)

    def examine(self, images: Tensor) -> Examined:
        """All that is seen in uint8 images (B, S, S, 3)."""
        features, embedding = self.patches(self.normalise(images))
        maps = text_maps(features, self.texts(), self.map_size)
        forged = self.locator(maps).softmax(dim=1)[:, 1]
        return Examined(embedding, maps, forged, self.classifier(maps).softmax(dim=-1))

    def describe_pixels(self, images: Tensor) -> Described:
        """What the classifier decides by, since CLIP's embedding has no part in it; patches of all depths."""
        features, _ = self.patches(self.normalise(images))
        maps = text_maps(features, self.texts(), self.map_size)
        return Described(self.classifier.features(maps), features.transpose(1, 2).flatten(2))

    def groups(self) -> list[Group]:
        """What learns of the tower at `lr`, all else at `new_lr` where it is set."""
        optim = self.config.optim
        tower = [p for p in self.patches.visual.parameters() if p.requires_grad]
        known = {id(p) for p in tower}
        new = [p for p in self.trainable().values() if id(p) not in known]
        groups = [Group(optim.new_lr or optim.lr, new)]
        return [Group(optim.lr, tower), *groups] if tower else groups

    def blocks(self) -> Sequence[nn.Module]:
        """Of the vision tower."""
        return list(self.patches.visual.transformer.resblocks)

    def train(self, mode: bool = True) -> Self:
        """Of a frozen tower the statistics stay, too."""
        super().train(mode)
        if self.config.trainable == "none":
            self.patches.visual.eval()
        return self

    def _mask(self, batch: Batch) -> Tensor:
        """Soft masks (B, M, M) in [0, 1]."""
        mask = batch.mask.float() / 255
        if self.map_size == self.size:
            return mask
        return F.interpolate(mask[:, None], (self.map_size, self.map_size), mode="area")[:, 0]

    def _reference(self, f: Tensor, target: Tensor, counted: Tensor, pristine: Tensor) -> Tensor:
        """Dice of the maps against the pristine image.

        These maps come in training alone, so they must not enter the statistics that scoring uses.
        """
        rows = (counted & (pristine >= 0)).nonzero()[:, 0]
        if not (self.config.reference and len(rows)):
            return f.sum() * 0
        maps = reference_maps(f[rows], f[pristine[rows]], self.map_size)
        with without_memory(self.locator):
            return _dice(self.locator(maps), target[rows], counted[rows])


def pristine_of(batch: Batch) -> Tensor:
    """Index of the pristine image of every sample, (B,) int64; a real's is itself, -1 is none."""
    real = {pair: i for i, pair in enumerate(batch.pair_id) if not batch.label[i]}
    return torch.tensor([real.get(pair, -1) for pair in batch.pair_id], device=batch.label.device)


def _dice(pixels: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Mean over the counted images; 0 where there is none."""
    each = losses.dice(pixels.softmax(dim=1)[:, 1], target)
    return (each * counted).sum() / counted.sum().clamp(min=1)


def _clip(config: KfdConfig) -> Any:
    clip: Any = load_clip(config.backbone, config.seed)
    plain = isinstance(clip, open_clip.CLIP) and isinstance(clip.visual, VisionTransformer)
    if not plain or clip.text_pool_type != "argmax" or not isinstance(clip.text_projection, Tensor):
        raise UsageError(
            f"{config.backbone.name} is no CLIP of two plain transformers; kfd compares patches with texts: "
            "set backbone.name to one such as ViT-B-16, and backbone.weights"
        )
    return clip
