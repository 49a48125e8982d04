"""Fabricated raw trees of CelebA-HQ, CelebV-HQ and GenImage."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ingest.trees import MP4, PNG, put
from tests.ingest.trees_reals import JPG

MAPPING = """idx    orig_idx   orig_file          
0      119613     119614.jpg         
1      99094      099095.jpg         
2      200121     200122.jpg         
"""  # noqa: W291
YOUTUBE = {"M2Ohb0FAaJU_0": "M2Ohb0FAaJU", "M2Ohb0FAaJU_1": "M2Ohb0FAaJU", "-a_b-c_d_e9_12": "-a_b-c_d_e9"}


def celebahq(root: Path, *, folder: str = "CelebA-HQ-img", suffix: str = ".jpg", lists: bool = True) -> Path:
    """Three photos, one per split of CelebA, two people; masks beside."""
    for k in range(3):
        put(root / folder / f"{k}{suffix}", JPG if suffix == ".jpg" else PNG)
    put(root / "CelebAMask-HQ-mask-anno/0/00000_hair.png", PNG)
    put(root / "CelebA-HQ-to-CelebA-mapping.txt", MAPPING.encode())
    if lists:
        put(
            root / "Eval/list_eval_partition.txt", b"119614.jpg 0\n099095.jpg 1\n200122.jpg 2\n000001.jpg 0\n"
        )
        put(root / "Anno/identity_CelebA.txt", b"119614.jpg 2880\n099095.jpg 7\n")
    return root


def celebvhq(root: Path, *, folder: str = "downloaded_celebvhq/processed", info: bool = True) -> Path:
    """Three clips of two YouTube videos, one of which begins with a dash."""
    for clip in YOUTUBE:
        put(root / folder / f"{clip}.mp4", MP4)
    if info:
        clips = {
            clip: {"ytb_id": video, "duration": {"start_sec": 1.0, "end_sec": 4.0}, "version": "v0.1"}
            for clip, video in YOUTUBE.items()
        }
        put(root / "celebvhq_info.json", json.dumps({"meta_info": {}, "clips": clips}).encode())
    return root


def genimage(root: Path, *, doubled: bool = False) -> Path:
    """Two generators with train and val; both take one photo of ImageNet."""
    for name, token in (("imagenet_ai_0419_sdv4", "sdv4"), ("BigGAN", "biggan")):
        folder = root / name / name if doubled else root / name
        for split, photo in (("train", "n01440764_10026"), ("val", "ILSVRC2012_val_00042542")):
            put(folder / split / "ai" / f"000_{token}_00020.png", PNG)
            put(folder / split / "nature" / f"{photo}.JPEG", JPG)
    return root


TREES = {"celeba-hq": celebahq, "celebv-hq": celebvhq, "genimage": genimage}
