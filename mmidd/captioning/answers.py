"""Answers that were paid for, kept the moment they arrive.

The Parquet parts of a stage are written every half minute. An answer is appended to this log before
anything else is done with it, so a kill at any moment loses no answer that had arrived.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO

from mmidd.captioning.backends.base import Answer
from mmidd.errors import StorageError


class AnswerLog:
    """Answers by request key in a file of JSON lines; a context manager that closes it.

    Args:
        path: the file; it is made when the first answer arrives.

    Raises:
        StorageError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._lock = threading.Lock()
        self._answers = dict(self._lines())

    def __enter__(self) -> AnswerLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Answer | None:
        """The answer to a request that was made before, or None."""
        return self._answers.get(key)

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer; it is with the operating system when this returns. Any thread may call this."""
        line = json.dumps({"key": key, **asdict(answer)}, ensure_ascii=False)
        with self._lock:
            self._append(line)
            self._answers[key] = answer

    def _append(self, line: str) -> None:
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
                if self._path.stat().st_size:
                    self._file.write("\n")
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error.strerror}; free space, then go on"
            ) from error

    def close(self) -> None:
        """Close the file and keep it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def clear(self) -> None:
        """Forget everything, once it is in the parts."""
        self.close()
        self._path.unlink(missing_ok=True)
        self._answers = {}

    def _lines(self) -> list[tuple[str, Answer]]:
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                values = json.loads(line)
                found.append((values.pop("key"), Answer(**values)))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # a kill cut this line off
        return found
