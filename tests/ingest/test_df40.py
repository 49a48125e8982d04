"""DF40: forty methods, two archives, every shape of folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.ingest.df40_methods import METHODS, method_named
from mmidd.schema import ForgeryType, Label, Media, Split
from tests.ingest.trees import PNG, put
from tests.ingest.trees_df40 import df40, df40_test


def read(key: str, root: Path, **options: object) -> dict[str, Item]:
    found = find_reader(key)(root, ReadOptions(**options)).listed()  # type: ignore[arg-type]
    return {item.video_id: item for item in found if isinstance(item, Item)}


def unlisted(key: str, root: Path) -> dict[str, str]:
    found = find_reader(key)(root, ReadOptions()).listed()
    return {item.path: item.why for item in found if isinstance(item, Unlisted)}


def test_the_table_of_methods_is_the_papers() -> None:
    assert Counter(m.type.value for m in METHODS) == {"FS": 10, "FR": 13, "EFS": 12, "FE": 5}
    assert sum(m.known for m in METHODS) == 31
    assert len({m.name for m in METHODS}) == 40


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("sd_2.1", "SD-2.1"),
        ("sd2.1_new", "SD-2.1"),
        ("pixart", "PixArt-alpha"),
        ("mraa", "MRAA"),
        ("danet", "DaGAN"),
        ("DDIM", "DDPM"),
        ("whichisreal", "WhichisReal"),
        ("facevid2vid", "FS_vid2vid"),
        ("StyleGAN-XL", "StyleGAN-XL"),
    ],
)
def test_folders_are_known_by_any_spelling(folder: str, name: str) -> None:
    method = method_named(folder)
    assert method is not None
    assert method.name == name


def test_a_face_swap_keeps_the_split_people_and_original_of_faceforensics(tmp_path: Path) -> None:
    item = read("df40", df40(tmp_path))["df40/simswap/ff/000_001"]
    assert (item.method, item.type, item.label, item.media) == (
        "SimSwap",
        ForgeryType.FS,
        Label.FAKE,
        Media.PRECROPPED,
    )
    assert (item.split, item.split_origin) == (Split.TRAIN, "official")
    assert (item.pair_id, item.donor_video) == ("ff++/youtube/c23/000", "ff++/youtube/c23/001")
    assert item.pair_confidence == "derived"
    assert item.overlap_ids == item.identity_ids == ("ff++/000", "ff++/001")
    assert item.frame_index == 12


def test_clips_of_the_training_archive_get_their_true_split_or_none(tmp_path: Path) -> None:
    found = read("df40", df40(tmp_path))
    assert found["df40/simswap/ff/004_005"].split is Split.VAL
    crossing = found["df40/simswap/ff/000_004"]
    assert (crossing.split, crossing.split_origin) == (Split.NONE, "unlisted")
    assert found["df40/uniface/ff/002_003"].split is Split.TRAIN


def test_sadtalker_names_begin_with_one_clip(tmp_path: Path) -> None:
    item = read("df40", df40(tmp_path))["df40/sadtalker/ff/006##2023_11"]
    assert (item.pair_id, item.donor_video, item.pair_confidence) == ("ff++/youtube/c23/006", None, "low")
    assert item.split is Split.TEST


def test_whole_faces_only_mimic_clip_ids(tmp_path: Path) -> None:
    item = read("df40", df40(tmp_path))["df40/StyleGAN2/ff/002"]
    assert (item.type, item.pair_id, item.identity_ids) == (ForgeryType.EFS, item.video_id, ())
    assert (item.split, item.frame_index) == (Split.TRAIN, 188)


def test_split_lists_are_asked_for_and_can_be_derived(tmp_path: Path) -> None:
    df40(tmp_path)
    (tmp_path / "DF40_train/splits").rename(tmp_path / "lists")
    with pytest.raises(UsageError, match=r"--derive-splits"):
        read("df40", tmp_path)
    assert (
        read("df40", tmp_path, annotations=tmp_path / "lists")["df40/simswap/ff/000_001"].split is Split.TRAIN
    )
    item = read("df40", tmp_path, derive_splits=True)["df40/StyleGAN2/ff/002"]
    assert item.split_origin == "derived"


def test_a_test_only_method_in_the_training_archive_has_no_split(tmp_path: Path) -> None:
    put(df40(tmp_path) / "e4e/ff/000/00001.jpg")
    item = read("df40", tmp_path)["df40/e4e/ff/000"]
    assert (item.split, item.split_origin, item.type) == (Split.NONE, "unlisted", ForgeryType.FE)
    assert "test-only" in str(item.label_note)


def test_test_archive_in_every_shape(tmp_path: Path) -> None:
    found = read("df40-test", df40_test(tmp_path))
    said = {
        name.removeprefix("df40-test/"): (i.method, i.type.value, i.split.value) for name, i in found.items()
    }
    assert said == {
        "fomm/ff/000_001": ("FOMM", "FR", "none"),
        "fomm/cdf/id0_id16_0003": ("FOMM", "FR", "test"),
        "simswap/ff/006_007": ("SimSwap", "FS", "test"),
        "simswap/cdf/id0_id16_0003": ("SimSwap", "FS", "test"),
        "ddim/ff/006": ("DDPM", "EFS", "test"),
        "ddim/cdf/celeb-real/id13_0011": ("DDPM", "EFS", "test"),
        "RDDM/cdf/youtube-real/00012": ("RDDM", "EFS", "test"),
        "deepfacelab/fake/0001_fake": ("DeepFaceLab", "FS", "test"),
        "deepfacelab/real/0001": ("DeepFaceLab-real", "REAL", "test"),
        "heygen/fake/clip7": ("HeyGen", "FR", "test"),
        "heygen/real/clip7": ("HeyGen-real", "REAL", "test"),
        "whichfaceisreal/fake/a": ("WhichisReal", "EFS", "test"),
        "whichfaceisreal/real/00069": ("WhichisReal-real", "REAL", "test"),
        "MidJourney/fake/c": ("MidJourney6", "EFS", "test"),
        "stargan/fake/d": ("StarGAN", "FE", "test"),
        "stargan/real/000007": ("StarGAN-real", "REAL", "test"),
        "CollabDiff/fake/31": ("CollabDiff", "FE", "test"),
        "e4e/ff/006": ("e4e", "FE", "test"),
        "e4e/cdf/youtube-real/00012": ("e4e", "FE", "test"),
    }
    assert found["df40-test/heygen/real/clip7"].media is Media.VIDEO


def test_celeb_df_clips_are_paired_in_celeb_df(tmp_path: Path) -> None:
    found = read("df40-test", df40_test(tmp_path))
    swap, motion = (found[f"df40-test/{m}/cdf/id0_id16_0003"] for m in ("simswap", "fomm"))
    assert swap.pair_id == motion.pair_id == "celebdf-v2/Celeb-real/id0_0003"
    assert (swap.pair_confidence, motion.pair_confidence) == ("derived", "low")
    assert swap.identity_ids == ("celebdf-v2/id0", "celebdf-v2/id16")
    assert swap.overlap_ids == ("celebdf/id0", "celebdf/id16")
    whole = found["df40-test/ddim/cdf/celeb-real/id13_0011"]
    assert (whole.pair_id, whole.identity_ids) == (whole.video_id, ())


def test_shipped_reals_name_the_material_they_share(tmp_path: Path) -> None:
    found = read("df40-test", df40_test(tmp_path))
    shared = {name.split("/")[1]: i.overlap_ids for name, i in found.items() if i.label is Label.REAL}
    assert shared == {
        "deepfacelab": ("uadfv/0001",),
        "heygen": (),
        "whichfaceisreal": ("ffhq/00069",),
        "stargan": ("celeba/000007",),
    }
    assert found["df40-test/deepfacelab/fake/0001_fake"].overlap_ids == ("uadfv/0001",)


def test_without_lists_the_test_archive_is_believed_and_says_so(tmp_path: Path) -> None:
    df40_test(tmp_path)
    (tmp_path / "DF40/splits").rename(tmp_path / "elsewhere")
    item = read("df40-test", tmp_path)["df40-test/fomm/ff/000_001"]
    assert item.split is Split.TEST
    assert "lists are absent" in str(item.label_note)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    base = df40_test(tmp_path)
    put(base / "FaceForensics++/original_sequences/youtube/c23/frames/000/000.png", PNG)
    put(base / "frames/000_001/000.png", PNG)
    put(base / "DDIM_copy/x.png", PNG)
    put(base / "ddpm/ff/006/1.png", PNG)
    put(base / "starganv2.zip", b"PK")
    why = unlisted("df40-test", tmp_path)
    assert "unpack" in why["mobileswap/mobileswap/ff/frames.zip"]
    assert "unpack" in why["starganv2.zip"]
    assert "gif" in why["MidJourney/fake/b.gif"]
    assert "ff++" in why["FaceForensics++"]
    assert "another copy" in why["ddpm"]
    assert "no method" in why["DDIM_copy"]
    assert "frames/" in why["frames"]
    assert len(why) == 7


@pytest.mark.parametrize("given", ["DF40", "DF40_train"])
def test_both_archives_beside_each_other_are_told_apart(given: str, tmp_path: Path) -> None:
    df40(tmp_path)
    df40_test(tmp_path)
    assert {name.split("/")[0] for name in read("df40", tmp_path)} == {"df40"}
    assert {name.split("/")[0] for name in read("df40-test", tmp_path)} == {"df40-test"}
    wrong = "df40" if given == "DF40" else "df40-test"
    with pytest.raises(UsageError, match="looks like df40"):
        read(wrong, tmp_path / given)


def test_one_method_alone_is_told_by_its_levels(tmp_path: Path) -> None:
    put(tmp_path / "a/simswap/frames/000_001/0.png")
    put(tmp_path / "b/simswap/cdf/frames/id0_id1_0000/0.png")
    assert read("df40", tmp_path / "a", derive_splits=True)
    assert read("df40-test", tmp_path / "b")
    with pytest.raises(UsageError):
        read("df40", tmp_path / "b", derive_splits=True)


@pytest.mark.parametrize("level", [True, False])
def test_the_index_says_what_is_missing(level: bool, tmp_path: Path) -> None:
    clips = {"000_001": {"label": "roop_Fake", "frames": []}, "002_003": {"label": "roop_Fake", "frames": []}}
    real = {"train": {"000": {"label": "roop_Real", "frames": []}}}
    index = {"simswap_ff": {"roop_Fake": {"train": {"c23": clips} if level else clips}, "roop_Real": real}}
    put(df40(tmp_path) / "dataset_json/simswap_ff.json", json.dumps(index).encode())
    report = check(find_reader("df40")(tmp_path, ReadOptions()))
    counts = report.counts["SimSwap", "", "train"]
    assert (counts.expected, counts.missing) == (2, ["002_003"])
    put(tmp_path / "DF40_train/dataset_json/simswap_ff.json", b"[1]")
    with pytest.raises(UsageError, match="download it again"):
        check(find_reader("df40")(tmp_path, ReadOptions()))


def test_images_of_a_folder_with_clashing_numbers_stay_apart(tmp_path: Path) -> None:
    for name in ("a_1", "b_1"):
        put(df40(tmp_path / name) / f"VQGAN/002/{name}.png")
        put(tmp_path / name / "DF40_train/VQGAN/002/c_1.png")
        found = [
            i for i in find_reader("df40")(tmp_path / name, ReadOptions()).items() if isinstance(i, Item)
        ]
        assert [i.frame_index for i in found if i.method == "VQGAN"] == [0, 1]


def test_the_archives_are_not_mistaken_for_other_sources(tmp_path: Path) -> None:
    for path in ("FaceSwap/c23/videos/000_001.mp4", "stargan/train/a.png", "faceswap/000_001.mp4"):
        put(tmp_path / path)
    with pytest.raises(UsageError, match=re.escape("not laid out as df40")):
        read("df40", tmp_path)
