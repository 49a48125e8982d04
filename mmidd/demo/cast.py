"""Who plays in which split: identities never cross train, validation and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from mmidd.demo.portraits import Portrait
from mmidd.errors import UsageError
from mmidd.schema import Split

SHARES = {Split.VAL: 0.2, Split.TEST: 0.2}
"""Share of the people and of the clips outside training (FaceForensics++ itself has 0.14 and 0.14)."""


@dataclass
class Cast:
    """The people of every split, at least two in each, dealt out in turn."""

    people: dict[Split, tuple[Portrait, ...]]
    dealt: Counter[Split] = field(default_factory=Counter)

    @classmethod
    def draw(cls, portraits: Sequence[Portrait], rng: np.random.Generator) -> Cast:
        """Splits the portraits by identity.

        Raises:
            UsageError: fewer than six people.
        """
        if len(portraits) < 6:
            raise UsageError(
                f"the demo world needs at least 6 people, {len(portraits)} found; "
                "install mmidd[demo] or give --portraits a folder with more face photos"
            )
        order = iter([portraits[k] for k in rng.permutation(len(portraits))])
        return cls({split: tuple(islice(order, n)) for split, n in shares(len(portraits), 2).items()})

    def deal(self, split: Split, count: int) -> list[Portrait]:
        """The next `count` people of a split, from the first again after the last; neighbours differ."""
        start, people = self.dealt[split], self.people[split]
        self.dealt[split] += count
        return [people[k % len(people)] for k in range(start, start + count)]


def shares(total: int, least: int) -> dict[Split, int]:
    """Divides a number among train, val and test; val and test get at least `least` each."""
    parts = {split: max(least, round(share * total)) for split, share in SHARES.items()}
    return {Split.TRAIN: total - sum(parts.values()), **parts}
