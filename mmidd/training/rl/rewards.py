"""What a chain earns: named terms in [0, 1], and their weighted sum (methods 5.5, 5.8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmidd.dialogue.reading import named_regions
from mmidd.schema import Label
from mmidd.training.config.rewards import Rewards
from mmidd.training.rl.chain import Chain, read_chain, words_of

Term = Callable[[Chain, Label, Rewards], float]

TERMS: dict[str, Term] = {}
"""All terms by name; a further one is a function here and its weight in `config.rewards.Weights`."""


@dataclass(frozen=True)
class Earned:
    """Rewards of N chains, float32.

    Attributes:
        rewards: weighted sum of the terms, (N,).
        terms: each of them by name, (N,).
    """

    rewards: Tensor
    terms: dict[str, Tensor]


def score(texts: Sequence[str], labels: Sequence[Label], config: Rewards) -> Earned:
    """What each text earns, given the label of its picture.

    Raises:
        ValueError: not as many labels as texts.
    """
    chains = [(read_chain(text), label) for text, label in zip(texts, labels, strict=True)]
    terms = {
        name: torch.tensor([term(chain, label, config) for chain, label in chains], dtype=torch.float32)
        for name, term in TERMS.items()
    }
    weighted = [getattr(config.weights, name) * values for name, values in terms.items()]
    return Earned(torch.stack(weighted).sum(dim=0), terms)


def _term(name: str) -> Callable[[Term], Term]:
    def add(term: Term) -> Term:
        TERMS[name] = term
        return term

    return add


@_term("label")
def right(chain: Chain, label: Label, config: Rewards) -> float:
    """Whether the verdict is the label; no verdict is not."""
    return float(chain.verdict is label)


@_term("format")
def formed(chain: Chain, label: Label, config: Rewards) -> float:
    """Whether the text is well formed and its thought has the least words."""
    return float(chain.well_formed and chain.words >= config.min_words)


@_term("length")
def in_band(chain: Chain, label: Label, config: Rewards) -> float:
    """1 between the least and most words of a thought, falling to 0 at half the least and twice the most."""
    rising = 2 * chain.words / config.min_words - 1
    falling = 2 - chain.words / config.max_words
    return max(0.0, min(1.0, rising, falling))


@_term("distinct")
def distinct(chain: Chain, label: Label, config: Rewards) -> float:
    """Share of the thought's n-grams of words that are different; 0 for a thought too short to have one."""
    words = [word.lower() for word in words_of(chain.thought)]
    ngrams = [tuple(words[i : i + config.ngram]) for i in range(len(words) - config.ngram + 1)]
    return len({*ngrams}) / len(ngrams) if ngrams else 0.0


@_term("regions")
def located(chain: Chain, label: Label, config: Rewards) -> float:
    """Whether the thought names a region of the face; see `dialogue.reading.named_regions`."""
    return float(bool(named_regions(chain.thought)))
