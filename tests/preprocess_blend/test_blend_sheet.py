"""The contact sheet shows what the blends hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmidd.errors import StorageError
from mmidd.preprocess.blend.recipe import RECIPES
from mmidd.preprocess.blend.render import Blend
from mmidd.preprocess.blend.sheet import AMPLIFY, COLUMNS, HEADER, TILE, contact_sheet, describe, save_sheet


def blend() -> Blend:
    real = np.full((256, 256, 3), 100, np.uint8)
    mask = np.zeros((256, 256), np.uint8)
    mask[:, :128] = 255
    fake = np.where(mask[..., None] > 0, 110, real).astype(np.uint8)
    outline = np.array([[20.0, 200.0], [100.0, 200.0], [60.0, 240.0]])
    drawn = RECIPES["sbi"](np.random.default_rng(0))
    return Blend(real, real // 2, fake, mask, (outline,), drawn)


def test_a_row_holds_real_source_mask_blend_and_amplified_difference() -> None:
    sheet = contact_sheet([blend(), blend()])
    assert sheet.shape == (HEADER + 2 * (TILE + HEADER), len(COLUMNS) * TILE, 3)
    tiles = np.split(sheet[HEADER : HEADER + TILE], len(COLUMNS), axis=1)
    left, right = (TILE // 4, TILE // 4), (TILE // 4, 3 * TILE // 4)
    assert [int(t[left][0]) for t in tiles] == [100, 50, 255, 110, 10 * AMPLIFY]
    assert [int(t[right][0]) for t in tiles] == [100, 50, 0, 100, 0]


def test_the_outline_of_the_region_is_drawn_on_the_mask() -> None:
    sheet = contact_sheet([blend()])
    mask = sheet[HEADER : HEADER + TILE, 2 * TILE : 3 * TILE].astype(int)
    coloured = np.argwhere(mask[..., 0] - mask[..., 2] > 100) / TILE * 256
    assert abs(coloured[:, 0].min() - 200) < 3
    assert abs(coloured[:, 1].min() - 20) < 3


def test_a_row_says_what_was_drawn() -> None:
    regional = RECIPES["regional-poisson"](np.random.default_rng(0))
    said = describe(dataclasses.replace(blend(), parameters=regional))
    assert all(name in said for name in (*regional.regions, "poisson"))
    assert f"({blend().parameters.hull})" in describe(blend())


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
