from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.ingest.readers.kodf import Kodf
from mmidd.schema import ForgeryType, Label, Media, Split
from tests.ingest import trees
from tests.ingest.trees import PNG, put
from tests.ingest.trees_kodf import FAKES, HEADER, REALS, Form, deepbrain, kodf

TOP = "딥페이크 변조 영상"
TYPES = {"dfl": "FS", "dffs": "FS", "fsgan": "FS", "fo": "FR", "audio-driven": "FR", "real": "REAL"}


def listed(root: Path, **options: object) -> list[Item | Unlisted]:
    return list(find_reader("kodf")(root, ReadOptions(**options)).listed())  # type: ignore[arg-type]


def items(root: Path, **options: object) -> dict[str, Item]:
    kept = [item for item in listed(root, **options) if isinstance(item, Item)]
    assert len({(item.video_id, item.frame_index) for item in kept}) == len(kept)
    return {item.video_id: item for item in kept}


def unlisted(root: Path) -> dict[str, str]:
    return {u.path.split("/")[-1]: u.why for u in listed(root) if isinstance(u, Unlisted)}


def csvs(root: Path) -> list[Path]:
    return sorted(root.rglob("*.csv"))


def test_labels_pairs_people_and_splits_come_from_the_metadata(tmp_path: Path) -> None:
    found = items(kodf(tmp_path))
    for part, split in (("Training", Split.TRAIN), ("Validation", Split.VAL)):
        for stem in REALS[part]:
            real = found.pop(f"kodf/real/{stem}_영상")
            assert (real.label, real.split, real.split_origin) == (Label.REAL, split, "official")
            assert real.identity_ids == (f"kodf/u{stem}",)
            assert (real.pair_id, real.pair_confidence) == (real.video_id, None)
        for stem, (text, target) in FAKES[part].items():
            model = text.replace("_", "-")
            fake = found.pop(f"kodf/{model}/{stem}")
            assert (fake.label, fake.method, fake.type) == (Label.FAKE, model, ForgeryType(TYPES[model]))
            assert (fake.split, fake.split_origin) == (split, "official")
            assert fake.pair_id == fake.target_video == f"kodf/real/{target}_영상"
            assert fake.pair_confidence == "declared"
            assert fake.identity_ids == (f"kodf/u{target}", f"kodf/s{stem}")
            assert fake.media is Media.VIDEO
            assert fake.label_note is None
    assert not found


def test_both_unicode_forms_and_both_encodings_say_the_same(tmp_path: Path) -> None:
    columns = []
    forms: list[tuple[Form, str]] = [("NFC", "utf-8"), ("NFD", "utf-8-sig"), ("NFC", "cp949")]
    for number, (form, encoding) in enumerate(forms):
        root = kodf(tmp_path / str(number), form=form, encoding=encoding)
        columns.append([item.columns() for item in listed(root) if isinstance(item, Item)])
        report = check(find_reader("kodf")(root, ReadOptions()))
        assert report.complete
        assert all(counts.expected == counts.found for counts in report.counts.values())
    assert columns[0] == columns[1] == columns[2]
    assert all(unicodedata.is_normalized("NFC", str(row)) for row in columns[1])


def test_videos_are_found_by_name_in_any_folder(tmp_path: Path) -> None:
    plain = items(kodf(tmp_path / "plain"))
    kodf(tmp_path / "moved")
    for video in sorted((tmp_path / "moved").rglob("*.[mM][pP]4")):
        put(tmp_path / "moved/prefix/new [1]" / video.stem[:1] / video.name)
        video.unlink()
    moved = items(tmp_path / "moved")
    assert {(i.video_id, i.pair_id, i.split, i.method) for i in moved.values()} == {
        (i.video_id, i.pair_id, i.split, i.method) for i in plain.values()
    }


def test_folders_of_frames_are_precropped_clips_and_masks_are_none(tmp_path: Path) -> None:
    for video in sorted(kodf(tmp_path).rglob("f1.MP4")):
        video.unlink()
    for folder in ("frames", "masks", "landmarks"):
        for name in ("000", "012"):
            put(tmp_path / "copy" / folder / "f1" / f"{name}.png", PNG)
    frames = [i for i in listed(tmp_path) if isinstance(i, Item) and i.video_id == "kodf/dffs/f1"]
    assert [(i.media, i.frame_index) for i in frames] == [(Media.PRECROPPED, 0), (Media.PRECROPPED, 12)]
    assert not unlisted(tmp_path)


def test_a_frame_folder_called_like_a_video_is_listed_once(tmp_path: Path) -> None:
    for video in sorted(kodf(tmp_path).rglob("f1.MP4")):
        video.unlink()
        put(video / "003.png", PNG)
    assert items(tmp_path)["kodf/dffs/f1"].frame_index == 3
    assert not unlisted(tmp_path)


def test_what_no_metadata_names_is_unlisted_and_what_is_missing_is_reported(tmp_path: Path) -> None:
    top = kodf(tmp_path) / TOP
    put(top / "1.Training/[원천][원본]원본1/stranger.mp4")
    (top / "2.Validation/[원천][변조]train_fsgan1_data/deep/f5.MP4").unlink()
    report = check(find_reader("kodf")(tmp_path, ReadOptions()))
    assert [(u.path.split("/")[-1], u.why) for u in report.unlisted] == [
        ("stranger.mp4", "no metadata csv names it")
    ]
    assert report.counts["fsgan", "", "val"].missing == ["f5"]


def test_a_second_copy_is_unlisted_and_a_video_beats_its_frames(tmp_path: Path) -> None:
    kodf(tmp_path)
    put(tmp_path / "a/frames/f1/000.png", PNG)
    put(tmp_path / "z/f2.mp4")
    assert items(tmp_path)["kodf/dffs/f1"].media is Media.VIDEO
    assert {name: why[:13] for name, why in unlisted(tmp_path).items()} == {
        "000.png": "a second copy",
        "f2.MP4": "a second copy",
    }


def test_the_folder_tells_the_split_where_the_csv_does_not(tmp_path: Path) -> None:
    plain = {v: i.split for v, i in items(kodf(tmp_path / "a")).items()}
    kodf(tmp_path / "b")
    for number, file in enumerate(csvs(tmp_path / "b")):
        file.rename(tmp_path / "b" / f"{number} 메타데이터.csv")
    assert {v: i.split for v, i in items(tmp_path / "b").items()} == plain
    report = check(find_reader("kodf")(tmp_path / "b", ReadOptions()))
    assert all(counts.expected == counts.found for counts in report.counts.values())


def test_the_root_may_be_one_archive_and_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = kodf(tmp_path) / TOP / "2.Validation"
    for file in csvs(part):
        file.rename(file.with_name(file.name.replace("_validation", "")))
    monkeypatch.chdir(part / "[원천][변조]train_fsgan1_data")
    (item,) = items(Path()).values()
    assert (item.video_id, item.split, item.path) == ("kodf/fsgan/f5", Split.VAL, "deep/f5.MP4")
    for file in csvs(part):
        file.rename(part / file.name)
    monkeypatch.chdir(part)
    assert {i.split for i in items(Path()).values()} == {Split.VAL}


def test_neither_telling_there_is_no_split(tmp_path: Path) -> None:
    put(tmp_path / "raw/메타데이터.csv", f"{HEADER}\nf.mp4,fo,,,,\n".encode())
    put(tmp_path / "raw/f.mp4")
    (item,) = items(tmp_path / "raw").values()
    assert (item.split, item.split_origin, item.identity_ids) == (Split.NONE, "unlisted", ())
    assert "no original" in str(item.label_note)


def test_people_are_not_doubled_and_come_from_the_original_if_need_be(tmp_path: Path) -> None:
    rows = [
        "a.mp4,audio-driven,r.mp4,p,p,M",
        "b.mp4,fo,r.mp4,,,M",
        "c.mp4,fo,r.mp4,nan,q,",
        "d.mp4,fo,x.mp4,s,,M",
    ]
    put(tmp_path / "raw/변조 training 메타데이터.csv", "\n".join([HEADER, *rows]).encode())
    put(tmp_path / "raw/원본 training 메타데이터.csv", "영상ID,UUID\nr.mp4,p\n".encode())
    for stem in "abcdr":
        put(tmp_path / f"raw/{stem}.mp4")
    found = items(tmp_path / "raw")
    people = [found[f"kodf/{v}"].identity_ids for v in ("audio-driven/a", "fo/b", "fo/c", "fo/d")]
    assert people == [("kodf/p",), ("kodf/p",), ("kodf/q",), ("kodf/s",)]
    orphan = found["kodf/fo/d"]
    assert (orphan.pair_id, orphan.pair_confidence) == (orphan.video_id, None)
    assert orphan.target_video == "kodf/real/x"
    assert "original x" in str(orphan.label_note)


def test_columns_in_any_order_names_without_suffix_and_an_unknown_model(tmp_path: Path) -> None:
    text = "extra,타겟UUID, 변조모델 ,타겟영상,영상 ID\n1,u,FSGAN,dir/r,dir\\a.1\n1,u,sora,r,b\n\n1,u,dfl,r"
    put(tmp_path / "raw/변조_validation_메타데이터.CSV", text.encode())
    put(tmp_path / "raw/a.1.mp4")
    put(tmp_path / "raw/b.mp4")
    (item,) = items(tmp_path / "raw").values()
    assert (item.video_id, item.split, item.target_video) == ("kodf/fsgan/a.1", Split.VAL, "kodf/real/r")
    assert unlisted(tmp_path / "raw") == {"b.mp4": "변조모델 'sora' is no model of KoDF"}


def test_folders_tell_apart_what_shares_a_name(tmp_path: Path) -> None:
    head = "영상ID,변조모델,타겟영상\n"
    put(tmp_path / "raw/변조_training_메타데이터.csv", (head + "a.mp4,dfl,a\na.mp4,dffs,a\n").encode())
    put(tmp_path / "raw/변조_validation_메타데이터.csv", (head + "a.mp4,fo,a\n").encode())
    put(tmp_path / "raw/원본_training_메타데이터.csv", "영상ID,UUID\na.mp4,u\n".encode())
    for folder in ("1.Training/train_dfl1", "1.Training/train_dffs1", "2.Validation/변조", "1.Training/원본"):
        put(tmp_path / "raw" / folder / "a.mp4")
    put(tmp_path / "raw/1.Training/변조/a.mp4")
    found = {i.path.removesuffix("/a.mp4"): (i.method, i.split) for i in items(tmp_path / "raw").values()}
    assert found == {
        "1.Training/train_dfl1": ("dfl", Split.TRAIN),
        "1.Training/train_dffs1": ("dffs", Split.TRAIN),
        "1.Training/원본": ("real", Split.TRAIN),
        "2.Validation/변조": ("fo", Split.VAL),
    }
    assert "several rows" in unlisted(tmp_path / "raw")["a.mp4"]


def test_deepbrains_folders_need_no_metadata(tmp_path: Path) -> None:
    found = items(deepbrain(tmp_path / "outer/raw").parent)
    assert {v: i.type for v, i in found.items()} == {
        f"kodf/{method}/{stem}": ForgeryType(kind)
        for method, kind in TYPES.items()
        for stem in ("a", "sub/a")
    }
    for item in found.values():
        assert (item.label is Label.REAL) == (item.method == "real")
        assert (item.split_origin, item.pair_id) == ("derived", item.video_id)
        assert "not verified" in str(item.label_note)
    assert {u.path: u.why for u in listed(tmp_path / "outer") if isinstance(u, Unlisted)} == dict.fromkeys(
        ("fake-adv/a.mp4", "real-adv/a.mp4"), "adversarial clips are excluded by default"
    )


def test_metadata_in_deepbrains_folders_counts_for_its_own_model_only(tmp_path: Path) -> None:
    put(deepbrain(tmp_path) / "원본_training_메타데이터.csv", "영상ID,UUID\na.mp4,u\n".encode())
    (tmp_path / "real/sub/a.mp4").unlink()
    found = items(tmp_path)
    assert (found["kodf/real/a"].split, found["kodf/real/a"].identity_ids) == (Split.TRAIN, ("kodf/u",))
    assert found["kodf/dffs/a"].label is Label.FAKE
    assert found["kodf/dffs/a"].split_origin == "derived"


def test_aihub_needs_its_metadata_which_may_lie_elsewhere(tmp_path: Path) -> None:
    kodf(tmp_path / "raw")
    for file in csvs(tmp_path / "raw"):
        put(tmp_path / "away/meta/deep" / file.name, file.read_bytes())
        file.unlink()
    with pytest.raises(UsageError, match=r"메타데이터.*--annotations"):
        items(tmp_path / "raw")
    assert len(items(tmp_path / "raw", annotations=tmp_path / "away/meta")) == 9
    (tmp_path / "away/meta").rename(tmp_path / "raw-labels")
    assert len(items(tmp_path / "raw")) == 9


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("변조_training_메타데이터.csv", b"\xff\xff\xff", "neither a utf-8 nor a cp949"),
        ("변조_training_메타데이터.csv", "영상ID,UUID\na,b\n".encode(), "no column 변조모델"),
        ("원본_training_메타데이터.csv", b"", "no column 영상ID"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_damaged_metadata_is_one_line(name: str, data: bytes, words: str, form: Form, tmp_path: Path) -> None:
    put(tmp_path / "raw" / unicodedata.normalize(form, name), data)
    with pytest.raises(UsageError, match=words) as caught:
        items(tmp_path / "raw")
    assert "\n" not in str(caught.value)


def test_other_csv_files_and_macos_twins_are_passed_over(tmp_path: Path) -> None:
    top = kodf(tmp_path) / TOP
    before = items(tmp_path)
    put(top / "notes.csv", b"\xff\xff")
    put(top / "._원본영상_training_메타데이터.csv", b"\0\5")
    put(top / "__MACOSX/._f1.mp4")
    put(top / "readme.txt")
    assert items(tmp_path) == before
    assert not unlisted(tmp_path)


def test_garbled_korean_names_do_not_matter(tmp_path: Path) -> None:
    put(
        tmp_path / "raw/1.Training/[??]train_meta/train_meta_data/??_training_??.csv",
        f"{HEADER}\nf,fo,,,,".encode(),
    )
    put(tmp_path / "raw/1.Training/[??]train_fo1_data/f.mp4")
    assert items(tmp_path / "raw")["kodf/fo/f"].split is Split.TRAIN


@pytest.mark.parametrize(
    "folder", ["원천데이터/train_변조", "x/y/[원천][변조]1", "x/train_dffs1_data", "audio_driven1"]
)
def test_media_archives_alone_are_known_and_ask_for_the_metadata(folder: str, tmp_path: Path) -> None:
    put(tmp_path / "raw" / unicodedata.normalize("NFD", folder) / "a.mp4")
    with pytest.raises(UsageError, match="no metadata csv"):
        items(tmp_path / "raw")


def test_it_matches_no_other_tree(tmp_path: Path) -> None:
    for folder in ("real", "fake", "train/real", "train_data", "Celeb-real"):
        put(tmp_path / folder / "a.mp4")
    put(tmp_path / "metadata.csv", b"a,b")
    trees.ffpp(tmp_path / "ff")
    assert not Kodf.matches(tmp_path)


def test_compressions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one quality"):
        items(kodf(tmp_path), compressions=("c23",))
