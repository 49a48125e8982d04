"""Answers token by token: for a batch, or as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from mmidd.training.config.llm import Generation
from mmidd.training.models.llm.language import Language
from mmidd.training.models.llm.script import END, Script
from mmidd.training.models.llm.sequence import Padded

Listener = Callable[[str], object]


@torch.inference_mode()
def write(
    language: Language,
    script: Script,
    embeddings: Tensor,
    padded: Padded,
    generation: Generation,
    listener: Listener | None = None,
) -> list[list[int]]:
    """Tokens that follow each sequence of a batch, padded on the left; they may go on beyond the end.

    Args:
        language: the model.
        script: knows the mark of the end.
        embeddings: of the sequences (B, T, width).
        padded: their masks.
        generation: how it is chosen among tokens, and how many there may be.
        listener: is given the text as it comes; for one sequence alone.
    """
    own = language.tokenizer.eos_token_id
    options: Any = GenerationConfig
    drawn = {"temperature": generation.temperature, "top_p": generation.top_p} if generation.sample else {}
    tokens: Tensor = language.model.generate(
        inputs_embeds=embeddings,
        attention_mask=padded.mask,
        generation_config=options(
            max_new_tokens=min(generation.max_new_tokens, language.context - padded.ids.shape[1]),
            do_sample=generation.sample,
            pad_token_id=0 if own is None else own,
            eos_token_id=own,
            **drawn,
        ),
        stopping_criteria=[_Ends(script)],
        streamer=_Teller(script, listener) if listener else None,
    )
    rows: list[list[int]] = tokens.tolist()
    return rows


class _Ends(StoppingCriteria):
    """A sequence is done when it holds the mark of the end."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def __call__(self, input_ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        ended = [self._script.has_ended(row) for row in input_ids.tolist()]
        return torch.tensor(ended, device=input_ids.device)


class _Teller(BaseStreamer):
    """Gives text on when no later token can change it or make it part of the mark of the end."""

    def __init__(self, script: Script, listener: Listener) -> None:
        self._script, self._listener = script, listener
        self._tokens: list[int] = []
        self._told = 0

    def put(self, value: Tensor) -> None:
        """Takes new tokens; the first call has those before the answer, of which there are none."""
        self._tokens += value.flatten().tolist()
        text, ended = self._script.text(self._tokens)
        self._tell(text if ended else _settled(text))

    def end(self) -> None:
        """Nothing more comes."""
        self._tell(self._script.text(self._tokens)[0])

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self._listener(text[self._told :])
            self._told = len(text)


def _settled(text: str) -> str:
    """Without what may be a broken character or the beginning of the mark."""
    text = text.rstrip("\ufffd")
    for length in range(len(END), 0, -1):
        if text.endswith(END[:length]):
            return text[:-length].rstrip()
    return text
