"""GenImage: generators under any of their names, whole folders, one generator, copies."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmidd.errors import LayoutError, UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.ingest.stage import crop_faces, units
from mmidd.schema import ForgeryType, Label, Media, Split
from mmidd.spec import PreprocessSpec
from tests.ingest.trees import PNG, ffpp, put
from tests.ingest.trees_h import genimage
from tests.ingest.trees_reals import JPG, celeba

NAMES = {
    "ADM": ("imagenet_ai_0508_adm", "ADM", "adm"),
    "BigGAN": ("imagenet_ai_0419_biggan", "BigGAN", "biggan"),
    "glide": ("imagenet_glide", "glide", "Glide"),
    "Midjourney": ("imagenet_midjourney", "Midjourney", "midjourney"),
    "SDv1.4": ("imagenet_ai_0419_sdv4", "stable_diffusion_v_1_4", "SDv1.4", "sd14"),
    "SDv1.5": ("imagenet_ai_0424_sdv5", "stable_diffusion_v_1_5", "SDv1.5", "Stable-Diffusion-v1.5"),
    "VQDM": ("imagenet_ai_0419_vqdm", "VQDM", "vqdm"),
    "wukong": ("imagenet_ai_0424_wukong", "wukong", "Wukong"),
}


def listed(root: Path, **options: object) -> list[Item | Unlisted]:
    return list(find_reader("genimage")(root, ReadOptions(**options)).listed())  # type: ignore[arg-type]


def items(root: Path, **options: object) -> list[Item]:
    return [item for item in listed(root, **options) if isinstance(item, Item)]


@pytest.mark.parametrize("doubled", [False, True])
def test_labels_and_splits_come_from_folders(doubled: bool, tmp_path: Path) -> None:
    found = items(genimage(tmp_path, doubled=doubled))
    assert [(i.video_id, i.method, i.split) for i in found] == [
        (f"genimage/{name}/{part}/{kind}/{stem}", name if kind == "ai" else "nature", split)
        for name, token in (("BigGAN", "biggan"), ("SDv1.4", "sdv4"))
        for part, split, photo in (
            ("train", Split.TRAIN, "n01440764_10026"),
            ("val", Split.TEST, "ILSVRC2012_val_00042542"),
        )
        for kind, stem in (("ai", f"000_{token}_00020"), ("nature", photo))
    ]
    for item in found:
        real = "/nature/" in item.path
        assert (item.label, item.type) == (
            (Label.REAL, ForgeryType.REAL) if real else (Label.FAKE, ForgeryType.EFS)
        )
        assert (item.media, item.split_origin) == (Media.PRECROPPED, "official")
        assert item.overlap_ids == ((f"imagenet/{Path(item.path).stem}",) if real else ())
        assert item.label_note == (None if real else "whole image of ImageNet content, no face")


@pytest.mark.parametrize(("method", "name"), [(m, name) for m, names in NAMES.items() for name in names])
def test_every_generator_has_one_method_under_all_its_names(method: str, name: str, tmp_path: Path) -> None:
    put(tmp_path / name / "Train" / "AI" / "x.png", PNG)
    for root in (tmp_path, tmp_path / name):
        (item,) = items(root)
        assert (item.method, item.video_id) == (method, f"genimage/{method}/train/ai/x")


def test_a_drive_folder_may_hold_the_unzipped_one(tmp_path: Path) -> None:
    put(tmp_path / "GenImage/stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/val/nature/a.JPEG", JPG)
    put(tmp_path / "GenImage/ADM/imagenet_ai_0508_adm/val/ai/b.png", PNG)
    assert [i.video_id for i in items(tmp_path)] == [
        "genimage/ADM/val/ai/b",
        "genimage/SDv1.5/val/nature/a",
    ]


@pytest.mark.parametrize(
    ("stem", "method"),
    [
        ("000_sdv4_00020", "SDv1.4"),
        ("033_sdv5_00134", "SDv1.5"),
        ("112_midjourney_23", "Midjourney"),
        ("GLIDE_1000_200_00_001_glide_00086", "glide"),
        ("0_adm_12", "ADM"),
        ("photo", "unknown"),
    ],
)
def test_file_names_tell_the_generator_where_folders_do_not(stem: str, method: str, tmp_path: Path) -> None:
    put(tmp_path / "data/val/ai" / f"{stem}.png", PNG)
    put(tmp_path / "data/val/nature/a.JPEG", JPG)
    fake, real = items(tmp_path / "data")
    assert (fake.method, real.method) == (method, "nature")
    assert (fake.video_id, real.video_id) == (
        f"genimage/{method}/val/ai/{stem}",
        f"genimage/{method}/val/nature/a",
    )
    assert ("no known generator" in str(fake.label_note)) is (method == "unknown")


@pytest.mark.parametrize(
    ("folder", "split", "origin"),
    [
        ("ADM", Split.NONE, "unlisted"),
        ("ADM/val", Split.TEST, "official"),
        ("ADM/train", Split.TRAIN, "official"),
        ("test/ADM", Split.TEST, "official"),
    ],
)
def test_renamed_copies(folder: str, split: Split, origin: str, tmp_path: Path) -> None:
    put(tmp_path / folder / "1_fake/0.png", PNG)
    put(tmp_path / folder / "0_real/ILSVRC2012_val_00000001.png", PNG)
    put(tmp_path / folder / "0_real/0.png", PNG)
    found = {Path(i.path).parent.name + Path(i.path).stem: i for i in items(tmp_path)}
    assert (found["1_fake0"].method, found["1_fake0"].type) == ("ADM", ForgeryType.EFS)
    assert (found["0_real0"].method, found["0_real0"].label) == ("nature", Label.REAL)
    assert found["0_real0"].overlap_ids == ()
    assert found["0_realILSVRC2012_val_00000001"].overlap_ids == ("imagenet/ILSVRC2012_val_00000001",)
    assert {(i.split, i.split_origin) for i in found.values()} == {(split, origin)}
    assert all("renamed by a copy" in str(i.label_note) for i in found.values())


def test_one_photo_of_two_generators_is_two_items_with_one_overlap(tmp_path: Path) -> None:
    reals = [i for i in items(genimage(tmp_path)) if i.split is Split.TEST and i.label is Label.REAL]
    assert len({i.video_id for i in reals}) == 2
    assert {i.overlap_ids for i in reals} == {("imagenet/ILSVRC2012_val_00042542",)}


def test_folders_inside_ai_and_second_copies(tmp_path: Path) -> None:
    put(tmp_path / "ADM/train/ai/ai/a.png", PNG)
    put(tmp_path / "ADM/train/ai/cat/a.png", PNG)
    put(tmp_path / "imagenet_ai_0508_adm/train/ai/a.png", PNG)
    put(tmp_path / "imagenet_ai_0508_adm/train/ai/b.png", PNG)
    assert {i.video_id for i in items(tmp_path)} == {
        f"genimage/ADM/train/ai/{x}" for x in ("a", "cat/a", "b")
    }
    (second,) = [i for i in listed(tmp_path) if isinstance(i, Unlisted)]
    assert (second.path, second.why) == (
        "imagenet_ai_0508_adm/train/ai/a.png",
        "a second file of genimage/ADM/train/ai/a",
    )


def test_the_root_is_the_folder_of_the_generators(tmp_path: Path) -> None:
    put(tmp_path / "GenImage/ADM/val/val/ai/a.png", PNG)
    put(tmp_path / "holiday/b.png", PNG)
    (only,) = listed(tmp_path)
    assert only.path == "ADM/val/val/ai/a.png"
    assert isinstance(only, Item)
    assert (only.video_id, only.split) == ("genimage/ADM/val/ai/a", Split.TEST)


def test_what_has_no_place_is_unlisted(tmp_path: Path) -> None:
    root = genimage(tmp_path)
    strays = {
        "teaser.png",
        "BigGAN/a.png",
        "BigGAN/train/b.png",
        "progan/car/0_real/c.png",
        "BigGAN/val/x/d.png",
    }
    strays |= {"mine/train/0_real/e.png"}
    for name in strays:
        put(root / name, PNG)
    put(root / "BigGAN/train/ai/notes.txt", b"text")
    put(root / "__MACOSX/BigGAN/train/ai/._x.png", b"x")
    assert {i.path for i in listed(root) if isinstance(i, Unlisted)} == strays
    assert len(items(root)) == 8


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_counts_over_all_generators(limit: int, tmp_path: Path) -> None:
    found = items(genimage(tmp_path), limit_videos=limit)
    methods = [i.method for i in found]
    assert methods.count("nature") == min(limit, 4)
    assert methods.count("BigGAN") == methods.count("SDv1.4") == min(limit, 2)


def test_empty_files_are_items_that_check_reports(tmp_path: Path) -> None:
    root = genimage(tmp_path)
    put(root / "imagenet_ai_0419_sdv4/train/ai/033_sdv4_00134.png", b"")
    report = check(find_reader("genimage")(root, ReadOptions()))
    assert len(items(root)) == 9
    assert report.counts["SDv1.4", "", "train"].unreadable == [
        "imagenet_ai_0419_sdv4/train/ai/033_sdv4_00134.png: empty file"
    ]


def test_images_of_any_size_pass_untouched(tmp_path: Path) -> None:
    for size, name in (((40, 90, 3), "ai/a.png"), ((7, 3, 3), "nature/n01440764_1.JPEG")):
        data = cv2.imencode(Path(name).suffix.lower(), np.full(size, 90, np.uint8))[1].tobytes()
        put(tmp_path / "ADM/val" / name, data)
    for unit in units(find_reader("genimage")(tmp_path, ReadOptions()), PreprocessSpec()):
        (row,) = crop_faces(unit.payload)
        (blob,) = row.blobs
        assert blob.data == (tmp_path / str(unit.columns["src_path"])).read_bytes()


def test_other_sources_do_not_match(tmp_path: Path) -> None:
    ffpp(tmp_path / "a")
    celeba(tmp_path / "b")
    put(tmp_path / "progan/0_real/a.png", PNG)
    for name in ("madman", "gladms", "glider", "sdv45"):
        put(tmp_path / name / "0_real/a.png", PNG)
    put(tmp_path / "c/ai/a.png", PNG)
    put(tmp_path / "d/train/real/a.png", PNG)
    put(tmp_path / "e/train/0_real/a.png", PNG)
    with pytest.raises(LayoutError):
        items(tmp_path)


def test_it_has_one_quality(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --compression out"):
        items(genimage(tmp_path), compressions=("c23",))
