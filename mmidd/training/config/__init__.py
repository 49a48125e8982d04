"""Training configuration: frozen, typed, from YAML presets with dotted overrides.

Where a paper is silent, the default is the reading of the project's method notes and therefore a field here.
Importing this package loads no torch.
"""

from __future__ import annotations

from mmidd.training.config.backbone import Backbone, ClipShape, TextShape, VisionShape
from mmidd.training.config.base import Keep, Optim, TrainConfig, Validation
from mmidd.training.config.baselines import ClassifierConfig, ZeroshotConfig
from mmidd.training.config.files import (
    METHODS,
    dump_config,
    load_config,
    load_own,
    load_preset,
    method_of,
    preset_names,
    read_config,
)
from mmidd.training.config.kfd import KfdConfig
from mmidd.training.config.kfd_llm import KfdLlmConfig
from mmidd.training.config.ltdd import LtddConfig
from mmidd.training.config.ltdd_rl import LtddRlConfig
from mmidd.training.config.methods import LnclipConfig, Lora, Sd2Config
from mmidd.training.config.overrides import apply_overrides

__all__ = [
    "METHODS",
    "Backbone",
    "ClassifierConfig",
    "ClipShape",
    "Keep",
    "KfdConfig",
    "KfdLlmConfig",
    "LnclipConfig",
    "Lora",
    "LtddConfig",
    "LtddRlConfig",
    "Optim",
    "Sd2Config",
    "TextShape",
    "TrainConfig",
    "Validation",
    "VisionShape",
    "ZeroshotConfig",
    "apply_overrides",
    "dump_config",
    "load_config",
    "load_own",
    "load_preset",
    "method_of",
    "preset_names",
    "read_config",
]
