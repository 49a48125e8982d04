"""Fabricated raw trees of DF40's two archives."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ingest.trees import MP4, PAIRS, PNG, put

JPG = b"\xff\xd8 not really"


def lists(folder: Path) -> None:
    """FaceForensics++'s split lists."""
    for split, pairs in PAIRS.items():
        put(folder / f"{split}.json", json.dumps(pairs).encode())


def df40(root: Path) -> Path:
    """The training archive: two methods on clips, one with stray zip levels, one of whole faces."""
    base = root / "DF40_train"
    for name in ("000_001", "004_005", "000_004"):
        for frame in ("000", "012"):
            put(base / "simswap/frames" / name / f"{frame}.png", PNG)
        put(base / "simswap/landmarks" / name / "000.npy", b"x")
    put(base / "uniface/ff/frames/002_003/000.png", PNG)
    put(base / "sadtalker/frames/006##2023_11/000.png", PNG)
    for k in (11, 188):
        put(base / f"StyleGAN2/002/seed{k:04d}.png", PNG)
    (base / "StyleGAN2/003").mkdir()
    lists(base / "splits")
    return base


def df40_test(root: Path) -> Path:
    """The test archive: every shape of method folder of sources.md."""
    base = root / "DF40"
    put(base / "simswap/ff/frames/006_007/000000.png", PNG)
    put(base / "simswap/cdf/frames/id0_id16_0003/000.png", PNG)
    put(base / "fomm/ff/frames/000_001/000.png", PNG)
    put(base / "fomm/cdf/frames/id0_id16_0003/000.png", PNG)
    put(base / "ddim/ff/006/11287.png", PNG)
    put(base / "ddim/cdf/Celeb-real/id13_0011/7.png", PNG)
    put(base / "RDDM/cdf/Fake_from_Youtube-real/00012/7.png", PNG)
    put(base / "mobileswap/mobileswap/ff/frames.zip", b"PK")
    put(base / "deepfacelab/fake/frames/0001_fake/000.png", PNG)
    put(base / "deepfacelab/real/frames/0001/000.png", PNG)
    put(base / "heygen/heygen_new/fake/frames/clip7/000.png", PNG)
    put(base / "heygen/heygen_new/real/clip7.mp4", MP4)
    put(base / "whichfaceisreal/whichfaceisreal/fake/a.png", PNG)
    put(base / "whichfaceisreal/whichfaceisreal/real/00069.png", PNG)
    put(base / "MidJourney/fake/b.gif", b"GIF8")
    put(base / "MidJourney/fake/c.png", PNG)
    put(base / "stargan/fake/fake/d.jpg", JPG)
    put(base / "stargan/real/000007.jpg", JPG)
    put(base / "CollabDiff/fake/31/0.jpg", JPG)
    put(base / "e4e/e4e/ff/006/00001.jpg", JPG)
    put(base / "e4e/e4e/cdf/Youtube-real/inversions/00012.jpg", JPG)
    put(base / "e4e/e4e/cdf/Youtube-real/latents.pt", b"x")
    lists(base / "splits")
    return base


TREES = {"df40": df40, "df40-test": df40_test}
