"""Causal language models of transformers, with what is trained of them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from mmidd.errors import MissingExtra, UsageError
from mmidd.training.config.llm import Llm
from mmidd.training.models.clip import add_lora
from mmidd.training.models.llm.sequence import Padded
from mmidd.training.models.llm.tiny import tiny_model, tiny_tokenizer
from mmidd.training.models.weights import obtainable, seeded

_hf: Any = transformers
_ADVICE = "pass a local folder: --set llm.name=FOLDER"


class Language(nn.Module):
    """A causal language model, its tokenizer, and the entrance for embeddings.

    Attributes:
        model: of transformers.
        tokenizer: of transformers.
        width: of a token's embedding.
        context: most tokens that the model takes.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.width = int(model.get_input_embeddings().weight.shape[1])
        self.context = int(model.config.max_position_embeddings)

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings (B, T, width) of tokens (B, T); what is below 0 is as good as any."""
        embedded: Tensor = self.model.get_input_embeddings()(ids.clamp(min=0))
        return embedded

    def forward(self, embeddings: Tensor, padded: Padded, keep: Tensor | int) -> Tensor:
        """Logits at some positions, or so many of the last; (B, n, vocabulary), float32."""
        logits: Tensor = self.model(
            inputs_embeds=embeddings,
            attention_mask=padded.mask,
            position_ids=padded.positions,
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        return logits.float()

    def blocks(self) -> Sequence[nn.Module]:
        """Its transformer layers."""
        count = self.model.config.num_hidden_layers
        lists = (m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
        return list(next(lists))


def load_language(config: Llm, seed: int) -> Language:
    """The model of a configuration, of which only what `tune` says requires gradients.

    Raises:
        UsageError: weights or tokenizer that cannot be had, another kind of model, or no such projections.
        MissingExtra: 4-bit weights without bitsandbytes.
    """
    with obtainable(f"the language model {config.name}", _ADVICE), seeded(seed):
        language = Language(_model(config), _tokenizer(config))
    language.model.generation_config = _hf.GenerationConfig()
    if config.context > language.context:
        raise UsageError(
            f"the model takes {language.context} tokens; --set llm.context={language.context} or less"
        )
    _tune(language.model.eval(), config, seed)
    return language


def _tokenizer(config: Llm) -> Any:
    if config.shape:
        return tiny_tokenizer(config.shape.vocabulary)
    return _hf.AutoTokenizer.from_pretrained(config.name)


def _model(config: Llm) -> Any:
    dtype: torch.dtype = getattr(torch, config.dtype)
    if config.shape:
        return tiny_model(config.shape, config.context).to(dtype)
    if config.weights == "random":
        shape = _hf.AutoConfig.from_pretrained(config.name)
        return _hf.AutoModelForCausalLM.from_config(shape, dtype=dtype)
    extra = {"quantization_config": four_bits()} if config.quantise == "4bit" else {}
    return _hf.AutoModelForCausalLM.from_pretrained(config.name, dtype=dtype, **extra)


def four_bits() -> Any:
    """How transformers loads NF4 weights.

    Raises:
        MissingExtra: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise MissingExtra("4-bit weights need bitsandbytes; run `pip install 'mmidd[bnb]'`")
    return _hf.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _tune(model: Any, config: Llm, seed: int) -> None:
    model.requires_grad_(config.tune == "all")
    if config.tune != "lora":
        return
    try:
        add_lora(model, config.lora, seed)
    except ValueError as error:
        raise UsageError(
            f"the language model has none of llm.lora.targets ({error}); name its projections"
        ) from error
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
