"""Configurations as files: presets, the resolved one of a run, and dotted overrides."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from mmidd.errors import UsageError
from mmidd.training.config.base import TrainConfig
from mmidd.training.config.baselines import ClassifierConfig, ZeroshotConfig
from mmidd.training.config.methods import LnclipConfig, Sd2Config

METHODS: dict[str, type[TrainConfig]] = {
    name: kind
    for kind in (Sd2Config, LnclipConfig, ClassifierConfig, ZeroshotConfig)
    for name in get_args(kind.model_fields["method"].annotation)
}
"""The configuration of every method."""


def load_preset(method: str, preset: str) -> TrainConfig:
    """The shipped configuration of a method.

    Raises:
        UsageError: unknown method or preset, with the names that exist.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    folder = resources.files("mmidd.training.presets")
    entry = folder / f"{method}-{preset}.yaml"
    if not entry.is_file():
        names = sorted(
            p.name.removeprefix(f"{method}-").removesuffix(".yaml")
            for p in folder.iterdir()
            if p.name.startswith(f"{method}-")
        )
        raise UsageError(f"{method} has no preset {preset!r}; choose from {', '.join(names)}")
    return _validate(METHODS[method], _preset_data(method, preset))


def _preset_data(method: str, preset: str) -> dict[str, Any]:
    """The settings of a preset; `extends` names another preset of the method, whose settings it changes."""
    entry = resources.files("mmidd.training.presets") / f"{method}-{preset}.yaml"
    data: dict[str, Any] = yaml.safe_load(entry.read_text(encoding="utf-8"))
    base = data.pop("extends", None)
    return data if base is None else _merged(_preset_data(method, base), data)


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    both = base | change
    inner = {k for k in base.keys() & change.keys() if isinstance(change[k], dict)}
    return both | {key: _merged(base[key], change[key]) for key in inner}


def load_config(path: Path) -> TrainConfig:
    """A resolved configuration as written into a run folder.

    Raises:
        UsageError: missing or invalid file.
    """
    if not path.is_file():
        raise UsageError(
            f"{path.parent} is no training run: {path.name} is missing; pass a folder under runs/"
        )
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    method = data.get("method") if isinstance(data, dict) else None
    if method not in METHODS:
        raise UsageError(
            f"{path}: method is {method!r}, not one of {', '.join(METHODS)}; train the run again"
        )
    return _validate(METHODS[method], data)


def dump_config(config: TrainConfig) -> str:
    """The resolved configuration as YAML, readable by `load_config`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def apply_overrides(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """The configuration with `key.path=value` changes; values are YAML.

    Raises:
        UsageError: unknown key (names the nearest), malformed or invalid value.
    """
    data = config.model_dump(mode="json")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"--set {override!r} has no '='; write --set optim.lr=1e-4")
        *parents, leaf = key.split(".")
        node: Any = data
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            raise UsageError(f"no setting {key!r}; the nearest is {_nearest(key, _keys(data))!r}")
        try:
            node[leaf] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {override!r}: the value is not YAML; quote it") from None
    return _validate(type(config), data)


def _validate(kind: type[TrainConfig], data: Any) -> TrainConfig:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise UsageError(f"{where}: {first['msg']}; correct it with --set or in the YAML file") from None


def _keys(data: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _nearest(key: str, known: Iterable[str]) -> str:
    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, key, candidate).ratio()
        leaf = difflib.SequenceMatcher(None, key.rsplit(".")[-1], candidate.rsplit(".")[-1]).ratio()
        return max(whole, leaf)

    return max(known, key=likeness)
