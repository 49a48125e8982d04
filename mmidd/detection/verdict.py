"""What `detect` says about one file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mmidd.schema import ForgeryType, Label, Media


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameScore(_Frozen):
    """One scored frame: P(fake), and the face box (x0, y0, x1, y1) in its pixels."""

    frame_index: int
    score: float
    box: tuple[float, ...]
    det_score: float


class FrameCounts(_Frozen):
    """What became of the sampled frames: scored, without a face, or not given by the file."""

    used: int = 0
    without_face: int = 0
    not_decoded: int = 0

    @property
    def total(self) -> int:
        """Frames that were sampled."""
        return self.used + self.without_face + self.not_decoded


class Verdict(_Frozen):
    """The answer for one file; `label` and `score` are None when there is an `error`.

    Attributes:
        path: the file, as found under the path that was asked for.
        media: what the file is, None where it is neither image nor video.
        label: real or fake, by `score >= threshold`.
        score: mean P(fake) over the frames with a face, in [0, 1].
        type: forgery type of a fake, where the method tells types.
        types: mean probability per type, where the method tells types.
        counts: what became of the sampled frames.
        frames: the scored frames.
        threshold: decision threshold on `score`.
        threshold_origin: where the threshold comes from.
        error: reason without a verdict, such as `no_face` or `unreadable`.
        detail: more about the error.
    """

    path: str
    media: Media | None = None
    label: Label | None = None
    score: float | None = None
    type: ForgeryType | None = None
    types: dict[ForgeryType, float] | None = None
    counts: FrameCounts = FrameCounts()
    frames: tuple[FrameScore, ...] = ()
    threshold: float
    threshold_origin: str
    error: str | None = None
    detail: str = ""

    def to_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json()

    def describe(self) -> str:
        """One line for people."""
        if self.label is None or self.score is None:
            return f"{self.path}: no verdict, {self.error}{f' ({self.detail})' if self.detail else ''}"
        kind = f" ({self.type.title})" if self.type is not None else ""
        return (
            f"{self.path}: {self.label}{kind}, P(fake) {self.score:.3f}, threshold {self.threshold_origin}, "
            f"a face in {self.counts.used} of {self.counts.total} frames"
        )
