"""Fabricated raw trees of the sources of reals."""

from __future__ import annotations

from pathlib import Path

from tests.ingest.trees import put

JPG = b"\xff\xd8 not really"


def celeba(root: Path, *, doubled: bool = False, table: str = "txt") -> Path:
    """Three aligned photos, one per split, two people."""
    folder = root / "img_align_celeba" / ("img_align_celeba" if doubled else "")
    for k in (1, 2, 3):
        put(folder / f"{k:06d}.jpg", JPG)
    if table == "csv":
        rows = "image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,2\n"
        put(root / "list_eval_partition.csv", rows.encode())
    else:
        put(root / "Eval/list_eval_partition.txt", b"000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    put(root / "Anno/identity_CelebA.txt", b"000001.jpg 2880\n000002.jpg  7\n")
    return root


TREES = {"celeba": celeba}
