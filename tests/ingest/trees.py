"""Fabricated raw trees: right names and first bytes, no media inside. Readers never decode."""

from __future__ import annotations

import json
from pathlib import Path

MP4 = b"\0\0\0\x18ftypmp42 not really"
PNG = b"\x89PNG not really"
PAIRS = {"train": [["000", "001"], ["002", "003"]], "val": [["004", "005"]], "test": [["006", "007"]]}
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")


def put(path: Path, data: bytes = MP4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def ffpp(
    root: Path, *, compressions: tuple[str, ...] = ("c23",), level: str = "videos", splits: bool = True
) -> Path:
    """FaceForensics++ with eight clips, every pair both ways, two DFD clips."""
    clips = sorted({clip for pairs in PAIRS.values() for pair in pairs for clip in pair})
    fakes = [f"{a}_{b}" for pairs in PAIRS.values() for pair in pairs for a, b in (pair, pair[::-1])]
    for compression in compressions:
        real, fake = root / "original_sequences", root / "manipulated_sequences"
        for clip in clips:
            put(real / "youtube" / compression / level / f"{clip}.mp4")
        put(real / "actors" / compression / level / "01__exit_phone_room.mp4")
        put(fake / "DeepFakeDetection" / compression / level / "01_02__exit_phone_room__YVGY8LOK.mp4")
        for method in METHODS:
            for name in fakes:
                put(fake / method / compression / level / f"{name}.mp4")
                if method != "FaceShifter":
                    put(fake / method / "masks" / "videos" / f"{name}.mp4")
    if splits:
        for split, pairs in PAIRS.items():
            put(root / "splits" / f"{split}.json", json.dumps(pairs).encode())
        people = {clip: f"person{int(clip) // 2} 0" for clip in clips}
        put(root / "conversion_dict.json", json.dumps(people).encode())
    return root


def ffhq(root: Path, numbers: tuple[int, ...] = (0, 1, 2, 60001)) -> Path:
    """FFHQ images in their thousands, with the official JSON."""
    entries = {}
    for number in numbers:
        put(root / "images1024x1024" / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png", PNG)
        category = "training" if number < 60000 else "validation"
        entries[str(number)] = {
            "category": category,
            "metadata": {"author": f"author{number}", "license": "CC0"},
        }
    put(root / "images1024x1024" / "LICENSE.txt", b"terms")
    put(root / "ffhq-dataset-v2.json", json.dumps(entries).encode())
    return root


def own(root: Path) -> Path:
    """Own data described by rules."""
    (root / "real" / "anna").mkdir(parents=True)
    put(root / "real" / "anna" / "a 1.mp4")
    put(root / "fake" / "anna" / "a 1.mp4")
    put(root / "stray.mp4")
    (root / "dataset.yaml").write_text(
        """
name: mine
media: video
rules:
  - {glob: "real/**/*.mp4", label: real, split: train, pattern: "real/(?P<who>[^/]+)/", identity: "{who}",
     video: "real/{who}/{stem}"}
  - {glob: "fake/**/*.mp4", label: fake, type: FS, method: lab-swap, split: train,
     pattern: "fake/(?P<who>[^/]+)/", identity: "{who}",
     video: "fake/{who}/{stem}", pair: "real/{who}/{stem}"}
"""
    )
    return root


TREES = {"ff++": ffpp, "ffhq": ffhq, "folder": own}
