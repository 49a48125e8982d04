"""A trained detector as one file: what was trained, and all that applying it needs beside the backbone.

`weights.safetensors` holds the trained tensors alone, such as LoRA's or the LayerNorms', under the task's
names; everything else comes from the backbone's own weights. The file's header has the configuration, with
the class sentences, the preprocessing of the crops and how the weights did in validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmidd.errors import UsageError
from mmidd.files import renamed, write_errors
from mmidd.spec import PreprocessSpec
from mmidd.training.config import TrainConfig, read_config
from mmidd.training.parallel import shared_like, whole
from mmidd.training.tasks import build_task
from mmidd.training.tasks.base import Described, Scores, Task

WEIGHTS = "weights.safetensors"
_HEADER = "mmidd"


@dataclass(frozen=True)
class About:
    """What weights say of themselves.

    Attributes:
        config: of the run.
        spec: the preprocessing of the crops.
        references: see `Task.references`.
    """

    config: TrainConfig
    spec: PreprocessSpec
    references: Mapping[str, str]


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

    def describe(self, crops: Sequence[NDArray[np.uint8]]) -> Described:
        """Features of such crops.

        Raises:
            UsageError: the method has none.
        """
        return self.task.describe(self.task.prepare(crops))


def load_run(path: Path, device: str = "cpu") -> Run:
    """The best weights of a run folder, or the weights of a file, ready to score.

    Raises:
        UsageError: no weights there, they do not fit this version, or what they build on has changed.
    """
    about = about_run(path)
    folder = path.parent if path.is_dir() else path.parent.parent
    task = build_task(about.config.beside(folder))
    check_references(path, about.references, task)
    load_trained(task, read_tensors(path))
    return Run(task.to(device).eval(), about.spec, about.config, about.config.model_dump()["method"])


def about_run(path: Path) -> About:
    """What the weights of a run folder, or of a file, say of themselves.

    Raises:
        UsageError: no weights there, or they do not fit this version.
    """
    weights = weights_file(path)
    with _damage(weights), safe_open(weights, "pt") as file:
        header = json.loads((file.metadata() or {})[_HEADER])
        spec, config = PreprocessSpec.model_validate(header["spec"]), dict(header["config"])
        references = dict(header.get("references", {}))
    return About(read_config(config, str(weights)), spec, references)


def check_references(path: Path, before: Mapping[str, str], task: Task[Any]) -> None:
    """Whether the frozen weights that a task builds on are those of before.

    Raises:
        UsageError: they are others.
    """
    if not before:
        return
    for name, now in task.references().items():
        if before.get(name) != now:
            raise UsageError(
                f"{path} was trained on another {name}: its weights were {before.get(name)} and are {now}; "
                "put those back, or train the run again"
            )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The trained tensors of a run folder's best weights, or of a file.

    Raises:
        UsageError: there are none, or they are damaged.
    """
    weights = weights_file(path)
    with _damage(weights), safe_open(weights, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def weights_file(path: Path) -> Path:
    """The file of a run folder's best weights, or the file itself.

    Raises:
        UsageError: there is none.
    """
    weights = path / WEIGHTS if path.is_dir() else path
    if not weights.is_file():
        raise UsageError(f"{path} has no {WEIGHTS} yet; finish an epoch with `mmidd train --resume`")
    return weights


@contextmanager
def _damage(weights: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, ValidationError, SafetensorError) as error:
        raise UsageError(f"{weights} is damaged ({type(error).__name__}); train it again") from error


def save_weights(
    path: Path,
    config: TrainConfig,
    spec: PreprocessSpec,
    tensors: Mapping[str, Tensor],
    validation: Mapping[str, float] | None = None,
    references: Mapping[str, str] | None = None,
) -> None:
    """Write trained tensors with all that applying them needs.

    Raises:
        StorageError: it cannot be written; a file that was there stays.
    """
    about = {
        "config": config.model_dump(mode="json"),
        "spec": spec.model_dump(mode="json"),
        "validation": dict(validation or {}),
        "references": dict(references or {}),
    }
    on_cpu = {name: tensor.cpu() for name, tensor in tensors.items()}
    with write_errors(path, "free space and resume"), renamed(path.parent, path.name) as partial:
        save_file(on_cpu, partial, {_HEADER: json.dumps(about)})


def trained_state(task: Task[Any]) -> dict[str, Tensor]:
    """The trained tensors by name; ranks that hold a share each must ask together."""
    return {name: whole(tensor.detach()).contiguous() for name, tensor in task.learned().items()}


def load_trained(task: Task[Any], tensors: Mapping[str, Tensor]) -> None:
    """Put trained tensors back; see `put`."""
    put(task.learned(), tensors)


def put(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Put trained tensors in place of a task's own, whose names and shapes must be exactly theirs.

    Raises:
        UsageError: they are not.
    """
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in tensors.items()}:
        odd = sorted(own.keys() ^ tensors.keys())[:1] or ["a tensor's shape"]
        raise UsageError(f"the weights do not fit the configuration ({odd[0]}); train the run again")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(shared_like(tensors[name], tensor))
