"""Both stages of ltdd by the commands a user types: a specialist, alignment on top of it, explanations."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmidd.errors import SpecMismatch, UsageError
from mmidd.spec import PreprocessSpec
from mmidd.training.config import LtddConfig, LtddRlConfig, load_config
from mmidd.training.trained import load_run
from tests.cli.command import mmidd
from tests.cli.test_train import here
from tests.cli.test_train_stages import places, settings, write_faces

SMALL = ["batch=4", "micro_batch=4", "epochs=1", "workers=0"]
SPECIALIST = [
    *SMALL,
    "backbone.shape={embed_dim: 16, vision: {image_size: 32, patch_size: 8, width: 32, layers: 1, "
    "head_width: 16}, text: {context_length: 16, width: 16, heads: 2, layers: 1}}",
]
ALIGNED = [
    *SMALL,
    "mllm.shape={width: 32, layers: 1, heads: 2, vocabulary: 420, vision_width: 16, vision_layers: 1, "
    "patch_size: 8}",
    "mllm.image_size=32",
    "generation.max_new_tokens=6",
    "sampling={}",
]
REWARDED = [*SMALL, "form_steps=1", "grpo={group: 2, max_new_tokens: 60}", "max_steps=2", "sampling={}"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a specialist and a run of each stage."""
    root = tmp_path_factory.mktemp("ltdd") / "ws"
    write_faces(root.parent / "shards")
    for arguments in (
        ["lnclip", *settings([*SPECIALIST, "sampling={}"])],
        ["ltdd", *settings(ALIGNED)],
        ["ltdd", "--stage", "rl", "--from", "ltdd-tiny", *settings(REWARDED)],
    ):
        done = here(*arguments, *places(root))
        assert done.code == 0, done.err
    return root


def test_each_stage_records_what_it_builds_on(home: Path) -> None:
    first, second = (load_config(home / f"runs/{name}-tiny/config.yaml") for name in ("ltdd", "ltdd-rl"))
    assert isinstance(first, LtddConfig)
    assert first.specialist == str(home.resolve() / "runs/lnclip-tiny")
    assert isinstance(second, LtddRlConfig)
    assert second.policy == str(home.resolve() / "runs/ltdd-tiny")
    assert second.first_stage == first


def test_a_changed_specialist_is_refused(home: Path, tmp_path: Path) -> None:
    specialist = home / "runs/lnclip-tiny/weights.safetensors"
    before = shutil.copy(specialist, tmp_path)
    data = bytearray(specialist.read_bytes())
    data[-1] ^= 1
    specialist.write_bytes(data)
    for name in ("ltdd-tiny", "ltdd-rl-tiny"):
        with pytest.raises(UsageError, match="trained on another specialist"):
            load_run(home / "runs" / name)
    shutil.copy(before, specialist)
    assert load_run(home / "runs/ltdd-tiny").method == "ltdd"


@pytest.mark.parametrize("name", ["ltdd-tiny", "ltdd-rl-tiny"])
def test_a_specialist_or_policy_of_other_crops_is_refused(home: Path, name: str) -> None:
    task = load_run(home / "runs" / name).task
    with pytest.raises(SpecMismatch, match=r"other crops than these shards hold \(margin 1.3 against 1.5\)"):
        task.start(PreprocessSpec(margin=1.5))


def test_a_moved_workspace_still_knows_its_specialist(home: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(home / "runs", moved / "runs")
    gone = home / "runs/lnclip-tiny"
    gone.rename(gone.with_name("away"))
    try:
        assert load_run(moved / "runs/ltdd-rl-tiny").method == "ltdd-rl"
        with pytest.raises(UsageError, match="put it back"):
            load_run(home / "runs/ltdd-tiny")
    finally:
        gone.with_name("away").rename(gone)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sd2", "--from", "x"], "sd2 builds on no other run; leave --from out"),
        (["ltdd", "--stage", "llm"], "ltdd has no stage 'llm'; choose from rl"),
        (["ltdd", "--name", "x", "--from", "ltdd-tiny"], "is a run of ltdd, which is no specialist"),
        (["ltdd", "--name", "x", "--from", "nothing"], "there is no run nothing"),
        (
            ["ltdd", "--stage", "rl", "--name", "x", "--from", "lnclip-tiny"],
            "is a run of lnclip; pass one of",
        ),
        (["ltdd", "--resume", "--from", "lnclip-tiny"], "leave --set and --from out"),
    ],
)
def test_a_run_of_another_kind_is_one_line(arguments: list[str], words: str, home: Path) -> None:
    done = here(*arguments, *places(home))
    assert done.code == 2
    assert words in done.err[0]


def test_without_a_specialist_it_says_what_to_do_and_none_is_a_choice(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    done = here("ltdd", *settings(ALIGNED), "--data", home.parent / "shards", "-w", root)
    assert done.code == 2
    assert "run `mmidd train lnclip` first" in done.err[0]
    alone = [*ALIGNED, "specialist=null", "max_steps=1"]
    done = here("ltdd", *settings(alone), "--data", home.parent / "shards", "-w", root)
    assert done.code == 0, done.err


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # TRL's, about itself
def test_trl_trains_a_policy_without_a_specialist_and_only_that(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="extra rl is not installed")
    root, shards = tmp_path / "ws", home.parent / "shards"
    alone = [*ALIGNED, "specialist=null", "max_steps=1"]
    assert here("ltdd", *settings(alone), "--data", shards, "-w", root).code == 0
    own = [*REWARDED, "form_steps=0", "micro_batch=8", "max_steps=1"]
    stage = ["ltdd", "--stage", "rl", "--trainer", "trl", *settings(own)]
    done = here(*stage, "--data", shards, "-w", root)
    assert done.code == 0, done.err
    policy, first = (load_run(root / f"runs/{name}").task for name in ("ltdd-rl-tiny", "ltdd-tiny"))
    assert policy.references() == first.references()
    assert '"reward"' in (root / "runs/ltdd-rl-tiny/metrics.jsonl").read_text()
    refused = here(*stage, "--from", "ltdd-tiny", "--name", "x", *places(home))
    assert refused.code == 2
    assert "would lose the specialist's tokens" in refused.err[0]


@pytest.mark.parametrize("arguments", [["sd2", "--trainer", "trl"], ["ltdd", "--stage", "rl", "--vllm"]])
def test_trl_is_for_the_second_stage(arguments: list[str], home: Path) -> None:
    done = here(*arguments, *places(home))
    assert done.code == 2
    assert "--trainer trl begins a run of" in done.err[0]


def test_help_names_the_stage_and_what_it_builds_on() -> None:
    said = mmidd("train", "--help").stdout
    assert "--from" in said
    assert "mmidd train ltdd --stage rl" in said
