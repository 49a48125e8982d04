"""Fabricated raw trees of DeepFakeFace and DFFD."""

from __future__ import annotations

import pickle
from pathlib import Path

from tests.ingest.trees import PNG, put

JPG = b"\xff\xd8 not really"
ANN, BOB, CLEO = "10000217_1981-05-05_2009", "20000142_1960-01-31_1999", "317_1970-1-1_2001"
PATHS = [f"{stem.split('_')[0][-2:]}/{stem}.jpg" for stem in (ANN, BOB, CLEO)]


def dff(root: Path, *, doubled: bool = False, partners: bool = True) -> Path:
    """Three people in all four folders; the first two are partners."""
    for method in ("wiki", "insight", "inpainting", "text2img"):
        for path in PATHS:
            put(root / method / (method if doubled else "") / path, JPG)
    if partners:
        pairs = [(PATHS[0], PATHS[1]), (PATHS[1], PATHS[0])]
        texts = (PATHS, ["Ann, celebrity, 28-year-old"] * 3, pairs)
        put(root / "data/wiki.pickle", pickle.dumps(texts))
    return root


def dffd(root: Path, *, doubled: bool = False) -> Path:
    """Four released parts, two that users make, masks beside the fakes."""
    files = {
        "ffhq/train/R_FFHQ_00000": False,
        "ffhq/test/R_FFHQ_00001": False,
        "faceapp/validation/whatever": True,
        "stargan/train/x": True,
        "stylegan_ffhq/test/y": True,
        "celeba_real/train/000007": False,
        "Face2Face/test/000_003_0012": True,
    }
    for path, mask in files.items():
        part, split, stem = path.split("/")
        base = root / part / (part if doubled else "")
        put(base / split / f"{stem}.png", PNG)
        if mask:
            put(base / f"{split}_mask" / f"{stem}.png", PNG)
    put(root / "scripts/data_lists/train_real.txt", b"R_FFHQ_00000.png")
    return root


TREES = {"dff": dff, "dffd": dffd}
