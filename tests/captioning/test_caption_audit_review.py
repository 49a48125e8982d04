"""The review page, in a browser where there is one, and what becomes of its decisions."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.captioning.audit.decisions import digest, record_decisions
from mmidd.captioning.audit.review import draw, shares
from mmidd.captioning.audit.rows import read
from mmidd.errors import UsageError
from mmidd.workspace import Workspace
from tests.audit.audit_world import FAKE
from tests.captioning.caption_audit_world import VLM, audited, build, caption, sample

LABELS = {"own": {}, "other": FAKE}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Ten reals of source own, of one video but for one, and four fakes of source other."""
    names = [("own", k) for k in range(10)] + [("other", k) for k in range(4)]
    samples = [
        sample(f"{source}{k}", source=source, video_id=f"{source}/{max(k, 8)}", **LABELS[source])
        for source, k in names
    ]
    return build(tmp_path / "ws", samples, [caption(f"{source}{k}") for source, k in names])


def decision(name: str, verdict: str = "accept", hour: int = 10, **given: Any) -> dict[str, Any]:
    made = caption(name)
    return {
        "sample_id": made["sample_id"],
        "caption": digest(made["face"], made["environment"]),
        "verdict": verdict,
        "note": "",
        "decided_at": f"2025-01-02T{hour}:00:00.000Z",
        **given,
    }


def file(tmp_path: Path, *decisions: dict[str, Any], **given: Any) -> Path:
    path = tmp_path / "decisions.json"
    whole = {"format": 1, "backend": VLM, "reviewer": "jo", "decisions": decisions, **given}
    path.write_text(json.dumps(whole))
    return path


@given(st.dictionaries(st.tuples(st.text(max_size=2)), st.integers(1, 30), max_size=8), st.integers(0, 100))
def test_shares_are_equal_but_for_small_strata(sizes: dict[tuple[str, ...], int], most: int) -> None:
    drawn = shares(sizes, most)
    assert sum(drawn.values()) == min(most, sum(sizes.values()))
    open_ended = [drawn[stratum] for stratum in sizes if drawn[stratum] < sizes[stratum]]
    assert all(drawn[stratum] <= sizes[stratum] for stratum in sizes)
    if open_ended:
        assert max(drawn.values()) <= min(open_ended) + 1


def test_the_draw_is_stratified_seeded_and_of_many_videos(workspace: Workspace) -> None:
    rows = read(workspace, VLM).rows
    several = [draw(rows, 6, seed) for seed in range(8)]
    for drawn in several:
        assert Counter(drawn["source"]) == {"own": 3, "other": 3}
        assert drawn.filter(pl.col("source") == "own")["video_id"].n_unique() == 2
    assert any(not drawn["source"].is_sorted() for drawn in several)
    assert any(not drawn["source"].is_sorted(descending=True) for drawn in several)
    drawn = draw(rows, 6, seed=3)
    assert drawn.equals(draw(rows.reverse(), 6, seed=3))
    assert not drawn["sample_id"].equals(draw(rows, 6, seed=4)["sample_id"])
    assert draw(rows, 100, seed=0)["sample_id"].sort().equals(rows["sample_id"])


def test_the_page_is_one_file_that_hides_the_label(tmp_path: Path) -> None:
    rows = [
        caption("a", {"hair": "<b>brown & long</b>"}, face='A "quoted" <script>alert(1)</script> face here')
    ]
    result = audited(build(tmp_path / "ws", [sample("a", method="secret", **FAKE)], rows))
    page = result.paths["review"].read_text()
    assert "<script>alert" not in page
    assert "&lt;b&gt;brown &amp; long&lt;/b&gt;" in page
    for text in (page, result.paths["report"].read_text()):
        assert not re.search(r"https?://|@import|src=(?!\"data:)", text)
    shown = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    assert "secret" in page
    assert "secret" not in shown
    assert "own/a" not in shown


def test_later_decisions_replace_earlier_ones_of_the_same_reviewer(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = record_decisions(workspace, VLM, file(tmp_path, decision("own1", hour=12), decision("own2")))
    assert path == workspace.root / "captions_audit" / VLM / "decisions.parquet"
    record_decisions(
        workspace, VLM, file(tmp_path, decision("own1", "reject", hour=11), decision("own2", "reject", 13))
    )
    record_decisions(workspace, VLM, file(tmp_path, decision("own1", "reject"), reviewer=" kim "))
    rows = pl.read_parquet(path)
    kept = {(row["sample_id"], row["reviewer"]): row["verdict"] for row in rows.iter_rows(named=True)}
    one, two = (caption(name)["sample_id"] for name in ("own1", "own2"))
    assert kept == {(one, "jo"): "accept", (two, "jo"): "reject", (one, "kim"): "reject"}
    assert rows["backend"].unique().to_list() == [VLM]
    assert rows["decided_at"].dt.hour().max() == 13


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"backend": "gpt"}, "by 'gpt'"),
        ({"reviewer": " "}, "reviewer"),
        ({"format": 2}, "format"),
        ({"decisions": [decision("own1", "maybe")]}, "decisions.0.verdict"),
        ({"decisions": [decision("own1", decided_at="2025-01-02T10:00:00")]}, "decisions.0.decided_at"),
        ({"decisions": [decision("stranger")]}, "1 samples without such a caption"),
    ],
)
def test_other_files_are_refused_whole(
    workspace: Workspace, tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        record_decisions(workspace, VLM, file(tmp_path, decision("own1"), **wrong))
    with pytest.raises(UsageError, match="cannot read"):
        record_decisions(workspace, VLM, tmp_path / "missing.json")
    assert not (workspace.root / "captions_audit" / VLM / "decisions.parquet").exists()


def test_accept_rates_count_captions_as_they_are_now(workspace: Workspace, tmp_path: Path) -> None:
    stale = decision("own3", caption="0" * 16)
    judged = [decision("own1"), decision("own2"), decision("other1", "reject"), stale]
    record_decisions(workspace, VLM, file(tmp_path, *judged))
    record_decisions(workspace, VLM, file(tmp_path, decision("own2", "reject"), reviewer="kim"))
    result = audited(workspace)
    rates = {row["source"]: row for row in result.tables["reviews"].iter_rows(named=True)}
    assert {name: rates["own"][name] for name in ("captions", "reviewed", "accepted", "rate")} == {
        "captions": 10,
        "reviewed": 2,
        "accepted": 1,
        "rate": 0.5,
    }
    assert rates["own"]["low"] == pytest.approx(0.0945, abs=1e-4)
    assert (rates["other"]["reviewed"], rates["other"]["rate"]) == (1, 0.0)
    assert "9.5%" in result.paths["report"].read_text()


PROBE = """
<script>
document.querySelector("#reviewer").value = "jo";
document.querySelector("#reviewer").dispatchEvent(new Event("input"));
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
press("a"); press("ArrowRight"); press("r"); press("ArrowLeft"); press("ArrowLeft");
const note = document.querySelectorAll(".note")[1];
note.value = "the hair is short"; note.dispatchEvent(new Event("input"));
document.querySelectorAll("article")[3].querySelector(".reject").click();
const saved = JSON.parse(localStorage.getItem(place));
let blob = null;
URL.createObjectURL = given => { blob = given; return "data:,"; };
document.querySelector("#download").click();
blob.text().then(text => {
  const out = document.createElement("pre");
  out.id = "probe";
  const said = find("progress").textContent;
  out.textContent = JSON.stringify({ answer: JSON.parse(text), saved, errors, said });
  document.body.append(out);
});
</script>
</body>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium on PATH")
def test_a_browser_records_decisions_that_the_workspace_takes(workspace: Workspace, tmp_path: Path) -> None:
    page = audited(workspace, seed=1).paths["review"].read_text()
    watch = "<script>const errors = []; onerror = message => { errors.push(message); };</script>"
    page = page.replace("<head>", f"<head>{watch}").replace("</body>", PROBE)
    (tmp_path / "page.html").write_text(page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    dump = ["--virtual-time-budget=5000", "--dump-dom", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(
        ["chromium", *flags, *dump], capture_output=True, text=True, check=True, timeout=120
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    probe = json.loads(html.unescape(found[1]))
    assert probe["errors"] == []
    assert probe["said"] == "3 of 14 judged, 1 accepted, 2 rejected"

    order = re.findall(r'data-sample="(\w+)"', page)
    assert [(one["sample_id"], one["verdict"]) for one in probe["answer"]["decisions"]] == [
        (order[0], "accept"),
        (order[2], "reject"),
        (order[3], "reject"),
    ]
    assert probe["saved"]["decisions"][order[1]]["note"] == "the hair is short"
    (tmp_path / "answer.json").write_text(json.dumps(probe["answer"]))
    rows = pl.read_parquet(record_decisions(workspace, VLM, tmp_path / "answer.json"))
    assert rows.height == 3
    reviewed = audited(workspace).tables["reviews"]
    assert reviewed["reviewed"].sum() == 3
