"""What a run that talks writes about a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmidd.detection.verdict import TextVerdict
from mmidd.evaluation.look import Scorer, look, talker
from mmidd.schema import Label


def text_verdict(
    run: Scorer, crop: NDArray[np.uint8], frame_index: int, explain: bool = False
) -> TextVerdict | None:
    """What is written about a crop (H, W, 3), and P(fake) in words; None if the run is mute.

    A run that can explain does so where `explain` asks for it; one that talks always does.
    """
    if talker(run) is None and not explain:
        return None
    seen = look(run, [crop], answers=True)
    ((answer,),) = (seen.answers or (),)
    fake = float(seen.scores.fake[0]) if answer.explained is None else answer.explained
    return TextVerdict(
        frame_index=frame_index,
        fake=fake,
        voted=answer.voted,
        answer=answer.text,
        label=answer.label,
        agrees=None if answer.label is None else (answer.label is Label.FAKE) == (fake >= 0.5),
    )
