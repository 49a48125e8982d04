"""`mmidd simulate` by the command, on a workspace of five faces."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
import webdataset as wds

from mmidd.dialogue.conversation import SCORE_SLOT
from mmidd.errors import DataError
from mmidd.preprocess.blend.landmarks import crop_marks
from mmidd.preprocess.blend.render import finished, render
from mmidd.preprocess.crop import decode_image, encode_image
from mmidd.preprocess.simulate import from_json
from mmidd.schema import Split
from mmidd.shards.dataset import ShardDataset
from mmidd.shards.verify import verify_shards
from mmidd.workspace import Workspace
from tests.cli.command import as_json, error_line, mmidd
from tests.cli.five_faces import BARE, FACES, make


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("simulate") / "ws"
    make(root)
    for recipe in ("sbi", "regional"):
        summary = as_json("simulate", "--recipe", recipe, "--per-real", 2, "--max-failed", 1, "-w", root)
        assert summary["samples"] == 2 * 2 * FACES
        assert summary["reasons"] == {"failed: no_landmarks": 2 * BARE}
    return root


def table(home: Path, recipe: str) -> pl.DataFrame:
    return Workspace.open(home).simulated().filter(pl.col("recipe") == recipe).collect()


@pytest.mark.parametrize(
    ("recipe", "kind", "methods"),
    [("sbi", "FS", {"sbi"}), ("regional", "FE", {"regional-alpha", "regional-poisson"})],
)
def test_rows_say_what_was_made_of_which_real(home: Path, recipe: str, kind: str, methods: set[str]) -> None:
    rows = table(home, recipe)
    fakes, twins = (rows.filter(pl.col("label") == label) for label in ("fake", "real"))
    assert fakes.height == twins.height == 2 * FACES
    assert set(fakes["type"]) == {kind}
    assert set(twins["type"]) == {"REAL"}
    assert set(rows["method"]) <= methods
    assert set(fakes["pair_id"]) == set(fakes["target_video"])
    assert all(fakes["regions"].list.len() > 0)
    assert all(twins["regions"].list.len() == 0)
    assert twins["mask_sha256"].is_null().all()


@pytest.mark.parametrize("recipe", ["sbi", "regional"])
def test_a_row_is_enough_to_draw_the_forgery_and_its_mask_again(home: Path, recipe: str) -> None:
    workspace = Workspace.open(home)
    reals = workspace.samples().collect()
    for fake in table(home, recipe).filter(pl.col("label") == "fake").iter_rows(named=True):
        real = reals.row(by_predicate=pl.col("sample_id") == fake["base_id"], named=True)
        image = decode_image(workspace.read_blob(real["table"], real["pack"], real["offset"], real["length"]))
        again = finished(render(image, crop_marks(real), from_json(fake["parameters"])))
        place = (fake["table"], fake["pack"])
        stored = cv2.imdecode(
            np.frombuffer(workspace.read_blob(*place, fake["mask_offset"], fake["mask_length"]), np.uint8), -1
        )
        assert np.array_equal(np.asarray(stored), again.mask)
        kept = workspace.read_blob(*place, fake["offset"], fake["length"])
        assert kept == encode_image(again.fake, workspace.spec)
        assert list(again.parameters.regions) == fake["regions"]


def test_any_number_of_workers_and_any_order_give_the_same_rows(home: Path, tmp_path: Path) -> None:
    make(tmp_path / "ws")
    options = ("--recipe", "regional", "--per-real", 2, "--max-failed", 1)
    as_json("simulate", *options, "--workers", 1, "-w", tmp_path / "ws")
    content = ["sample_id", "sha256", "mask_sha256", "parameters", "conversations", "regions"]
    one, two = (table(root, "regional").select(content).sort("sample_id") for root in (tmp_path / "ws", home))
    assert one.equals(two)


def test_a_second_run_finds_everything_done(home: Path) -> None:
    summary = as_json("simulate", "--recipe", "sbi", "--per-real", 2, "--max-failed", 1, "-w", home)
    assert (summary["finished"], summary["done_before"]) == (0, 2 * (FACES + BARE))


def test_conversations_of_a_pair_ask_the_same_and_name_what_was_forged(home: Path) -> None:
    rows = table(home, "regional").sort("base_id", "parameters")
    reals, fakes = (rows.filter(pl.col("label") == label).to_dicts() for label in ("real", "fake"))
    for real, fake in zip(reals, fakes, strict=True):
        assert real["parameters"] == fake["parameters"]
        asked = [[m["value"] for m in r["conversations"] if m["from"] == "human"] for r in (real, fake)]
        assert asked[0] == asked[1]
        assert asked[0][0].startswith("<image>\n")
        assert SCORE_SLOT in asked[0][0]
        answers = [next(m["value"] for m in r["conversations"] if m["from"] == "gpt") for r in (real, fake)]
        assert answers[0].startswith("No")
        assert answers[1].startswith("Yes")
        assert all(region in answers[1] for region in fake["regions"])


@pytest.fixture(scope="module")
def shards(home: Path) -> Path:
    as_json("shard", "-w", home)
    return Workspace.open(home).shards_dir


def test_conversations_reach_the_shards_in_the_message_form(shards: Path) -> None:
    samples = ShardDataset(shards, Split.TRAIN)
    rows = [samples[index].row for index in range(len(samples))]
    talking = [r for r in rows if r.get("conversations")]
    assert len(talking) == 2 * 2 * 2 * FACES
    for r in talking:
        assert [m["from"] for m in r["conversations"]] == ["human", "gpt"] * (len(r["conversations"]) // 2)
        assert all(set(m) == {"from", "value"} for m in r["conversations"])


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's
def test_masks_reach_the_shards_beside_their_forgeries(home: Path, shards: Path) -> None:
    samples = ShardDataset(shards, Split.TRAIN)
    masks = {sample.key: sample.mask for sample in (samples[i] for i in range(len(samples)))}
    fakes = Workspace.open(home).simulated().filter(pl.col("label") == "fake").collect()
    assert {key for key, mask in masks.items() if mask is not None} == set(fakes["sample_id"])
    urls = [str(path) for path in sorted(shards.glob("train-*.tar"))]
    for sample in wds.WebDataset(urls, shardshuffle=False).decode("l8"):
        if "mask.png" in sample:
            assert np.array_equal(sample["mask.png"], np.asarray(masks[sample["__key__"]]))
            assert (
                hashlib.sha256(read(shards, sample["__key__"])).hexdigest() == sample["json"]["mask_sha256"]
            )
    assert as_json("verify", "--full", "-w", home) == []


def read(shards: Path, key: str) -> bytes:
    """The bytes of a mask by its place in the index."""
    entry = pl.read_parquet(shards / "samples.parquet").row(by_predicate=pl.col("key") == key, named=True)
    data: bytes = (shards / entry["shard"]).read_bytes()
    return data[entry["mask_offset"] :][: entry["mask_length"]]


def test_a_damaged_mask_is_named(home: Path, shards: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    entry = pl.read_parquet(copy / "samples.parquet").filter(pl.col("mask_length") > 0).row(0, named=True)
    path = copy / entry["shard"]
    data = bytearray(path.read_bytes())
    data[entry["mask_offset"] + 40] ^= 255
    path.write_bytes(data)
    problems = {(problem.where, problem.reason) for problem in verify_shards(copy, full=True)}
    assert (f"{entry['shard']}: {entry['key']}", "wrong_hash") in problems
    data[entry["mask_offset"] - 512] = 0
    path.write_bytes(data)
    samples = ShardDataset(copy, Split.TRAIN)
    with pytest.raises(DataError, match=f"{entry['key']}.*bad_header|bad_header.*{entry['key']}"):
        samples[samples.rows["key"].index_of(entry["key"]) or 0]


def test_where_chooses_the_reals(tmp_path: Path) -> None:
    make(tmp_path / "ws")
    where = "source = 'a' AND landmarks IS NOT NULL"
    summary = as_json("simulate", "--where", where, "-w", tmp_path / "ws")
    assert (summary["finished"], summary["failed"]) == (3, 0)
    line = error_line(mmidd("simulate", "--where", "sorce = 'a'", "-w", tmp_path / "ws"), 2)
    assert "sorce" in line
    line = error_line(mmidd("simulate", "--where", "source = 'z'", "-w", tmp_path / "ws"), 2)
    assert "widen --where" in line
    assert "sbi, regional" in error_line(mmidd("simulate", "--recipe", "sbl", "-w", tmp_path / "ws"), 2)


def test_a_preview_is_a_sheet_and_stores_nothing(tmp_path: Path) -> None:
    make(tmp_path / "ws")
    sheet = as_json("simulate", "--recipe", "regional", "--preview", 3, "-w", tmp_path / "ws")["sheet"]
    image = cv2.imread(sheet)
    assert image is not None
    assert image.shape == (24 + 3 * (192 + 24), 5 * 192, 3)
    assert Workspace.open(tmp_path / "ws").simulated().collect().height == 0
