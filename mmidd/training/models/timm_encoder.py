"""Vision transformers and CNNs from timm."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models import Eva, VisionTransformer, get_arch_pretrained_cfgs, split_model_name_tag
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config import Backbone
from mmidd.training.models.encoder import Encoder
from mmidd.training.models.weights import (
    PRETRAINED,
    RANDOM,
    is_file,
    nearest,
    obtainable,
    read_encoder,
    seeded,
)


class TimmEncoder(Encoder):
    """A timm model without its classifier.

    It pools as it does itself, except that a class token is preferred to a mean over patches, as
    in GenD, where that needs no other weights.
    """

    def __init__(self, network: Any, size: int | None = None) -> None:
        super().__init__()
        self.network: Any = network
        data = timm.data.resolve_data_config(model=network)  # type: ignore[attr-defined, no-untyped-call]
        self.width = int(network.head_hidden_size)
        self.size = size or int(data["input_size"][-1])
        self.mean, self.std = tuple(data["mean"]), tuple(data["std"])
        if self._is_transformer() and network.global_pool == "avg" and _has_free_class_token(network):
            network.reset_classifier(0, global_pool="token")

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features after the last norm."""
        features: Tensor = self.network(images)
        return features

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and what is pooled without class and register tokens."""
        seen: Tensor = self.network.forward_features(images)
        features: Tensor = self.network.forward_head(seen)
        if seen.ndim == 3:
            return features, seen[:, getattr(self.network, "num_prefix_tokens", 0) :]
        last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
        return features, seen.flatten(1, 2) if last else seen.flatten(2).mT

    def blocks(self) -> Sequence[nn.Module]:
        """The blocks of a plain vision transformer."""
        return list(self.network.blocks) if self._is_transformer() else []

    def _is_transformer(self) -> bool:
        return isinstance(self.network, VisionTransformer | Eva)


def load_timm(backbone: Backbone, seed: int) -> TimmEncoder:
    """The timm model of a configuration, float32, in evaluation mode.

    Raises:
        UsageError: unknown name or tag, an image size it cannot take, or weights that cannot be had.
    """
    name, weights = cast(str, backbone.name), cast(str, backbone.weights)
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}; the nearest is {nearest(name, timm.list_models())!r}")
    size = _size_arguments(name, backbone.image_size)
    advice = "pass a local checkpoint: --set backbone.weights=/path/to/model.safetensors"
    with obtainable(f"{name} with weights {weights!r}", advice), seeded(seed):
        network = timm.create_model(num_classes=0, **_weight_arguments(name, weights), **size)
    return TimmEncoder(network.eval(), backbone.image_size).eval()


def _size_arguments(name: str, size: int | None) -> dict[str, Any]:
    """What makes the model take images of another size than its own."""
    if size is None:
        return {}
    with torch.device("meta"):
        network: Any = timm.create_model(name, num_classes=0)
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", (1,))[0]
    if size % patch:
        raise UsageError(f"{name} has patches of {patch} px; set backbone.image_size to a multiple of it")
    taken = inspect.signature(type(network).__init__).parameters
    if "dynamic_img_size" in taken:
        return {"dynamic_img_size": True}
    if "img_size" in taken:
        return {"img_size": size}
    if network.pretrained_cfg["fixed_input_size"]:
        raise UsageError(f"{name} takes images of its own size alone; leave backbone.image_size out")
    return {}


def _weight_arguments(name: str, weights: str) -> dict[str, Any]:
    if weights == RANDOM:
        return {"model_name": name, "pretrained": False}
    if weights == PRETRAINED:
        return {"model_name": name, "pretrained": True}
    if is_file(weights):
        return {"model_name": name, "pretrained": True, "pretrained_cfg_overlay": _from_file(name, weights)}
    architecture, _ = split_model_name_tag(name)
    tags = [split_model_name_tag(full)[1] for full in get_arch_pretrained_cfgs(architecture)]
    if weights not in tags:
        raise UsageError(
            f"timm has no weights {weights!r} of {architecture}; pass {PRETRAINED}, {RANDOM}, "
            f"a checkpoint file, or a tag such as {nearest(weights, tags)}"
        )
    return {"model_name": f"{architecture}.{weights}", "pretrained": True}


def _from_file(name: str, weights: str) -> dict[str, Any]:
    """Weights in place of a download; without a classifier timm loads them strictly."""
    pretrained: Any = timm.get_pretrained_cfg(name)
    classifiers = pretrained.classifier or ()
    heads = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    parameters = {f"{head}.{part}" for head in heads for part in ("weight", "bias")}
    tensors = {key: t for key, t in read_encoder(Path(weights)).items() if key not in parameters}
    return {"state_dict": tensors, "classifier": None, "custom_load": False}


def _has_free_class_token(network: Any) -> bool:
    return network.cls_token is not None and isinstance(network.fc_norm, nn.Identity)
