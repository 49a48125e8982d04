"""The weights of open_clip's CLIP, of any size, in transformers' CLIP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    **{f"attn.{name}": f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")},
}
VISION = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
}
TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final": "final_layer_norm",
}


def transformers_clip(visual: Any, clip: Any, weights: dict[str, Tensor] | None = None) -> Any:
    """CLIP of transformers with the weights of open_clip's towers.

    Args:
        visual: the vision tower, its attention split.
        clip: the whole model; without it the text tower stays random.
        weights: of `clip`, without what LoRA adds.
    """
    vision = _shape(visual.transformer) | {
        "image_size": visual.image_size[0],
        "patch_size": visual.conv1.kernel_size[0],
    }
    text = _shape(clip.transformer) | {"max_position_embeddings": clip.context_length} if clip else {}
    shared = clip.text_projection.shape[1] if clip else 8
    model: Any = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=shared))
    if clip is None:
        _load(model.vision_model, visual.state_dict(), VISION)
        return model
    assert weights is not None
    towers = {name.removeprefix("visual."): v for name, v in weights.items() if name.startswith("visual.")}
    _load(model.vision_model, towers, VISION)
    _load(model.text_model, weights, TEXT)
    with torch.no_grad():
        model.visual_projection.weight.copy_(weights["visual.proj"].T)
        model.text_projection.weight.copy_(weights["text_projection"].T)
        model.logit_scale.copy_(weights["logit_scale"])
    return model


def _shape(transformer: Any) -> dict[str, Any]:
    block = transformer.resblocks[0]
    hidden, width = block.mlp.c_fc.weight.shape
    quick = type(block.mlp.gelu).__name__ == "QuickGELU"
    return {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": len(transformer.resblocks),
        "num_attention_heads": block.attn.heads,
        "hidden_act": "quick_gelu" if quick else "gelu",
    }


def _load(module: nn.Module, weights: dict[str, Tensor], names: dict[str, str]) -> None:
    """Every weight of the module by the name that transformers gives it."""
    wanted = dict(_renamed(weights, names))
    module.load_state_dict({name: wanted[name] for name in module.state_dict()})


def _renamed(weights: dict[str, Tensor], names: dict[str, str]) -> Iterator[tuple[str, Tensor]]:
    for name, value in weights.items():
        if name.startswith("transformer.resblocks."):
            number, inner = name.removeprefix("transformer.resblocks.").split(".", 1)
            stem, _, leaf = inner.rpartition(".")
            yield f"encoder.layers.{number}.{BLOCK.get(stem, stem)}.{leaf}", value
        elif name in names:
            yield names[name], value
        else:
            stem, _, leaf = name.rpartition(".")
            yield f"{names.get(stem, stem)}.{leaf}", value
