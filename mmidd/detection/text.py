"""What a run that talks writes about a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmidd.detection.verdict import TextVerdict
from mmidd.evaluation.look import Scorer, look, talker
from mmidd.schema import Label


def text_verdict(run: Scorer, crop: NDArray[np.uint8], frame_index: int) -> TextVerdict | None:
    """The answer about a crop (H, W, 3) beside P(yes) of the same question; None if the run is mute."""
    if talker(run) is None:
        return None
    seen = look(run, [crop], answers=True)
    (answer,), yes = seen.answers or (), float(seen.scores.fake[0])
    return TextVerdict(
        frame_index=frame_index,
        yes=yes,
        answer=answer.text,
        label=answer.label,
        agrees=None if answer.label is None else (answer.label is Label.FAKE) == (yes >= 0.5),
    )
