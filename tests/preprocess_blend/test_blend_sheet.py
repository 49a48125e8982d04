"""The contact sheet shows what the blends hold."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmidd.errors import StorageError
from mmidd.preprocess.blend.sbi import Blend
from mmidd.preprocess.blend.sheet import AMPLIFY, HEADER, TILE, contact_sheet, save_sheet


def blend() -> Blend:
    real = np.full((256, 256, 3), 100, np.uint8)
    mask = np.zeros((256, 256), np.float32)
    mask[:, :128] = 1
    fake = np.where(mask[..., None] > 0, 110, real).astype(np.uint8)
    return Blend(real, fake, mask, {"hull": "facehull", "shift_on": "source", "ratio": 0.5})


def test_a_row_holds_real_fake_mask_and_amplified_difference() -> None:
    sheet = contact_sheet([blend(), blend()])
    assert sheet.shape == (HEADER + 2 * (TILE + HEADER), 4 * TILE, 3)
    real, fake, mask, difference = np.split(sheet[HEADER : HEADER + TILE], 4, axis=1)
    left, right = (TILE // 2, TILE // 4), (TILE // 2, 3 * TILE // 4)
    assert [int(t[left][0]) for t in (real, fake, mask, difference)] == [100, 110, 255, 10 * AMPLIFY]
    assert [int(t[right][0]) for t in (real, fake, mask, difference)] == [100, 100, 0, 0]


def test_a_sheet_is_saved_in_the_right_colours(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 250
    save_sheet(red, tmp_path / "sheet.png")
    stored = cv2.imread(str(tmp_path / "sheet.png"))
    assert stored is not None
    assert stored[0, 0].tolist() == [0, 0, 250]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="choose another --workspace"):
        save_sheet(np.zeros((8, 8, 3), np.uint8), tmp_path / "absent" / "sheet.png")
