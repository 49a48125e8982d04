"""States of a run to resume from, and the files of its folder.

A run folder holds `config.yaml` (resolved), `spec.json` (preprocessing of the crops), `weights.safetensors`
(the best epoch, see trained.py), `epochs/` (the best ones, where more are kept), `state/` (all that resuming
needs) and the logs. Every file is written under a temporary name and renamed. No pickle is loaded: states
are read with `weights_only`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmidd.errors import UsageError
from mmidd.files import renamed, write_errors
from mmidd.spec import PreprocessSpec
from mmidd.training.alternating import Batches
from mmidd.training.config import TrainConfig, dump_config, load_config
from mmidd.training.ema import Average
from mmidd.training.parallel import load_whole_state, shared_like, whole, whole_state
from mmidd.training.tasks.base import Task
from mmidd.training.trained import load_trained, trained_state

CONFIG = "config.yaml"
SPEC = "spec.json"
STATES = "state"


@dataclass
class Progress:
    """Where a run stands; `epoch` counts those validated, `unusable` counts samples.

    `best` has the kept epochs, the best first: what they are compared by, and their number.
    """

    step: int = 0
    epoch: int = 0
    bad_in_a_row: int = 0
    skipped: int = 0
    unusable: int = 0
    best: list[tuple[float, float, int]] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """All that changes while a run goes on. Randomness is none of it: it is a function of the step."""

    task: Task[Any]
    optimiser: torch.optim.Optimizer
    average: Average | None
    stream: Batches
    progress: Progress

    def whole(self) -> dict[str, Any]:
        """As plain values and whole tensors; all ranks must ask for it together."""
        values = self.average.values if self.average else {}
        return {
            "trained": trained_state(self.task),
            "carried": self.task.carried(),
            "optimiser": whole_state(self.optimiser),
            "average": {name: whole(tensor) for name, tensor in values.items()},
            "stream": self.stream.state_dict(),
            "progress": asdict(self.progress),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where `whole` was asked for, on any number of ranks.

        Raises:
            UsageError: that was another task, or its stream was over other data.
        """
        load_trained(self.task, state["trained"])
        self.task.carry_on(state["carried"])
        load_whole_state(self.optimiser, state["optimiser"])
        if self.average:
            for name, value in self.average.values.items():
                value.copy_(shared_like(state["average"][name], value))
        self.stream.load_state_dict(state["stream"])
        for name, value in state["progress"].items():
            setattr(self.progress, name, value)


def start_run(run_dir: Path, config: TrainConfig, spec: PreprocessSpec) -> None:
    """Create the run folder with configuration and spec.

    Raises:
        UsageError: it already holds a run.
        StorageError: it cannot be written.
    """
    if (run_dir / CONFIG).exists():
        raise UsageError(f"{run_dir} already holds a run; pass --resume to go on or another --name")
    texts = {SPEC: spec.model_dump_json(indent=2) + "\n", CONFIG: dump_config(config)}
    with write_errors(run_dir, "free space, or choose another --workspace"):
        run_dir.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with renamed(run_dir, name) as partial:
                partial.write_text(text, encoding="utf-8")


def save_state(run_dir: Path, state: Mapping[str, Any], keep: int) -> None:
    """Write what `State.whole` gave; of those written before, the latest stay, `keep` in all."""
    folder, step = run_dir / STATES, state["progress"]["step"]
    with write_errors(folder, "free space and resume"):
        folder.mkdir(exist_ok=True)
        with renamed(folder, f"step-{step:08d}.pt") as partial:
            torch.save(dict(state), partial)
        for old in _states(run_dir)[:-keep]:
            old.unlink()


def read_state(run_dir: Path, config: TrainConfig, data: str) -> dict[str, Any] | None:
    """The latest state of a run; none if it has none yet.

    Args:
        run_dir: of the run.
        config: that it is to go on with.
        data: fingerprint of the data that it is to go on with.

    Raises:
        UsageError: no run there, a damaged state, or it was made with another configuration or other data.
    """
    if load_config(run_dir / CONFIG) != config:
        raise UsageError(
            f"{run_dir} was trained with another configuration; resume without --set and --preset"
        )
    if not (states := _states(run_dir)):
        return None
    try:
        state: dict[str, Any] = torch.load(states[-1], map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(
            f"{states[-1]} is damaged ({type(error).__name__}); delete it, then resume from an earlier state"
        ) from error
    if state["data"] != data:
        raise UsageError(f"{run_dir} was trained on other data; start a new run with another --name")
    return state


def _states(run_dir: Path) -> list[Path]:
    return sorted((run_dir / STATES).glob("step-*.pt"))
