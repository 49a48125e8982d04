"""A fabricated raw tree of the DFDC preview set."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ingest.trees import PNG, put

CLIPS = {
    "original_videos/643049/643049_A_001.mp4": ("real", "train", "643049", None),
    "original_videos/1003254/1003254_A_001.mp4": ("real", "test", "1003254", None),
    "method_A/643049/643049_A/1255229_643049_A_001.mp4": ("fake", "train", "643049", "1255229"),
    "method_B/1003254/1003254_A/1255229_1003254_A_001.mp4": ("fake", "test", "1003254", "1255229"),
}


def dfdcp(root: Path, *, level: str = "", suffix: str = ".mp4") -> Path:
    """Four clips; with `level`, flat below it as other tools copy them, `frames` as folders."""
    table = {}
    for path, (label, subset, target, swapped) in CLIPS.items():
        stem = Path(path).stem
        if level == "frames":
            put(root / path.split("/")[0] / level / stem / "000.png", PNG)
            put(root / path.split("/")[0] / "masks" / stem / "000.png", PNG)
        elif level:
            put(root / path.split("/")[0] / level / f"{stem}.mp4")
        else:
            put(root / path)
        row = {"label": label, "set": subset, "augmentations": [], "target_id": target}
        table[path.removesuffix(".mp4") + suffix] = row | {"swapped_id": swapped}
    put(root / "dataset.json", json.dumps(table).encode())
    return root


TREES = {"dfdcp": dfdcp}
