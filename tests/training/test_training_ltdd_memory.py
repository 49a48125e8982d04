"""What LTDD takes of a 24 GiB card, from the shapes of its tensors (Qwen2.5-VL, presets of the paper)."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mmidd.training.config import load_preset
from mmidd.training.config.grpo import Grpo

CARD = 24 * 2**30
CONTEXT = 2**29
"""CUDA's own, and what the allocator loses."""
SPECIALIST = 4 * 304_000_000
"""CLIP ViT-L/14's vision tower in float32."""
PROMPT = 64 + 17 + 110
"""Tokens: 224 px, the specialist's, the question with the turn's marks."""
ANSWER = 16
BF16, FP32 = 2, 4


class Size(NamedTuple):
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    parameters: int


SIZES = {
    "3B": Size(2048, 11_008, 36, 16, 2, 151_936, 3_754_622_976),
    "7B": Size(3584, 18_944, 28, 28, 4, 152_064, 8_292_166_656),
}


def built(size: Size) -> nn.Module:
    text = {
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_heads,
        "vocab_size": size.vocabulary,
    }
    vision = {"hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": size.width}
    tied = size.width == 2048
    config = Qwen2_5_VLConfig(text_config={**text, "tie_word_embeddings": tied}, vision_config=vision)
    config.tie_word_embeddings = tied
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.tie_weights()
    return model


def frozen(size: Size, nf4: bool) -> float:
    """Bytes of weights that do not learn: NF4 is half a byte with 8 bits for 64 weights, of linear layers."""
    model = built(size)
    linear = sum(
        m.weight.numel() for n, m in model.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in n
    )
    quantised = linear * (0.5 + 1 / 64 + 4 / (64 * 256)) if nf4 else BF16 * linear
    return quantised + BF16 * (size.parameters - linear) + SPECIALIST


def learning(size: Size) -> int:
    """Bytes of LoRA of rank 16 and the projector: weights, gradients, two moments."""
    kept = 16 * size.layers * (4 * size.width + 2 * (size.width + 128 * size.key_heads))
    vision = 16 * 32 * 6 * 1280
    projector = 1024 * size.width + size.width**2 + 2 * size.width + 2 * 1024
    return 4 * FP32 * (kept + vision + projector)


def activations(size: Size, rows: int, tokens: int) -> int:
    """Bytes at their peak with checkpoints: layer inputs of both towers, and one layer's insides."""
    images = rows * 256
    kept = BF16 * (rows * tokens * size.width * size.layers + images * 1280 * 32)
    return kept + rows * tokens * (BF16 * (8 * size.width + 4 * size.inner) + 4 * 6 * size.width)


def logits(size: Size, rows: int, tokens: int, copies: int) -> int:
    return rows * tokens * size.vocabulary * (BF16 + FP32 * copies)


def aligned(size: Size, nf4: bool, micro_batch: int) -> float:
    tokens = PROMPT + ANSWER
    of_batch = activations(size, micro_batch, tokens) + logits(size, micro_batch, ANSWER, copies=4)
    return frozen(size, nf4) + learning(size) + of_batch + CONTEXT


def rewarded(size: Size, nf4: bool, grpo: Grpo) -> float:
    """One image at a time; the policy's own logits and their copies for logarithms, entropy and gradient."""
    tokens = PROMPT + grpo.max_new_tokens
    of_batch = activations(size, grpo.group, tokens) + logits(
        size, grpo.group, grpo.max_new_tokens + 1, copies=6
    )
    return frozen(size, nf4) + learning(size) + of_batch + CONTEXT


@pytest.mark.parametrize("name", SIZES)
def test_the_parameters_are_those_of_the_published_models(name: str) -> None:
    assert sum(p.numel() for p in built(SIZES[name]).parameters()) == SIZES[name].parameters


def test_both_stages_fit_24_gib_as_their_presets_say() -> None:
    first, second = load_preset("ltdd", "paper"), load_preset("ltdd-rl", "paper")
    assert first.gradient_checkpointing
    assert second.gradient_checkpointing
    assert second.micro_batch == 1
    grpo = second.model_dump()["grpo"]
    assert aligned(SIZES["3B"], nf4=False, micro_batch=first.micro_batch) < 0.6 * CARD
    assert aligned(SIZES["7B"], nf4=False, micro_batch=first.micro_batch) < CARD
    assert rewarded(SIZES["3B"], nf4=False, grpo=Grpo(**grpo)) < CARD
    assert rewarded(SIZES["7B"], nf4=False, grpo=Grpo(**grpo)) > CARD, "7B with rewards needs 4 bits"
    assert rewarded(SIZES["7B"], nf4=True, grpo=Grpo(**grpo)) < CARD
