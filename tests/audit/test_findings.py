from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import simplejpeg

from mmidd.audit import near
from mmidd.audit.run import audit
from tests.audit.audit_world import FAKE, build, digest, flipped, found, kinds, row

A = row("a")


def test_a_clean_workspace_has_no_findings(tmp_path: Path) -> None:
    twin = row("b", pair_id="own/a", target_video="own/a", phash=flipped(A["phash"], 2), **FAKE)
    rows = [A, twin, row("c", split="test"), row("d", split="val", identity_ids=["x"])]
    assert kinds(found(build(tmp_path / "ws", *rows))) == set()


@pytest.mark.parametrize(
    ("check", "shared"),
    [
        ("video", {"video_id": "own/v"}),
        ("pair", {"pair_id": "own/original"}),
        ("pair", {"target_video": "own/original"}),
        ("identity", {"identity_ids": ["own/jo"]}),
        ("overlap", {"overlap_ids": ["ffhq/00001"]}),
        ("file", {"src_sha256": digest("same")}),
    ],
)
@pytest.mark.parametrize(
    ("splits", "severity"),
    [
        (("train", "test"), "error"),
        (("train", "val"), "error"),
        (("val", "test"), "warning"),
        (("train", "train"), None),
        (("train", "none"), None),
    ],
)
def test_what_two_splits_share_is_a_leak(
    tmp_path: Path, check: str, shared: dict[str, object], splits: tuple[str, str], severity: str | None
) -> None:
    rows = [row("a", split=splits[0], **shared), row("b", split=splits[1], **shared)]
    findings = found(build(tmp_path / "ws", *rows)).filter(pl.col("kind") == "leak")
    assert kinds(findings) == ({("leak", check, severity)} if severity else set())
    if severity:
        assert findings.select("a_split", "b_split").row(0) == splits
        assert findings["a_id"].to_list() == [digest("a")[:32]]


def test_the_same_crop_in_two_files_is_a_duplicate_a_leak_and_with_other_labels_a_conflict(
    tmp_path: Path,
) -> None:

    picture = simplejpeg.encode_jpeg(np.zeros((32, 32, 3), np.uint8), colorspace="RGB")
    blobs = {"a.png": picture, "b.png": picture}
    workspace = build(tmp_path / "ws", A, row("b", split="test", **FAKE), row("c"), blobs=blobs)
    assert kinds(found(workspace)) == {
        ("duplicate", "crop", "warning"),
        ("leak", "crop", "error"),
        ("conflict", "crop", "error"),
    }


def test_a_video_repeats_another_once_and_not_itself(tmp_path: Path) -> None:
    frames = [
        row(f"{video}{k}", video_id=f"own/{video}", src_sha256="same", frame_index=k)
        for video in "ab"
        for k in range(3)
    ]
    (finding,) = found(build(tmp_path / "ws", *frames)).filter(pl.col("kind") == "duplicate").to_dicts()
    assert {finding["a_video"], finding["b_video"]} == {"own/a", "own/b"}
    alone = build(tmp_path / "alone", *frames[:3])
    assert kinds(found(alone)) == set()


def test_the_same_file_as_two_types_is_a_conflict(tmp_path: Path) -> None:
    rows = [row("a", src_sha256="s", label="fake", type=kind) for kind in ("FS",)]
    rows.append(row("b", src_sha256="s", label="fake", type="FR"))
    (finding,) = found(build(tmp_path / "ws", *rows)).filter(pl.col("kind") == "conflict").to_dicts()
    assert finding["detail"] == "1 fake FR, 1 fake FS"


@pytest.mark.parametrize(
    ("bits", "given", "expected"),
    [
        (4, {}, {("near_duplicate", "within_source", "warning")}),
        (5, {}, set()),
        (4, {"source": "other"}, {("near_duplicate", "across_sources", "warning")}),
        (4, {"split": "test"}, {("near_duplicate", "across_splits", "error")}),
        (4, {"pair_id": "own/a"}, set()),
        (4, {"video_id": "own/a"}, set()),
        (3, FAKE, {("near_duplicate", "within_source", "warning")}),
        (
            2,
            FAKE,
            {("near_duplicate", "within_source", "warning"), ("conflict", "near", "warning")},
        ),
    ],
)
def test_near_duplicates(
    tmp_path: Path, bits: int, given: dict[str, object], expected: set[tuple[str, str, str]]
) -> None:
    copy = row("b", phash=flipped(A["phash"], bits), **given)
    findings = found(build(tmp_path / "ws", A, copy))
    assert kinds(findings) == expected
    assert set(findings.filter(pl.col("kind") == "near_duplicate")["distance"]) <= {bits}


def test_near_duplicates_that_sources_declare_are_notes(tmp_path: Path) -> None:
    shared = {"overlap_ids": ["celeba/000001"]}
    rows = [row("a", **shared), row("b", source="other", phash=row("a")["phash"], **shared)]
    findings = found(build(tmp_path / "ws", *rows))
    assert kinds(findings) == {("near_duplicate", "across_sources", "info"), ("overlap", "sources", "info")}
    assert findings.filter(pl.col("kind") == "overlap")["detail"].to_list() == [
        "1 keys such as celeba/000001"
    ]


def test_one_finding_per_pair_of_videos_with_its_nearest_frames(tmp_path: Path) -> None:
    base = row("a")["phash"]
    one = [row(f"a{k}", video_id="own/a", phash=flipped(base, k)) for k in range(3)]
    two = [row(f"b{k}", video_id="own/b", phash=flipped(base, k + 2)) for k in range(3)]
    (finding,) = found(build(tmp_path / "ws", *one, *two)).filter(pl.col("a_video") != "").to_dicts()[:1]
    assert (finding["kind"], finding["distance"], finding["count"]) == ("near_duplicate", 0, 9)


def test_a_hash_of_very_many_is_linked_in_linear_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "COMMON", 5)
    rows = [row(f"r{k}", phash="00000000ffffffff") for k in range(40)]
    rows.append(row("t", split="test", phash="00000000ffffffff"))
    rows.append(row("n", split="test", phash="00000000fffffffe"))
    findings = found(build(tmp_path / "ws", *rows))
    of_test = findings.filter((pl.col("b_video") == "own/t") & (pl.col("a_split") == "train"))
    assert of_test["a_video"].n_unique() == 40, "every training copy is named with a test sample"
    assert findings.filter(pl.col("b_video") == "own/n").height == 1
    assert findings.height < 3 * 42


def test_coverage_counts_frames_of_videos_and_stills(tmp_path: Path) -> None:
    def frame(video: str, k: int, status: str) -> dict[str, object]:
        reason = None if status == "ok" else "no_face"
        return row(
            f"{video}{k}",
            media="video",
            video_id=f"own/{video}",
            frame_index=k,
            status=status,
            reason=reason,
            phash=None,
        )

    rows = [frame("full", k, "ok") for k in range(4)]
    rows += [frame("most", k, "ok" if k else "rejected") for k in range(4)]
    rows += [frame("none", k, "rejected") for k in range(4)]
    rows += [row("lost", media="video", status="failed", reason="truncated")]
    rows += [row("still", status="rejected", reason="no_face")]
    findings = found(build(tmp_path / "ws", *rows)).filter(pl.col("kind").is_in(["coverage", "unreadable"]))
    said = {(f["check"], f["key"]): (f["severity"], f["detail"]) for f in findings.to_dicts()}
    assert said == {
        ("fewer_frames", "own/most"): ("info", "3 of 4 frames; no_face 1"),
        ("no_usable_frame", "own/none"): ("warning", "0 of 4 frames; no_face 4"),
        ("no_usable_frame", "own/lost"): ("warning", "0 of 4 frames; truncated 1"),
        ("still_without_face", "no_face"): ("warning", "still.png"),
        ("file", "truncated"): ("warning", "lost.png"),
    }


def test_masks_that_disagree(tmp_path: Path) -> None:
    rows = [
        row("a", role="mask"),
        row("b0", video_id="own/b", role="mask", **FAKE),
        row("b1", video_id="own/b", role="track", **FAKE),
        row("c", role="largest", **FAKE),
        row("d", status="rejected", reason="no_face_on_mask", **FAKE),
        row("e", status="failed", reason="mask_missing", **FAKE),
    ]
    findings = found(build(tmp_path / "ws", *rows))
    of_mask = findings.filter(pl.col("kind") == "mask")
    assert set(of_mask.select("check", "key", "severity", "count").iter_rows()) == {
        ("mask_on_real", "own/a", "error", 1),
        ("empty_mask_on_fake", "own/b", "warning", 1),
        ("no_face_on_mask", "own/d", "warning", 1),
        ("mask_file", "mask_missing", "warning", 1),
    }
    assert "unreadable" not in set(findings["kind"])


def test_balance_counts_and_lopsided_splits(tmp_path: Path) -> None:
    rows = [row(f"r{k}") for k in range(11)] + [row("f", **FAKE), row("t", split="test")]
    result = audit(build(tmp_path / "ws", *rows))
    balance = result.findings.filter(pl.col("kind") == "balance")
    assert set(balance.select("check", "a_split", "a_type", "count").iter_rows()) == {
        ("count", "train", "REAL", 11),
        ("count", "train", "FS", 1),
        ("count", "test", "REAL", 1),
        ("lopsided", "train", None, 11),
        ("one_label", "test", None, 1),
    }


def test_resolve_leaves_nothing_that_is_an_error_and_keeps_what_it_should(tmp_path: Path) -> None:
    same = {"src_sha256": "same"}
    first, second = sorted((row("p", **same), row("q", **same)), key=lambda r: r["sample_id"])
    rows = {
        "conflict 1": row("c1", src_sha256="c"),
        "conflict 2": row("c2", src_sha256="c", **FAKE),
        "train of both": row("l1", identity_ids=["jo"]),
        "val of both": row("l2", identity_ids=["jo"], split="val"),
        "test of both": row("l3", identity_ids=["jo"], split="test"),
        "first": first,
        "second": second,
        "near train": row("n1", phash="0f0f0f0f0f0f0f0f"),
        "near test": row("n2", phash="0f0f0f0f0f0f0f0d", split="test"),
        "near twin": row("n3", phash=flipped(A["phash"], 1)),
        "plain": A,
    }
    workspace = build(tmp_path / "ws", *rows.values())
    excluded = audit(workspace, resolve=True).excluded
    assert excluded is not None
    names = {r["sample_id"]: name for name, r in rows.items()}
    assert {names[i]: reason for i, reason in excluded.select("sample_id", "reason").iter_rows()} == {
        "conflict 1": "conflict_file",
        "conflict 2": "conflict_file",
        "train of both": "leak_identity",
        "val of both": "leak_identity",
        "second": "duplicate_file",
        "near train": "leak_near_duplicate",
    }
    left = {names[i] for i in workspace.samples().collect()["sample_id"]}
    assert left == {"test of both", "first", "near test", "near twin", "plain"}
    after = audit(workspace)
    assert kinds(after.findings) == {("near_duplicate", "within_source", "warning")}
    assert after.samples == 5
    again = audit(workspace, resolve=True).excluded
    assert again is not None
    assert again.equals(excluded)
    (workspace.audit_dir / "excluded.parquet").unlink()
    assert workspace.samples().collect().height == 11


def test_the_files_are_complete_and_self_contained(tmp_path: Path) -> None:
    rows = [row("a<b>", src_sha256="s"), row("b", src_sha256="s", split="test", **FAKE)]
    workspace = build(tmp_path / "ws", *rows)
    result = audit(workspace)
    assert sorted(p.name for p in result.folder.iterdir()) == ["findings.parquet", "report.html"]
    assert pl.read_parquet(result.folder / "findings.parquet").equals(result.findings)
    html = (result.folder / "report.html").read_text()
    assert html.count("data:image/jpeg;base64,") == 2 * 3, "conflict, leak and duplicate side by side"
    assert "://" not in html
    assert "<script" not in html
    assert "own/a&lt;b&gt;" in html
    for pack in workspace.root.glob("samples/*/packs/*.tar"):
        pack.unlink()
    audit(workspace)
    assert (result.folder / "report.html").read_text().count("no picture") == 6


def test_an_empty_workspace_is_audited(tmp_path: Path) -> None:
    result = audit(build(tmp_path / "ws"), resolve=True)
    assert result.findings.height == 0
    assert "Nothing is wrong" in (result.folder / "report.html").read_text()
