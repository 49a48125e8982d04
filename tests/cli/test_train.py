from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from importlib import resources
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmidd.cli import train as verb
from mmidd.cli.main import main
from mmidd.cli.which_run import default_preset, new_run
from mmidd.errors import MmiddError
from mmidd.training.config import METHODS, apply_overrides, load_config, load_preset, preset_names
from tests.cli.command import mmidd
from tests.training.test_training_train import write_world
from tests.training.training_world import SMALL

QUICK = [part for setting in [*SMALL, "epochs=1"] for part in ("--set", setting)]


def here(*arguments: object) -> SimpleNamespace:
    """The command in this process: exit code, output, and lines on standard error."""
    out, err, code = StringIO(), StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["mmidd", "train", *map(str, arguments)])
        patch.setattr(signal, "signal", lambda *_: None)
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue().splitlines())


def places(home: Path) -> list[str]:
    return ["--data", str(home.parent / "shards"), "-w", str(home)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with shards and a finished run of lnclip, for which no preset was named."""
    root = tmp_path_factory.mktemp("train") / "ws"
    write_world(root.parent / "shards")
    done = here("lnclip", *QUICK, *places(root))
    assert done.code == 0, done.err
    (root.parent / "said.txt").write_text(done.out)
    return root


@pytest.mark.skipif(torch.cuda.is_available(), reason="takes another preset where there is a GPU")
def test_without_a_gpu_the_preset_is_tiny_and_a_line_says_so(home: Path) -> None:
    first, second, *_ = (home.parent / "said.txt").read_text().splitlines()
    assert first.startswith("preset tiny, ")
    assert "no GPU is visible" in first
    assert "--preset paper" in first
    assert re.fullmatch(r"training [\d,]+ of [\d,]+ parameters \(100.0 %\) on cpu, fp32", second)
    assert load_config(home / "runs/lnclip-tiny/config.yaml").epochs == 1


def test_with_a_gpu_the_preset_is_paper(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert default_preset("sd2", quiet=False) == "paper"
    assert capsys.readouterr().out.startswith("preset paper, since there is a GPU (NVIDIA H200)")


def test_a_run_is_repeated_from_its_own_file(home: Path) -> None:
    file = home / "runs/lnclip-tiny/config.yaml"
    assert "--name" in here("lnclip", "--preset", file, *places(home)).err[0], "its name is the default"
    done = here("lnclip", "--preset", file, "--name", "again", "--json", *places(home))
    assert json.loads(done.out)["preset"] == str(file)
    runs = [home / "runs" / name / "weights.safetensors" for name in ("lnclip-tiny", "again")]
    assert runs[0].read_bytes() == runs[1].read_bytes()


def test_a_file_may_extend_a_preset_and_names_the_run(tmp_path: Path) -> None:
    file = tmp_path / "wide.yaml"
    file.write_text("extends: tiny\noptim: {lr: 0.5}\n")
    run_dir, config = new_run(tmp_path, "sd2", str(file), None, ["epochs=3"])
    tiny = load_preset("sd2", "tiny")
    assert run_dir == tmp_path / "wide"
    assert config == tiny.model_copy(update={"epochs": 3, "optim": tiny.optim.model_copy(update={"lr": 0.5})})


FILES = {
    "typo.yaml": "extends: tiny\noptim: {lrr: 1}\n",
    "alone.yaml": "epochs: 2\n",
    "base.yaml": "extends: tinny\n",
    "broken.yaml": "epochs: [\n",
    "empty.yaml": "",
    "other.yaml": "method: sd2\nextends: tiny\n",
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lnclop"], "unknown method 'lnclop'; choose from sd2, lnclip"),
        (["lnclip", "--preset", "huge"], "no preset 'huge'; choose from "),
        (["lnclip", "--preset", "absent.yaml"], "there is no file"),
        (["lnclip", "--preset", "typo.yaml"], "typo.yaml: no setting 'optim.lrr'; the nearest is 'optim.lr'"),
        (["lnclip", "--preset", "alone.yaml"], "alone.yaml: backbone: Field required"),
        (["lnclip", "--preset", "base.yaml"], "no preset 'tinny'"),
        (["lnclip", "--preset", "broken.yaml"], "broken.yaml is not YAML"),
        (["lnclip", "--preset", "empty.yaml"], "empty.yaml holds no settings"),
        (["lnclip", "--preset", "other.yaml"], "mmidd train sd2"),
        (["lnclip", "--preset", "tiny"], "go on with --resume, or give another --name"),
        (["lnclip", "--preset", "tiny", "--name", "x", "--set", "epoch=1"], "nearest is 'epochs'"),
        (["lnclip", "--preset", "tiny", "--name", "x", "--set", "epochs"], "has no '='"),
        (
            ["lnclip", "--preset", "tiny", "--name", "x", "--set", "sampling.by.column=label"],
            "sampling.by=[...]",
        ),
        (["lnclip", "--preset", "tiny", "--name", "a/b"], "one folder name"),
        (["lnclip", "--preset", "tiny", "--name", ".."], "one folder name"),
        (["lnclip", "--preset", "tiny", "--name", "x", "--set", "wandb=faces"], "pip install 'mmidd[wandb]'"),
        (["lnclip", "--resume", "--name", "x"], "no run x to resume"),
        (["sd2", "--resume"], "no run sd2 to resume"),
        (["sd2", "--resume", "--name", "lnclip-tiny"], "mmidd train lnclip --name lnclip-tiny --resume"),
        (["lnclip", "--resume", "--set", "epochs=3"], "leave --set and --from out"),
        (["lnclip", "--resume", "--preset", "tiny", "--name", "x"], "leave --preset or --resume out"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    home: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    before = sorted(home.rglob("*"))
    done = here(*(tmp_path / part if part.endswith(".yaml") else part for part in arguments), *places(home))
    (line,) = done.err
    assert done.code == 2
    assert line.startswith("error: ")
    assert words in line
    assert sorted(home.rglob("*")) == before, "nothing is left behind"


def test_a_stopped_run_goes_on_without_a_repeated_line(home: Path) -> None:
    command = [sys.executable, "-m", "mmidd.cli.main", "train", "lnclip", "--preset", "tiny", *QUICK]
    command += ["--set", "epochs=12", "--name", "long", *places(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = home / "runs/long/metrics.jsonl"
    while not (log.exists() and log.read_text().count("val") > 1):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    shards = home.parent / "shards"
    assert f"go on with `mmidd train lnclip --name long --data {shards} -w {home} --resume`" in said
    kept = log.read_text()
    late = json.loads(kept.splitlines()[-1]) | {"step": 10**6}
    log.write_text(kept + json.dumps(late) + "\n")
    assert here("lnclip", "--name", "long", *places(home), "--resume").code == 0
    assert log.read_text().startswith(kept)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = {event: [line["step"] for line in lines if line["event"] == event] for event in ("train", "val")}
    assert steps["train"] == list(range(1, len(steps["train"]) + 1))
    assert len(set(steps["val"])) == len(steps["val"]) == 12


def test_help_names_every_method_and_preset() -> None:
    shown = " ".join(mmidd("train", "--help").stdout.replace("│", " ").split())
    presets = {name for method in METHODS for name in preset_names(method)}
    methods = {re.sub(r"^(kfd|ltdd)-", "", name) for name in METHODS}  # a later stage goes by its own name
    for name in methods | presets:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", shown), name
    files = {p.name for p in resources.files("mmidd.training.presets").iterdir() if "-" in p.name}
    assert files == {f"{method}-{preset}.yaml" for method in METHODS for preset in preset_names(method)}


def test_all_gpus_take_the_same_command() -> None:
    line = verb.use_all(8, ["train", "sd2", "--set", "online=[sbi, regional]"])
    assert line.endswith(
        "`torchrun --nproc-per-node 8 --no-python mmidd train sd2 --set 'online=[sbi, regional]'`"
    )


@pytest.mark.parametrize(
    ("stem", "words"), [("conv", "with batch below 32"), ("patch", "with micro_batch below 32")]
)
def test_a_full_gpu_is_one_line(
    stem: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("mmidd.training.train.train", full)
    config = apply_overrides(load_preset("lnclip", "tiny"), [f"backbone.shape.stem={stem}"])
    with pytest.raises(MmiddError, match=words):
        verb.run_training(config, tmp_path, tmp_path, resume=False, quiet=True)


def test_other_ranks_say_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(verb, "run_training", lambda *_: SimpleNamespace(interrupted=False))
    monkeypatch.setattr(verb, "summary", lambda _: "done")
    done = here("lnclip", *places(home))
    assert vars(done) == {"code": 0, "out": "", "err": []}, "the first rank has made the folder meanwhile"


def test_torchrun_trains_one_run_with_one_voice(home: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [
        *torchrun,
        "-m",
        "mmidd.cli.main",
        "train",
        "lnclip",
        "--preset",
        "tiny",
        "--name",
        "two",
        *QUICK,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *places(home)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training ") == 1
    assert "2 ranks" in done.stdout
    assert done.stdout.count("best epoch") == 1
    one, two = (home / "runs" / name / "metrics.jsonl" for name in ("lnclip-tiny", "two"))
    losses = [
        [json.loads(line)["total"] for line in path.read_text().splitlines() if '"train"' in line]
        for path in (one, two)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
