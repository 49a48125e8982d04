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


class TextVerdict(_Frozen):
    """What a language model wrote of the frame with the highest score when asked whether it is a deepfake.

    Attributes:
        frame_index: of that frame.
        fake: P(fake) in words, from logits: of yes against no, or of fake against real behind an explanation.
        voted: its mean over several explanations, of a method that explains.
        answer: the text.
        label: what the text says, None where it says neither.
        agrees: whether that is what `fake` says, from 0.5 on; None without a label.
    """

    frame_index: int
    fake: float
    voted: float | None = None
    answer: str
    label: Label | None
    agrees: bool | None

    def describe(self) -> str:
        """One line for people."""
        said = "gives no label" if self.label is None else f"says {self.label}"
        harmony = {None: "", True: ", as that does", False: ", against that"}[self.agrees]
        score = f"P(fake) in words {self.fake:.3f}"
        if self.voted is not None:
            score = f"P(fake) after explaining {self.fake:.3f}, mean of several explanations {self.voted:.3f}"
        return f"frame {self.frame_index}: {score}; the answer {said}{harmony}: {self.answer}"


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
        detector: mean P(fake) of a language model's detector, whose own `score` is P(yes).
        text: what the language model wrote.
        map: PNG of the frame with the highest score under its map of forged pixels, if asked for.
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
    detector: float | None = None
    text: TextVerdict | None = None
    map: str | None = None
    threshold: float
    threshold_origin: str
    error: str | None = None
    detail: str = ""

    def to_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json()

    def describe(self) -> str:
        """Lines for people: the verdict, then what was written and where the map is."""
        more = [self.text.describe()] if self.text else []
        more += [f"map: {self.map}"] if self.map else []
        return "\n  ".join([self._line(), *more])

    def _line(self) -> str:
        if self.label is None or self.score is None:
            return f"{self.path}: no verdict, {self.error}{f' ({self.detail})' if self.detail else ''}"
        kind = f" ({self.type.title})" if self.type is not None else ""
        score = f"P(fake) {self.score:.3f}"
        if self.detector is not None:
            score = f"P(yes) {self.score:.3f}, detector's P(fake) {self.detector:.3f}"
        return (
            f"{self.path}: {self.label}{kind}, {score}, threshold {self.threshold_origin}, "
            f"a face in {self.counts.used} of {self.counts.total} frames"
        )
