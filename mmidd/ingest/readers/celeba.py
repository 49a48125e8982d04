"""CelebA (Liu et al., ICCV 2015): 202,599 photos of 10,177 celebrities."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted, in_derived_split
from mmidd.ingest.tree import IMAGE_SUFFIXES, child, media_files
from mmidd.schema import ForgeryType, Label, Media, Split

_TREES = ("img_align_celeba", "img_align_celeba_png", "img_celeba")
_PARTITION = ("list_eval_partition.txt", "list_eval_partition.csv")
_IDENTITY = ("identity_CelebA.txt", "identity_CelebA.csv")
_PLACES = ("Anno", "Eval", "img_align_celeba")
_SPLITS = {"0": Split.TRAIN, "1": Split.VAL, "2": Split.TEST}
_STEM = re.compile(r"\d{6}")


class CelebA(Reader):
    """The best image tree of CelebA below a root: aligned photos, else those in the wild."""

    info = SourceInfo(
        key="celeba",
        aliases=("celeb-a",),
        title="CelebFaces Attributes",
        role="train",
        media="jpg or png image",
        types="REAL",
        size="202,599 images of 178x218 px",
        layout=(
            "img_align_celeba/[img_align_celeba/]000001.jpg, or img_celeba/000001.jpg in the wild",
            "[Eval/]list_eval_partition.txt or .csv",
            "[Anno/]identity_CelebA.txt",
        ),
        annotations="list_eval_partition (split), identity_CelebA (people; optional)",
        split_rule="list_eval_partition: 0 train 162,770, 1 val 19,867, 2 test 19,962; without it and with "
        "--derive-splits by a hash of the identity",
        label_rule="all real",
        licence="non-commercial research agreement",
        obtain="page CelebA of MMLab, CUHK",
        gotchas=(
            "aligned photos leave little margin around the face (178x218)",
            "Kaggle copies double the folder and use csv files with a header",
            "CelebA-HQ, parts of DFFD and DF40's face editing reuse these photos",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("celeba has one quality only; leave --compression out")
        if not (self._partition or options.derive_splits):
            raise UsageError(
                f"no {_PARTITION[0]} under {self.root}; it is in Eval/ of the download: copy it there, name "
                "its folder with --annotations, or pass --derive-splits"
            )

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with one of the image trees."""
        return any(child(folder, tree) for tree in _TREES)

    @cached_property
    def _tree(self) -> Path:
        tree = next(t for name in _TREES if (t := child(self.root, name)))
        return child(tree, tree.name) or tree

    @cached_property
    def _partition(self) -> dict[str, str]:
        return self._table(_PARTITION)

    @cached_property
    def _people(self) -> dict[str, str]:
        return self._table(_IDENTITY)

    def _table(self, names: tuple[str, ...]) -> dict[str, str]:
        found = (find_file(name, self.root, self.options.annotations, _PLACES) for name in names)
        file = next(filter(None, found), None)
        return read_table(file) if file else {}

    def items(self) -> Iterator[Item | Unlisted]:
        """Every photo by number."""
        for path in islice(media_files(self._tree, IMAGE_SUFFIXES), self.options.limit_videos):
            yield self._item(path)

    def _item(self, path: Path) -> Item | Unlisted:
        relative = path.relative_to(self.root).as_posix()
        if not _STEM.fullmatch(path.stem):
            return Unlisted(relative, f"{path.stem} is not a six-digit photo number")
        person = self._people.get(path.stem)
        item = Item(
            path=relative,
            media=Media.IMAGE,
            label=Label.REAL,
            type=ForgeryType.REAL,
            method="celeba",
            video_id=f"celeba/{path.stem}",
            pair_id=f"celeba/{path.stem}",
            identity_ids=(f"celeba/person{person}",) if person else (),
            overlap_ids=(f"celeba/{path.stem}",),
            label_note=None if person else "identity unknown: identity_CelebA does not name it",
            licence=self.info.licence,
        )
        if not self._partition:
            return in_derived_split(item, self.options.seed)
        flag = self._partition.get(path.stem)
        origin = "official" if flag else "unlisted"
        return replace(item, split=_SPLITS[flag] if flag else Split.NONE, split_origin=origin)

    def expected(self) -> Iterator[Expected]:
        """The photos of the partition list; nothing without it."""
        for stem, flag in self._partition.items():
            yield Expected("celeba", _SPLITS[flag], None, stem)


def read_table(file: Path) -> dict[str, str]:
    """Photo number -> value of a two-column CelebA file: txt with blanks, or csv with a header.

    Raises:
        UsageError: a row that is not a photo and a number.
    """
    is_csv = file.suffix.lower() == ".csv"
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = [row for row in (csv.reader(lines) if is_csv else map(str.split, lines)) if row]
    if is_csv and rows and not rows[0][-1].strip().isdigit():
        del rows[0]
    for row in rows:
        if len(row) != 2 or not row[1].strip().isdigit():
            raise UsageError(f"{file}: cannot read row {' '.join(row)[:80]!r}; take the official file")
    return {Path(name.strip()).stem: value.strip() for name, value in rows}
