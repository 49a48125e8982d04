"""What stage 2 takes of a 24 GiB card, from the shapes of its tensors (Vicuna-7B, the paper's batch)."""

from __future__ import annotations

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

CARD = 24 * 2**30
CONTEXT = 2**29
"""CUDA's own, and what the allocator loses."""

BATCH, TOKENS, ANSWER = 16, 384, 96
LORA, NEW = 33_554_432, 108_065_421 + 4_198_400
VISION = 986_109_440
"""CLIP ViT-H/14, both towers, in float32."""


def vicuna() -> nn.Module:
    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(vocab_size=32_000))


def activations(batch: int, checkpointed: bool) -> int:
    """Bytes of the language model's at their peak: layer inputs, one layer (or all), and the logits."""
    width, inner, layers, vocabulary = 4096, 11_008, 32, 32_000
    tokens = batch * TOKENS
    kept = 2 * width * tokens * layers
    of_one_layer = tokens * (2 * (8 * width + 4 * inner) + 4 * 6 * width)
    logits = batch * ANSWER * vocabulary * (2 + 3 * 4)
    return kept + of_one_layer * (1 if checkpointed else layers) + logits


def test_a_7b_model_with_lora_fits_24_gib() -> None:
    model = vicuna()
    linear = sum(
        m.weight.numel() for n, m in model.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in n
    )
    whole = sum(p.numel() for p in model.parameters())
    assert (linear, whole) == (6_476_005_376, 6_738_415_616)
    trained = (4 + 4 + 8) * (LORA + NEW)
    others = trained + 4 * VISION + CONTEXT
    bf16 = others + 2 * whole
    # NF4: half a byte, and 8 bits for 64 weights whose scales are 32 bits for 256 such blocks.
    nf4 = others + linear * (0.5 + 1 / 64 + 4 / (64 * 256)) + 2 * (whole - linear)
    assert bf16 + activations(BATCH, checkpointed=True) < CARD
    assert nf4 + activations(BATCH, checkpointed=True) < 0.6 * CARD
    assert bf16 + activations(BATCH, checkpointed=False) > CARD, "without checkpointing it does not"
    assert nf4 + 2 * activations(BATCH, checkpointed=True) < CARD, "4 bits leave room for twice the batch"
