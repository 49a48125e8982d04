"""Checkpoints in the layout that GenD was published in (yermandy/GenD, src/hf/modeling_gend.py).

Such a folder has `config.json`, which names the encoder and the head, and `model.safetensors` with the
whole encoder under `feature_extractor.` and the head under `model.linear.`; index 1 is fake.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mmidd.errors import UsageError
from mmidd.spec import PreprocessSpec
from mmidd.training.checkpoint import start_run
from mmidd.training.config import Backbone, LnclipConfig, load_preset
from mmidd.training.models.weights import read_tensors
from mmidd.training.tasks.lnclip import Lnclip
from mmidd.training.trained import WEIGHTS, save_weights, trained_state

SPEC = PreprocessSpec(detector="retinaface", frames=32, margin=1.3, align=True)
"""The nearest to GenD's crops. Theirs keep the size they have in the frame, are black beyond its border, and
fit the landmarks by least median instead of least squares."""

_HEADS = {"linear": False, "LinearNorm": True}
"""Whether features are normalised, by the head's name."""

_PE_SIZE = 224
"""GenD shows the Perception Encoder images of this size, whatever its name says."""


def import_gend(folder: Path, run_dir: Path, spec: PreprocessSpec = SPEC) -> None:
    """Make a run of a GenD checkpoint; the frozen weights stay where they are and must remain there.

    Args:
        folder: of the checkpoint.
        run_dir: new folder of the run.
        spec: the crops that it will be shown.

    Raises:
        UsageError: see `load_gend`, or there is a run already.
    """
    task = load_gend(folder)
    start_run(run_dir, task.config, spec)
    save_weights(run_dir / WEIGHTS, task.config, spec, trained_state(task))


def load_gend(folder: Path) -> Lnclip:
    """The detector of a GenD checkpoint; all weights come from its file.

    Raises:
        UsageError: the folder is none, or its weights do not fit the encoder that it names.
    """
    about = _about(folder)
    weights = (folder / "model.safetensors").resolve()
    tensors = read_tensors(weights)
    head = {part: tensors.get(f"model.linear.{part}") for part in ("weight", "bias")}
    task = Lnclip(_config(about, weights))
    for part, own in task.head.named_parameters():
        read = head[part]
        if read is None or read.shape != own.shape:
            raise UsageError(f"{weights} has no head model.linear of {task.head}; pass a complete checkpoint")
        with torch.no_grad():
            own.copy_(read)
    return task.eval()


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read; pass the folder of a GenD checkpoint") from error
    if not isinstance(about, dict) or about.get("model_type") != "GenD" or about.get("head") not in _HEADS:
        raise UsageError(
            f"{path} is none of GenD with a head {' or '.join(_HEADS)}; pass the folder of a GenD checkpoint"
        )
    return about


def _config(about: dict[str, Any], weights: Path) -> LnclipConfig:
    name, normalise = str(about.get("backbone")), _HEADS[about["head"]]
    library, size = ("timm", _PE_SIZE) if "vit_pe" in name.lower() else ("transformers", None)
    backbone = Backbone.model_validate(
        {"library": library, "name": name, "weights": str(weights), "image_size": size}
    )
    losses = {} if normalise else {"alignment": 0.0, "uniformity": 0.0}
    preset = load_preset("lnclip", "gend").model_dump()
    return LnclipConfig.model_validate({**preset, **losses, "backbone": backbone, "normalise": normalise})
