"""Fabricated raw trees of the evaluation sets."""

from __future__ import annotations

from pathlib import Path

from tests.ingest.trees import PNG, put

CELEBDF = {
    "Celeb-real": ("id0_0000", "id0_0001", "id1_0007"),
    "YouTube-real": ("00000", "00170"),
    "Celeb-synthesis": ("id0_id1_0000", "id0_id1_0001", "id1_id0_0007"),
}
TEST_LINES = ("1 YouTube-real/00170.mp4", "1 Celeb-real/id1_0007.mp4", "0 Celeb-synthesis/id1_id0_0007.mp4")


def celebdf(root: Path, *, level: str = "", frames: bool = False, youtube: str = "YouTube-real") -> Path:
    """Celeb-DF as it unpacks, or with the levels that other tools insert."""
    for folder, names in CELEBDF.items():
        base = root / (youtube if folder == "YouTube-real" else folder) / level
        for name in names:
            if frames:
                put(base / name / "000.png", PNG)
                put(base / name / "012.png", PNG)
            else:
                put(base / f"{name}.mp4")
    put(root / "List_of_testing_videos.txt", "\n".join(TEST_LINES).encode())
    return root


def uadfv(root: Path, *, level: str = "") -> Path:
    """Two of the 49 pairs."""
    for k in (0, 48):
        put(root / "real" / level / f"{k:04d}.mp4")
        put(root / "fake" / level / f"{k:04d}_fake.mp4")
    return root


def dfd(root: Path) -> Path:
    """DeepFakeDetection alone, without FaceForensics++."""
    put(root / "original_sequences/actors/c23/videos/01__exit_phone_room.mp4")
    name = "01_02__exit_phone_room__YVGY8LOK.mp4"
    put(root / "manipulated_sequences/DeepFakeDetection/c23/videos" / name)
    put(root / "manipulated_sequences/DeepFakeDetection/masks/videos" / name)
    return root


TREES = {"celebdf-v1": celebdf, "celebdf-v2": celebdf, "uadfv": uadfv, "dfd": dfd}
