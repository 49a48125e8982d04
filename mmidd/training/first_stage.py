"""The run of a first stage that a second one builds on."""

from __future__ import annotations

from pathlib import Path

from mmidd.errors import UsageError
from mmidd.training.config import KfdConfig, KfdLlmConfig, TrainConfig, method_of
from mmidd.training.trained import WEIGHTS, about_run


def with_first_stage(config: TrainConfig, runs: Path) -> TrainConfig:
    """The configuration with the run it builds on and that run's own configuration; others as they are.

    Args:
        config: of the run that begins.
        runs: folder of all runs, in which `detector` may name one; where it is none, the only one is taken.

    Raises:
        UsageError: there is no such run, it is of another method, or there are several.
    """
    if not isinstance(config, KfdLlmConfig):
        return config
    where = _named(config.detector, runs) if config.detector else _only(runs)
    its = about_run(where).config
    if not isinstance(its, KfdConfig):
        method = its.model_dump()["method"]
        raise UsageError(f"{where} is a run of {method}; pass one of `mmidd train kfd`: --set detector=RUN")
    return config.model_copy(update={"detector": str(where.resolve()), "first_stage": its})


def _named(name: str, runs: Path) -> Path:
    for where in (runs / name, Path(name)):
        if where.exists():
            return where
    raise UsageError(f"there is no run {name}; train one with `mmidd train kfd`, or see `mmidd status`")


def _only(runs: Path) -> Path:
    folders = sorted(file.parent for file in runs.glob(f"*/{WEIGHTS}"))
    found = [folder for folder in folders if method_of(folder) == "kfd"]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError("there is no trained detector to build on; run `mmidd train kfd` first")
    names = ", ".join(folder.name for folder in found)
    raise UsageError(f"there are several detectors to build on; pass --set detector=, one of {names}")
