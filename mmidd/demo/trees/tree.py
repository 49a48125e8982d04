"""What a small raw tree consists of, and how its people get names that fit their split."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmidd.demo.cast import Cast
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.portraits import Portrait
from mmidd.ingest.splits import SHARES, Shares, derived_split
from mmidd.schema import Split

SECONDS = 1.0
"""Mean length of a clip of a small tree."""

COUPLES = {Split.TRAIN: 2, Split.VAL: 1, Split.TEST: 1}
"""Couples of people of a small tree, by split."""

Couple = tuple[Portrait, Portrait]


@dataclass(frozen=True)
class Tree:
    """A raw tree to be built.

    Attributes:
        jobs: what to film.
        files: annotation files by path.
        packed: folders that become a tar file, by the path of that.
    """

    jobs: tuple[Job, ...]
    files: dict[Path, bytes] = field(default_factory=dict)
    packed: dict[Path, Path] = field(default_factory=dict)

    def finish(self, out: Path) -> None:
        """Writes the annotation files and packs what is to be packed, under `out`, after filming."""
        for path, data in self.files.items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_bytes(data)
        for folder, archive in self.packed.items():
            _pack(out / folder, out / archive)


def _pack(folder: Path, archive: Path) -> None:
    """Moves a folder into a tar file whose bytes depend on nothing but the folder's content."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        tar.add(folder, f"./{folder.name}", filter=_timeless)
    shutil.rmtree(folder)


def _timeless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    return member.replace(mtime=0, uid=0, gid=0, uname="", gname="", mode=0o755, deep=False)


def couples(cast: Cast, split: Split, count: int | None = None) -> list[Couple]:
    """The next couples of different people of a split."""
    people = cast.deal(split, 2 * (COUPLES[split] if count is None else count))
    return list(zip(people[::2], people[1::2], strict=True))


def name_in(split: Split, names: Iterable[str], key: Callable[[str], str], shares: Shares = SHARES) -> str:
    """The next name whose derived split is the one wanted, so that people keep to their own."""
    return next(name for name in names if derived_split(key(name), 0, shares) is split)


def scene(key: str, *shots: Shot, size: tuple[int, int] | None = None) -> Job:
    """A job of one scene; equal keys film the same one."""
    return Job(key, shots, size, SECONDS)


def as_json(content: object) -> bytes:
    """The bytes of a JSON file."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def as_lines(lines: Iterable[str]) -> bytes:
    """The bytes of a text file."""
    return "".join(f"{line}\n" for line in lines).encode()
