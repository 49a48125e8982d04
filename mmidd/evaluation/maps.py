"""A map of forged pixels against the mask of what was forged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmidd.evaluation.metrics import Curves, Floats, auc
from mmidd.training.augment import Draw, apply_to_mask

CALLED_FORGED = 0.5
"""P(forged) from which on a pixel is called forged."""
IS_FORGED = 0.3
"""Share of the blended-in source from which on it is (methods notes 3.5, AnomalyGPT's cut)."""
BINS = 256
"""Of the histograms of P(forged): equally wide in log-odds, since maps pile up near 0 and 1."""

_REACH = 10.0  # log-odds beyond which all falls into the outermost bins

Counts = NDArray[np.int64]


class Located(NamedTuple):
    """What a map says of a sample.

    Attributes:
        share: of its pixels that are called forged.
        iou, dice: of these and those that are forged; None without a mask, or where it marks none.
        auc: area under the ROC curve of its pixels, None where one kind of them is missing.
        forged: histogram of P(forged) of the pixels that are, (BINS,), None without a mask.
        pristine: of the others.
    """

    share: float
    iou: float | None = None
    dice: float | None = None
    auc: float | None = None
    forged: Counts | None = None
    pristine: Counts | None = None


def locate(found: NDArray[np.float32], mask: NDArray[np.uint8] | None) -> Located:
    """Compare P(forged) of pixels (S, S) with a soft mask (H, W), which is resized as its image was."""
    called = found >= CALLED_FORGED
    share = float(called.mean())
    if mask is None:
        return Located(share)
    truth = apply_to_mask(mask, Draw(), len(found)) / 255 >= IS_FORGED
    forged, pristine = histogram(found[truth]), histogram(found[~truth])
    if not truth.any():
        return Located(share, forged=forged, pristine=pristine)
    both, either = int((called & truth).sum()), int((called | truth).sum())
    area = None if truth.all() else float(histogram_auc(forged[None], pristine[None])[0])
    return Located(share, both / either, 2 * both / (both + either), area, forged, pristine)


def histogram(values: NDArray[np.float32]) -> Counts:
    """How many probabilities of any shape fall into each bin, (BINS,)."""
    exact = np.clip(values.astype(np.float64), 1e-12, 1 - 1e-12)
    odds = np.log(exact) - np.log1p(-exact)
    place = np.clip((odds / _REACH + 1) * (BINS / 2), 0, BINS - 1).astype(np.int64)
    return np.bincount(place.ravel(), minlength=BINS)


def histogram_auc(forged: NDArray[np.number], pristine: NDArray[np.number]) -> Floats:
    """Area under the ROC curve (B,) from histograms (B, BINS); pixels of one bin count as tied."""
    return auc(Curves(_from_the_top(forged), _from_the_top(pristine), np.empty(0)))


def _from_the_top(counts: NDArray[np.number]) -> Floats:
    curve = np.zeros((len(counts), BINS + 1))
    np.cumsum(counts[:, ::-1], axis=1, out=curve[:, 1:])
    return curve
