"""Our tar files against those of the standard library."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.shards.tar_writer import TarWriter, header

NAMES = st.text("0123456789abcdef_-.", min_size=1, max_size=100)


@given(NAMES, st.integers(0, 8**11 - 1))
def test_a_header_is_that_of_tarfile(name: str, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    assert header(name, size) == member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


@pytest.mark.parametrize(("name", "size"), [("a" * 101, 1), ("a", 8**11), ("é", 1)])
def test_what_does_not_fit_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the codec words one of them
        header(name, size)


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=3000), max_size=8))
def test_a_file_is_that_of_tarfile(tmp_path_factory: pytest.TempPathFactory, members: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    stock = io.BytesIO()
    with TarWriter(path) as ours, tarfile.open(fileobj=stock, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number, data in enumerate(members):
            info = tarfile.TarInfo(f"m{number}.bin")
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
            assert ours.add(info.name, data) + len(data) + -len(data) % 512 == tar.offset
    written = path.read_bytes()
    assert written == stock.getvalue()
    assert (ours.size, ours.sha256) == (len(written), hashlib.sha256(written).hexdigest())


def test_members_larger_than_a_block_arrive(tmp_path: Path) -> None:
    data = [bytes([i]) * size for i, size in enumerate((9_000_001, 10, 4 << 20, 5_000_000))]
    with TarWriter(tmp_path / "x.tar") as tar:
        offsets = [tar.add(f"{i}.bin", part) for i, part in enumerate(data)]
    written = (tmp_path / "x.tar").read_bytes()
    assert [written[at : at + len(part)] for at, part in zip(offsets, data, strict=True)] == data
    assert tar.sha256 == hashlib.sha256(written).hexdigest()


@pytest.mark.parametrize("size", [10, 4 << 20])
def test_an_error_of_the_disk_reaches_the_writer(size: int) -> None:
    def write() -> None:
        with TarWriter(Path("/dev/full")) as tar:
            for number in range(3):
                tar.add(f"{number}.bin", bytes(size))

    with pytest.raises(OSError, match="No space left"):
        write()
