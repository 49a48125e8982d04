"""Apply a trained run to media; crops are made exactly as the run's training crops were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmidd.detection.maps import MapFolder
from mmidd.detection.media import files_under, media_of
from mmidd.detection.text import text_verdict
from mmidd.detection.verdict import FrameCounts, FrameScore, Verdict
from mmidd.engine.pool import Guard
from mmidd.errors import DataError, UsageError
from mmidd.evaluation.look import BATCH, Scorer, Seen, explainer, look, talker
from mmidd.evaluation.results import FIXED_THRESHOLD, Threshold, load_threshold
from mmidd.preprocess.crop import decode_image
from mmidd.preprocess.extract import Extracted, extract
from mmidd.schema import ForgeryType, Label, Media
from mmidd.spec import PreprocessSpec

TIME_LIMIT, MEMORY_LIMIT = 600.0, 4 << 30
"""Seconds and bytes that decoding one file may take before its process is killed."""

NOTHING_SEEN = FrameCounts()
UNFITTED = FIXED_THRESHOLD.model_copy(update={"items": "run `mmidd eval` first"})


class SpecScorer(Scorer, Protocol):
    """A scorer that knows the crops it expects."""

    @property
    def spec(self) -> PreprocessSpec:
        """Preprocessing of the run's training crops."""


class Predictor:
    """Verdicts of one run.

    Args:
        run: the trained detector.
        threshold: decision threshold; without one it is 0.5, and every verdict says so.
        maps: folder for pictures of where files are forged; none is drawn without it.
        explain: have the run explain its verdict on the most suspect frame.

    Raises:
        UsageError: `maps` is given and the run tells no pixels apart, or `explain` and it writes nothing.
    """

    def __init__(
        self,
        run: SpecScorer,
        threshold: Threshold | None = None,
        maps: Path | None = None,
        explain: bool = False,
    ) -> None:
        if explain and talker(run) is None and explainer(run) is None:
            raise UsageError(
                "this run explains nothing; leave --explain out, or pass one of `mmidd train ltdd`"
            )
        self.run, self._explain = run, explain
        self.threshold = threshold or UNFITTED
        self._maps = None if maps is None else MapFolder(maps, run, run.spec.size)

    @classmethod
    def load(
        cls, run_dir: Path, device: str = "cpu", maps: Path | None = None, explain: bool = False
    ) -> Predictor:
        """The detector of a run folder with the threshold that `mmidd eval` fitted for it.

        Raises:
            UsageError: the folder is no finished run, or one that cannot draw `maps` or `explain`.
        """
        from mmidd.training.trained import load_run

        return cls(load_run(run_dir, device), load_threshold(run_dir), maps, explain)

    def detect(self, path: Path) -> Iterator[Verdict]:
        """One verdict per file: of an image, of a video, or of every file below a folder, sorted.

        A file without a usable face or that cannot be read gives a verdict with an `error`.

        Raises:
            UsageError: nothing at the path, or a folder without files.
        """
        with Guard(time_limit=TIME_LIMIT, memory_limit=MEMORY_LIMIT) as guard:
            for file in files_under(path):
                yield self._verdict(file, guard)

    def _verdict(self, path: Path, guard: Guard) -> Verdict:
        media: Media | None = None
        try:
            media = media_of(path)
            extracted = guard.call(_extract_all, path, media, self.run.spec)
        except DataError as error:
            return self._without(path, media, error.reason, error.detail)
        faces = [item for item in extracted if item.blob is not None]
        counts = FrameCounts(
            used=len(faces),
            without_face=sum(item.reason == "no_face" for item in extracted),
            not_decoded=sum(item.reason == "not_decoded" for item in extracted),
        )
        if not faces:
            reason = "no_face" if counts.without_face else "not_decoded"
            return self._without(path, media, reason, f"{counts.total} frames looked at", counts)
        return self._judged(path, media, faces, counts)

    def _judged(self, path: Path, media: Media, faces: Sequence[Extracted], counts: FrameCounts) -> Verdict:
        crops = [decode_image(item.blob) for item in faces if item.blob is not None]
        seen = [look(self.run, crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        fake = np.concatenate([part.scores.fake for part in seen]).astype(np.float64)
        score, highest = float(fake.mean()), int(fake.argmax())
        label = Label.FAKE if score >= self.threshold.video else Label.REAL
        types = _mean(seen, lambda part: part.scores.types)
        means = None if types is None else dict(zip(ForgeryType, types.tolist(), strict=True))
        detector = _mean(seen, lambda part: part.detector)
        return Verdict(
            path=path.as_posix(),
            media=media,
            label=label,
            score=score,
            type=None if means is None or label is Label.REAL else _likeliest_forgery(means),
            types=means,
            counts=counts,
            frames=tuple(_frame(item, float(value)) for item, value in zip(faces, fake, strict=True)),
            detector=None if detector is None else float(detector),
            text=text_verdict(self.run, crops[highest], faces[highest].frame_index or 0, self._explain),
            map=self._map(path, crops[highest], seen[highest // BATCH].scores.maps, highest % BATCH),
            threshold=self.threshold.video,
            threshold_origin=self.threshold.describe(),
        )

    def _map(
        self, path: Path, crop: NDArray[np.uint8], maps: NDArray[np.float32] | None, number: int
    ) -> str | None:
        if self._maps is None or maps is None:
            return None
        return self._maps.save(path, crop, maps[number]).as_posix()

    def _without(
        self, path: Path, media: Media | None, error: str, detail: str, counts: FrameCounts = NOTHING_SEEN
    ) -> Verdict:
        return Verdict(
            path=path.as_posix(),
            media=media,
            counts=counts,
            threshold=self.threshold.video,
            threshold_origin=self.threshold.describe(),
            error=error,
            detail=detail,
        )


def _extract_all(path: Path, media: Media, spec: PreprocessSpec) -> list[Extracted]:
    return list(extract(path, media, spec))


def _mean(
    seen: Sequence[Seen], values: Callable[[Seen], NDArray[np.float32] | None]
) -> NDArray[np.float64] | None:
    """Over all frames, of values (B, ...) per batch; None where a run does not give them."""
    parts = [part for one in seen if (part := values(one)) is not None]
    return np.concatenate(parts).mean(axis=0, dtype=np.float64) if parts else None


def _likeliest_forgery(types: dict[ForgeryType, float]) -> ForgeryType:
    return max((kind for kind in types if kind is not ForgeryType.REAL), key=lambda kind: types[kind])


def _frame(item: Extracted, score: float) -> FrameScore:
    return FrameScore(
        frame_index=item.frame_index or 0, score=score, box=item.box or (), det_score=item.det_score or 0.0
    )
