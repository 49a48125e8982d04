"""Face crops that are shipped in tar files, one folder of numbered frames per sequence."""

from __future__ import annotations

import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmidd.errors import MediaError
from mmidd.ingest.tree import IMAGE_SUFFIXES, frame_number, natural
from mmidd.preprocess.decode import frame_positions
from mmidd.preprocess.extract import Extracted, pass_through
from mmidd.spec import PreprocessSpec

MOST_BYTES = 64 << 20
"""A member that says it is larger is refused unread."""


@dataclass(frozen=True)
class Member:
    """One frame of a sequence.

    Attributes:
        name: of the member in the archive.
        sequence: of the folder that it lies in.
        frame: its number.
        image: the crop, or why there is none.
    """

    name: str
    sequence: str
    frame: int
    image: Extracted


def read_sequences(path: Path, spec: PreprocessSpec) -> Iterator[Member]:
    """Uniform frames of every sequence of a tar file, compressed or not, in natural order.

    Raises:
        MediaError: `corrupt` where the file is no tar or ends too soon, `no_frames` where it has no image.
    """
    try:
        with tarfile.open(path, "r:*") as archive:
            chosen = _chosen(archive, spec.frames)
            if not chosen:
                raise MediaError("no_frames", f"{path.name} holds no images")
            for member in sorted(chosen, key=lambda member: member.offset):
                name = PurePosixPath(member.name)
                image = _image(archive, member, spec)
                yield Member(member.name, name.parent.name, frame_number(Path(name)), image)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise MediaError("corrupt", f"{path.name}: {error}") from error


def _chosen(archive: tarfile.TarFile, frames: int) -> list[tarfile.TarInfo]:
    sequences: dict[str, list[tarfile.TarInfo]] = defaultdict(list)
    for member in archive.getmembers():
        name = PurePosixPath(member.name)
        if member.isfile() and name.suffix.lower() in IMAGE_SUFFIXES and not name.name.startswith("."):
            sequences[str(name.parent)].append(member)
    chosen = []
    for members in sequences.values():
        members.sort(key=lambda member: natural(Path(member.name)))
        chosen += [members[k] for k in frame_positions(len(members), frames)]
    return chosen


def _image(archive: tarfile.TarFile, member: tarfile.TarInfo, spec: PreprocessSpec) -> Extracted:
    if member.size > MOST_BYTES:
        return Extracted(reason="too_large", detail=f"{member.name}: {member.size:,} bytes")
    file = archive.extractfile(member)
    assert file is not None
    try:
        return pass_through(file.read(), spec)
    except MediaError as error:
        return Extracted(reason="not_decoded", detail=f"{member.name}: {error}")
