"""Detectors trained on reals and online forgeries alone, on forgeries and people they never saw.

    mmidd demo --portraits FOLDER --clips 1200 --seconds 0.6 --world-only --out w
    # ingest with --frames 4, caption, shard; then
    python -m benchmarks.simulation ws --out benchmarks/results/simulation.json

One run per arm by the commands a user types (a run that is there is not trained again), then the video AUC
on the test split by type, with 95 % intervals bootstrapped over people.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.runs import trained, validation, video_auc

ARMS: dict[str, tuple[str, ...]] = {
    "lnclip sbi": ("lnclip", "--preset", "tiny-sbi"),
    "sd2 sbi": ("sd2", "--preset", "tiny-sbi"),
    "sd2 regional": ("sd2", "--preset", "tiny-sbi", "--set", "online=[regional]"),
    "sd2 sbi and regional": ("sd2", "--preset", "tiny-sbi", "--set", "online=[sbi,regional]"),
}


def main() -> None:
    """Train, evaluate, collect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {arm: scored(arguments.workspace, arm, list(options)) for arm, options in ARMS.items()}
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def scored(workspace: Path, arm: str, options: list[str]) -> dict[str, Any]:
    """AUC, interval and counts of all test videos and of each type."""
    run = trained(workspace, arm.replace(" ", "-"), options)
    return {"validation video AUC on its own forgeries": validation(run), **video_auc(run)}


if __name__ == "__main__":
    main()
