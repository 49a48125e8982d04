"""A raw tree of WildDeepfake, with real tar files of real images."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

VIDEOS = {"fake_train": ("1", "10"), "real_train": ("1",), "fake_test": ("2",), "real_test": ("7",)}


def picture(number: int) -> bytes:
    """A PNG of 32 x 32 px, its own for every number."""
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def members(label: str, video: str) -> dict[str, bytes]:
    """Two sequences of one video, frames numbered as in the source video."""
    numbers = {f"./{video}/{label}/131/{k}.png": k for k in (2, 942, 10)}
    numbers |= {f"./{video}/{label}/7/5.png": 5}
    return {name: picture(1000 * int(video) + k) for name, k in numbers.items()}


def wilddeepfake(root: Path, *, blank: bool = False, packed: str = "gz", suffix: str = ".tar.gz") -> Path:
    """Five videos; `packed` is the compression of the tar files, empty for plain tar, `none` to unpack."""
    for folder, videos in VIDEOS.items():
        base = root / "deepfake_in_the_wild" / (folder.replace("_", " ") if blank else folder)
        base.mkdir(parents=True)
        for video in videos:
            files = members(folder[:4], video)
            if packed == "none":
                for name, data in files.items():
                    (base / name).parent.mkdir(parents=True, exist_ok=True)
                    (base / name).write_bytes(data)
                continue
            with tarfile.open(base / f"{video}{suffix}", f"w:{packed}") as archive:  # type: ignore[call-overload]
                for name, data in files.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return root / "deepfake_in_the_wild"


TREES = {"wilddeepfake": wilddeepfake}
