"""One simulated forgery of one sample, always the same for the same recipe, seed, sample and number."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from mmidd.errors import DataError, UsageError
from mmidd.preprocess.blend.landmarks import FaceMarks
from mmidd.preprocess.blend.recipe import RECIPES, Parameters, RecipeName
from mmidd.preprocess.blend.render import Blend, draw_blend
from mmidd.preprocess.detectors.base import Pixels
from mmidd.schema import ForgeryType


def generator(seed: int, sample_id: str, k: int) -> np.random.Generator:
    """The random generator of the k-th forgery of a sample."""
    digest = hashlib.sha256(f"{seed}:{sample_id}:{k}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def simulate_sample(
    crop: Pixels, marks: FaceMarks, recipe: RecipeName, seed: int, sample_id: str, k: int
) -> Blend:
    """The k-th forgery of a sample before the final augmentation; see `draw_blend`."""
    return draw_blend(crop, marks, recipe, generator(seed, sample_id, k))


def to_json(drawn: Parameters, seed: int, k: int) -> str:
    """What a row stores of a forgery: every drawn value, and the seed and number that gave them."""
    values = {"seed": seed, "k": k, **drawn.model_dump(mode="json", exclude_none=True)}
    return json.dumps(values, sort_keys=True)


def from_json(text: str) -> Parameters:
    """What `render` needs to draw a stored forgery again.

    Raises:
        DataError: `parameters`: the text is not what `to_json` writes.
    """
    try:
        values = json.loads(text)
        return Parameters.model_validate({name: values[name] for name in values if name not in ("seed", "k")})
    except (ValueError, TypeError) as error:
        raise DataError("parameters", str(error).splitlines()[0]) from error


def forgery_type(recipe: RecipeName) -> ForgeryType:
    """FS where the whole face is blended, FE where regions are."""
    return ForgeryType.FS if recipe == "sbi" else ForgeryType.FE


def method_of(recipe: RecipeName, drawn: Parameters) -> str:
    """What the column `method` calls a forgery: `sbi`, or how regions were blended."""
    return recipe if recipe == "sbi" else f"regional-{drawn.compositor}"


def check_recipe(recipe: str) -> RecipeName:
    """The recipe of that name.

    Raises:
        UsageError: there is not.
    """
    for name in RECIPES:
        if name == recipe:
            return name
    raise UsageError(f"unknown recipe {recipe!r}; choose from {', '.join(RECIPES)}")
