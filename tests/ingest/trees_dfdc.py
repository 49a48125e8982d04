"""A fabricated raw tree of the full DFDC."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ingest.trees import put

PARTS = {
    0: {"aaa": ("FAKE", "bbb"), "bbb": ("REAL", None)},
    13: {"ccc": ("REAL", None), "ddd": ("FAKE", "bbb")},
}


def dfdc(root: Path, *, nested: bool = False, level: str = "") -> Path:
    """Two training parts, validation and test with two clips each."""
    for number, clips in PARTS.items():
        base = root / f"dfdc_train_part_{number:02d}" if nested else root
        base = base / f"dfdc_train_part_{number}"
        rows = {}
        for stem, (label, original) in clips.items():
            put(base / f"{stem}.mp4")
            rows[f"{stem}.mp4"] = {"label": label, "split": "train"}
            rows[f"{stem}.mp4"] |= {"original": f"{original}.mp4"} if original else {}
        put(base / "metadata.json", json.dumps(rows).encode())
    for name in ("validation", "test"):
        for stem in ("eee", "fff"):
            put(root / name / level / f"{stem}.mp4")
        put(root / name / "labels.csv", b"filename,label\neee.mp4,0\nfff.mp4,1\n")
    return root


TREES = {"dfdc": dfdc}
