"""Flickr-Faces-HQ (Karras et al., CVPR 2019; github.com/NVlabs/ffhq-dataset)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, Reader, SourceInfo, Unlisted
from mmidd.ingest.tree import IMAGE_SUFFIXES, child, media_files, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

FIRST_VALIDATION = 60_000
_TREES = ("images1024x1024", "in-the-wild-images", "thumbnails128x128")
_ELSEWHERE = frozenset({"real", "fake", "ff", "cdf", "frames", "inversions"})
_JSON = "ffhq-dataset-v2.json"
_STEM = re.compile(r"\d{5}")
_SPLITS = {"training": Split.TRAIN, "validation": Split.VAL}


class FlickrFaces(Reader):
    """The best image tree of FFHQ below a root: 1024 px crops, else in-the-wild, else thumbnails."""

    info = SourceInfo(
        key="ffhq",
        aliases=("flickr-faces-hq",),
        title="Flickr-Faces-HQ",
        role="train",
        media="png image",
        types="REAL",
        size="70,000 images, 1024 px crops 89 GB",
        layout=(
            "images1024x1024/00000/00000.png or, in mirrors, a flat folder of 00000.png",
            "ffhq-dataset-v2.json",
        ),
        annotations="ffhq-dataset-v2.json (category, author, licence of every photo); optional",
        split_rule="category training is train, validation is val; without the JSON by number, 60,000 first",
        label_rule="all real",
        licence="CC BY-NC-SA 4.0",
        obtain="follow the FFHQ repository's README; single photos keep their Flickr licence",
        gotchas=(
            "images are aligned crops already; there is no identity, the author is a weak group",
            "DFFD, DF40 and many generators reuse these photos",
        ),
    )

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """An official image tree, or a flat folder of five-digit images that is no part of another source."""
        if any(child(folder, tree) for tree in _TREES):
            return True
        if _ELSEWHERE & {folder.name.lower(), folder.parent.name.lower()}:
            return False
        first = next(iter(media_files(folder, {".png", ".jpg"})), None)
        return first is not None and bool(_STEM.fullmatch(first.stem))

    @cached_property
    def _tree(self) -> Path:
        return next((t for name in _TREES if (t := child(self.root, name))), self.root)

    @cached_property
    def _entries(self) -> dict[str, dict[str, Any]]:
        places = [self.root, self.root.parent]
        if self.options.annotations:
            places.insert(0, self.options.annotations)
        file = next((p / _JSON for p in places if (p / _JSON).is_file()), None)
        if file is None:
            return {}
        try:
            return dict(json.loads(file.read_text()))
        except (json.JSONDecodeError, ValueError) as error:
            raise UsageError(f"{file} is not the official JSON ({error}); download it again") from error

    def items(self) -> Iterator[Item | Unlisted]:
        """Every photo by number."""
        files = (
            path
            for folder in (self._tree, *subfolders(self._tree))
            for path in media_files(folder, IMAGE_SUFFIXES)
        )
        yield from (self._item(path) for path in islice(files, self.options.limit_videos))

    def _item(self, path: Path) -> Item | Unlisted:
        relative = path.relative_to(self.root).as_posix()
        if not _STEM.fullmatch(path.stem):
            return Unlisted(relative, f"{path.stem} is not a five-digit photo number")
        number = int(path.stem)
        entry = self._entries.get(str(number), {})
        metadata = entry.get("metadata", {})
        author = metadata.get("author")
        return Item(
            path=relative,
            media=Media.IMAGE,
            label=Label.REAL,
            type=ForgeryType.REAL,
            method="ffhq",
            video_id=f"ffhq/{path.stem}",
            pair_id=f"ffhq/{path.stem}",
            split=_split(number, entry),
            split_origin="official",
            identity_ids=(f"ffhq/author:{author}",) if author else (),
            overlap_ids=(f"ffhq/{path.stem}",),
            label_note=None if "category" in entry else "split by photo number, no category in the JSON",
            licence=metadata.get("license") or self.info.licence,
        )

    def expected(self) -> Iterator[Expected]:
        """The photos of the JSON; nothing without it."""
        for key, entry in self._entries.items():
            yield Expected("ffhq", _split(int(key), entry), None, f"{int(key):05d}")


def _split(number: int, entry: dict[str, Any]) -> Split:
    by_number = Split.TRAIN if number < FIRST_VALIDATION else Split.VAL
    return _SPLITS.get(entry.get("category", ""), by_number)
