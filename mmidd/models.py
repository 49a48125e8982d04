"""Model files that are no part of a package: where they lie, what they are, how to get them.

They lie in `MMIDD_MODELS`, else `~/.cache/mmidd/models`, one folder per name with the files and
`model.json`, which records the SHA-256 of each. A file is hashed again when it is used, so a model
that changed after it was added is never used silently.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO

from mmidd.errors import MmiddError, StorageError, UsageError
from mmidd.files import sha256_of

RECORD = "model.json"
CHUNK = 1 << 20
TIMEOUT_S = 30


@dataclass(frozen=True)
class Known:
    """A model that mmidd can use.

    Attributes:
        name: name in the registry, the same as the detector's.
        about: what it is.
        licence: of the weights.
        url: a public copy.
        sha256: of what the URL gives.
        files: patterns of the files wanted; of a folder or archive only these are taken, the first is needed.
    """

    name: str
    about: str
    licence: str
    url: str
    sha256: str
    files: tuple[str, ...]


_GITHUB = "https://github.com"

KNOWN = {
    known.name: known
    for known in (
        Known(
            "insightface",
            "SCRFD-10G and 106 landmarks (pack buffalo_l)",
            "non-commercial research only",
            f"{_GITHUB}/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
            "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
            ("det_*.onnx scrfd*.onnx", "2d106det.onnx"),
        ),
        Known(
            "retinaface",
            "RetinaFace with MobileNet-0.25",
            "MIT",
            f"{_GITHUB}/biubug6/Face-Detector-1MB-with-landmark/raw/"
            "2b075657aef954b9426f938ac7fce100b6910fe6/weights/mobilenet0.25_Final.pth",
            "ed6fa7d45a5179f03cb5ce82c73b0c6711372968e53782e88395acee88d319e1",
            ("*.pth",),
        ),
        Known(
            "yunet",
            "YuNet n, 640x640",
            "Apache-2.0",
            f"{_GITHUB}/ShiqiYu/libfacedetection.train/raw/"
            "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_n_640_640.onnx",
            "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
            ("*.onnx",),
        ),
    )
}


@dataclass(frozen=True)
class Model:
    """A model in the registry.

    Attributes:
        name: name in the registry.
        folder: where its files lie.
        files: SHA-256 by file name, the main file first.
    """

    name: str
    folder: Path
    files: dict[str, str]

    def path(self, pattern: str | None = None) -> Path | None:
        """The first file that fits the pattern (default: the main file), its content checked.

        Raises:
            UsageError: the file is gone or is not the one that was added.
        """
        name = next((n for n in self.files if pattern is None or _fits(n, pattern)), None)
        if name is None:
            return None
        path = self.folder / name
        if not path.is_file() or sha256_of(path) != self.files[name]:
            raise UsageError(
                f"{path} is missing or not the file that was added; "
                f"run `mmidd models add {self.name} PATH` again"
            )
        return path

    @property
    def digest(self) -> str:
        """First 12 hex digits of each file's SHA-256, joined by `+`: names the weights in a version."""
        return "+".join(sha[:12] for sha in self.files.values())


def models_dir() -> Path:
    """The folder of all models."""
    named = os.environ.get("MMIDD_MODELS")
    return Path(named) if named else Path.home() / ".cache/mmidd/models"


def known_model(name: str) -> Known:
    """What mmidd knows about a model.

    Raises:
        UsageError: no model has that name.
    """
    if name not in KNOWN:
        raise UsageError(f"no model is called '{name}'; choose one of: {', '.join(KNOWN)}")
    return KNOWN[name]


def installed(name: str) -> Model | None:
    """The model of that name, None where it was never added.

    Raises:
        UsageError: its record cannot be read.
    """
    folder = models_dir() / name
    if not (folder / RECORD).is_file():
        return None
    try:
        files = dict(json.loads((folder / RECORD).read_text())["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / RECORD} is damaged; run `mmidd models add {name} PATH` again") from error
    return Model(name, folder, files)


def find_model(name: str) -> Model:
    """The model of that name.

    Raises:
        UsageError: it was never added; says how to get it.
    """
    model = installed(name)
    if model is None:
        raise UsageError(
            f"the model '{name}' is not in {models_dir()}; "
            f"run `mmidd models fetch {name}`, or `mmidd models add {name} PATH`"
        )
    return model


def add_model(name: str, path: Path, *, link: bool = False) -> Model:
    """Copy a file, or what is wanted of a folder or zip archive, into the registry.

    Args:
        name: a known model.
        path: where it lies; an earlier model of that name is replaced.
        link: make symbolic links instead of copies.

    Raises:
        UsageError: there is nothing wanted at the path.
        StorageError: the registry cannot be written.
    """
    known = known_model(name)
    try:
        with _new_folder(name) as folder:
            if path.is_dir():
                _take_files(known, sorted(path.iterdir()), folder, link)
            elif zipfile.is_zipfile(path) and not any(_fits(path.name, p) for p in known.files):
                _take_members(known, path, folder)
            elif path.is_file():
                _take(path, folder / path.name, link)
            else:
                raise UsageError(f"{path} does not exist; give the file or folder of the model '{name}'")
            _write_record(known, folder, path)
    except OSError as error:
        raise StorageError(
            f"cannot write {models_dir()}: {error.strerror or error}; set MMIDD_MODELS to another folder"
        ) from error
    return find_model(name)


def fetch_model(name: str) -> Model:
    """Download a known model and check its SHA-256.

    Raises:
        MmiddError: the network failed, or what came is not the known file.
    """
    known = known_model(name)
    advice = f"get it elsewhere and run `mmidd models add {name} PATH`"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PurePosixPath(known.url).name)
        try:
            got = _download(known.url, path)
        except (OSError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", None) or error
            raise MmiddError(f"cannot download {known.url} ({reason}); {advice}") from error
        if got != known.sha256:
            raise MmiddError(
                f"{known.url} gave another file (sha256 {got[:12]}, expected {known.sha256[:12]}), "
                f"which was not added; {advice}"
            )
        return add_model(name, path)


def _download(url: str, path: Path) -> str:
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as source, path.open("wb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _new_folder(name: str) -> Iterator[Path]:
    """A folder to fill, which then takes the place of the model's own."""
    home = models_dir()
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=home) as temporary:
        fresh = Path(temporary, "new")
        fresh.mkdir()
        yield fresh
        if (home / name).exists():
            (home / name).rename(Path(temporary, "old"))
        fresh.rename(home / name)


def _take_files(known: Known, paths: Iterable[Path], folder: Path, link: bool) -> None:
    for path in paths:
        if path.is_file() and any(_fits(path.name, pattern) for pattern in known.files):
            _take(path, folder / path.name, link)


def _take(path: Path, target: Path, link: bool) -> None:
    if link:
        target.symlink_to(path.resolve())
    else:
        shutil.copyfile(path, target)


def _take_members(known: Known, path: Path, folder: Path) -> None:
    """The wanted members of an archive by their base name, whatever folder they lie in."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/")).name
                if any(_fits(name, pattern) for pattern in known.files):
                    with archive.open(member) as source, (folder / name).open("wb") as file:
                        _copy(source, file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path} cannot be unpacked ({error}); obtain it again") from error


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    shutil.copyfileobj(source, target, CHUNK)


def _write_record(known: Known, folder: Path, path: Path) -> None:
    """Record the files' hashes, in the order of the known patterns."""
    found = sorted(p.name for p in folder.iterdir())
    ordered = [name for pattern in known.files for name in found if _fits(name, pattern)]
    if not ordered or not _fits(ordered[0], known.files[0]):
        raise UsageError(
            f"{path} has no file called {known.files[0].replace(' ', ' or ')}; "
            f"give the file or folder of the model '{known.name}'"
        )
    hashes = {name: sha256_of(folder / name) for name in dict.fromkeys(ordered)}
    (folder / RECORD).write_text(json.dumps({"files": hashes}, indent=1) + "\n")


def _fits(name: str, patterns: str) -> bool:
    return any(fnmatch(name.lower(), pattern) for pattern in patterns.split())
