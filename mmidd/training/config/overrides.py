"""Dotted overrides of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from mmidd.errors import UsageError
from mmidd.training.config.base import TrainConfig
from mmidd.training.config.keys import keys_of, no_setting, validated


def apply_overrides(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """The configuration with `key.path=value` changes; values are YAML.

    Raises:
        UsageError: unknown key (names the nearest), malformed or invalid value.
    """
    kind, data = type(config), config.model_dump(mode="json")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"--set {override!r} has no '='; write --set optim.lr=1e-4")
        if key not in keys_of(kind):
            raise UsageError(f"--set: {no_setting(key, kind)}")
        try:
            _put(data, key, yaml.safe_load(value))
        except yaml.YAMLError:
            raise UsageError(f"--set {override!r}: the value is not YAML; quote it") from None
    return validated(kind, data, "--set")


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for depth, parent in enumerate(parents, 1):
        if data[parent] is None:
            data[parent] = {}
        data = data[parent]
        if not isinstance(data, dict):
            whole = ".".join(parents[:depth])
            raise UsageError(f"--set {key}: {whole} is a list; set it as a whole, as in {whole}=[...]")
    data[leaf] = value
