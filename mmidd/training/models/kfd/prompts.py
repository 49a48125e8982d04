"""The embeddings of a real and of a fake face: prompt ensembles with learned context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.models.clip import encode_text

Classes = Sequence[Sequence[str]]

_STD = 0.02
"""Of the first context vectors, as in CoOp (arXiv 2109.01134)."""
_SHORTEST = 8
"""Tokens that a sentence needs, its start and end included."""


class OutputContext(nn.Module):
    """The mean of a class's sentence embeddings and of the context, which the classes share.

    The text tower is asked once; it is no part of the module.

    Args:
        clip: open_clip's CLIP.
        classes: sentences of each class.
        vectors: of the context.
    """

    def __init__(self, clip: open_clip.CLIP, classes: Classes, vectors: int) -> None:
        super().__init__()
        with torch.no_grad():
            embedded = [encode_text(clip, list(sentences)) for sentences in classes]
        self.context = nn.Parameter(torch.randn(vectors, embedded[0].shape[1]) * _STD)
        self.sums: Tensor
        self.register_buffer("sums", torch.stack([part.sum(0) for part in embedded]), persistent=False)

    def forward(self) -> Tensor:
        """Unit embeddings (classes, D)."""
        return F.normalize(self.sums + self.context.sum(0), dim=-1)  # brought to length 1, sums are means


class InputContext(nn.Module):
    """Context vectors before the tokens of every sentence in the frozen text tower, as in CoOp.

    Args:
        clip: open_clip's CLIP; its vision tower is taken out of it.
        classes: sentences of each class; longer ones are cut at the context length.
        vectors: of the context.

    Raises:
        UsageError: the tower has no place for them.
    """

    def __init__(self, clip: open_clip.CLIP, classes: Classes, vectors: int) -> None:
        super().__init__()
        length = clip.context_length - vectors
        if length < _SHORTEST:
            raise UsageError(
                f"the text tower reads {clip.context_length} tokens, and {vectors} vectors leave too few "
                "of them for a sentence; set context_vectors lower, or context=output"
            )
        del clip.visual
        self.clip: Any = clip.requires_grad_(False)
        self.context = nn.Parameter(torch.randn(vectors, clip.positional_embedding.shape[1]) * _STD)
        self.counts = [len(sentences) for sentences in classes]
        self.tokens: Tensor
        sentences = [sentence for of in classes for sentence in of]
        device = clip.positional_embedding.device
        tokens = open_clip.tokenize(sentences, context_length=length).to(device)
        self.register_buffer("tokens", tokens, persistent=False)

    def forward(self) -> Tensor:
        """Unit embeddings (classes, D)."""
        clip, tokens = self.clip, self.tokens
        words, vectors = clip.token_embedding(tokens), self.context.expand(len(tokens), -1, -1)
        x = torch.cat([words[:, :1], vectors, words[:, 1:]], dim=1) + clip.positional_embedding
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
        ends = tokens.argmax(dim=-1) + len(self.context)  # the end of text has the highest number
        embedded = F.normalize(x[torch.arange(len(x)), ends] @ clip.text_projection, dim=-1)
        classes = torch.split_with_sizes(embedded, self.counts)
        return F.normalize(torch.stack([part.mean(0) for part in classes]), dim=-1)
