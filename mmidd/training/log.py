"""The logs of a run: `metrics.jsonl`, TensorBoard events and, by option, Weights & Biases."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import yaml

from mmidd.errors import MissingExtra, UsageError
from mmidd.files import renamed, write_errors
from mmidd.training.report import Step

METRICS = "metrics.jsonl"
WANDB_ID = "wandb.id"

_Entry = dict[str, Any]


class Log:
    """What a run writes down. A resumed run takes back what came after the state that it resumes from.

    Args:
        run_dir: of the run, with its `config.yaml`.
        from_step: steps done before. Later entries go, and those of this very step are not written twice.
        project: of Weights & Biases to log to as well; a resumed run goes on in the same run there.

    Raises:
        MissingExtra: a project without the package `wandb`.
        StorageError: the folder cannot be written.
        UsageError: Weights & Biases refuses.
    """

    def __init__(self, run_dir: Path, from_step: int = 0, project: str | None = None) -> None:
        self._run_dir = run_dir
        self._wandb = _wandb_run(run_dir, project) if project else None
        with self._writing():
            kept = _cut(run_dir / METRICS, from_step)
            self._there = {_name(entry) for entry in kept if entry["step"] == from_step}
            self._file = (run_dir / METRICS).open("a", encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorboard's own imports warn
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=from_step + 1)

    def write(self, event: str, step: int, values: Mapping[str, float]) -> None:
        """One line and one point per value; `event` is the prefix, such as train or val."""
        if not self._line({"event": event, "step": step, **values}):
            return
        named = {f"{event}/{name}": value for name, value in values.items()}
        for name, value in named.items():
            self._board.add_scalar(name, value, step)
        if self._wandb:
            self._wandb.log(named, step=step)

    def write_step(self, step: Step) -> None:
        """A step as it was, without smoothing."""
        rest = {name: getattr(step, name) for name in ("epoch", "lr", "samples_per_s", "data_wait", "memory")}
        self.write("train", step.number, {**step.terms, **rest})

    def write_unusable(self, step: int, why: str) -> None:
        """One line for a sample that was left out."""
        self._line({"event": "unusable", "step": step, "why": why})

    def _line(self, entry: _Entry) -> bool:
        if _name(entry) in self._there:
            return False
        with self._writing():
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        return True

    def _writing(self) -> AbstractContextManager[None]:
        return write_errors(self._run_dir / METRICS, "free space and resume")

    def close(self) -> None:
        """Close all logs."""
        self._file.close()
        self._board.close()
        if self._wandb:
            self._wandb.finish()


def _name(entry: _Entry) -> tuple[str, int, str | None]:
    return entry["event"], entry["step"], entry.get("why")


def _cut(path: Path, last: int) -> list[_Entry]:
    """The entries up to step `last`, which alone stay in the file."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):  # a run killed while writing leaves half a line
            if (entry := json.loads(line))["step"] <= last:
                kept.append(entry)
    with renamed(path.parent, path.name) as partial:
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
    return kept


def wandb_package() -> ModuleType:
    """The package `wandb`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise MissingExtra(
            "the setting wandb needs the package; run pip install 'mmidd[wandb]', or set wandb=null"
        ) from None
    module: ModuleType = wandb
    return module


def _wandb_run(run_dir: Path, project: str) -> Any:
    """The run's run at Weights & Biases, by the id that the folder keeps."""
    wandb, kept = wandb_package(), run_dir / WANDB_ID
    if not kept.exists():
        with write_errors(kept, "free space and resume"), renamed(run_dir, WANDB_ID) as partial:
            partial.write_text(uuid4().hex, encoding="utf-8")
    try:
        return wandb.init(
            project=project,
            id=kept.read_text(encoding="utf-8"),
            name=run_dir.name,
            dir=run_dir,
            config=yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8")),
            resume="allow",
            settings=wandb.Settings(console="off"),
        )
    except wandb.Error as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise UsageError(
            f"Weights & Biases: {why}; run `wandb login` or set WANDB_MODE=offline, and go on with --resume"
        ) from error
