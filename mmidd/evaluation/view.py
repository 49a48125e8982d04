"""The evaluation as a terminal table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import Estimate, Evaluation, Measures, Result


def summary_table(evaluation: Evaluation) -> Table:
    """One line per group, within 80 columns: video metrics first, then frame AUC."""
    table = Table(
        title=escape(f"{evaluation.run} ({evaluation.method}) on {evaluation.dataset}"),
        caption=escape(_caption(evaluation)),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("fakes", overflow="fold")
    for heading in ("real+fake\nvideos", "video AUC\n[95%]", "\nAP", "\nEER", "bal.\nacc.", "frame\nAUC"):
        table.add_column(heading, justify="right", no_wrap=True)
    frames = {(result.kind, result.name): result.metrics for result in evaluation.at(Level.FRAME)}
    kind = "all"
    for result in shown(evaluation.at(Level.VIDEO)):
        if result.kind != kind:
            kind = result.kind
            table.add_row(f"by {kind}", style="dim")
        metrics = result.metrics
        table.add_row(
            escape(label(result)),
            f"{result.reals}+{result.fakes}",
            with_interval(metrics["auc"]),
            *(short(metrics[name].value) for name in ("ap", "eer", "balanced_accuracy")),
            short(frames[result.kind, result.name]["auc"].value),
        )
    return table


def shown(results: list[Result]) -> list[Result]:
    """Results worth a line: a kind with a single value repeats the total."""
    count = {kind: sum(result.kind == kind for result in results) for kind in ("type", "method", "source")}
    return [result for result in results if result.kind == "all" or count[result.kind] > 1]


def notes(results: Sequence[Result | Measures]) -> list[tuple[str, str]]:
    """Each note once, with the names of the groups it is about."""
    names: dict[str, list[str]] = {}
    for result in results:
        if result.note:
            names.setdefault(result.note, []).append(result.name)
    return [(note, ", ".join(groups)) for note, groups in names.items()]


def label(result: Result) -> str:
    """The group's name, with a star where there is a note."""
    return f"{result.name} *" if result.note else result.name


def with_interval(estimate: Estimate) -> str:
    """Such as `.912 [.84, .97]`."""
    if estimate.value is None:
        return "-"
    return f"{short(estimate.value)} [{short(estimate.low, 2)}, {short(estimate.high, 2)}]"


def short(value: float | None, digits: int = 3) -> str:
    """A share without its leading zero; a dash where undefined."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}".removeprefix("0")


def _caption(evaluation: Evaluation) -> str:
    head = evaluation.headline
    frames = evaluation.at(Level.FRAME)[0]
    lines = [
        head.protocol.describe(),
        f"threshold {evaluation.threshold.describe()}",
        f"{head.reals + head.fakes} videos, {frames.reals + frames.fakes} frames; intervals: "
        f"{evaluation.replicates} bootstrap replicates of {head.clusters} identities or videos",
    ]
    if evaluation.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in evaluation.left_out.items())
        lines.append(f"reals without a simulated forgery: {reasons}")
    stars = [f"* {names}: {note}" for note, names in notes(shown(evaluation.at(Level.VIDEO)))]
    return "\n".join(lines + stars)
