"""A contact sheet of blends, one per row: real, source, mask, blend, difference and what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmidd.errors import StorageError
from mmidd.preprocess.blend.render import Blend, moved_source
from mmidd.preprocess.detectors.base import Pixels

TILE, HEADER, AMPLIFY = 192, 24, 4
COLUMNS = ("real", "source", "mask, outline of the region", "blend", f"difference x{AMPLIFY}")
_OUTLINE = (255, 210, 0)


def contact_sheet(blends: Sequence[Blend]) -> Pixels:
    """uint8 RGB image; differences are amplified four times, outlines are those of the named regions."""
    titles = np.hstack([_line(name, TILE) for name in COLUMNS])
    return np.vstack([titles, *(_row(blend) for blend in blends)])


def _row(blend: Blend) -> Pixels:
    difference = np.minimum(cv2.absdiff(blend.fake, blend.real).astype(np.int16) * AMPLIFY, 255)
    mask = np.repeat(blend.mask[..., None], 3, axis=2)
    tiles = [
        tile.astype(np.uint8) for tile in (blend.real, moved_source(blend), mask, blend.fake, difference)
    ]
    pictures = [cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA) for tile in tiles]
    scale = TILE / blend.mask.shape[1]
    for corners in blend.outlines:
        points = np.rint((corners + 0.5) * scale - 0.5).astype(np.int32)
        cv2.polylines(pictures[2], [points], isClosed=True, color=_OUTLINE, lineType=cv2.LINE_AA)
    return np.vstack([np.hstack(pictures), _line(describe(blend), TILE * len(tiles))])


def describe(blend: Blend) -> str:
    """What was drawn, in one line."""
    drawn = blend.parameters
    where = f" ({drawn.hull})" if drawn.hull else ""
    how = f"alpha, ratio {drawn.ratio:g}" if drawn.compositor == "alpha" else "poisson"
    change = "downscaled" if drawn.change.downscale else "sharpened"
    return f"{', '.join(drawn.regions)}{where}: {how}; {drawn.changed} changed, {change}"


def _line(text: str, width: int) -> Pixels:
    band = np.full((HEADER, width, 3), 255, np.uint8)
    cv2.putText(band, text, (6, HEADER - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return band


def save_sheet(sheet: Pixels, path: Path) -> None:
    """Write a sheet as an image of the path's format.

    Raises:
        StorageError: the file cannot be written.
    """
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    try:
        path.write_bytes(bytes(data))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; choose another --workspace") from error
