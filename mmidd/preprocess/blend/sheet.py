"""A contact sheet of blends: real, fake, mask and difference, one blend per row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmidd.errors import StorageError
from mmidd.preprocess.blend.sbi import Blend
from mmidd.preprocess.detectors.base import Pixels

TILE, HEADER, AMPLIFY = 192, 24, 4


def contact_sheet(blends: Sequence[Blend]) -> Pixels:
    """uint8 RGB image; differences are amplified four times."""
    columns = np.hstack([_line(name, TILE) for name in ("real", "fake", "mask", f"difference x{AMPLIFY}")])
    return np.vstack([columns, *(_row(blend) for blend in blends)])


def _row(blend: Blend) -> Pixels:
    difference = np.minimum(cv2.absdiff(blend.fake, blend.real).astype(np.int16) * AMPLIFY, 255)
    mask = np.repeat(np.rint(blend.mask * 255)[..., None], 3, axis=2)
    tiles = [tile.astype(np.uint8) for tile in (blend.real, blend.fake, mask, difference)]
    pictures = np.hstack([cv2.resize(t, (TILE, TILE), interpolation=cv2.INTER_AREA) for t in tiles])
    p = blend.parameters
    words = f"{p['hull']}, shift on {p['shift_on']}, ratio {p['ratio']:g}"
    return np.vstack([pictures, _line(words, pictures.shape[1])])


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
