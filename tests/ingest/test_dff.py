from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.ingest.splits import derived_split
from mmidd.schema import ForgeryType, Split
from tests.cli.command import error_line, mmidd
from tests.ingest.trees import put
from tests.ingest.trees_dff import ANN, BOB, CLEO, PATHS, dff


def read(root: Path, **options: object) -> dict[str, Item]:
    found = find_reader("dff")(root, ReadOptions(**options)).listed()  # type: ignore[arg-type]
    return {item.video_id.removeprefix("dff/"): item for item in found if isinstance(item, Item)}


@pytest.mark.parametrize("doubled", [False, True])
def test_folders_are_methods_and_types(doubled: bool, tmp_path: Path) -> None:
    found = read(dff(tmp_path, doubled=doubled))
    assert len(found) == 12
    assert {item.method: item.type.value for item in found.values()} == {
        "wiki": "REAL",
        "insight": "FS",
        "inpainting": "EFS",
        "text2img": "EFS",
    }


def test_a_swap_lies_on_the_canvas_of_its_partner(tmp_path: Path) -> None:
    swap = read(dff(tmp_path))[f"insight/{ANN}"]
    assert (swap.pair_id, swap.pair_confidence) == (f"dff/wiki/{BOB}", "declared")
    assert (swap.target_video, swap.donor_video) == (f"dff/wiki/{BOB}", f"dff/wiki/{ANN}")
    assert swap.identity_ids == ("dff/20000142", "dff/10000217")


def test_inpainting_keeps_the_pixels_of_the_photo_of_its_own_name(tmp_path: Path) -> None:
    found = read(dff(tmp_path, partners=False))
    assert found[f"inpainting/{ANN}"].pair_id == f"dff/wiki/{ANN}"
    assert found[f"inpainting/{ANN}"].pair_confidence == "derived"
    image = found[f"text2img/{ANN}"]
    assert (image.pair_id, image.identity_ids) == (image.video_id, ())


def test_without_the_pickle_the_canvas_is_unknown(tmp_path: Path) -> None:
    for root, stem in ((dff(tmp_path / "a", partners=False), ANN), (dff(tmp_path / "b"), CLEO)):
        swap = read(root)[f"insight/{stem}"]
        assert (swap.pair_id, swap.target_video) == (swap.video_id, None)
        assert "wiki.pickle" in str(swap.label_note)


def test_an_absent_photo_is_no_pair(tmp_path: Path) -> None:
    root = dff(tmp_path)
    (root / "wiki" / PATHS[1]).unlink()
    swap = read(root)[f"insight/{ANN}"]
    assert (swap.pair_id, swap.pair_confidence) == (swap.video_id, None)
    assert swap.target_video == f"dff/wiki/{BOB}"


def test_people_keep_one_split_in_all_folders_and_swaps_never_cross(tmp_path: Path) -> None:
    dff(tmp_path)
    outcomes = set()
    for seed in range(10):
        found = read(tmp_path, seed=seed)
        of = {stem: derived_split(f"dff/{stem.split('_')[0]}", seed) for stem in (ANN, BOB, CLEO)}
        for stem, split in of.items():
            for method in ("wiki", "inpainting", "text2img"):
                assert (found[f"{method}/{stem}"].split, found[f"{method}/{stem}"].split_origin) == (
                    split,
                    "derived",
                )
        both = of[ANN] if of[ANN] is of[BOB] else Split.NONE
        assert found[f"insight/{ANN}"].split is both
        outcomes.add(both is Split.NONE)
    assert outcomes == {True, False}


def test_the_type_of_inpainting_can_be_given(tmp_path: Path) -> None:
    dff(tmp_path)
    found = read(tmp_path, types={"inpainting": ForgeryType.FE})
    assert found[f"inpainting/{ANN}"].type is ForgeryType.FE
    assert found[f"text2img/{ANN}"].type is ForgeryType.EFS
    with pytest.raises(UsageError, match="--type inpaint: no such method; there are inpainting, insight"):
        read(tmp_path, types={"inpaint": ForgeryType.FE})
    with pytest.raises(UsageError, match="--type wiki"):
        read(tmp_path, types={"wiki": ForgeryType.FE})


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("/tmp/mmidd-evil",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(([], [], [Evil()])),
        pickle.dumps([1, 2]),
        pickle.dumps((["a"], [], [("a", 1)])),
        b"no pickle",
        b"",
    ],
)
def test_a_pickle_runs_nothing_and_damage_is_one_line(data: bytes, tmp_path: Path) -> None:
    put(dff(tmp_path) / "data/wiki.pickle", data)
    with pytest.raises(UsageError, match="download it again"):
        read(tmp_path)
    assert not Path("/tmp/mmidd-evil").exists()


def test_missing_counterparts_and_strays_are_named(tmp_path: Path) -> None:
    root = dff(tmp_path)
    (root / "insight" / PATHS[2]).unlink()
    put(root / "insight/17/readme.jpg")
    report = check(find_reader("dff")(root, ReadOptions()))
    missing = {key[0]: counts.missing for key, counts in report.counts.items() if counts.missing}
    assert missing == {"insight": [CLEO]}
    assert report.unlisted == [Unlisted("insight/17/readme.jpg", "readme is not ID_BIRTH_YEAR")]


def test_a_type_is_given_on_the_command_line(tmp_path: Path) -> None:
    root = dff(tmp_path / "raw")
    wrong = mmidd("ingest", "dff", root, "--check", "--type", "inpainting=REAL")
    assert "TYPE one of FS, FR, EFS, FE" in error_line(wrong, 2)
    absent = mmidd("ingest", "dff", root, "--check", "--type", "painting=FE")
    assert "no such method" in error_line(absent, 2)
    assert mmidd("ingest", "dff", root, "--check", "--type", "inpainting=FE").returncode == 0
