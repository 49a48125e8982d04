from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.demo import ffhq, ffpp, own
from mmidd.demo.cast import Cast, shares
from mmidd.demo.portraits import Portrait
from mmidd.errors import UsageError
from mmidd.schema import Split
from tests.demo.demo_world import drawn_portrait

PEOPLE = [drawn_portrait(f"p{k}", k) for k in range(9)]


def cast_of(people: Sequence[Portrait] = PEOPLE) -> Cast:
    return Cast.draw(people, np.random.default_rng(0))


@given(st.integers(6, 5000))
def test_shares_add_up(total: int) -> None:
    parts = shares(total, 2)
    assert sum(parts.values()) == total
    assert min(parts.values()) >= 2
    assert list(parts) == [Split.TRAIN, Split.VAL, Split.TEST]


def test_nobody_is_in_two_splits() -> None:
    people = cast_of().people
    names = [p.identity for group in people.values() for p in group]
    assert sorted(names) == sorted(p.identity for p in PEOPLE)
    assert {split: len(group) for split, group in people.items()} == {
        Split.TRAIN: 5,
        Split.VAL: 2,
        Split.TEST: 2,
    }


def test_too_few_people_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="at least 6 people, 5 found"):
        cast_of(PEOPLE[:5])


def test_dealing_goes_round_and_goes_on() -> None:
    cast = cast_of()
    turns = cast.deal(Split.VAL, 3) + cast.deal(Split.VAL, 2)
    assert all(a is not b for a, b in pairwise(turns))
    assert len({p.identity for p in turns}) == 2


def test_pairs_join_two_people_of_one_split_and_use_every_clip_once(tmp_path: Path) -> None:
    cast = cast_of()
    pairs = ffpp.draw_pairs(cast, 10, np.random.default_rng(2))
    ffpp.annotate(tmp_path, pairs)
    clips = [clip.name for group in pairs.values() for pair in group for clip in pair]
    assert sorted(clips) == [f"{k:03d}" for k in range(20)]
    table = json.loads((tmp_path / "ff++/conversion_dict.json").read_text())
    ids: dict[str, set[str]] = {}
    for split in ("train", "val", "test"):
        lists = json.loads((tmp_path / f"ff++/splits/{split}.json").read_text())
        ids[split] = {table[clip].split()[0] for pair in lists for clip in pair}
        assert all(table[a].split()[0] != table[b].split()[0] for a, b in lists)
    assert ids["train"].isdisjoint(ids["val"] | ids["test"])
    assert ids["val"].isdisjoint(ids["test"])
    assert all(len(name.split()[0]) == 11 for name in table.values())
    assert len(set(table.values())) == 20


def test_every_pair_gives_both_fakes_of_every_method_in_one_scene() -> None:
    pairs = ffpp.draw_pairs(cast_of(), 3, np.random.default_rng(2))
    jobs = ffpp.jobs(pairs)
    a, b = pairs[Split.TEST][0]
    names = {shot.path.stem for job in jobs for shot in job.shots if shot.forgery == "FaceSwap"}
    assert {f"{a.name}_{b.name}", f"{b.name}_{a.name}"} <= names
    assert all([shot.forgery for shot in job.shots].count("real") == 1 for job in jobs)
    assert all(
        (shot.mask is None) == (shot.forgery in {"real", "FaceShifter"}) for j in jobs for shot in j.shots
    )
    assert all(shot.people[0] is job.shots[0].people[0] for job in jobs for shot in job.shots)


def test_own_data_morphs_people_of_one_split_and_pairs_retouches_with_their_real() -> None:
    cast = cast_of()
    scenes = own.draw(own.VIDEOS, cast, 12, 6, np.random.default_rng(1))
    splits = {p.identity: split for split, group in cast.people.items() for p in group}
    rows = [item.row(own.VIDEOS.root) for scene in scenes for item in scene]
    assert all({splits[i] for i in row["identity"].split(";")} == {row["split"]} for row in rows)
    assert [r["label"] for r in rows].count("real") == 12
    assert [r["type"] for r in rows].count("EFS") == [r["type"] for r in rows].count("FE") == 6
    pairs = {row["pair"] for row in rows if row["type"] == "REAL"}
    assert all(row["pair"] in pairs for row in rows if row["type"] == "FE")
    assert all(row["pair"] == "" for row in rows if row["type"] == "EFS")
    assert all(len(row["identity"].split(";")) >= 2 for row in rows if row["type"] == "EFS")
    assert len({row["path"] for row in rows}) == len({row["video"] for row in rows}) == len(rows)


def test_ffhq_numbers_training_people_first_and_uses_no_test_people() -> None:
    cast = cast_of()
    shown = [job.shots[0].people[0].identity for job in ffhq.jobs(cast, 10)]
    validation = {p.identity for p in cast.people[Split.VAL]}
    assert [name in validation for name in shown] == [False] * 8 + [True] * 2
    assert {p.identity for p in cast.people[Split.TEST]}.isdisjoint(shown)
