"""CLIP from open_clip, with attention split into the projections that LoRA adapts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config import Backbone, ClipShape, Lora
from mmidd.training.config.backbone import Channels
from mmidd.training.models.stem import StemVision
from mmidd.training.models.weights import PRETRAINED, RANDOM, nearest, obtainable, put, read_tensors, seeded

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class SplitAttention(nn.Module):
    """`nn.MultiheadAttention` (batch first) with separate q, k, v and out projections.

    Gives the same output from the same weights, but every projection is an `nn.Linear`,
    which is what LoRA replaces.
    """

    def __init__(self, packed: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = packed.num_heads
        weights, biases = packed.in_proj_weight.chunk(3), packed.in_proj_bias.chunk(3)
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.out_proj = _linear(packed.out_proj.weight, packed.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Attention output (B, L, width); weights are never returned."""
        q, k, v = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for proj, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        mask = None if attn_mask is None else attn_mask.to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(-2))
        return out, None


def load_clip(backbone: Backbone, seed: int) -> nn.Module:
    """The CLIP model of a configuration, float32, in evaluation mode, attention split.

    Raises:
        UsageError: unknown name, or weights that cannot be had or do not fit; says what to pass.
    """
    if backbone.shape is None:
        return split_attention(_named(backbone, seed)).eval()
    with seeded(seed):
        model = split_attention(build_clip(backbone.shape)).eval()
    if backbone.weights not in (None, RANDOM):
        path = Path(backbone.weights)
        put(model, read_tensors(path), path)
    return model


def _named(backbone: Backbone, seed: int) -> nn.Module:
    """A model that open_clip knows, or one of the hub or a folder in open_clip's layout."""
    name, weights = cast(str, backbone.name), cast(str, backbone.weights)
    elsewhere = name.startswith(("hf-hub:", "local-dir:"))
    if not elsewhere and name.replace("/", "-") not in open_clip.list_models():
        raise UsageError(
            f"open_clip has no model {name!r}; the nearest is {nearest(name, open_clip.list_models())!r}"
        )
    if elsewhere and weights not in (PRETRAINED, RANDOM):
        raise UsageError(f"{name} has weights of its own; --set backbone.weights={PRETRAINED} or {RANDOM}")
    advice = "pass a local checkpoint: --set backbone.weights=/path/to/open_clip_model.safetensors"
    with obtainable(f"{name} with weights {weights!r}", advice), seeded(seed):
        model: nn.Module = open_clip.create_model(
            name,
            pretrained=None if elsewhere or weights == RANDOM else weights,
            load_weights=weights != RANDOM,
            require_pretrained=weights != RANDOM,
            pretrained_text=False,
            force_image_size=backbone.image_size,
            device=torch.get_default_device(),
        )
    return model


def normalisation(visual: Any, backbone: Backbone) -> tuple[Channels, Channels]:
    """Mean and standard deviation of what a vision tower sees: the settings', else its own, else CLIP's."""
    mean = backbone.mean or tuple(getattr(visual, "image_mean", MEAN))
    return mean, backbone.std or tuple(getattr(visual, "image_std", STD))


def build_clip(shape: ClipShape) -> nn.Module:
    """A CLIP of the given size with random weights, attention not yet split."""
    model: nn.Module = open_clip.CLIP(
        embed_dim=shape.embed_dim,
        vision_cfg=shape.vision.model_dump(),
        text_cfg=shape.text.model_dump(),
    )
    if shape.stem == "conv":
        model.visual = StemVision(shape.vision, shape.embed_dim)
    return model


def split_attention(model: nn.Module) -> nn.Module:
    """Replace every `nn.MultiheadAttention` of the towers in place by `SplitAttention`."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MultiheadAttention):
                setattr(parent, name, SplitAttention(child))
    return model


def add_lora(model: nn.Module, lora: Lora, seed: int) -> nn.Module:
    """Freeze the model and add LoRA to the named projections of both towers, in place."""
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    with seeded(seed):
        adapted: nn.Module = inject_adapter_in_model(config, model)
    return adapted


def layernorm_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Affine parameters of all LayerNorms."""
    return [p for m in model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()]


def encode_text(model: Any, texts: list[str]) -> Tensor:
    """Unit text features (n, embed_dim); longer texts are cut at the context length."""
    tokens = open_clip.tokenize(texts, context_length=model.context_length)
    device = model.positional_embedding.device
    return F.normalize(model.encode_text(tokens.to(device)).float(), dim=-1)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = (nn.Parameter(part.detach().clone()) for part in (weight, bias))
    return layer
