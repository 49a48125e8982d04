"""Configurations as files: presets, a user's own, and the resolved one of a run."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

import yaml

from mmidd.errors import UsageError
from mmidd.training.config.base import TrainConfig
from mmidd.training.config.baselines import ClassifierConfig, ZeroshotConfig
from mmidd.training.config.keys import validated
from mmidd.training.config.kfd import KfdConfig
from mmidd.training.config.kfd_llm import KfdLlmConfig
from mmidd.training.config.ltdd import LtddConfig
from mmidd.training.config.ltdd_rl import LtddRlConfig
from mmidd.training.config.methods import LnclipConfig, Sd2Config

_KINDS: tuple[type[TrainConfig], ...] = (
    Sd2Config,
    LnclipConfig,
    KfdConfig,
    KfdLlmConfig,
    LtddConfig,
    LtddRlConfig,
    ClassifierConfig,
    ZeroshotConfig,
)
METHODS: dict[str, type[TrainConfig]] = {
    name: kind for kind in _KINDS for name in get_args(kind.model_fields["method"].annotation)
}
"""The configuration of every method."""


def preset_names(method: str) -> list[str]:
    """The shipped presets of a method.

    Raises:
        UsageError: unknown method, with the names that exist.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    start = f"{method}-"
    later = tuple(f"{stage}-" for stage in METHODS if stage.startswith(start))
    names = [file.name for file in resources.files("mmidd.training.presets").iterdir()]
    own = [name for name in names if name.startswith(start) and not name.startswith(later)]
    return sorted(name[len(start) : -len(".yaml")] for name in own)


def load_preset(method: str, preset: str) -> TrainConfig:
    """The shipped configuration of a method.

    Raises:
        UsageError: unknown method or preset, with the names that exist.
    """
    data = _preset(method, preset)
    return validated(METHODS[method], data, f"preset {preset}")


def load_own(path: Path, method: str) -> TrainConfig:
    """A user's configuration, such as that of a run; `extends: PRESET` lists only what differs.

    Raises:
        UsageError: missing or invalid file, or one of another method.
    """
    known = ", ".join(preset_names(method))
    if not path.is_file():
        raise UsageError(f"there is no file {path}; pass one, or a preset of {method}: {known}")
    own = {"method": method, **_mapping(path)}
    if own["method"] != method:
        raise UsageError(f"{path} is of {own['method']}; run `mmidd train {own['method']} --preset {path}`")
    base = own.pop("extends", None)
    data = own if base is None else _merged(_preset(method, base), own)
    return validated(METHODS[method], data, str(path))


def load_config(path: Path) -> TrainConfig:
    """A resolved configuration as written into a run folder.

    Raises:
        UsageError: missing or invalid file.
    """
    if not path.is_file():
        raise UsageError(
            f"{path.parent} is no training run: {path.name} is missing; pass a folder under runs/"
        )
    return read_config(_mapping(path), str(path))


def method_of(run_dir: Path) -> str | None:
    """The method of a run, also of another version; none where there is no run.

    Raises:
        UsageError: its configuration cannot be read.
    """
    file = run_dir / "config.yaml"
    return str(_mapping(file).get("method")) if file.is_file() else None


def read_config(data: dict[str, Any], where: str) -> TrainConfig:
    """A resolved configuration from its plain values, which stand at `where`.

    Raises:
        UsageError: they are of no method, or invalid.
    """
    method = data.get("method")
    if method not in METHODS:
        raise UsageError(
            f"{where}: method is {method!r}, not one of {', '.join(METHODS)}; train the run again"
        )
    return validated(METHODS[method], data, where)


def dump_config(config: TrainConfig) -> str:
    """The resolved configuration as YAML, readable by `load_config`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _preset(method: str, preset: object) -> dict[str, Any]:
    """The settings of a preset; `extends` names another preset of the method, whose settings it changes."""
    names = preset_names(method)
    if preset not in names:
        raise UsageError(
            f"{method} has no preset {preset!r}; choose from {', '.join(names)}, or pass a YAML file"
        )
    data = _mapping(resources.files("mmidd.training.presets") / f"{method}-{preset}.yaml")
    base = data.pop("extends", None)
    return data if base is None else _merged(_preset(method, base), data)


def _mapping(file: Traversable) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file} is not YAML: {' '.join(str(error).split())}; correct it") from None
    if not isinstance(data, dict):
        raise UsageError(f"{file} holds no settings; write lines such as epochs: 4")
    return data


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    both = base | change
    inner = [k for k in base.keys() & change.keys() if {type(base[k]), type(change[k])} == {dict}]
    return both | {key: _merged(base[key], change[key]) for key in inner}
