"""The clips of FaceForensics++: official split lists and who is in them.

Sources that forge these clips (DF40, parts of DFFD) must split and name people as FaceForensics++
does, or its test clips leak into their training.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.schema import Split

CLIP = re.compile(r"(\d{3})(?:_(\d{3}))?")
"""`A`, or `A_B`: clip A with the face or the motion of clip B."""

_FILES = {Split.TRAIN: "train.json", Split.VAL: "val.json", Split.TEST: "test.json"}
_IDENTITIES = "conversion_dict.json"
_PLACES = ("splits", "dataset/splits", "dataset")

ASK = (
    "copy dataset/splits of the FaceForensics repository there, name its folder with --annotations, "
    "or pass --derive-splits"
)


@dataclass(frozen=True)
class FFClips:
    """The annotation of FaceForensics++, looked for around a root.

    Attributes:
        root: where the layout begins.
        annotations: folder that the user named.

    Raises:
        UsageError: on first use, a file is damaged or one of the three lists is missing.
    """

    root: Path
    annotations: Path | None

    @cached_property
    def pairs(self) -> dict[Split, list[tuple[str, str]]]:
        """The pairs of every split; empty where there are no lists."""
        files = {split: self._file(name) for split, name in _FILES.items()}
        missing = [_FILES[split] for split, file in files.items() if file is None]
        if len(missing) == len(files):
            return {}
        if missing:
            raise UsageError(f"{missing[0]} is missing beside the other split lists; copy it there")
        return {split: _read_pairs(file) for split, file in files.items() if file}

    @cached_property
    def splits(self) -> dict[str, Split]:
        """The split of every listed clip."""
        return {clip: split for split, pairs in self.pairs.items() for pair in pairs for clip in pair}

    def split(self, clips: tuple[str, ...]) -> Split:
        """The split that holds all the clips, else `Split.NONE`."""
        found = {self.splits.get(clip, Split.NONE) for clip in clips}
        return found.pop() if len(found) == 1 else Split.NONE

    @cached_property
    def _people(self) -> dict[str, str]:
        file = self._file(_IDENTITIES)
        if file is None:
            return {}
        return {clip: text.split()[0] for clip, text in json.loads(file.read_text()).items()}

    def people(self, *clips: str | None) -> tuple[str, ...]:
        """The identities of clips: the YouTube id where `conversion_dict.json` is there, else the clip."""
        return tuple(f"ff++/{self._people.get(clip, clip)}" for clip in clips if clip)

    def _file(self, name: str) -> Path | None:
        return find_file(name, self.root, self.annotations, _PLACES)


def _read_pairs(file: Path) -> list[tuple[str, str]]:
    try:
        return [(str(a), str(b)) for a, b in json.loads(file.read_text())]
    except (json.JSONDecodeError, ValueError, TypeError) as error:
        raise UsageError(
            f"{file} is not a list of pairs of clip ids ({error}); take the official file"
        ) from error
