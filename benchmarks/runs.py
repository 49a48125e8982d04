"""Runs by the commands a user types, and what their evaluations say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def mmidd(*arguments: str, log: Path | None = None) -> None:
    """Run a command; what it prints goes to `log`, where one is given, which is shown if it fails."""
    command = [sys.executable, "-m", "mmidd.cli.main", *arguments]
    if log is None:
        subprocess.run(command, check=True)
        return
    with log.open("w", encoding="utf-8") as file:
        code = subprocess.run(command, check=False, stdout=file, stderr=subprocess.STDOUT).returncode
    if code:
        raise RuntimeError(f"mmidd {' '.join(arguments)}\n{log.read_text(encoding='utf-8')[-2000:]}")


def trained(workspace: Path, name: str, options: Sequence[str], log: Path | None = None) -> Path:
    """The folder of a run; what is there of its training and evaluation is not done again."""
    run, place = workspace / "runs" / name, ("--name", name, "-w", str(workspace))
    if not any(run.glob("eval/*/evaluation.json")):
        is_begun = (run / "config.yaml").is_file()
        mmidd("train", *([options[0], "--resume"] if is_begun else options), *place, log=log)
        mmidd("eval", name, "-w", str(workspace), log=log)
    return run


def video_auc(run: Path) -> dict[str, dict[str, float]]:
    """AUC, its interval over people, and counts, of all test videos (`all`) and of each type."""
    (report,) = run.glob("eval/*/evaluation.json")
    evaluation: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return {
        result["name"]: {
            **{key: round(value, 3) for key, value in result["metrics"]["auc"].items()},
            "reals": result["reals"],
            "fakes": result["fakes"],
        }
        for result in evaluation["results"]
        if result["kind"] in ("all", "type") and result["protocol"]["level"] == "video"
    }


def validation(run: Path) -> float:
    """The best video AUC of the run."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return max(round(float(line["video_auc"]), 3) for line in lines if line["event"] == "val")
