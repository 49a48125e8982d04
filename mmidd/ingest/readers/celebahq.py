"""CelebA-HQ (Karras et al., ICLR 2018), in practice from CelebAMask-HQ (switchablenorms/CelebAMask-HQ).

Every photo is also in CelebA: `CelebA-HQ-to-CelebA-mapping.txt` says which, and CelebA's own lists then
give split and person. Releases that number the photos otherwise have lost that mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted, in_derived_split
from mmidd.ingest.readers.celeba import read_table
from mmidd.ingest.tree import IMAGE_SUFFIXES, child, level, media_files, natural, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
PARTITION = "list_eval_partition.txt"
_PARTITIONS = (PARTITION, "list_eval_partition.csv")
_IDENTITIES = ("identity_CelebA.txt", "identity_CelebA.csv")
_PLACES = ("Anno", "Eval", "CelebA", "CelebA/Anno", "CelebA/Eval", "CelebAMask-HQ")
_INNER = ("images", "imgs", "data")
_PARTS = ("train", "val", "valid", "validation", "test")
_SEXES = ("female", "male")
_SPLITS = {"0": Split.TRAIN, "1": Split.VAL, "2": Split.TEST}
_COUNT = 30_000
_NUMBER = re.compile(r"\d{1,6}")
_PHOTO = re.compile(r"(\d{1,6})\.(?:jpg|jpeg|png)", re.IGNORECASE)
_LOST = "mapping to CelebA is lost: its own people may be on both sides"


class CelebAHQ(Reader):
    """All photos of CelebA-HQ below a root."""

    info = SourceInfo(
        key="celeba-hq",
        aliases=("celebahq", "celeba_hq", "celebamask-hq"),
        title="CelebA-HQ",
        role="train",
        media="jpg or png image",
        types="REAL",
        size="30,000 images of 1024 px (256 and 512 px in copies)",
        layout=(
            "[CelebAMask-HQ/]CelebA-HQ-img/0.jpg ... 29999.jpg",
            MAPPING,
            "[Eval/]list_eval_partition.txt or .csv of CelebA",
            "[Anno/]identity_CelebA.txt of CelebA",
            "other releases: celeba_hq/000004.jpg or celeba_hq/{train,val}/{female,male}/000004.jpg",
        ),
        annotations=f"{MAPPING} (which photo of CelebA), list_eval_partition of CelebA (split), "
        "identity_CelebA (people; optional)",
        split_rule="of the same photo in CelebA's list_eval_partition; without mapping or list and with "
        "--derive-splits by a hash of the identity or else of the photo; other releases always so",
        label_rule="all real",
        licence="CelebA terms, non-commercial",
        obtain="CelebAMask-HQ on GitHub; the lists from page CelebA of MMLab, CUHK",
        gotchas=(
            "every photo is also in CelebA: overlap_ids say which",
            "releases named 000004.jpg, starting at 1 or cut into train and val lost the mapping",
            "CelebAMask-HQ-mask-anno holds masks of face parts, no photos",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("celeba-hq has one quality only; leave --compression out")
        if self._is_mapped and self._missing and not options.derive_splits:
            raise UsageError(
                f"no {' and no '.join(self._missing)} under {self.root} ({MAPPING} comes with CelebAMask-HQ, "
                f"{PARTITION} with CelebA): copy what is missing there, name its folder with --annotations, "
                "or pass --derive-splits"
            )

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with `CelebA-HQ-img`, or one called like celeba_hq that holds photos."""
        if _official(folder):
            return True
        if not any("celebahq" in _plain(name) for name in (folder.name, folder.resolve().name)):
            return False
        return any(_NUMBER.fullmatch(path.stem) for path in _photos(level(folder, *_INNER)))

    @cached_property
    def _tree(self) -> Path:
        tree = _official(self.root) or level(self.root, *_INNER)
        return child(tree, tree.name) or tree

    @cached_property
    def _numbers(self) -> list[str]:
        files = media_files(self._tree, IMAGE_SUFFIXES)
        return [path.stem for path in files if _NUMBER.fullmatch(path.stem)]

    @cached_property
    def _is_mapped(self) -> bool:
        """Whether photos are numbered as in the mapping: 0 to 29999, in at most five digits."""
        numbers = set(map(int, self._numbers))
        if not numbers or max(map(len, self._numbers)) > 5 or _COUNT in numbers:
            return False
        return _is_official(self._tree) or bool(0 in numbers and self._mapping)

    @cached_property
    def _mapping(self) -> dict[int, str]:
        file = self._find(MAPPING)
        return read_mapping(file) if file else {}

    @cached_property
    def _partition(self) -> dict[str, str]:
        return self._table(_PARTITIONS)

    @cached_property
    def _people(self) -> dict[str, str]:
        return self._table(_IDENTITIES)

    @cached_property
    def _missing(self) -> list[str]:
        tables = {MAPPING: self._mapping, PARTITION: self._partition}
        return [name for name, table in tables.items() if not table]

    def _find(self, name: str) -> Path | None:
        places = (self.root, self.root.absolute().parent)
        found = (find_file(name, place, self.options.annotations, _PLACES) for place in places)
        return next(filter(None, found), None)

    def _table(self, names: tuple[str, ...]) -> dict[str, str]:
        file = next(filter(None, map(self._find, names)), None)
        return read_table(file) if file else {}

    def items(self) -> Iterator[Item | Unlisted]:
        """Every photo by number, then images in folders that no release has."""
        seen: set[str] = set()
        for path in islice(_photos(self._tree), self.options.limit_videos):
            item = self._item(path)
            if isinstance(item, Item) and item.video_id in seen:
                item = Unlisted(item.path, f"a second file of photo {path.stem}")
            elif isinstance(item, Item):
                seen.add(item.video_id)
            yield item
        for folder in subfolders(self._tree):
            if folder.name.lower() not in _PARTS and "mask" not in folder.name.lower():
                for path in media_files(folder, IMAGE_SUFFIXES):
                    yield Unlisted(self._relative(path), f"{folder.name} is no folder of CelebA-HQ")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _item(self, path: Path) -> Item | Unlisted:
        if not _NUMBER.fullmatch(path.stem):
            return Unlisted(self._relative(path), f"{path.stem} is not a photo number")
        flat = path.parent == self._tree
        name = path.relative_to(self._tree).with_suffix("").as_posix().lower()
        mapped = flat and self._is_mapped
        video = f"celeba-hq/{int(path.stem) if mapped else name}"
        item = Item(
            path=self._relative(path),
            media=Media.IMAGE,
            label=Label.REAL,
            type=ForgeryType.REAL,
            method="celeba-hq",
            video_id=video,
            pair_id=video,
            licence=self.info.licence,
        )
        if mapped:
            return self._placed(item, int(path.stem))
        return in_derived_split(replace(item, label_note=_LOST), self.options.seed)

    def _placed(self, item: Item, number: int) -> Item:
        """The item with what CelebA says of its photo."""
        photo = self._mapping.get(number)
        person = self._people.get(photo) if photo else None
        item = replace(
            item,
            identity_ids=(f"celeba/person{person}",) if person else (),
            overlap_ids=(f"celeba/{photo}",) if photo else (),
            group=f"celeba/{photo}" if photo and not person else None,
            label_note=self._note(photo, person),
        )
        if self._missing:
            return in_derived_split(item, self.options.seed)
        split = self._split(photo)
        return replace(item, split=split, split_origin="unlisted" if split is Split.NONE else "official")

    def _note(self, photo: str | None, person: str | None) -> str | None:
        if self._missing:
            people = "" if person else ", and its identity is not known"
            return f"split is derived: no {' and no '.join(self._missing)}{people}"
        if photo is None:
            return f"{MAPPING} does not name it"
        return None if person else "identity unknown: identity_CelebA does not name it"

    def _split(self, photo: str | None) -> Split:
        return _SPLITS.get(self._partition.get(photo or "", ""), Split.NONE)

    def expected(self) -> Iterator[Expected]:
        """The photos of the mapping, in the splits of CelebA; nothing without either."""
        if self._is_mapped and not self._missing:
            stems = {int(stem): stem for stem in self._numbers}
            for number, photo in self._mapping.items():
                yield Expected("celeba-hq", self._split(photo), None, stems.get(number, str(number)))


def read_mapping(file: Path) -> dict[int, str]:
    """Photo number of CelebA-HQ -> six-digit number of CelebA.

    Raises:
        UsageError: a row that is not numbers and a CelebA file name, or no row at all.
    """
    photos = {}
    for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        cells = line.replace(",", " ").split()
        if not cells or cells[0].lower() == "idx":
            continue
        match = _PHOTO.fullmatch(cells[-1])
        if match is None or not cells[0].isdecimal() or len(cells) not in (2, 3):
            raise UsageError(f"{file}: cannot read row {line.strip()[:80]!r}; take the official file")
        photos[int(cells[0])] = f"{int(match[1]):06d}"
    if not photos:
        raise UsageError(f"{file} names no photo; take the official file")
    return photos


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


def _is_official(folder: Path) -> bool:
    return _plain(folder.name) == "celebahqimg"


def _official(folder: Path) -> Path | None:
    """The folder `CelebA-HQ-img` in a folder, or None."""
    return next(filter(_is_official, subfolders(folder)), None)


def _photos(tree: Path) -> Iterator[Path]:
    """Images in a folder, then those in its train and val and their folders of women and men."""
    yield from media_files(tree, IMAGE_SUFFIXES)
    for part in filter(None, (child(tree, name) for name in _PARTS)):
        yield from media_files(part, IMAGE_SUFFIXES)
        for sex in sorted(filter(None, (child(part, name) for name in _SEXES)), key=natural):
            yield from media_files(sex, IMAGE_SUFFIXES)
