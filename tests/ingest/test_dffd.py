from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.errors import LayoutError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.schema import Media
from tests.ingest.trees import PNG, put
from tests.ingest.trees_dff import dffd


def read(root: Path) -> dict[str, Item]:
    found = find_reader("dffd")(root, ReadOptions()).listed()
    return {item.video_id.removeprefix("dffd/"): item for item in found if isinstance(item, Item)}


@pytest.mark.parametrize("doubled", [False, True])
def test_parts_are_types_and_folders_are_splits(doubled: bool, tmp_path: Path) -> None:
    found = read(dffd(tmp_path, doubled=doubled))
    assert {name: (item.type.value, item.split.value, item.method) for name, item in found.items()} == {
        "ffhq/train/R_FFHQ_00000": ("REAL", "train", "ffhq"),
        "ffhq/test/R_FFHQ_00001": ("REAL", "test", "ffhq"),
        "celeba/train/000007": ("REAL", "train", "celeba"),
        "faceapp/validation/whatever": ("FE", "val", "faceapp"),
        "stargan/train/x": ("FE", "train", "stargan"),
        "stylegan_ffhq/test/y": ("EFS", "test", "stylegan_ffhq"),
        "Face2Face/test/000_003_0012": ("FR", "test", "Face2Face"),
    }
    assert {(item.media, item.split_origin) for item in found.values()} == {(Media.PRECROPPED, "official")}


def test_masks_lie_beside_and_are_no_samples(tmp_path: Path) -> None:
    found = read(dffd(tmp_path))
    assert found["stargan/train/x"].mask == "stargan/train_mask/x.png"
    assert found["ffhq/train/R_FFHQ_00000"].mask is None


def test_reused_material_is_named_as_far_as_names_tell(tmp_path: Path) -> None:
    found = read(dffd(tmp_path))
    assert found["ffhq/train/R_FFHQ_00000"].overlap_ids == ("ffhq/00000",)
    assert found["celeba/train/000007"].overlap_ids == ("celeba/000007",)
    assert found["stylegan_ffhq/test/y"].overlap_ids == ()
    frame = found["Face2Face/test/000_003_0012"]
    assert (frame.pair_id, frame.donor_video) == ("ff++/youtube/c23/000", "ff++/youtube/c23/003")
    assert frame.overlap_ids == frame.identity_ids == ("ff++/000", "ff++/003")
    assert "not documented" in str(frame.label_note)


def test_what_is_no_part_and_what_is_no_crop_is_named(tmp_path: Path) -> None:
    root = dffd(tmp_path)
    put(root / "newgan/train/a.png", PNG)
    put(root / "faceapp/train/a.mp4")
    found = find_reader("dffd")(root, ReadOptions()).listed()
    assert {item.path: item.why for item in found if isinstance(item, Unlisted)} == {
        "newgan": "newgan is no part of DFFD",
        "faceapp/train/a.mp4": "DFFD holds crops; cut the video into crops first",
    }


@pytest.mark.parametrize("name", ["celeba_hq", "stargan"])
def test_folders_of_starganv2_are_not_taken_for_it(name: str, tmp_path: Path) -> None:
    put(tmp_path / name / "train/male/000004.jpg")
    put(tmp_path / name / "val/male/000005.jpg")
    with pytest.raises(LayoutError):
        read(tmp_path)
