"""The main job by the commands users type: raw folders to a verdict, on a small demo world."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mmidd.demo.world import build_world
from mmidd.schema import Split
from mmidd.shards.dataset import ShardDataset
from mmidd.workspace import Workspace
from tests.cli.command import as_json, error_line, mmidd

QUICK = ("--set", "epochs=1", "--set", "batch=16", "--set", "micro_batch=16")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("world") / "raw"
    build_world(raw, clips=48, seconds=0.6, workers=2)
    return raw


@pytest.fixture(scope="module")
def home(world: Path) -> Path:
    """A workspace with everything up to shards."""
    workspace = world.parent / "ws"
    as_json("ingest", "ff++", world / "ff++", "--frames", 2, "-w", workspace)
    as_json("ingest", "ffhq", world / "ffhq", "-w", workspace)
    as_json("ingest", "folder", world / "folder", "-w", workspace)
    as_json("caption", "-w", workspace)
    as_json("simulate", "-w", workspace)
    as_json("shard", "--target-size", 1, "-w", workspace)
    return workspace


@pytest.fixture(scope="module", params=["lnclip", "sd2"])
def run(request: pytest.FixtureRequest, home: Path) -> str:
    as_json("train", request.param, "--preset", "tiny", *QUICK, "-w", home)
    return f"{request.param}-tiny"


def test_the_raw_trees_are_complete(world: Path) -> None:
    for source, tree in (("ff++", "ff++"), ("ffhq", "ffhq"), ("folder", "folder")):
        report = as_json("ingest", source, world / tree, "--check")
        assert all(not row["missing"] and not row["unreadable"] for row in report["counts"])
        assert report["unlisted"] == []


def test_all_types_are_there_and_masks_chose_the_face(home: Path) -> None:
    rows = Workspace.open(home).samples().collect()
    assert set(rows["type"]) == {"REAL", "FS", "FR", "EFS", "FE"}
    masked = rows.filter(pl.col("method").is_in(["Deepfakes", "Face2Face"]))
    assert masked.filter(pl.col("role") == "mask").height > 0.9 * masked.height


def test_a_second_ingest_does_nothing(home: Path, world: Path) -> None:
    again = as_json("ingest", "ff++", world / "ff++", "-w", home)
    assert again["finished"] == 0
    assert again["done_before"] > 0


def test_shards_hold_every_sample_once_with_captions(home: Path) -> None:
    workspace = Workspace.open(home)
    expected = workspace.samples().collect().height + workspace.simulated().collect().height
    parts = [ShardDataset(workspace.shards_dir, split) for split in (Split.TRAIN, Split.VAL, Split.TEST)]
    assert sum(map(len, parts)) == expected
    row = parts[0][0].row
    assert row["face"]
    assert row["environment"]
    assert as_json("verify", "--full", "-w", home) == []


def test_simulations_are_train_only_and_of_their_real(home: Path) -> None:
    workspace = Workspace.open(home)
    simulated, samples = workspace.simulated().collect(), workspace.samples().collect()
    joined = simulated.join(samples, left_on="base_id", right_on="sample_id", suffix="_real")
    assert joined.height == simulated.height > 0
    assert set(joined["split_real"]) == {"train"}
    assert set(joined["label_real"]) == {"real"}
    assert (joined["pair_id"] == joined["pair_id_real"]).all()
    assert joined["label"].value_counts()["count"].n_unique() == 1, "every fake has its twin"
    assert (simulated["mask_sha256"].is_null() == (simulated["label"] == "real")).all()


def test_a_run_is_evaluated_and_detects(run: str, home: Path, world: Path) -> None:
    evaluation = as_json("eval", run, "-w", home)
    assert Path(evaluation["report"]).read_text().startswith("<!doctype html>")
    scores = pl.read_parquet(home / "runs" / run / "eval" / "ws" / "scores.parquet")
    assert scores["score"].is_between(0, 1).all()
    assert set(scores["split"]) == {"val", "test"}
    video = sorted((world / "ff++/manipulated_sequences/Deepfakes/c23/videos").glob("*.mp4"))[0]
    still = next((world / "ffhq").rglob("*.png"))
    of_video, of_still = as_json("detect", video, still, "--run", home / "runs" / run)
    assert of_video["label"] in {"real", "fake"}
    assert (of_video["type"] is not None) == (run == "sd2-tiny" and of_video["label"] == "fake")
    assert of_still["counts"]["used"] == 1


def test_eval_and_detect_crop_the_same(run: str, home: Path, world: Path) -> None:
    scores = pl.read_parquet(home / "runs" / run / "eval" / "ws" / "scores.parquet")
    row = scores.filter(pl.col("method") == "Face2Face").row(0, named=True)
    name = row["video_id"].rsplit("/", 1)[-1]
    video = world / f"ff++/manipulated_sequences/Face2Face/c23/videos/{name}.mp4"
    (verdict,) = as_json("detect", video, "--run", run, "-w", home)
    by_frame = {frame["frame_index"]: frame["score"] for frame in verdict["frames"]}
    assert by_frame[row["frame_index"]] == pytest.approx(row["score"], abs=0.02)


def test_a_run_is_not_overwritten_and_typos_name_the_nearest_key(run: str, home: Path) -> None:
    method = run.split("-")[0]
    assert "--resume" in error_line(mmidd("train", method, "--preset", "tiny", "-w", home), 2)
    wrong = mmidd("train", method, "--preset", "tiny", "--set", "optim.lrr=1", "--name", "x", "-w", home)
    assert "optim.lr" in error_line(wrong, 2)
    assert "tiny" in error_line(mmidd("train", method, "--preset", "huge", "--name", "x", "-w", home), 2)


def test_status_counts_what_is_there(home: Path) -> None:
    status = as_json("status", "-w", home)
    assert sum(row["len"] for row in status["samples"]) == Workspace.open(home).samples().collect().height
    assert {row["table"] for row in status["stages"]} >= {
        "samples/ff++",
        "captions/measured",
        "simulated/sbi",
    }
