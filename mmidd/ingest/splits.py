"""Splits that keep everything that belongs together on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mmidd.schema import Split

SHARES = ((Split.TRAIN, 0.72), (Split.VAL, 0.86), (Split.TEST, 1.0))
"""Upper bounds of the shares of a derived split: 72/14/14 as in FaceForensics++."""

TRAIN_VAL = ((Split.TRAIN, 0.86), (Split.VAL, 1.0))
"""The same for a source whose official split has no validation part: it is cut from train."""

Shares = tuple[tuple[Split, float], ...]


def groups(links: Iterable[Iterable[str]]) -> dict[str, str]:
    """Connected components: each name's representative, the smallest name of its component."""
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for link in links:
        roots = sorted({find(name) for name in link})
        for other in roots[1:]:
            parent[other] = roots[0]
    return {name: find(name) for name in list(parent)}


def derived_split(group: str, seed: int = 0, shares: Shares = SHARES) -> Split:
    """The split of a group, from its name and the seed alone: stable when data is added."""
    digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return next(split for split, bound in shares if position < bound)
