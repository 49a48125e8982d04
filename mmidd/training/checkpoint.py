"""What a run leaves on disk, written under a temporary name and renamed.

A run folder holds `config.yaml` (resolved), `spec.json` (preprocessing of the crops),
`weights.safetensors` (trained tensors of the best epoch), `state/last.pt` (all that resuming
needs) and the logs. No pickle is loaded: the state is read with `weights_only`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmidd.errors import StorageError, UsageError
from mmidd.shards.stream import Stream
from mmidd.spec import PreprocessSpec
from mmidd.training.config import TrainConfig, dump_config, load_config
from mmidd.training.tasks import build_task
from mmidd.training.tasks.base import Scores, Task

CONFIG = "config.yaml"
SPEC = "spec.json"
WEIGHTS = "weights.safetensors"
STATE = "state/last.pt"


@dataclass
class Progress:
    """Where a run stands; `epoch` counts those validated, `unusable` counts samples."""

    step: int = 0
    epoch: int = 0
    bad_in_a_row: int = 0
    skipped: int = 0
    unusable: int = 0
    best: tuple[float, float] = (-1.0, -1.0)
    best_epoch: int = -1


@dataclass(frozen=True)
class Run:
    """A trained detector: its task, configuration and the preprocessing it expects."""

    task: Task[Any]
    spec: PreprocessSpec
    config: TrainConfig
    method: str

    def score(self, crops: Sequence[NDArray[np.uint8]]) -> Scores:
        """Scores of RGB crops (H, W, 3) made as `spec` says; resized and normalised here."""
        return self.task.score(self.task.prepare(crops))


def load_run(run_dir: Path, device: str = "cpu") -> Run:
    """The best weights of a run, ready to score.

    Raises:
        UsageError: the folder is no run, is unfinished, or does not fit this version.
    """
    config = load_config(run_dir / CONFIG)
    weights = run_dir / WEIGHTS
    if not weights.is_file():
        raise UsageError(f"{run_dir} has no {WEIGHTS} yet; finish an epoch with `mmidd train --resume`")
    task = build_task(config)
    try:
        spec = PreprocessSpec.model_validate_json((run_dir / SPEC).read_bytes())
        load_trained(task, load_file(weights))
    except (OSError, ValidationError, SafetensorError) as error:
        raise UsageError(f"{run_dir} is damaged ({type(error).__name__}); train it again") from error
    return Run(task.to(device).eval(), spec, config, config.model_dump()["method"])


def trained_state(task: Task[Any]) -> dict[str, Tensor]:
    """The trained tensors by name; everything else comes from the backbone's weights."""
    return {name: tensor.detach().contiguous() for name, tensor in task.learned().items()}


def load_trained(task: Task[Any], tensors: dict[str, Tensor]) -> None:
    """Put trained tensors back; names and shapes must be exactly the task's.

    Raises:
        UsageError: they are not.
    """
    own = task.learned()
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in tensors.items()}:
        odd = sorted(own.keys() ^ tensors.keys())[:1] or ["a tensor's shape"]
        raise UsageError(f"the weights do not fit the configuration ({odd[0]}); train the run again")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def save_weights(run_dir: Path, task: Task[Any]) -> None:
    """Write the trained tensors as the run's weights."""
    tensors = {name: tensor.cpu() for name, tensor in trained_state(task).items()}
    _replace(run_dir / WEIGHTS, lambda path: save_file(tensors, path))


def start_run(run_dir: Path, config: TrainConfig, spec: PreprocessSpec) -> None:
    """Create the run folder with configuration and spec.

    Raises:
        UsageError: it already holds a run.
    """
    if (run_dir / CONFIG).exists():
        raise UsageError(f"{run_dir} already holds a run; pass --resume to go on or another --name")
    (run_dir / "state").mkdir(parents=True, exist_ok=True)
    _replace(run_dir / SPEC, lambda path: path.write_text(spec.model_dump_json(indent=2) + "\n"))
    _replace(run_dir / CONFIG, lambda path: path.write_text(dump_config(config)))


def save_state(
    run_dir: Path,
    task: Task[Any],
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    stream: Stream[Any],
    fingerprint: str,
) -> None:
    """Write everything that resuming needs. Randomness needs nothing: it is a function of the step."""
    state = {
        "stream": stream.state_dict(),
        "trained": trained_state(task),
        "optimiser": optimiser.state_dict(),
        "progress": asdict(progress),
        "data": fingerprint,
    }
    _replace(run_dir / STATE, lambda path: torch.save(state, path))


def load_state(
    run_dir: Path,
    config: TrainConfig,
    task: Task[Any],
    optimiser: torch.optim.Optimizer,
    stream: Stream[Any],
    fingerprint: str,
) -> Progress:
    """Put a saved state back and say where it stands; a run without a state starts over.

    Raises:
        UsageError: no run there, or it was made with another configuration or other data.
    """
    saved = load_config(run_dir / CONFIG)
    if saved != config:
        raise UsageError(
            f"{run_dir} was trained with another configuration; resume without --set and --preset"
        )
    if not (run_dir / STATE).is_file():
        return Progress()
    state = torch.load(run_dir / STATE, map_location="cpu", weights_only=True)
    if state["data"] != fingerprint:
        raise UsageError(f"{run_dir} was trained on other data; start a new run with another --name")
    load_trained(task, state["trained"])
    optimiser.load_state_dict(state["optimiser"])
    stream.load_state_dict(state["stream"])
    return Progress(**{**state["progress"], "best": tuple(state["progress"]["best"])})


def _replace(target: Path, write: Callable[[Path], object]) -> None:
    partial = target.with_name(target.name + ".partial")
    try:
        write(partial)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"cannot write {target}: {error.strerror or error}; free space and resume"
        ) from error
