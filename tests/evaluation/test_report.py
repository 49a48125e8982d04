from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from mmidd.evaluation.details import details
from mmidd.evaluation.evaluate import Subject, evaluate_scores
from mmidd.evaluation.evidence import EVIDENCE_FILE, load_evidence
from mmidd.evaluation.exhibits import exhibits
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.report import mixture, write_report
from mmidd.evaluation.results import FIXED_THRESHOLD, Evaluation
from mmidd.evaluation.scoring import score_splits
from mmidd.evaluation.tables import load_scores
from mmidd.evaluation.view import short, summary_table
from mmidd.schema import Split
from tests.evaluation.evaluation_world import SPEC, FakeRun, FakeSamples
from tests.evaluation.kfd_world import MaskedSamples, TalkingRun

SUBJECT = Subject("run", "kfd-llm", "world", "")
VOID = {"meta", "br", "img"}


class _Page(HTMLParser):
    """Collects ids and addresses, and checks that elements nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [values[name] or "" for name in ("src", "href", "xlink:href") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, pl.DataFrame, FakeSamples]:
    out = tmp_path_factory.mktemp("scores") / "scores.parquet"
    test = FakeSamples("test", 30, 2)
    scores = load_scores(score_splits(FakeRun(), [test], out))
    subject = Subject("run<1>", "sd2", "world", "ab" * 32)
    return _evaluation(scores, subject), scores, test


def _evaluation(scores: pl.DataFrame, subject: Subject) -> Evaluation:
    return evaluate_scores(scores, Split.TEST, subject, SPEC, FIXED_THRESHOLD, replicates=30)


def test_one_file_that_needs_nothing_else(
    tmp_path: Path, world: tuple[Evaluation, pl.DataFrame, FakeSamples]
) -> None:
    (tmp_path / "config.yaml").write_text("method: sd2 # <b>\n")
    log = [{"event": "train", "step": 1, "total": 2.0}, {"event": "val", "step": 2, "video_auc": 0.7}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, log)) + '\n{"event": "tra')
    html = write_report(tmp_path / "report.html", *world, tmp_path).read_text()
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert "://" not in html
    assert "<script" not in html
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(page.ids)
    assert "run&lt;1&gt;" in html
    assert "method: sd2 # &lt;b&gt;" in html
    assert "prefers-color-scheme: dark" in html
    assert "video_auc" in html


def test_the_report_says_what_the_evaluation_found(
    tmp_path: Path, world: tuple[Evaluation, pl.DataFrame, FakeSamples]
) -> None:
    evaluation = world[0]
    html = write_report(tmp_path / "r.html", *world, tmp_path).read_text()
    auc = evaluation.headline.metrics["auc"]
    assert f"Video AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] on 30 videos (6 real, 24 fake)" in html
    assert html.count(evaluation.headline.protocol.describe()) >= 2
    assert evaluation.at(Level.FRAME)[0].protocol.describe() in html
    assert html.count("data:image/jpeg") == 8 + 6
    assert "wrong" in html
    assert "Training" not in html
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]


def test_the_sheet_shows_the_misjudged_videos_first(
    tmp_path: Path, world: tuple[Evaluation, pl.DataFrame, FakeSamples]
) -> None:
    score = pl.col("score").cast(pl.Float64).mean()
    scores = world[1].group_by("video_id").agg(pl.col("label").first(), score)
    html = write_report(tmp_path / "r.html", *world, tmp_path).read_text()
    worst = scores.filter(pl.col("label") == 1).sort("score", "video_id")["video_id"].to_list()
    places = [html.index(f"<br>{name}</figcaption>") for name in worst[:8]]
    assert places == sorted(places)
    assert f"<br>{worst[8]}</figcaption>" not in html


def test_one_class_is_reported_as_no_verdict(
    tmp_path: Path, world: tuple[Evaluation, pl.DataFrame, FakeSamples]
) -> None:
    scores = world[1].filter(pl.col("label") == 0)
    evaluation = _evaluation(scores, Subject("r", "m", "w", ""))
    html = write_report(tmp_path / "r.html", evaluation, scores, None, tmp_path).read_text()
    assert "No verdict" in html
    assert "no fakes" in html
    assert "nan" not in html.lower().replace("nanum", "")


def test_the_terminal_table_fits_80_columns(world: tuple[Evaluation, pl.DataFrame, FakeSamples]) -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(summary_table(world[0]))
    text = console.export_text()
    auc = world[0].headline.metrics["auc"]
    assert f"{short(auc.value)} [{short(auc.low, 2)}, {short(auc.high, 2)}]" in text
    assert "6+24" in text
    for name in ("FS", "FR", "EFS", "FE", "method-FS0", "ff++", "30 videos, 90 frames"):
        assert name in text
    assert "\u2026" not in text


def test_the_report_shows_maps_answers_and_what_was_measured(tmp_path: Path) -> None:
    test = MaskedSamples("test")
    file = score_splits(TalkingRun(), [test], tmp_path / "s" / "scores.parquet", answered=Split.TEST)
    scores, evidence = load_scores(file), load_evidence(file.with_name(EVIDENCE_FILE))
    assert evidence is not None
    evaluation = evaluate_scores(
        scores, Split.TEST, SUBJECT, SPEC, FIXED_THRESHOLD, replicates=10, evidence=evidence
    )
    shown = exhibits(TalkingRun(), test, scores, evidence)
    titles = [title for title, _ in shown]
    assert [title.split()[0] for title in titles] == ["Forgeries", "Forgeries", "Reals", "Reals"]
    iou = {row["sample_id"]: row["iou"] for row in evidence.iter_rows(named=True) if row["iou"] is not None}
    for (_, rows), expected in zip(shown, (sorted(iou.values())[::-1], sorted(iou.values())), strict=False):
        assert [dict(one.facts)["IoU"] for one in rows] == [f"{value:.3f}" for value in expected[:4]]
        assert [name for name, _ in rows[0].pictures] == ["image", "true mask", "map"]
    path = tmp_path / "r.html"
    html = write_report(path, evaluation, scores, test, tmp_path, None, shown).read_text()
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert "://" not in html
    for title in ("Where it was forged", "Verdicts", "Regions in answers", *titles):
        assert f"<h2>{title}</h2>" in html
    console = Console(width=80, record=True, file=StringIO())
    for part in details(evaluation):
        console.print(part.table())
    text = console.export_text()
    assert short(evaluation.localisation[0].metrics["iou"].value) in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_short_drops_only_the_leading_zero() -> None:
    assert [short(v) for v in (0.5, 1.0, 0.0, None)] == [".500", "1.000", ".000", "-"]
    assert np.isclose(float(short(0.1234)), 0.123)


def test_the_report_counts_what_the_dataset_holds(
    tmp_path: Path, world: tuple[Evaluation, pl.DataFrame, FakeSamples]
) -> None:
    rows = [
        ("a", "train", "v1", "REAL", None),
        ("a", "train", "v1", "REAL", None),
        ("a", "train", "v2", "FS", None),
        ("b", "test", "v3", "FR", None),
        ("a", "train", "s1", "FS", "sbi"),
    ]
    entries = pl.DataFrame(rows, ["source", "split", "video_id", "type", "recipe"], orient="row")
    assert [list(row.values()) for row in mixture(entries)] == [
        ["a", "train", 2, 2, 1, 0, 0, 0],
        ["b", "test", 1, 0, 0, 1, 0, 0],
        ["simulated: sbi", "train", 1, 0, 1, 0, 0, 0],
    ]
    html = write_report(tmp_path / "r.html", *world, tmp_path, entries).read_text()
    assert "<td>simulated: sbi</td><td>train</td>" in html
    assert "<h2>Data</h2>" not in write_report(tmp_path / "r.html", *world, tmp_path).read_text()
