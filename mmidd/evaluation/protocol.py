"""What a number means: printed with and stored beside every metric."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from mmidd.schema import Split


class Level(StrEnum):
    """What is counted: single face crops, or whole videos (a still counts as one)."""

    FRAME = "frame"
    VIDEO = "video"


class Aggregation(StrEnum):
    """How P(fake) of a video's frames becomes one score."""

    MEAN = "mean"
    MEDIAN = "median"
    MAX = "max"


class ThresholdRule(StrEnum):
    """Where the decision threshold comes from; never from the split that is reported."""

    BALANCED = "max balanced accuracy on val"
    EER = "equal error rate on val"
    FIXED = "fixed at 0.5"


class Protocol(BaseModel):
    """How a metric was measured (the differences that make published numbers incomparable).

    Attributes:
        level: frame or video.
        aggregation: rule from frames to a video, on probabilities; unused at frame level.
        frames: most frames taken per video, uniformly.
        spec_id: preprocessing spec of the crops.
        compression: compressions present, joined by `+`; `unstated` where the source names none.
        split: the split that was scored.
        threshold_rule: origin of the threshold behind accuracy and balanced accuracy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level
    aggregation: Aggregation = Aggregation.MEAN
    frames: int = Field(ge=1)
    spec_id: str
    compression: str
    split: Split
    threshold_rule: ThresholdRule

    def describe(self) -> str:
        """One line for people."""
        rule = f"{self.aggregation} P(fake) of up to {self.frames} frames"
        level = "frame level" if self.level is Level.FRAME else f"video level ({rule})"
        return (
            f"{level} | {self.split} split | compression {self.compression} | crops {self.spec_id} | "
            f"threshold {self.threshold_rule}"
        )
