"""POSIX USTAR files, written fast and reproducibly."""

from __future__ import annotations

import tarfile
from pathlib import Path
from types import TracebackType

from mmidd.shards.sink import Sink
from mmidd.shards.tar import Buffer

_ZEROS = bytes(tarfile.BLOCKSIZE)


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a member's data: what `tarfile` makes of a `TarInfo` with mode 0644.

    Raises:
        ValueError: the name has more than 100 characters or is not ASCII, or the size is 8 GiB or more.
    """
    label, digits = name.encode("ascii"), b"%011o" % size
    if len(label) > 100 or len(digits) > 11:
        raise ValueError(f"{name} of {size} bytes does not fit into a USTAR header")
    checksum = b"%06o" % (_CHECKSUM + sum(label) + sum(digits))
    return label.ljust(100, b"\0") + _MODE + digits + _TIME + checksum + _REST


def _template() -> bytes:
    member = tarfile.TarInfo()
    member.mode = 0o644
    return member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


_MODE, _TIME, _REST = _template()[100:124], _template()[135:148], _template()[154:]
_CHECKSUM = sum(_MODE) + sum(_TIME) + 8 * ord(" ") + sum(_REST[2:])  # its own field counts as spaces


class TarWriter:
    """A USTAR file whose bytes depend only on the members' names and data.

    Every member is a plain file with mode 0644, time 0 and owner 0. Use it as a context
    manager: a clean exit writes the end-of-archive record and syncs to disk. An error of the disk
    may surface at a later member.

    Attributes:
        size: bytes so far.
        sha256: of the file, once it is closed.
    """

    def __init__(self, path: Path) -> None:
        self._sink = Sink(path)
        self.size = 0
        self.sha256 = ""

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                end = 2 * tarfile.BLOCKSIZE
                self._put(bytes(end + -(self.size + end) % tarfile.RECORDSIZE))
                self.sha256 = self._sink.sync()
        finally:
            self._sink.close()

    def add(self, name: str, data: Buffer) -> int:
        """Append a member and return the offset of its data."""
        self._put(header(name, len(data)))
        offset = self.size
        self._put(data)
        self._put(_ZEROS[: -len(data) % tarfile.BLOCKSIZE])
        return offset

    def _put(self, data: Buffer) -> None:
        self._sink.put(data)
        self.size += len(data)
