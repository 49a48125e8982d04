"""The statistics of the caption audit against independent computations, and what they find."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import cohen_kappa_score

from mmidd.captioning.audit.agreement import cohens_kappa
from mmidd.captioning.audit.association import cramers_v
from mmidd.captioning.audit.attributes import LEVELS, OTHER, categories
from mmidd.captioning.audit.decisions import wilson
from mmidd.captioning.audit.duplicates import near_groups
from mmidd.captioning.audit.measured import pose, rank_correlation
from mmidd.captioning.measured import measure
from tests.audit.audit_world import FAKE
from tests.captioning.caption_audit_world import audited, build, caption, sample
from tests.captioning.test_measured import grey, points

RNG = np.random.default_rng(0)


def corrected(counts: np.ndarray) -> float:
    """Bergsma's definition, cell by cell."""
    n, (r, k) = counts.sum(), counts.shape
    phi = -1.0
    for i, j in product(range(r), range(k)):
        phi += counts[i, j] ** 2 / (counts[i].sum() * counts[:, j].sum())
    phi = max(0.0, phi - (r - 1) * (k - 1) / (n - 1))
    return float(np.sqrt(phi / min(r - 1 - (r - 1) ** 2 / (n - 1), k - 1 - (k - 1) ** 2 / (n - 1))))


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (4, 3)])
def test_cramers_v_is_bergsmas(shape: tuple[int, int]) -> None:
    counts = RNG.integers(1, 30, shape)
    found = cramers_v(counts)
    assert found is not None
    assert found.v == pytest.approx(corrected(counts))
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert found.chi2 == pytest.approx(chi2)
    assert found.p == pytest.approx(stats.chi2.sf(chi2, (shape[0] - 1) * (shape[1] - 1)))


def test_cramers_v_without_bias_on_many_and_on_independent_items() -> None:
    counts = np.array([[9, 4, 2], [3, 7, 8]])
    many = cramers_v(counts * 10**6)
    assert many is not None
    assert many.v == pytest.approx(stats.contingency.association(counts, method="cramer"), rel=1e-4)
    tables = [RNG.multinomial(60, np.full(20, 0.05)).reshape(4, 5) for _ in range(200)]
    ours = np.mean([found.v for table in tables if (found := cramers_v(table))])
    plain = np.mean([stats.contingency.association(table + 0, method="cramer") for table in tables])
    assert ours < 0.4 * plain


@pytest.mark.parametrize("counts", [[[3, 0], [5, 0]], [[3, 4]], [[0, 0], [2, 3]]])
def test_one_value_has_no_association(counts: list[list[int]]) -> None:
    assert cramers_v(counts) is None


def test_full_association_is_one() -> None:
    found = cramers_v([[50, 0], [0, 50]])
    assert found is not None
    assert found.v == pytest.approx(1, abs=1e-9)


SAID = st.lists(st.sampled_from("abc"), min_size=2, max_size=40)


@settings(max_examples=50, deadline=None)
@given(SAID, st.randoms(use_true_random=False))
def test_kappa_is_scikit_learns(a: list[str], random: object) -> None:
    b = [random.choice([x, "a"]) for x in a]  # type: ignore[attr-defined]
    ours = cohens_kappa(a, b)
    if ours is None:
        assert set(a) == set(b)
        assert len(set(a)) == 1
    else:
        assert ours == pytest.approx(cohen_kappa_score(a, b))


@pytest.mark.parametrize(("accepted", "reviewed"), [(0, 5), (5, 5), (3, 7), (190, 200), (1, 1)])
def test_wilson_is_scipys(accepted: int, reviewed: int) -> None:
    interval = stats.binomtest(accepted, reviewed).proportion_ci(0.95, method="wilson")
    assert wilson(accepted, reviewed) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_nothing_reviewed_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_rank_correlation_is_that_of_mid_ranks() -> None:
    a, b = RNG.integers(0, 3, 60), RNG.normal(size=60)
    ranks = [
        [sum(y < x for y in side) + (sum(y == x for y in side) + 1) / 2 for x in side] for side in (a, b)
    ]
    rho, p = rank_correlation(a, b)
    assert rho == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert p is not None
    assert rank_correlation(np.ones(9), b[:9]) == (None, None)


@pytest.mark.parametrize(("shift", "degrees"), [(0, 0), (20, 15), (-12, -30)])
def test_pose_of_five_landmarks_is_that_of_the_facts(shift: int, degrees: float) -> None:
    p = points()
    p[27:36] += (shift, shift / 2)
    angle = np.radians(degrees)
    p = (p - 128) @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).T + 128
    five = np.array([p[36:42].mean(axis=0), p[42:48].mean(axis=0), p[30], p[48], p[54]])
    facts = measure(grey(), p)
    yaw, pitch = pose(3 * five.reshape(1, 10) + 7)
    assert yaw[0] == pytest.approx(facts.yaw, abs=1e-3)
    assert pitch[0] == pytest.approx(facts.pitch, abs=0.02)


def brute_groups(texts: list[str]) -> set[frozenset[int]]:
    sets = []
    for text in texts:
        words = text.split()
        sets.append({tuple(words[k : k + 3]) for k in range(len(words) - 2)})
    pairs = [
        (i, j)
        for i, j in combinations(range(len(texts)), 2)
        if 10 * len(sets[i] & sets[j]) >= 9 * len(sets[i] | sets[j])
    ]
    i, j = np.array(pairs).T
    _, group = connected_components(
        coo_array((np.ones(len(i)), (i, j)), shape=(len(texts),) * 2), directed=False
    )
    return {frozenset(np.flatnonzero(group == one).tolist()) for one in set(group)}


def test_near_groups_are_those_of_all_pairs() -> None:
    vocabulary = [f"word{k}" for k in range(200)]
    texts = []
    for _ in range(60):
        base = RNG.choice(vocabulary, 40).tolist()
        edits = [
            base,
            base[1:],
            base[:-1],
            [*base[:-1], "x"],
            [*base[:10], "y", *base[11:]],
            base[2:],
            base[5:],
        ]
        texts += [" ".join(edit) for edit in edits]
    ours = np.array(near_groups(texts))
    groups = {frozenset(np.flatnonzero(ours == one).tolist()) for one in set(ours.tolist())}
    assert groups == brute_groups(texts)
    assert 60 < len(groups) < len(texts)


def test_numbers_become_quarters_and_rare_phrases_other() -> None:
    phrases = [f"phrase {k}" for k in range(LEVELS)] * 2 + ["Phrase 0 ", "rare", "seldom", None]
    numbers = [float(k) for k in range(len(phrases) - 1)] + [None]
    frame = pl.DataFrame(
        {
            "sample_id": [str(k) for k in range(len(phrases))],
            "fault": None,
            "detail": None,
            "hair": phrases,
            "yaw": numbers,
        },
    )
    told = categories(frame)
    assert told["hair"].to_list()[-4:] == ["phrase 0", OTHER, OTHER, None]
    counts = dict(told["yaw"].drop_nulls().value_counts().iter_rows())
    assert sorted(counts.values()) == [6, 7, 7, 7]
    assert told["yaw"][0] == "lowest quarter"
    tied = categories(frame.with_columns(yaw=pl.lit(3.0)))
    assert tied["yaw"].n_unique() == 1


def test_a_shortcut_is_found_over_one_caption_per_video(tmp_path: Path) -> None:
    samples, captions = [], []
    for k in range(60):
        label = FAKE if k % 2 else {}
        place = "vehicle" if k % 10 < 2 else "outdoors" if k % 2 else "indoors"
        scene = {"scene": place, "colour": ("red", "blue", "grey")[k % 3]}
        for frame in range(1 if k else 100):
            samples.append(sample(f"{k}-{frame}", video_id=f"own/{k}", **label))
            captions.append(caption(f"{k}-{frame}", scene))
    result = audited(build(tmp_path / "ws", samples, captions))
    table = result.tables["associations"]
    first = table.row(0, named=True)
    assert (first["attribute"], first["with"], first["n"]) == ("environment.scene", "label", 60)
    assert first["v"] > 0.8
    assert first["telling"] == "indoors with real 24 times, 12 by chance"
    found = result.findings.filter(pl.col("kind") == "association")
    assert found["detail"].to_list() == [f"environment.scene tells the label: {first['telling']} (n 60)"]
    colour = table.filter((pl.col("attribute") == "environment.colour") & (pl.col("with") == "label"))
    assert colour["v"].to_list() == [0.0]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (lambda k: "bright" if k > 20 else "dim", "follows"),
        (lambda k: "bright" if k < 20 else "dim", "inverted"),
        (lambda k: "bright" if k % 2 else "dim", "absent"),
        (lambda k: "dim", "absent"),
        (lambda k: ("bright", "dim")[k % 2] if k < 9 else "soft", "too few"),
    ],
)
def test_lighting_must_follow_the_measured_brightness(tmp_path: Path, said: object, verdict: str) -> None:
    numbers = range(40)
    samples = [sample(str(k), brightness=100.0 + k) for k in numbers]
    captions = [caption(str(k), {"lighting": said(k)}) for k in numbers]  # type: ignore[operator]
    result = audited(build(tmp_path / "ws", samples, captions))
    row = result.tables["measured"].row(0, named=True)
    assert (row["attribute"], row["measured"], row["verdict"]) == (
        "environment.lighting",
        "brightness",
        verdict,
    )
    found = result.findings.filter(pl.col("kind") == "measured")
    assert found["check"].to_list() == (["environment.lighting"] if verdict in ("absent", "inverted") else [])


def test_pose_and_quality_must_follow_landmarks_and_sharpness(tmp_path: Path) -> None:
    poses = ("profile left", "turned left", "frontal", "turned right", "profile right")
    quality = ("blurred", "slightly soft", "sharp")
    samples, captions = [], []
    for k in range(30):
        nose = 50 + 10 * (k % 5 - 2)
        landmarks5 = [30.0, 40.0, 70.0, 40.0, nose, 60.0, 35.0, 80.0, 65.0, 80.0]
        samples.append(sample(str(k), landmarks5=landmarks5, sharpness=float(k % 3)))
        captions.append(caption(str(k), {"pose": poses[k % 5], "image_quality": quality[2 - k % 3]}))
    table = audited(build(tmp_path / "ws", samples, captions)).tables["measured"]
    found = {(row["attribute"], row["measured"]): row for row in table.iter_rows(named=True)}
    assert found["face.pose", "yaw"]["rho"] == pytest.approx(1)
    assert found["face.pose", "yaw"]["verdict"] == "follows"
    assert found["environment.image_quality", "sharpness"]["rho"] == pytest.approx(-1)
    assert found["environment.image_quality", "sharpness"]["verdict"] == "inverted"
