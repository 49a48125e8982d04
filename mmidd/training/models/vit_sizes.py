"""Configurations of the encoders that GenD was published with, so that nothing has to be asked of a hub."""

from __future__ import annotations

from typing import Any, cast

from transformers import AutoConfig, CLIPVisionConfig, DINOv3ViTConfig, PretrainedConfig

_SIZES = {"s": (384, 12), "b": (768, 12), "l": (1024, 24)}
"""Width and layers; a head has 64 channels, the hidden layer four times the width."""

_CLIP = {
    "openai/clip-vit-base-patch32": ("b", 32, 224),
    "openai/clip-vit-base-patch16": ("b", 16, 224),
    "openai/clip-vit-large-patch14": ("l", 14, 224),
    "openai/clip-vit-large-patch14-336": ("l", 14, 336),
}
"""Size, patch and image (arXiv 2103.00020, table 20)."""

_DINOV3 = {f"facebook/dinov3-vit{size}16-pretrain-lvd1689m": size for size in _SIZES}


def vision_config(name: str) -> PretrainedConfig:
    """Of OpenAI's CLIP and DINOv3 S, B and L as known here; else that of a folder or the hub.

    Raises:
        OSError: from transformers, when there is none.
    """
    if name in _CLIP:
        size, patch, image = _CLIP[name]
        return CLIPVisionConfig(**_widths(size), patch_size=patch, image_size=image)
    if name in _DINOV3:
        return DINOv3ViTConfig(**_widths(_DINOV3[name]), patch_size=16, num_register_tokens=4)
    config = AutoConfig.from_pretrained(name)
    return cast(PretrainedConfig, config.vision_config if config.model_type == "clip" else config)


def _widths(size: str) -> dict[str, Any]:
    width, layers = _SIZES[size]
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
    }
