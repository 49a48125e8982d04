"""What the user said about a source, written down at its first ingest.

Rows that are ingested keep their types and splits, so a later line that would give others is refused
rather than half obeyed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmidd.errors import StorageError, UsageError
from mmidd.ingest.base import ReadOptions

PIN = "ingest.json"


def pin_source(folder: Path, source: str, options: ReadOptions) -> None:
    """Write the options that decide types and splits into the source's folder, or compare with them.

    Raises:
        UsageError: the source was ingested with others.
        StorageError: the folder cannot be written.
    """
    said: dict[str, Any] = {
        "--derive-splits": options.derive_splits,
        "--seed": options.seed,
        "--type": {method: kind.value for method, kind in sorted(options.types.items())},
    }
    path = folder / PIN
    if path.exists():
        before = json.loads(path.read_text())
        for option, value in said.items():
            if before.get(option) != value:
                raise UsageError(
                    f"{source} was ingested with {option} {json.dumps(before.get(option))}, now it is "
                    f"{json.dumps(value)}; say the same, or name another --workspace"
                )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said, indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; free space, then run again") from error
