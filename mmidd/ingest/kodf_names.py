"""Names of KoDF: its metadata csv files, and what file and folder names tell.

All names are compared in composed form (NFC): macOS unpacks Korean names decomposed.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmidd.errors import UsageError
from mmidd.ingest.tree import VIDEO_SUFFIXES
from mmidd.schema import Split

_MODEL = r"(audio[-_ ]?driven|dffs|dfl|fsgan|fo)"
_TOLD_MODEL = re.compile(rf"(?<![a-z]){_MODEL}(?![a-z])")
_MODEL_FOLDER = re.compile(rf"(?:fake|real)[-_ ](adv)\d*|fake[-_ ]{_MODEL}\d*")
_AI_HUB = re.compile(
    rf"원천|라벨링|메타데이터.*\.csv$|(?:train|val)[a-z]*_(?:meta|{_MODEL})\d*_data|^audio[-_]driven\d*$"
)
_METADATA = re.compile("메타데이터|metadata")
_SPLITS = (
    re.compile(r"[\d. _-]*(?:(train(?:ing)?)|val(?:id(?:ation)?)?)"),
    re.compile(r"(?:.*[^a-z])?(?:(train(?:ing)?)|val(?:id(?:ation)?)?)(?![a-z]).*"),
)
_EMPTY = frozenset({"", "-", "nan", "none", "null"})


@dataclass(frozen=True)
class Row:
    """What a metadata csv, or else the folder, says of one video.

    Attributes:
        method: `real`, a model, or the unknown text of the csv.
        stem: name of the video without suffix.
        target: name of the original without suffix, empty if none is given.
        person: whose body and voice it is, empty if unknown.
        source: who gives the face or the motion, empty if unknown.
        from_folder: no csv names the video.
    """

    method: str
    stem: str
    split: Split = Split.NONE
    target: str = ""
    person: str = ""
    source: str = ""
    from_folder: bool = False


def nfc(name: str) -> str:
    """A name in composed form."""
    return unicodedata.normalize("NFC", name)


def video_stem(name: str) -> str:
    """The name of a video without folders and suffix."""
    path = PurePosixPath(nfc(name).replace("\\", "/"))
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name


def model_in(name: str) -> str | None:
    """The forgery model that a name tells of, as in `train_dffs1_data` or `audio_driven`."""
    match = _TOLD_MODEL.search(name.lower())
    return _canonical(match[1]) if match else None


def folder_method(name: str) -> str | None:
    """The method of one of DeepBrain's folders, such as `fake-dffs`; `adv` for adversarial clips."""
    match = _MODEL_FOLDER.fullmatch(nfc(name).lower())
    if match is None:
        return "real" if name.lower() == "real" else None
    return match[1] or _canonical(match[2])


def is_ai_hub(name: str) -> bool:
    """Whether only a file or folder of the AI-Hub release is called so."""
    return bool(_AI_HUB.search(nfc(name).lower()))


def split_in(parts: tuple[str, ...]) -> Split:
    """The split that the parts of a path name: one such as `1.Training`, else the last that holds a word."""
    for pattern in _SPLITS:
        for part in reversed(parts):
            if match := pattern.fullmatch(nfc(part).lower()):
                return Split.TRAIN if match[1] else Split.VAL
    return Split.NONE


def told_by(parts: tuple[str, ...], rows: list[Row]) -> list[Row]:
    """Those of several rows of one name that the folders around a video agree with."""
    split = split_in(parts)
    rows = [row for row in rows if split in (Split.NONE, row.split)]
    for part in map(nfc, reversed(parts)):
        method = model_in(part) or ("real" if "원본" in part else None)
        if method or "변조" in part:
            return [row for row in rows if (row.method == method if method else row.method != "real")]
    return rows


def read_metadata(file: Path, split: Split) -> list[Row]:
    """The rows of a metadata csv; none for a csv of something else.

    Raises:
        UsageError: a metadata csv by its name that cannot be read as one.
    """
    name = nfc(file.name).lower()
    try:
        table = list(csv.reader(io.StringIO(_text(file), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        if not _METADATA.search(name):
            return []
        raise UsageError(f"{file} is neither a utf-8 nor a cp949 csv ({error}); unpack it again") from error
    header = [re.sub(r"\s", "", nfc(column)).lower() for column in table[0]] if table else []
    needed = ("영상id", "변조모델") if "변조" in name and "원본" not in name else ("영상id",)
    absent = [column for column in needed if column not in header]
    if absent and _METADATA.search(name):
        raise UsageError(f"{file} has no column {absent[0].upper()}; take the official file")
    rows = (dict(zip(header, map(_value, line), strict=False)) for line in table[1:] if not absent)
    return [_row(row, split) for row in rows if row.get("영상id")]


def _text(file: Path) -> str:
    data = file.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp949")


def _value(text: str) -> str:
    value = nfc(text).strip()
    return "" if value.lower() in _EMPTY else value


def _row(row: dict[str, str], split: Split) -> Row:
    stem = video_stem(row["영상id"])
    if "변조모델" not in row:
        return Row("real", stem, split, person=row.get("uuid", ""))
    model, target = row["변조모델"], video_stem(row.get("타겟영상", ""))
    return Row(
        model_in(model) or model, stem, split, target, row.get("타겟uuid", ""), row.get("소스uuid", "")
    )


def _canonical(model: str) -> str:
    return "audio-driven" if model.startswith("audio") else model
