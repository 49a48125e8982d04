"""The sentences that stand for the five classes in a text tower."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Any

import yaml
from pydantic import Field

from mmidd.training.config.backbone import Frozen

Sentences = Annotated[tuple[str, ...], Field(min_length=1)]


@cache
def _shipped() -> dict[str, tuple[str, ...]]:
    text = (resources.files("mmidd.training.presets") / "labels.yaml").read_text(encoding="utf-8")
    return {kind: tuple(sentences) for kind, sentences in yaml.safe_load(text).items()}


def _of(kind: str) -> Any:
    return Field(default_factory=lambda: _shipped()[kind])


class Labels(Frozen):
    """Sentences of each class, by default thirty; the first of each is used for inference."""

    REAL: Sentences = _of("REAL")
    FS: Sentences = _of("FS")
    FR: Sentences = _of("FR")
    EFS: Sentences = _of("EFS")
    FE: Sentences = _of("FE")

    @property
    def classes(self) -> list[tuple[str, ...]]:
        """Sentences in the order of `ForgeryType`."""
        return [self.REAL, self.FS, self.FR, self.EFS, self.FE]

    @property
    def plain(self) -> list[str]:
        """The first sentence of each class, in the order of `ForgeryType`."""
        return [sentences[0] for sentences in self.classes]
