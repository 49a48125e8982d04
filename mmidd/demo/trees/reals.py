"""Small trees of CelebA and of CelebA-HQ, whose photos are the same ones."""

from __future__ import annotations

from pathlib import Path

from mmidd.demo.cast import Cast
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.portraits import Portrait
from mmidd.demo.trees.tree import COUPLES, Tree, as_lines, scene
from mmidd.schema import Split

_FLAGS = {Split.TRAIN: 0, Split.VAL: 1, Split.TEST: 2}
_PER_COUPLE = 6


def celeba(cast: Cast) -> Tree:
    """Aligned photos of 178 x 218 px, partition and identity lists."""
    root = Path("celeba")
    photos = _photos(cast)
    jobs = [_job(number, person, root) for number, (_, person) in photos.items()]
    people = {name: k for k, name in enumerate(sorted({p.identity for _, p in photos.values()}), 1)}
    partition = (f"{number:06d}.jpg {_FLAGS[split]}" for number, (split, _) in photos.items())
    identity = (f"{number:06d}.jpg {people[person.identity]}" for number, (_, person) in photos.items())
    return Tree(
        tuple(jobs),
        {
            root / "Eval/list_eval_partition.txt": as_lines(partition),
            root / "Anno/identity_CelebA.txt": as_lines(identity),
        },
    )


def celebahq(cast: Cast) -> Tree:
    """Every second photo of `celeba`, larger, with the mapping between both."""
    root = Path("celeba-hq/CelebAMask-HQ")
    chosen = list(_photos(cast).items())[::2]
    jobs = [
        scene(
            _key(number),
            Shot(root / "CelebA-HQ-img" / f"{index}.jpg", "real", (person,), crop=(512, 512)),
            size=(512, 512),
        )
        for index, (number, (_, person)) in enumerate(chosen)
    ]
    rows = (f"{k:<6} {number - 1:<10} {number:06d}.jpg" for k, (number, _) in enumerate(chosen))
    header = f"{'idx':<6} {'orig_idx':<10} orig_file"
    return Tree(tuple(jobs), {root / "CelebA-HQ-to-CelebA-mapping.txt": as_lines((header, *rows))})


def _photos(cast: Cast) -> dict[int, tuple[Split, Portrait]]:
    """Photo number -> split and person; the same whenever it is asked."""
    people = [
        (split, cast.people[split][k % len(cast.people[split])])
        for split, some in COUPLES.items()
        for k in range(_PER_COUPLE * some)
    ]
    return dict(enumerate(people, 1))


def _key(number: int) -> str:
    return f"celeba/{number:06d}"


def _job(number: int, person: Portrait, root: Path) -> Job:
    path = root / "img_align_celeba" / f"{number:06d}.jpg"
    return scene(_key(number), Shot(path, "real", (person,), crop=(178, 218)), size=(512, 512))
