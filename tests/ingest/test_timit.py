from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.schema import ForgeryType, Label, Media
from tests.ingest.trees import PNG, put
from tests.ingest.trees_timit import AVI, JPG, PARTNERS, SUBJECTS, UTTERANCES, fakes, timit, vidtimit


def listed(root: Path, **options: object) -> list[Item | Unlisted]:
    return list(find_reader("timit")(root, ReadOptions(**options)).listed())  # type: ignore[arg-type]


def items(root: Path, **options: object) -> list[Item]:
    kept = [item for item in listed(root, **options) if isinstance(item, Item)]
    assert len({(item.video_id, item.frame_index) for item in kept}) == len(kept)
    return kept


def by_id(root: Path, **options: object) -> dict[str, Item]:
    return {item.video_id: item for item in items(root, **options)}


def unlisted(root: Path) -> dict[str, str]:
    return {u.path: u.why for u in listed(root) if isinstance(u, Unlisted)}


def rules(found: list[Item]) -> set[tuple[object, ...]]:
    return {(i.video_id, i.pair_id, i.label, i.method, i.split, i.pair_confidence) for i in found}


def test_fakes_of_both_qualities_are_swaps_of_one_original(tmp_path: Path) -> None:
    found = by_id(timit(tmp_path))
    for method, folder in (("TIMIT-HQ", "higher_quality"), ("TIMIT-LQ", "lower_quality")):
        fake = found[f"timit/{method}/fadg0/sa1-video-fram1"]
        assert fake.path == f"DeepfakeTIMIT/{folder}/fadg0/sa1-video-fram1.avi"
        assert (fake.label, fake.type, fake.method, fake.media) == (
            Label.FAKE,
            ForgeryType.FS,
            method,
            Media.VIDEO,
        )
        assert fake.pair_id == fake.target_video == "timit/VidTIMIT/fadg0/sa1"
        assert (fake.pair_confidence, fake.compression, fake.label_note) == ("derived", None, None)
        assert fake.identity_ids == ("timit/fadg0", "timit/fram1")
    assert len(found) == 2 * len(PARTNERS) * 2 + len(SUBJECTS) * len(UTTERANCES)
    assert not unlisted(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".jpg", ".JPEG"])
def test_frames_of_reals_are_images_in_order_once_and_without_rotations(suffix: str, tmp_path: Path) -> None:
    fakes(tmp_path / "DeepfakeTIMIT")
    vidtimit(tmp_path / "VidTIMIT", suffix=suffix)
    reals = [item for item in items(tmp_path) if item.label is Label.REAL]
    assert [(i.video_id, i.frame_index) for i in reals] == [
        (f"timit/VidTIMIT/{subject}/{utterance}", frame)
        for subject in ("fadg0", "felc0", "fram1", "mccs0", "mstk0")
        for utterance in UTTERANCES
        for frame in (1, 2, 10)
    ]
    assert {(i.media, i.method, i.type) for i in reals} == {(Media.IMAGE, "VidTIMIT", ForgeryType.REAL)}
    assert reals[0].identity_ids == ("timit/fadg0",)
    assert reals[0].pair_confidence is None


@pytest.mark.parametrize("form", ["avi", "doubled"])
@pytest.mark.parametrize(
    "place", [".", "VidTIMIT", "vidtimit/VidTIMIT", "DeepfakeTIMIT/Vid-TIMIT", "../VidTIMIT"]
)
def test_reals_lie_below_or_beside_the_root_in_several_forms(form: str, place: str, tmp_path: Path) -> None:
    plain = items(timit(tmp_path / "plain"))
    root = tmp_path / "outer" / "raw"
    fakes(root / "DeepfakeTIMIT")
    vidtimit(root / place, form=form)
    found = items(root)
    assert rules(found) == rules(plain)
    assert all((root / item.path).is_file() for item in found)
    assert {i.media for i in found if i.label is Label.REAL} == {
        Media.VIDEO if form == "avi" else Media.IMAGE
    }


def test_the_folder_of_the_fakes_may_be_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = items(timit(tmp_path))
    monkeypatch.chdir(tmp_path / "DeepfakeTIMIT")
    assert items(Path()) == items(tmp_path / "DeepfakeTIMIT")
    inner = items(tmp_path / "DeepfakeTIMIT")
    assert rules(inner) == rules(plain)
    assert inner[0].path == "../VidTIMIT/fadg0/video/sa1/001"


def test_without_reals_a_fake_has_a_target_but_no_pair(tmp_path: Path) -> None:
    (tmp_path / "VidTIMIT/fadg0/video/sa1").mkdir(parents=True)
    fake = by_id(fakes(tmp_path))["timit/TIMIT-HQ/fadg0/sa1-video-fram1"]
    assert (fake.pair_id, fake.pair_confidence) == (fake.video_id, None)
    assert fake.target_video == "timit/VidTIMIT/fadg0/sa1"
    assert fake.label_note == "its original VidTIMIT/fadg0/sa1 is not here"


def test_frames_are_known_by_content_not_by_name(tmp_path: Path) -> None:
    folder = timit(tmp_path) / "VidTIMIT/felc0/video/sa1"
    put(folder / "003.jpg", PNG)
    put(folder / "002.jpeg", JPG)
    put(folder / "9", JPG)
    put(folder / "011", b"")
    put(folder / "012.jpg", b"<html>")
    put(folder / "readme.txt", b"text")
    put(folder / ".DS_Store", JPG)
    frames = [i.frame_index for i in items(tmp_path) if i.video_id == "timit/VidTIMIT/felc0/sa1"]
    assert frames == [1, 2, 3, 9, 10]
    assert {path.split("/")[-1]: why for path, why in unlisted(tmp_path).items()} == {
        "002.jpeg": "a second copy of frame 2",
        "011": "not a JPEG or PNG file",
        "012.jpg": "not a JPEG or PNG file",
    }


def test_a_clip_beside_its_frames_is_a_second_copy(tmp_path: Path) -> None:
    put(timit(tmp_path) / "VidTIMIT/felc0/sa1.avi", AVI)
    assert by_id(tmp_path)["timit/VidTIMIT/felc0/sa1"].media is Media.IMAGE
    assert unlisted(tmp_path) == {"VidTIMIT/felc0/sa1.avi": "a second copy of timit/VidTIMIT/felc0/sa1"}


def test_partners_share_one_split_for_every_seed(tmp_path: Path) -> None:
    timit(tmp_path)
    seen = set()
    for seed in range(8):
        found = items(tmp_path, seed=seed)
        assert {item.split_origin for item in found} == {"derived"}
        for pair in (("fadg0", "fram1"), ("mccs0", "mstk0"), ("felc0",)):
            people = {f"timit/{person}" for person in pair}
            splits = {item.split for item in found if people & set(item.identity_ids)}
            assert len(splits) == 1
            seen |= splits
    assert len(seen) == 3


def test_the_split_does_not_depend_on_what_else_is_there(tmp_path: Path) -> None:
    whole = {i.video_id: i.split for i in items(timit(tmp_path / "whole"))}
    fakes(tmp_path / "part")
    for path in sorted((tmp_path / "part").rglob("m*/*.avi")):
        path.unlink()
    assert {i.video_id: i.split for i in items(tmp_path / "part")}.items() <= whole.items()


def test_names_in_any_case_and_other_levels(tmp_path: Path) -> None:
    put(tmp_path / "Higher_Quality/videos/FADG0/SA1-video-FRAM1.AVI", AVI)
    put(tmp_path / "LOWER_quality/frames/fadg0/sa1-video-fram1/000.png", PNG)
    put(tmp_path / "LOWER_quality/masks/fadg0/sa1-video-fram1/000.png", PNG)
    put(tmp_path / "vidtimit/frames/FADG0/Sa1/001.png", PNG)
    found = by_id(tmp_path)
    assert {v: (i.media, i.pair_id) for v, i in found.items()} == {
        "timit/VidTIMIT/fadg0/sa1": (Media.PRECROPPED, "timit/VidTIMIT/fadg0/sa1"),
        "timit/TIMIT-HQ/fadg0/sa1-video-fram1": (Media.VIDEO, "timit/VidTIMIT/fadg0/sa1"),
        "timit/TIMIT-LQ/fadg0/sa1-video-fram1": (Media.PRECROPPED, "timit/VidTIMIT/fadg0/sa1"),
    }
    assert not unlisted(tmp_path)
    assert check(find_reader("timit")(tmp_path, ReadOptions())).complete


def test_the_two_qualities_imply_each_other_and_strangers_are_reported(tmp_path: Path) -> None:
    root = timit(tmp_path) / "DeepfakeTIMIT"
    (root / "lower_quality/fadg0/sa1-video-fram1.avi").unlink()
    put(root / "higher_quality/fadg0/holiday.avi", AVI)
    put(root / "higher_quality/sa1-video-fram1.avi", AVI)
    report = check(find_reader("timit")(tmp_path, ReadOptions()))
    missing = {key[0]: counts.missing for key, counts in report.counts.items() if counts.missing}
    assert missing == {"TIMIT-LQ": ["sa1-video-fram1"]}
    assert [u.path for u in report.unlisted] == [
        "DeepfakeTIMIT/higher_quality/sa1-video-fram1.avi",
        "DeepfakeTIMIT/higher_quality/fadg0/holiday.avi",
    ]
    for seed in range(6):
        report = check(find_reader("timit")(tmp_path, ReadOptions(seed=seed)))
        for (method, _, _), counts in report.counts.items():
            assert counts.expected == (None if method == "VidTIMIT" else counts.found + len(counts.missing))


def test_one_quality_alone_implies_nothing(tmp_path: Path) -> None:
    put(tmp_path / "lower_quality/fadg0/sa1-video-fram1.avi", AVI)
    assert check(find_reader("timit")(tmp_path, ReadOptions())).complete


def test_a_limit_counts_videos_not_frames_or_strangers(tmp_path: Path) -> None:
    put(timit(tmp_path) / "DeepfakeTIMIT/higher_quality/0.avi", AVI)
    found = items(tmp_path, limit_videos=2)
    assert sorted({(i.method, i.video_id) for i in found}) == sorted(
        (m, v)
        for m in ("VidTIMIT", "TIMIT-HQ", "TIMIT-LQ")
        for v in {i.video_id for i in found if i.method == m}
    )
    assert len({i.video_id for i in found}) == 6


@pytest.mark.parametrize("alias", ["deepfaketimit", "deepfake-timit", "dftimit"])
def test_aliases(alias: str) -> None:
    assert find_reader(alias) is find_reader("timit")


def test_compressions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="methods"):
        items(timit(tmp_path), compressions=("c23",))
