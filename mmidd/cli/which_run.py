"""Which run `mmidd train` begins or goes on with, and its configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmidd.cli.console import say
from mmidd.errors import UsageError

if TYPE_CHECKING:
    from mmidd.training.config import TrainConfig

_CONFIG = "config.yaml"


def is_first() -> bool:
    """Whether this is the process that speaks, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def of_stage(method: str, stage: str | None) -> str:
    """The method as its configuration names it; the first stage has the method's own name.

    Raises:
        UsageError: the method has no such stage.
    """
    from mmidd.training.config import METHODS

    if stage is None or f"{method}-{stage}" in METHODS:
        return f"{method}-{stage}" if stage else method
    others = [name.removeprefix(f"{method}-") for name in METHODS if name.startswith(f"{method}-")]
    advice = f"choose from {', '.join(others)}" if others else "leave --stage out"
    raise UsageError(f"{method} has no stage {stage!r}; {advice}")


def building_on(method: str, run: str | None) -> list[str]:
    """The override that names the run to build on; none where none is named.

    Raises:
        UsageError: the method builds on no run.
    """
    from mmidd.training.config import METHODS

    if run is None:
        return []
    field = METHODS[method].builds_on if method in METHODS else None
    if field is None:
        raise UsageError(f"{method} builds on no other run; leave --from out")
    return [f"{field}={run}"]


def default_preset(method: str, quiet: bool) -> str:
    """The preset that suits this machine, and a line that says which and why.

    Raises:
        UsageError: unknown method.
    """
    from mmidd.training.config import preset_names

    preset_names(method)
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
        say(f"preset paper, since there is a GPU ({gpu}); for a quick trial: --preset tiny", quiet=quiet)
        return "paper"
    what = "preset tiny, a small network from random weights, since no GPU is visible"
    say(f"{what}; to force the published one: --preset paper", quiet=quiet)
    return "tiny"


def new_run(
    runs: Path, method: str, preset: str, name: str | None, overrides: Sequence[str]
) -> tuple[Path, TrainConfig]:
    """Folder and configuration of a run that begins.

    Args:
        runs: folder of all runs.
        method: of the configuration.
        preset: its name, or a YAML file.
        name: of the run; none is METHOD-PRESET, or for a file its run's name or its own.
        overrides: see `config.apply_overrides`.

    Raises:
        UsageError: the run exists, the configuration is wrong, or there is no first stage to build on.
    """
    from mmidd.training.first_stage import with_first_stage

    run_dir, config = planned(runs, method, preset, name, overrides)
    if is_first() and (run_dir / _CONFIG).is_file():
        raise UsageError(f"run {run_dir.name} exists; go on with --resume, or give another --name")
    return run_dir, with_first_stage(config, runs)


def planned(
    runs: Path, method: str, preset: str, name: str | None, overrides: Sequence[str]
) -> tuple[Path, TrainConfig]:
    """Folder and configuration of a run, whether it exists or not; see `new_run`.

    Raises:
        UsageError: the configuration is wrong.
    """
    from mmidd.training.config import apply_overrides, load_own, load_preset

    config = load_own(Path(preset), method) if _is_file(preset) else load_preset(method, preset)
    return _folder(runs, name or _name(method, preset)), apply_overrides(config, overrides)


def resumed_run(runs: Path, method: str, preset: str | None, name: str | None) -> tuple[Path, TrainConfig]:
    """Folder and configuration of a run that goes on: that of the name, of the preset, or the only one.

    Raises:
        UsageError: there is no such run, it is of another method, or there are several.
    """
    from mmidd.training.config import load_config

    if preset and name:
        raise UsageError("a resumed run keeps its preset; leave --preset or --resume out")
    there = sorted(path.parent.name for path in runs.glob(f"{method}-*/{_CONFIG}"))
    if not preset and not name and len(there) > 1:
        raise UsageError(f"there are several runs to resume; pass --name, one of {', '.join(there)}")
    wanted = name or (_name(method, preset) if preset else (there or [method])[0])
    run_dir = _folder(runs, wanted)
    if not (run_dir / _CONFIG).is_file():
        raise UsageError(f"there is no run {wanted} to resume; leave --resume out, or see `mmidd status`")
    config = load_config(run_dir / _CONFIG)
    its = config.model_dump()["method"]
    if its != method:
        raise UsageError(f"run {wanted} is of {its}; run `mmidd train {its} --name {wanted} --resume`")
    return run_dir, config


def _is_file(preset: str) -> bool:
    return Path(preset).suffix in {".yaml", ".yml"}


def _name(method: str, preset: str) -> str:
    if not _is_file(preset):
        return f"{method}-{preset}"
    file = Path(preset).resolve()
    return file.parent.name if file.name == _CONFIG else file.stem


def _folder(runs: Path, name: str) -> Path:
    if name in {"", ".."} or Path(name).name != name:
        raise UsageError(f"{name!r} cannot name a run; give --name one folder name, without a path")
    return runs / name
