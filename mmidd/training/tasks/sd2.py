"""SD2 (OpenReview hNd5L7WnjC): CLIP with LoRA on both towers, CLAM, and three text losses.

Images are classified by their cosine to five class texts (L_C), the class texts are driven
apart (L_S), and images are contrasted with their face and environment captions (L_D).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.schema import ForgeryType
from mmidd.training import losses
from mmidd.training.config import Sd2Config
from mmidd.training.data import NO_CAPTIONS, Batch
from mmidd.training.models.clam import Clam, layer_tokens
from mmidd.training.models.clip import add_lora, encode_text, load_clip, normalisation
from mmidd.training.models.weights import seeded
from mmidd.training.tasks.base import Described, Features, Group, LossTerms, Scored, Task


class Sd2(Task[Sd2Config]):
    """The `sd2` method; score is 1 - softmax(tau·cos)[REAL] over the plain class texts."""

    _plain: Tensor | None

    def __init__(self, config: Sd2Config) -> None:
        clip: Any = load_clip(config.backbone, config.seed)
        size, visual = int(clip.visual.image_size[0]), clip.visual
        super().__init__(config, size, *normalisation(visual, config.backbone))
        self.clip = clip
        if config.trainable == "lora":
            self.clip = add_lora(self.clip, config.lora, config.seed)
        width, embed_dim = self.clip.visual.proj.shape
        with seeded(config.seed):
            heads = config.clam_heads if config.clam else None
            self.clam = Clam(width, embed_dim, heads, config.adapter_width, config.adapter)
        self.clip.visual.proj.requires_grad_(config.trainable == "all" and config.adapter == "residual")
        self.clip.logit_scale.requires_grad_(config.temperature == "learned")
        weights = {"face": config.contrast_face, "environment": config.contrast_environment}
        self.contrasts = {name: weight for name, weight in weights.items() if weight}
        self.needs_captions = bool(self.contrasts)
        self.contrast_log_scale = nn.Parameter(torch.tensor(math.log(config.contrast_scale)))
        self.contrast_bias = nn.Parameter(torch.tensor(config.contrast_bias))
        for parameter in (self.contrast_log_scale, self.contrast_bias):
            parameter.requires_grad_(self.needs_captions)
        self.register_buffer("_plain", None, persistent=False)

    def forward(self, batch: Batch) -> Features:
        """Unit features (B, embed_dim) of images `f`, face texts `face`, environment texts `environment`."""
        captions = {name: _complete(texts) for name, texts in self._captions(batch).items()}
        texts = sorted({text for column in captions.values() for text in column})
        features = {"f": self._encode(batch.images)}
        if texts:
            encoded, place = encode_text(self.clip, texts), {text: i for i, text in enumerate(texts)}
            features |= {name: encoded[[place[text] for text in column]] for name, column in captions.items()}
        return features

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        """alpha·L_C + L_S + L_D; pairs with an equal caption or video are not negatives."""
        f, u = features["f"], self._class_texts(generator)
        parts = {
            "type": losses.type_classification(f, batch.type, u, self.clip.logit_scale.exp()),
            "separation": losses.label_separation(u),
        }
        for name, texts in self._captions(batch).items():
            ignore = (_equal(texts) | _equal(batch.video_id)).to(f.device)
            scale, bias = self.contrast_log_scale.exp(), self.contrast_bias
            parts[name] = losses.sigmoid_contrast(f, features[name], scale, bias, ignore)
        weights = {"type": self.config.alpha, "separation": self.config.separation, **self.contrasts}
        return LossTerms(torch.stack([weight * parts[name] for name, weight in weights.items()]).sum(), parts)

    def score_pixels(self, images: Tensor) -> Scored:
        """1 - P(REAL) and the five probabilities."""
        if self._plain is None:
            self._plain = encode_text(self.clip, self.config.labels.plain)
        types = (self.clip.logit_scale.exp() * self._encode(images) @ self._plain.T).softmax(dim=-1)
        return Scored(1 - types[:, ForgeryType.REAL.index], types)

    def describe_pixels(self, images: Tensor) -> Described:
        """What is compared with the class texts; patches of the vision tower."""
        tokens, patches = self._tokens(images)
        return Described(self._feature(tokens), self.clip.visual.ln_post(patches))

    def groups(self) -> list[Group]:
        """Tower weights (LoRA, or all) at `lr`; CLAM and both scales at `new_lr`."""
        optim = self.config.optim
        new = [self.clip.logit_scale, self.contrast_log_scale, self.contrast_bias, *self.clam.parameters()]
        known = {id(p) for p in new}
        towers = [p for p in self.clip.parameters() if id(p) not in known]
        rates = ((optim.lr, towers), (optim.new_lr or optim.lr, new))
        return [Group(lr, [p for p in parameters if p.requires_grad]) for lr, parameters in rates]

    def blocks(self) -> Sequence[nn.Module]:
        """Of both towers."""
        return [*self.clip.visual.transformer.resblocks, *self.clip.transformer.resblocks]

    def train(self, mode: bool = True) -> Self:
        """What the plain class texts are encoded to lasts until training goes on."""
        super().train(mode)
        if mode:
            self._plain = None
        return self

    def _captions(self, batch: Batch) -> dict[str, tuple[str | None, ...]]:
        """What images are contrasted with."""
        columns = {"face": batch.face_caption, "environment": batch.environment_caption}
        return {name: columns[name] for name in self.contrasts}

    def _encode(self, images: Tensor) -> Tensor:
        return self._feature(self._tokens(images)[0])

    def _tokens(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return layer_tokens(self.clip.visual, self.normalise(images), self.config.clam_norm)

    def _feature(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.clam(tokens, self.clip.visual.proj).float(), dim=-1)

    def _class_texts(self, generator: torch.Generator) -> Tensor:
        groups = self.config.labels.classes
        if self.config.label_mode == "sample":
            picks = [int(torch.randint(len(group), (), generator=generator)) for group in groups]
            return encode_text(self.clip, [group[i] for group, i in zip(groups, picks, strict=True)])
        means = [encode_text(self.clip, list(group)).mean(dim=0) for group in groups]
        return F.normalize(torch.stack(means), dim=-1)


def _complete(texts: tuple[str | None, ...]) -> list[str]:
    if not all(texts):
        raise UsageError(NO_CAPTIONS)
    return [text for text in texts if text]


def _equal(values: tuple[str | None, ...]) -> Tensor:
    """(n, n) booleans: different positions with equal values."""
    number = {value: i for i, value in enumerate(dict.fromkeys(values))}
    ids = torch.tensor([number[value] for value in values])
    return (ids[:, None] == ids[None, :]) & ~torch.eye(len(ids), dtype=torch.bool)
