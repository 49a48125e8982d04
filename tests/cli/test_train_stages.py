"""Both stages of kfd by the commands a user types: a detector, a language model on top of it, a question."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mmidd.errors import SpecMismatch, UsageError
from mmidd.preprocess.crop import encode_image
from mmidd.schema import SAMPLES
from mmidd.shards.writer import write_shards
from mmidd.spec import PreprocessSpec
from mmidd.training.config import KfdLlmConfig, load_config
from mmidd.training.models.llm.tiny import tiny_tokenizer
from mmidd.training.tasks.kfd_llm import KfdLlm
from mmidd.training.trained import load_run
from tests.captioning.test_measured import points
from tests.cli.command import mmidd
from tests.cli.test_chat import FACE
from tests.cli.test_train import here
from tests.preprocess_blend.faces import picture
from tests.shards.shard_world import Kept
from tests.training import kfd_world

SPEC = PreprocessSpec()
TALKS = [
    "llm.shape={width: 32, layers: 2, heads: 2, vocabulary: 600}",
    "prompt={channels: [4, 4, 4], side: 20, tokens: 2, base_tokens: 2}",
    "generation.max_new_tokens=4",
    "batch=4",
    "micro_batch=4",
    "epochs=1",
    "workers=0",
]


def settings(overrides: list[str]) -> list[str]:
    return [part for setting in overrides for part in ("--set", setting)]


def write_faces(out: Path) -> None:
    """Of every split four reals with landmarks and four other faces that count as fakes."""
    rows, blobs = [], {}
    for number in range(24):
        key, split, fake = f"{number:016x}", ("train", "val", "test")[number // 8], number % 2
        blobs[key] = blob = encode_image(picture(number), SPEC)
        about: dict[str, Any] = {"label": "fake", "type": "FS"} if fake else {"label": "real", "type": "REAL"}
        if not fake:
            place = {"landmark_scheme": "dlib68", "crop_matrix": [1.0, 0, 0, 0, 1, 0]}
            about |= {**place, "landmarks": points().ravel().tolist()}
        rows.append(
            {"unit_id": "u", "attempt": 0, "status": "ok", "sample_id": key, "source": "ff++", "split": split}
            | {"video_id": f"v{number}", "spec_id": SPEC.spec_id, "encoding": "jpeg", "length": len(blob)}
            | {"sha256": hashlib.sha256(blob).hexdigest(), **about}
        )
    types = pl.DataFrame(SAMPLES.empty_table()).schema
    frame = pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types)
    write_shards(frame, Kept(blobs), out, spec=SPEC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run of each stage."""
    root = tmp_path_factory.mktemp("stages") / "ws"
    write_faces(root.parent / "shards")
    done = here("kfd", *settings(kfd_world.SMALL), *places(root))
    assert done.code == 0, done.err
    done = here("kfd", "--stage", "llm", *settings(TALKS), *places(root))
    assert done.code == 0, done.err
    return root


def places(home: Path) -> list[str]:
    return ["--data", str(home.parent / "shards"), "-w", str(home)]


def test_the_second_stage_takes_over_the_only_detector_and_records_it(home: Path) -> None:
    config = load_config(home / "runs/kfd-llm-tiny/config.yaml")
    assert isinstance(config, KfdLlmConfig)
    assert config.detector == str(home.resolve() / "runs/kfd-tiny")
    assert config.first_stage == load_config(home / "runs/kfd-tiny/config.yaml")
    first, second = (load_run(home / "runs" / name).task for name in ("kfd-tiny", "kfd-llm-tiny"))
    assert isinstance(second, KfdLlm)
    assert first.learned()
    for name, tensor in first.learned().items():
        assert torch.equal(second.detector.state_dict()[name], tensor), name


def test_the_weights_of_the_second_stage_need_no_other_file(home: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    shutil.copy(home / "runs/kfd-llm-tiny/weights.safetensors", alone)
    images = torch.randint(0, 256, (2, kfd_world.SIDE, kfd_world.SIDE, 3), dtype=torch.uint8)
    here_and_there = [load_run(path).task.score(images).fake for path in (home / "runs/kfd-llm-tiny", alone)]
    assert (here_and_there[0] == here_and_there[1]).all()


def test_a_language_model_of_a_folder_learns_by_lora_in_bfloat16_with_checkpoints(
    home: Path, tmp_path: Path
) -> None:
    shape = LlamaConfig(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
    )
    folder = tmp_path / "llama"
    LlamaForCausalLM(shape).bfloat16().save_pretrained(folder)
    tiny_tokenizer(600).save_pretrained(folder)
    own = [f"llm={{name: {folder}, tune: lora}}", "precision=bf16-mixed", "gradient_checkpointing=true"]
    done = here("kfd", "--stage", "llm", "--name", "own", *settings([*TALKS[1:], *own]), *places(home))
    assert done.code == 0, done.err
    assert f"loading {folder} with weights pretrained" in done.out
    task = load_run(home / "runs/own").task
    assert {name.split(".")[-3] for name in task.learned() if name.startswith("language")} == {
        "lora_A",
        "lora_B",
    }
    wide = LlamaConfig(**{**shape.to_dict(), "hidden_size": 64, "head_dim": 32})
    LlamaForCausalLM(wide).save_pretrained(folder)
    with pytest.raises(UsageError, match="do not fit the configuration"):
        load_run(home / "runs/own")
    shutil.rmtree(home / "runs/own")


def test_a_question_is_answered_by_the_only_run_that_can_talk(home: Path, tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    done = mmidd("chat", FACE, "--ask", "Is it fake?", "--ask", "Where?", "--save", saved, "-w", home)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(saved.read_text())
    assert len(record["conversations"]) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sd2", "--stage", "llm"], "sd2 has no stage 'llm'; leave --stage out"),
        (["kfd", "--stage", "lm"], "kfd has no stage 'lm'; choose from llm"),
        (["kfd", "--stage", "llm", "--name", "kfd-tiny", "--resume"], "run kfd-tiny is of kfd; run `mmidd"),
        (
            ["kfd", "--stage", "llm", "--name", "x", "--set", "detector=kfd-llm-tiny"],
            "is a run of kfd-llm; pass one of `mmidd train kfd`",
        ),
        (["kfd", "--stage", "llm", "--name", "x", "--set", "detector=y"], "there is no run y; train one"),
    ],
)
def test_a_run_of_another_stage_is_one_line(arguments: list[str], words: str, home: Path) -> None:
    done = here(*arguments, *places(home))
    assert done.code == 2
    assert words in done.err[0]


def test_without_a_detector_or_with_several_it_says_what_to_do(home: Path, tmp_path: Path) -> None:
    assert (
        "run `mmidd train kfd` first" in here("kfd", "--stage", "llm", "--data", "d", "-w", tmp_path).err[0]
    )
    shutil.copytree(home / "runs/kfd-tiny", tmp_path / "runs/a")
    shutil.copytree(home / "runs/kfd-tiny", tmp_path / "runs/b")
    said = here("kfd", "--stage", "llm", "--data", "d", "-w", tmp_path).err[0]
    assert "pass --from, one of a, b" in said


def test_a_detector_of_other_crops_is_refused(home: Path) -> None:
    task = load_run(home / "runs/kfd-llm-tiny").task
    with pytest.raises(SpecMismatch, match=r"other crops than these shards hold \(margin 1.3 against 1.5\)"):
        task.start(PreprocessSpec(margin=1.5))


def test_help_names_the_stages_and_the_verb_to_ask(home: Path) -> None:
    assert "mmidd train kfd --stage llm" in mmidd("train", "--help").stdout
    assert "Is this a deepfake?" in mmidd("chat", "--help").stdout
