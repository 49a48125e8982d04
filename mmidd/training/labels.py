"""The sentences that stand for the five classes in a text tower."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml

from mmidd.schema import ForgeryType


@cache
def label_sentences() -> Mapping[ForgeryType, tuple[str, ...]]:
    """Sentences of each class, in the order of `ForgeryType`; the first is the plain one."""
    text = (resources.files("mmidd.training.presets") / "labels.yaml").read_text(encoding="utf-8")
    sentences = yaml.safe_load(text)
    return MappingProxyType({kind: tuple(sentences[kind.value]) for kind in ForgeryType})


def plain_labels() -> list[str]:
    """One sentence a class, in the order of `ForgeryType`."""
    return [sentences[0] for sentences in label_sentences().values()]
