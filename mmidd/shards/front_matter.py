"""The YAML in front of a dataset card: what Hugging Face `datasets` needs to load the shards.

With the types of all columns, that is. Without them `datasets` takes the types from the first five samples,
and fails on a column that is null there and on a mask that only some samples have.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import polars as pl
import yaml

from mmidd.shards.contents import TITLE, Contents

Feature = dict[str, Any]

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def front_matter(contents: Contents) -> str:
    """The YAML between its two lines of dashes."""
    rows = contents.rows.height
    size = next((i for i in range(len(_SIZES)) if rows < 10 ** (i + 3)), len(_SIZES))
    names = ["n<1K", *(f"{low}<n<{high}" for low, high in pairwise(_SIZES)), "n>1T"]
    files = [{"split": split, "path": f"{split}-*.tar"} for split in contents.splits]
    fields = {
        "pretty_name": TITLE,
        "license": "other",
        "task_categories": ["image-classification"],
        "tags": ["deepfake-detection", "webdataset"],
        "size_categories": [names[size]],
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"config_name": "default", "features": _features(contents.rows, contents.members)},
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100)}---"


def _features(rows: pl.DataFrame, members: Sequence[str]) -> list[Feature]:
    json = {"struct": [{"name": name, **_feature(rows.schema[name])} for name in sorted(rows.columns)]}
    typed = [{"name": name, **(json if name == "json" else {"dtype": "image"})} for name in members]
    return [*typed, {"name": "__key__", "dtype": "string"}, {"name": "__url__", "dtype": "string"}]


def _feature(dtype: Any) -> Feature:
    """The feature of a column; JSON has 64-bit floats only."""
    match dtype:
        case pl.Struct():
            return {"struct": [{"name": part.name, **_feature(part.dtype)} for part in dtype.fields]}
        case pl.List() | pl.Array():
            inner = _feature(dtype.inner)
            match inner:
                case {"struct": parts}:
                    return {"list": parts}
                case {"dtype": name}:
                    return {"sequence": name}
            return {"sequence": inner}
        case pl.String():
            return {"dtype": "string"}
        case pl.Boolean():
            return {"dtype": "bool"}
        case pl.Null():
            return {"dtype": "null"}
        case _:
            return {"dtype": "float64" if dtype.is_float() else str(dtype).lower()}
