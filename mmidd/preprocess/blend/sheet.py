"""A contact sheet of blends: real, fake, mask and difference, one blend per row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmidd.errors import StorageError
from mmidd.preprocess.blend.colour import Pixels
from mmidd.preprocess.blend.sbi import Blend

TILE, HEADER, AMPLIFY = 192, 24, 4


def contact_sheet(blends: Sequence[Blend]) -> Pixels:
    """uint8 RGB image; differences are amplified four times."""
    rows = [_row(blend) for blend in blends]
    return np.vstack([_header(("real", "fake", "mask", f"difference x{AMPLIFY}"), ""), *rows])


def _row(blend: Blend) -> Pixels:
    difference = np.abs(blend.fake.astype(np.int16) - blend.real.astype(np.int16)) * AMPLIFY
    mask = np.repeat(np.rint(blend.mask * 255).astype(np.uint8)[..., None], 3, axis=2)
    tiles = (blend.real, blend.fake, mask, np.minimum(difference, 255).astype(np.uint8))
    pictures = np.hstack([cv2.resize(t, (TILE, TILE), interpolation=cv2.INTER_AREA) for t in tiles])
    p = blend.parameters
    return np.vstack([pictures, _header((), f"{p['hull']}, shift on {p['shift_on']}, ratio {p['ratio']:g}")])


def _header(columns: Sequence[str], line: str) -> Pixels:
    band = np.full((HEADER, TILE * 4, 3), 255, np.uint8)
    for number, text in enumerate(columns or (line,)):
        place = (number * TILE + 6, HEADER - 8)
        cv2.putText(band, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return band


def save_sheet(sheet: Pixels, path: Path) -> None:
    """Write a sheet as an image of the path's format.

    Raises:
        StorageError: the file cannot be written.
    """
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    try:
        path.write_bytes(bytes(data) if done else b"")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; choose another --workspace") from error
