"""A small LLaMA from random weights, with a tokenizer made from the dialogues' own wording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mmidd.dialogue.finding import PLACES
from mmidd.dialogue.templates import inflect, templates
from mmidd.training.config.llm import LlmShape

_BOS, _EOS = "<s>", "</s>"


def tiny_model(shape: LlmShape, context: int) -> Any:
    """A LLaMA of the size, with random weights from torch's generator."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=8 * shape.width // 3,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=context,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


@cache
def tiny_tokenizer(vocabulary: int) -> Any:
    """Byte pairs of the templates, so that any text can be written; at most `vocabulary` tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_BOS, _EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(_wording()), trainer)
    wrapped: Any = PreTrainedTokenizerFast
    return wrapped(tokenizer_object=tokenizer, bos_token=_BOS, eos_token=_EOS)


def _wording() -> Iterator[str]:
    """All that is said in the dialogues, placeholders left out, and the marks around it."""
    text = templates()
    lines = [*text.backgrounds, *text.detector, *text.untraced, *text.surroundings, *text.regions.values()]
    lines += [line for group in (text.traces, text.consistent) for one in group.values() for line in one]
    lines += [line for turn in text.turns.values() for line in (*turn.questions, *turn.fake, *turn.real)]
    lines += [f" at the {place} of the image" for place in PLACES]
    lines += ["### Human: <Img></Img>\n### Assistant:", "\n###"]
    for line in lines:
        for count in (1, 2):
            yield re.sub(r"\{\w*\}|<\w+>", "", inflect(line, count))
