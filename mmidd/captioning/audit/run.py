"""The audit of a backend's captions: all checks, and the files they leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from mmidd.captioning.audit import agreement, measured
from mmidd.captioning.audit.association import associations
from mmidd.captioning.audit.attributes import categories, parse
from mmidd.captioning.audit.decisions import accept_rates, folder, recorded
from mmidd.captioning.audit.duplicates import duplicates
from mmidd.captioning.audit.report import write_report, write_review
from mmidd.captioning.audit.review import cards, draw, workspace_key
from mmidd.captioning.audit.rows import FINDINGS, Captioned, Findings, read, sorted_findings
from mmidd.captioning.audit.texts import failures, invalid, lengths, verdicts
from mmidd.errors import StorageError
from mmidd.files import TEMPORARY
from mmidd.schema import with_version
from mmidd.workspace import Workspace

FINDINGS_FILE, REPORT_FILE, REVIEW_FILE = "findings.parquet", "report.html", "review.html"

Progress = Callable[[str], None]
Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class CaptionAudit:
    """What an audit of captions found.

    Attributes:
        findings: rows of `FINDINGS`, the worst first.
        tables: accept rates `reviews`, `associations`, `measured`, `duplicates`, and against another
            `agreement` and `wording`.
        folder: where the files are.
        captions: how many captions were looked at.
        samples: how many usable samples there are.
        drawn: how many captions are on the review page.
    """

    findings: Findings
    tables: Mapping[str, pl.DataFrame]
    folder: Path
    captions: int
    samples: int
    drawn: int

    @property
    def paths(self) -> dict[str, Path]:
        """The files by what they are."""
        names = {"findings": FINDINGS_FILE, "report": REPORT_FILE, "review": REVIEW_FILE}
        return {name: self.folder / file for name, file in names.items()}

    def summary(self) -> pl.DataFrame:
        """How many findings there are per kind, check and severity, in order."""
        return self.findings.group_by("kind", "check", "severity", maintain_order=True).len("findings")


def audit_captions(
    workspace: Workspace,
    backend: str,
    *,
    against: str | None = None,
    sample: int = 200,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> CaptionAudit:
    """Run every check on the captions of a backend and write the findings, the report and the review page.

    Args:
        workspace: an opened workspace.
        backend: whose captions, the name of their folder.
        against: another backend, model or seed that captioned the same samples, to compare with.
        sample: captions on the review page, at most.
        seed: of their draw.
        progress: is told what is being checked.

    Raises:
        UsageError: there are no such captions, or none in common.
        StorageError: the audit's folder cannot be written.
    """
    progress("attributes")
    captioned = read(workspace, backend)
    attributes = parse(captioned.rows, captioned.backend)
    other = None if against is None else read(workspace, against)
    found, tables = _checked(captioned, attributes, other, progress)
    decisions = recorded(workspace, captioned.backend)
    tables = {"reviews": accept_rates(captioned.rows, decisions), **tables}
    drawn = draw(captioned.rows, sample, seed)
    result = CaptionAudit(
        sorted_findings(found),
        tables,
        folder(workspace, captioned.backend),
        captioned.rows.height,
        captioned.samples,
        drawn.height,
    )
    progress("pages")
    compared = backend if against is None else f"{backend} against {against}"
    page = cards(workspace, drawn, attributes)
    try:
        result.folder.mkdir(parents=True, exist_ok=True)
        _write_findings(result)
        write_report(result.paths["report"], compared, _headline(result), result.findings, result.tables)
        write_review(result.paths["review"], backend, captioned.backend, workspace_key(captioned), page)
    except OSError as error:
        raise StorageError(
            f"cannot write {result.folder}: {error.strerror}; free space, then run the same command again"
        ) from error
    return result


def _checked(
    captioned: Captioned, attributes: pl.DataFrame, other: Captioned | None, progress: Progress
) -> tuple[list[Findings], Tables]:
    progress("texts")
    found = [*failures(captioned), *invalid(captioned, attributes)]
    found += [*lengths(captioned), *verdicts(captioned, attributes)]
    told = categories(attributes)
    tables: Tables = {}
    progress("associations")
    parts, tables["associations"] = associations(captioned, told)
    found += parts
    parts, tables["measured"] = measured.agreement(captioned, attributes)
    found += parts
    progress("duplicates")
    parts, tables["duplicates"] = duplicates(captioned)
    found += parts
    if other is not None:
        progress("agreement")
        theirs = categories(parse(other.rows, other.backend))
        parts, tables["agreement"] = agreement.attributes(told, theirs)
        found += parts
        tables["wording"] = agreement.wording(captioned, other)
    return found, tables


def _headline(result: CaptionAudit) -> str:
    drawn = f"{result.drawn:,} are on the review page"
    return f"{result.captions:,} captions of {result.samples:,} samples; {drawn}."


def _write_findings(result: CaptionAudit) -> None:
    path = result.paths["findings"]
    temporary = path.with_name(TEMPORARY + path.name)
    pq.write_table(result.findings.to_arrow().cast(with_version(FINDINGS)), temporary)
    temporary.replace(path)
