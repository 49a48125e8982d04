"""One module per method."""

from __future__ import annotations

from mmidd.training.config import (
    ClassifierConfig,
    KfdConfig,
    KfdLlmConfig,
    LnclipConfig,
    LtddConfig,
    LtddRlConfig,
    Sd2Config,
    TrainConfig,
    ZeroshotConfig,
)
from mmidd.training.tasks.base import Task
from mmidd.training.tasks.classifier import Classifier
from mmidd.training.tasks.kfd import Kfd
from mmidd.training.tasks.kfd_llm import KfdLlm
from mmidd.training.tasks.lnclip import Lnclip
from mmidd.training.tasks.ltdd import Ltdd
from mmidd.training.tasks.ltdd_rl import LtddRl
from mmidd.training.tasks.sd2 import Sd2
from mmidd.training.tasks.zeroshot import Zeroshot


def build_task(config: TrainConfig) -> Task:  # type: ignore[type-arg]
    """The method of a configuration, with its initial weights."""
    match config:
        case LnclipConfig():
            return Lnclip(config)
        case Sd2Config():
            return Sd2(config)
        case KfdConfig():
            return Kfd(config)
        case KfdLlmConfig():
            return KfdLlm(config)
        case LtddConfig():
            return Ltdd(config)
        case LtddRlConfig():
            return LtddRl(config)
        case ClassifierConfig():
            return Classifier(config)
        case ZeroshotConfig():
            return Zeroshot(config)
        case _:
            raise TypeError(f"no task for {type(config).__name__}")
