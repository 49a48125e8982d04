"""The preprocessing spec: every choice that turns media into crops, pinned per workspace."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mmidd.errors import SpecMismatch


class PreprocessSpec(BaseModel):
    """How faces are found and cropped; it travels into shards, checkpoints and `detect`.

    Attributes:
        detector: face detector by name.
        frames: frames taken per video, uniformly from first to last.
        margin: side of the square crop over the longer side of the face box.
        size: side of the crop in pixels.
        align: rotate and scale so that the five landmarks fit a template.
        encoding: format of the stored crops; JPEG is 4:4:4.
        quality: JPEG quality, unused by the lossless formats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: Literal["dlib", "yunet", "retinaface", "insightface"] = "dlib"
    frames: int = Field(default=32, ge=1, le=10_000)
    margin: float = Field(default=1.3, ge=1.0, le=4.0)
    size: int = Field(default=256, ge=32, le=2048)
    align: bool = False
    encoding: Literal["jpeg", "png", "webp"] = "jpeg"
    quality: int = Field(default=95, ge=50, le=100)

    @property
    def spec_id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def differences(self, other: PreprocessSpec) -> dict[str, tuple[object, object]]:
        """Fields in which the two specs differ, each with both values."""
        mine, theirs = self.model_dump(), other.model_dump()
        return {key: (mine[key], theirs[key]) for key in mine if mine[key] != theirs[key]}

    def check_shards(self, shards: PreprocessSpec, run: Path) -> None:
        """Whether a run that was trained on crops of this spec can be used on those of the shards.

        Raises:
            SpecMismatch: it cannot.
        """
        if differences := self.differences(shards):
            words = ", ".join(f"{key} {mine} against {its}" for key, (mine, its) in differences.items())
            raise SpecMismatch(
                f"{run} was trained on other crops than these shards hold ({words}); "
                "train it on these, or shard a workspace ingested with its spec"
            )
