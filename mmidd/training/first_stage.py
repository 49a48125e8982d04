"""The run that another one builds on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmidd.errors import UsageError
from mmidd.training.config import KfdLlmConfig, LtddConfig, LtddRlConfig, TrainConfig, method_of
from mmidd.training.config.ltdd import AUTO
from mmidd.training.trained import WEIGHTS, about_run

SPECIALISTS = ("lnclip", "sd2", "kfd")
"""Methods of which one run is taken as a specialist without being named."""

_LATER = ("kfd-llm", "ltdd", "ltdd-rl", "zeroshot")


def with_first_stage(config: TrainConfig, runs: Path) -> TrainConfig:
    """The configuration with the run it builds on and that run's own configuration; others as they are.

    Args:
        config: of the run that begins.
        runs: folder of all runs, in which the configuration may name one; where it names none, the only one
            is taken.

    Raises:
        UsageError: there is no such run, it is of another method, or there are several.
    """
    match config:
        case KfdLlmConfig():
            return _on_first(config, config.detector, runs, "kfd")
        case LtddRlConfig():
            return _on_first(config, config.policy, runs, "ltdd")
        case LtddConfig(backbone=None, specialist=str(name)):
            return config.model_copy(update={"specialist": str(_specialist(name, runs).resolve())})
        case LtddConfig():
            return config.model_copy(update={"specialist": None})
        case _:
            return config


def _on_first(config: TrainConfig, name: str | None, runs: Path, method: str) -> TrainConfig:
    field = str(config.builds_on)
    where = _named(name, runs, method) if name else _only(runs, (method,), field)
    its = about_run(where).config
    if _method(its) != method:
        raise UsageError(
            f"{where} is a run of {_method(its)}; pass one of `mmidd train {method}`: --from RUN"
        )
    return config.model_copy(update={field: str(where.resolve()), "first_stage": its})


def _specialist(name: str, runs: Path) -> Path:
    if name == AUTO:
        return _only(runs, SPECIALISTS, "specialist")
    where = _named(name, runs, "lnclip")
    if (method := _method(about_run(where).config)) in _LATER:
        raise UsageError(
            f"{where} is a run of {method}, which is no specialist; pass one of lnclip: --from RUN"
        )
    return where


def _method(config: Any) -> str:
    return str(config.model_dump()["method"])


def _named(name: str, runs: Path, method: str) -> Path:
    for where in (runs / name, Path(name)):
        if where.exists():
            return where
    raise UsageError(f"there is no run {name}; train one with `mmidd train {method}`, or see `mmidd status`")


def _only(runs: Path, methods: Sequence[str], field: str) -> Path:
    folders = sorted(file.parent for file in runs.glob(f"*/{WEIGHTS}"))
    found = [folder for folder in folders if method_of(folder) in methods]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"there is no trained {field} to build on; run `mmidd train {methods[0]}` first")
    names = ", ".join(folder.name for folder in found)
    raise UsageError(f"there are several runs to build on; pass --from, one of {names}")
