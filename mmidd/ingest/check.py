"""Compare what a source should hold with what is on disk, without decoding anything."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmidd.ingest.base import Item, Reader, Unlisted

_SIGNATURES = {
    ".png": (0, b"\x89PNG"),
    ".jpg": (0, b"\xff\xd8"),
    ".jpeg": (0, b"\xff\xd8"),
    ".avi": (0, b"RIFF"),
    ".mp4": (4, b"ftyp"),
    ".mov": (4, b"ftyp"),
    ".webm": (0, b"\x1a\x45\xdf\xa3"),
    ".mkv": (0, b"\x1a\x45\xdf\xa3"),
    ".webp": (8, b"WEBP"),
}


@dataclass
class Counts:
    """Files of one method, compression and split; `expected` is None where no list says."""

    expected: int | None = None
    found: int = 0
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CheckReport:
    """The comparison: counts by (method, compression, split), and files no rule knows."""

    source: str
    root: Path
    counts: dict[tuple[str, str, str], Counts]
    unlisted: list[Unlisted]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing or unreadable."""
        return not any(c.missing or c.unreadable for c in self.counts.values())

    def as_json(self) -> dict[str, object]:
        """JSON-ready dictionary with every missing, unreadable and unlisted name."""
        rows = [
            {"method": m, "compression": c, "split": s, **vars(counts)}
            for (m, c, s), counts in sorted(self.counts.items())
        ]
        unlisted = [{"path": u.path, "why": u.why} for u in self.unlisted]
        return {"source": self.source, "root": str(self.root), "counts": rows, "unlisted": unlisted}


def check(reader: Reader) -> CheckReport:
    """List the source and probe the first bytes of every file."""
    counts: dict[tuple[str, str, str], Counts] = defaultdict(Counts)
    found: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    unlisted = []
    for item in reader.listed():
        if isinstance(item, Unlisted):
            unlisted.append(item)
            continue
        path = PurePosixPath(item.path)
        found[item.method, item.compression] |= {path.stem, path.parent.name, item.path}
        row = counts[_key(item)]
        row.found += 1
        problem = probe(reader.root / item.path)
        if problem:
            row.unreadable.append(f"{item.path}: {problem}")
    for expected in reader.expected():
        row = counts[expected.method, expected.compression or "", expected.split.value]
        row.expected = (row.expected or 0) + 1
        if expected.name not in found[expected.method, expected.compression]:
            row.missing.append(expected.name)
    return CheckReport(reader.source, reader.root, dict(counts), unlisted)


def _key(item: Item) -> tuple[str, str, str]:
    return item.method, item.compression or "", item.split.value


def probe(path: Path) -> str | None:
    """Why a media file is surely unreadable, from its size, permissions and first bytes; else None."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    if not head:
        return "empty file"
    start, signature = _SIGNATURES.get(path.suffix.lower(), (0, b""))
    if head[start : start + len(signature)] != signature:
        return f"not a {path.suffix[1:].lower()} file"
    return None
