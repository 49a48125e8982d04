from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.cli.command import as_json, error_line, mmidd
from tests.ingest.trees_dff import PATHS


def test_rows_keep_what_was_said_at_the_first_ingest(tmp_path: Path) -> None:
    for method in ("wiki", "inpainting"):
        for number, path in enumerate(PATHS):
            target = tmp_path / "raw" / method / path
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 40, 3), 60 * number, np.uint8)).save(target)
    line = ["ingest", "dff", tmp_path / "raw", "-w", tmp_path / "ws", "--max-failed", 1]
    first = as_json(*line, "--seed", 3)
    assert first["finished"] == 6
    assert as_json(*line, "--seed", 3)["done_before"] == 6
    assert "--seed 3, now it is 4" in error_line(mmidd(*line, "--seed", 4), 2)
    wrong = mmidd(*line, "--seed", 3, "--type", "inpainting=FE")
    assert '--type {}, now it is {"inpainting": "FE"}' in error_line(wrong, 2)
    assert as_json("verify", "-w", tmp_path / "ws") == []
