"""The ingest stage: every media file of a source becomes face crops with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from mmidd.engine import Blob, Ledger, Row, Stage, Unit, content_id
from mmidd.errors import DataError, MediaError
from mmidd.files import sha256_of
from mmidd.ingest.base import Item, Reader, Unlisted
from mmidd.schema import SAMPLES, Media, Status
from mmidd.spec import PreprocessSpec
from mmidd.workspace import Workspace

if TYPE_CHECKING:
    from mmidd.preprocess.archive import Member
    from mmidd.preprocess.extract import Extracted


@dataclass(frozen=True)
class Job:
    """What a worker needs for one media file."""

    path: Path
    media: Media
    source: str
    src_path: str
    video_id: str
    mask: Path | None
    spec: PreprocessSpec
    frame_index: int | None


@dataclass(frozen=True)
class NotUsable:
    """A file that no work can make usable; it becomes a failure row."""

    reason: str
    detail: str


def ledger(workspace: Workspace, source: str) -> Ledger:
    """The table of a source's samples."""
    return Ledger(workspace.root / "samples" / source, SAMPLES)


def stage(source: str) -> Stage:
    """The stage that crops the faces of `source`."""
    return Stage(f"ingest {source}", SAMPLES, crop_faces)


def units(reader: Reader, spec: PreprocessSpec) -> Iterator[Unit]:
    """One unit per media file; its id is a hash of path, size and spec."""
    for item in sampled(reader.listed(), spec.frames):
        path = reader.root / item.path
        identity = content_id("ingest", spec.spec_id, reader.source, item.path, _size(path))
        if isinstance(item, Unlisted):
            columns = {"source": reader.source, "src_path": item.path, "spec_id": spec.spec_id}
            yield Unit(identity, item.path, NotUsable("unlisted", item.why), columns)
        else:
            columns = {**item.columns(), "source": reader.source, "spec_id": spec.spec_id}
            yield Unit(identity, item.path, _job(reader, item, path, spec, columns["src_path"]), columns)


def sampled(items: Iterable[Item | Unlisted], frames: int) -> Iterator[Item | Unlisted]:
    """The items, with uniform frames of every video that is shipped as frames.

    Frames of one video must follow each other.
    """
    from mmidd.preprocess.decode import frame_positions

    for video, group in groupby(items, _video):
        if video is None:
            yield from group
        else:
            members = list(group)
            yield from (members[k] for k in frame_positions(len(members), frames))


def _video(item: Item | Unlisted) -> str | None:
    return item.video_id if isinstance(item, Item) and item.frame_index is not None else None


def _job(reader: Reader, item: Item, path: Path, spec: PreprocessSpec, src_path: str) -> Job:
    mask = reader.root / item.mask if item.mask else None
    return Job(path, item.media, reader.source, src_path, item.video_id, mask, spec, item.frame_index)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def crop_faces(job: Job | NotUsable) -> list[Row]:
    """The rows of one media file, one per sampled frame.

    Raises:
        DataError: the file as a whole cannot be used.
    """
    from mmidd.preprocess.archive import read_sequences
    from mmidd.preprocess.extract import extract

    if isinstance(job, NotUsable):
        raise DataError(job.reason, job.detail)
    digest = file_sha256(job.path)
    if job.media is Media.ARCHIVE:
        return [_member_row(job, digest, member) for member in read_sequences(job.path, job.spec)]
    frames = extract(job.path, job.media, job.spec, mask=job.mask)
    return [_row(job, digest, frame) for frame in frames]


def _member_row(job: Job, digest: str, member: Member) -> Row:
    inside = replace(job, src_path=f"{job.src_path}!/{member.name}", frame_index=member.frame)
    row = _row(inside, digest, member.image)
    video = f"{job.video_id}/{member.sequence}"
    own = {"src_path": inside.src_path, "media": Media.PRECROPPED.value, "video_id": video, "pair_id": video}
    return replace(row, columns={**row.columns, **own})


def _row(job: Job, digest: str, frame: Extracted) -> Row:
    index = frame.frame_index if job.frame_index is None else job.frame_index
    columns = {**frame.columns(), "src_sha256": digest, "frame_index": index, "pts_ms": frame.pts_ms}
    if frame.blob is None:
        return Row(columns, Status.REJECTED, frame.reason, frame.detail)
    keys = (job.source, job.src_path, digest, index, frame.face_index, job.spec.spec_id)
    columns["sample_id"] = content_id(*keys)
    return Row(columns, blobs=(Blob(frame.blob, str(frame.encoding)),))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        MediaError: the file is missing or may not be read.
    """
    try:
        return sha256_of(path)
    except FileNotFoundError as error:
        raise MediaError("missing", path.name) from error
    except OSError as error:
        raise MediaError("unreadable", error.strerror or str(error)) from error
