"""Runs the real command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def mmidd(*arguments: object, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """The finished process; `before` runs in the child before the command."""
    return subprocess.run(
        [sys.executable, "-m", "mmidd.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=before,
        env={**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"},
        check=False,
    )


def as_json(*arguments: object) -> Any:
    """The JSON that a command that must succeed prints with --json."""
    done = mmidd(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def error_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of an error: no traceback, the expected exit code."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def own_images(root: Path, label: str = "real") -> Path:
    """A description of all images in a folder as one label."""
    root.mkdir(parents=True, exist_ok=True)
    kind = "REAL" if label == "real" else "FS"
    (root / "dataset.yaml").write_text(
        f"name: own-{label}\nmedia: image\n"
        f'rules: [{{glob: "*.*g", label: {label}, type: {kind}, split: train}}]\n'
    )
    return root
