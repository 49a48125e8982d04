"""DeepFakeFace (Song et al., arXiv 2309.02218; github.com/OpenRL-Lab/DeepFakeFace): stills of IMDB-WIKI.

The same file name in all four folders is one photo of person A. Its partner B is in `wiki.pickle`:
`insight/A` shows the face of A on the photo of B, `text2img/A` follows B's prompt.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.tree import IMAGE_SUFFIXES, child, media_files, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

TYPES = {
    "wiki": ForgeryType.REAL,
    "insight": ForgeryType.FS,
    "inpainting": ForgeryType.EFS,
    "text2img": ForgeryType.EFS,
}
_PICKLE = "wiki.pickle"
_NAME = re.compile(r"(\d+)_\d{1,4}-\d{1,2}-\d{1,2}_\d{4}")
_NUMBERED = re.compile(r"\d\d")


class DeepFakeFace(Reader):
    """All stills of DeepFakeFace below a root."""

    info = SourceInfo(
        key="dff",
        aliases=("deepfakeface",),
        title="DeepFakeFace",
        role="train",
        media="jpg image",
        types="REAL FS EFS",
        size="30,000 real, 90,000 fake images; 1.8 GB and 3 x 1.1 GB",
        layout=(
            "{wiki,insight,inpainting,text2img}/[same name again/]17/10000217_1981-05-05_2009.jpg",
            "[data/wiki.pickle]",
        ),
        annotations=f"{_PICKLE} of the code repository (who is whose partner; optional); it is read without "
        "running anything in it",
        split_rule="derived by a hash of the person (the number before the first _), the same in all "
        "folders; a swap whose two people fall into different splits has none",
        label_rule="folder: wiki real, insight FS, text2img EFS, inpainting EFS (the survey of DF40 counts "
        "it so; it repaints the face box only: `--type inpainting=FE` says otherwise)",
        licence="openrail (card); IMDB-WIKI: research only",
        obtain="dataset card OpenRL/DeepFakeFace; wiki.pickle is in data/ of the code repository",
        gotchas=(
            "insight/A shows A's face on the canvas wiki/B: without wiki.pickle its original is unknown",
            "inpainting/A and wiki/A share every pixel outside the face box",
            "some counterparts are missing (no face was found), and reals may be larger than 512 px",
        ),
    )
    derives_splits = True

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("dff has one quality only; leave --compression out")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with two of the four, or with one that has two-digit folders inside."""
        if folder.name.lower() in TYPES:
            return False
        found = [path for name in TYPES if (path := child(folder, name))]
        return any(_NUMBERED.fullmatch(sub.name) for path in found for sub in subfolders(_inner(path)))

    @cached_property
    def _folders(self) -> dict[str, Path]:
        return {name: _inner(path) for name in TYPES if (path := child(self.root, name))}

    @cached_property
    def _partners(self) -> dict[str, str]:
        """Stem of a photo -> stem of its partner."""
        return {_stem(a): _stem(b) for a, b in self._pickle[1]}

    @cached_property
    def _pickle(self) -> tuple[list[str], list[tuple[str, str]]]:
        file = find_file(_PICKLE, self.root, self.options.annotations, ("data", "prompt"))
        return read_pickle(file) if file else ([], [])

    def items(self) -> Iterator[Item | Unlisted]:
        """Every still, reals first."""
        for method, folder in self._folders.items():
            files = (p for sub in (folder, *subfolders(folder)) for p in media_files(sub, IMAGE_SUFFIXES))
            for path in islice(files, self.options.limit_videos):
                yield self._item(method, path)

    def _item(self, method: str, path: Path) -> Item | Unlisted:
        relative = path.relative_to(self.root).as_posix()
        match = _NAME.fullmatch(path.stem)
        if match is None:
            return Unlisted(relative, f"{path.stem} is not ID_BIRTH_YEAR")
        real = method == "wiki"
        item = Item(
            path=relative,
            media=Media.IMAGE,
            label=Label.REAL if real else Label.FAKE,
            type=TYPES[method],
            method=method,
            video_id=f"dff/{method}/{path.stem}",
            pair_id=f"dff/{method}/{path.stem}",
            identity_ids=(_person(path.stem),),
            licence=self.info.licence,
        )
        return item if real else self._forged(item, path.stem)

    def _forged(self, item: Item, stem: str) -> Item:
        if item.method == "inpainting":
            note = "EFS by DF40's survey, though only the face box is painted"
            return replace(self._paired(item, stem, "derived"), label_note=note)
        if item.method == "text2img":
            note = "made from the prompt of another person; grouped by its file name"
            return replace(item, identity_ids=(), group=_person(stem), label_note=note)
        partner = self._partners.get(stem)
        if partner is None:
            return replace(item, label_note=f"its canvas is unknown: {_PICKLE} does not name it")
        item = replace(item, identity_ids=(_person(partner), _person(stem)), donor_video=f"dff/wiki/{stem}")
        return self._paired(item, partner, "declared")

    def _paired(self, item: Item, stem: str, confidence: str) -> Item:
        video = f"dff/wiki/{stem}"
        item = replace(item, target_video=video)
        if stem not in self._reals:
            return item
        return replace(item, pair_id=video, pair_confidence=confidence)

    @cached_property
    def _reals(self) -> set[str]:
        folder = self._folders.get("wiki")
        inside = (folder, *subfolders(folder)) if folder else ()
        return {path.stem for sub in inside for path in media_files(sub, IMAGE_SUFFIXES)}

    def expected(self) -> Iterator[Expected]:
        """The photos that the pickle names, in all four folders; nothing without it."""
        for path in self._pickle[0]:
            for method in self._folders:
                yield Expected(method, Split.NONE, None, _stem(path))


def _inner(folder: Path) -> Path:
    return child(folder, folder.name) or folder


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _person(stem: str) -> str:
    return f"dff/{stem.split('_')[0]}"


class _Plain(pickle.Unpickler):
    """Unpickles lists, tuples and strings; anything that would run code is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_pickle(file: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths and pairs of `wiki.pickle`, a tuple (paths, prompts, pairs).

    Raises:
        UsageError: it is damaged, or holds more than lists, tuples and strings.
    """
    try:
        with file.open("rb") as stream:
            paths, _, pairs = _Plain(stream).load()
        return [_text(path) for path in paths], [(_text(a), _text(b)) for a, b in pairs]
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError) as error:
        raise UsageError(f"{file} is not the official file ({error}); download it again") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no file name")
    return value
