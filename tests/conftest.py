"""What holds for all tests: no time limits for single examples, and a cache of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("mmidd", deadline=None)
settings.load_profile("mmidd")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMIDD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
