"""CLIP's vision tower and DINO from transformers: encoders that GenD was published with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, Dinov2Model, Dinov2WithRegistersModel, DINOv3ViTModel
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging

from mmidd.errors import UsageError
from mmidd.training.config import Backbone
from mmidd.training.config.backbone import Channels
from mmidd.training.models.clip import MEAN, STD
from mmidd.training.models.encoder import Encoder
from mmidd.training.models.vit_sizes import vision_config
from mmidd.training.models.weights import PRETRAINED, RANDOM, is_file, obtainable, read_encoder, seeded

IMAGENET: tuple[Channels, Channels] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_CLIP = "clip_vision_model"
_KINDS: dict[str, Any] = {
    _CLIP: CLIPVisionModel,
    "dinov2": Dinov2Model,
    "dinov2_with_registers": Dinov2WithRegistersModel,
    "dinov3_vit": DINOv3ViTModel,
}

_OF_OTHER_PARTS = ("text_model.", "text_projection.", "visual_projection.", "logit_scale", "position_ids")


class TransformersEncoder(Encoder):
    """A vision model of transformers; its feature is the class token after the last LayerNorm."""

    def __init__(self, network: Any, size: int | None, mean: Channels, std: Channels) -> None:
        super().__init__()
        self.network: Any = network
        config = network.config
        self.width = int(config.hidden_size)
        self.size = size or int(config.image_size)
        self.mean, self.std = mean, std
        resized = config.model_type == _CLIP and self.size != config.image_size
        self.options = {"interpolate_pos_encoding": True} if resized else {}

    def forward(self, images: Tensor) -> Tensor:
        """The class token after the last LayerNorm."""
        features: Tensor = self.network(images, **self.options).pooler_output
        return features

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The class token and the patches, after the last LayerNorm."""
        out, config = self.network(images, **self.options), self.network.config
        patches = out.last_hidden_state[:, 1 + getattr(config, "num_register_tokens", 0) :]
        return out.pooler_output, self._last_norm(patches)

    def blocks(self) -> Sequence[nn.Module]:
        """Its transformer layers."""
        count = self.network.config.num_hidden_layers
        lists = (m for m in self.network.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
        return list(next(lists))

    def _last_norm(self, patches: Tensor) -> Tensor:
        """CLIP normalises its class token alone; DINO has done so with all of them."""
        norms = (m for name, m in self.network.named_modules() if name.endswith("post_layernorm"))
        normalised: Tensor = next(norms, nn.Identity())(patches)
        return normalised


def load_transformers(backbone: Backbone, seed: int) -> TransformersEncoder:
    """The vision model of a configuration, float32, in evaluation mode.

    Raises:
        UsageError: another kind of model, or weights that cannot be had or do not fit.
    """
    name, weights = cast(str, backbone.name), cast(str, backbone.weights)
    advice = "pass a local folder: --set backbone.name=FOLDER, or a file: --set backbone.weights=FILE"
    with obtainable(f"{name} with weights {weights!r}", advice), _no_bars():
        config = vision_config(name)
        _check(name, config, backbone.image_size)
        mean, std = _normalisation(name, weights, config.model_type)
        with seeded(seed):
            network = _network(name, weights, config)
    return TransformersEncoder(network, backbone.image_size, mean, std).eval()


def _check(name: str, config: Any, size: int | None) -> None:
    if config.model_type not in _KINDS:
        raise UsageError(
            f"{name} is a {config.model_type}; transformers gives encoders of {', '.join(_KINDS)}, "
            "for others set backbone.library to timm or open_clip"
        )
    if size and size % config.patch_size:
        raise UsageError(
            f"{name} has patches of {config.patch_size} px; set backbone.image_size to a multiple"
        )


def _network(name: str, weights: str, config: Any) -> nn.Module:
    kind = _KINDS[config.model_type]
    if weights == RANDOM:
        return cast(nn.Module, kind(config))
    if weights == PRETRAINED:
        source: dict[str, Any] = {"pretrained_model_name_or_path": name}
    elif is_file(weights):
        source = {"pretrained_model_name_or_path": None, "state_dict": read_encoder(Path(weights))}
    else:
        raise UsageError(f"backbone.weights={weights!r} is no file; pass {PRETRAINED}, {RANDOM} or a file")
    network, report = kind.from_pretrained(
        **source,
        config=config,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    _check_complete(report, name if weights == PRETRAINED else weights)
    return cast(nn.Module, network)


def _check_complete(report: dict[str, Any], source: str) -> None:
    odd = sorted(str(key) for part in ("missing_keys", "mismatched_keys") for key in report[part])
    odd += [key for key in report["unexpected_keys"] if not any(part in key for part in _OF_OTHER_PARTS)]
    if odd:
        raise UsageError(
            f"{source} does not fit the encoder ({odd[0]} and {len(odd) - 1} more); "
            "pass the weights of this very encoder, or change backbone.name"
        )


def _normalisation(name: str, weights: str, kind: str) -> tuple[Channels, Channels]:
    """What the model's own preprocessor says, or without one what its family was trained with."""
    folder = Path(name)
    if weights == PRETRAINED and (not folder.is_dir() or (folder / "preprocessor_config.json").is_file()):
        said, _ = ImageProcessingMixin.get_image_processor_dict(name)
        return tuple(said["image_mean"]), tuple(said["image_std"])
    return (MEAN, STD) if kind == _CLIP else IMAGENET


@contextmanager
def _no_bars() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
