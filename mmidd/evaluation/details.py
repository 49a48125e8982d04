"""What an evaluation found beside scores, as tables for terminal and report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table

from mmidd.evaluation.answers import DETECTOR, EXPLAINED, VOTED, WRITTEN
from mmidd.evaluation.calibration import BINS as CALIBRATION_BINS
from mmidd.evaluation.maps import BINS
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.published import CAVEAT, beside
from mmidd.evaluation.results import Estimate, Evaluation, Measures, Result
from mmidd.evaluation.view import notes, short, with_interval

_WIDTH = 78  # so that title and caption of a narrow table are not broken into many lines
_LOCATION = {"iou": "IoU", "dice": "Dice", "pixel_auc": "pixel AUC", "image_auc": "mean of\nimages' AUC"}
_REGIONS = {"precision": "precision", "recall": "recall", "f1": "F1", "image_f1": "mean of\nimages' F1"}
_CALIBRATION = {"ece": "ECE", "adaptive_ece": "adaptive\nECE", "brier": "Brier score"}
_WITH_INTERVAL = {"iou", "pixel_auc", "precision", "recall", "brier"}
_VERDICTS = {
    DETECTOR: "detector",
    EXPLAINED: "after explaining",
    VOTED: "mean of several",
    WRITTEN: "written answer",
}
_DISTINCT = {
    "distinct_1": "different words of all words",
    "distinct_2": "different pairs of all pairs of words",
    "within_1": "the same of words within a text, mean",
    "within_2": "the same of pairs within a text, mean",
}
_SHARES = {"well_formed": "in the form asked for", "unparsed": "no verdict", "names_region": "name a region"}


@dataclass(frozen=True)
class Details:
    """A table of text: the first column names the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def table(self) -> Table:
        """For the terminal."""
        table = Table(
            title=escape(self.title),
            caption=escape(self.caption),
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            min_width=_WIDTH,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for number, heading in enumerate(self.columns):
            table.add_column(escape(heading), justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table


def details(evaluation: Evaluation) -> list[Details]:
    """Localisation, verdicts, answers, calibration and published numbers, as far as there are any."""
    parts = (_location, _verdicts, _regions, _explanations, _calibration, _published)
    return [found for part in parts for found in part(evaluation)]


def _location(evaluation: Evaluation) -> Iterator[Details]:
    marked = evaluation.marked
    reals = (
        f"Of reals {with_interval(marked.metrics['share'])} of the pixels are called forged."
        if marked
        else ""
    )
    if evaluation.localisation:
        how = (
            "Called forged from P = 0.5 on, forged from mask 0.3 on; means over images. Pixel AUC: of all "
            f"pixels together, in {BINS} bins of log-odds."
        )
        yield _measured("Where it was forged", evaluation.localisation, "images", _LOCATION, f"{how} {reals}")
    elif marked:
        row = ("real", f"{marked.items}", with_interval(marked.metrics["share"]))
        yield Details(
            "Where it was forged", ("", "images", "called forged"), (row,), "No forgery has a mask."
        )


def _verdicts(evaluation: Evaluation) -> Iterator[Details]:
    if not evaluation.verdicts:
        return
    own = _own_verdict(evaluation)
    found = {own: evaluation.results}
    found |= {_VERDICTS[name]: results for name, results in evaluation.verdicts.items()}
    columns = ("", "video AUC", "video AP", "frame AUC", "frame AP")
    rows = tuple((name, *_aucs(results)) for name, results in found.items())
    yield Details("Verdicts", columns, rows, _agreement(evaluation.answers, own))


def _own_verdict(evaluation: Evaluation) -> str:
    """What the run's score is, of one that also gives others."""
    return "direct answer" if EXPLAINED in evaluation.verdicts else "P(yes)"


def _aucs(results: Sequence[Result]) -> Iterator[str]:
    for level in (Level.VIDEO, Level.FRAME):
        first = next(result for result in results if result.protocol.level is level)
        yield from (with_interval(first.metrics[name]) for name in ("auc", "ap"))


def _agreement(answers: Measures | None, own: str) -> str:
    if answers is None:
        return "No answers were written; --answers has the run write them."
    agreement, unlabelled, cut = (
        with_interval(answers.metrics[n]) for n in ("agreement", "unlabelled", "cut")
    )
    return (
        f"{answers.items} answers, of which {unlabelled} give no label and {cut} are cut for length; of "
        f"those with a label {agreement} agree with {own} >= 0.5. Written score of a video: share of "
        "frames whose answer says fake."
    )


def _regions(evaluation: Evaluation) -> Iterator[Details]:
    if evaluation.regions:
        how = "Regions that answers name against those that were forged, counted over all answers."
        yield _measured("Regions in answers", evaluation.regions, "answers", _REGIONS, how)


def _explanations(evaluation: Evaluation) -> Iterator[Details]:
    if (found := evaluation.explanations) is None:
        return
    median, low, high = found.words
    rows = [("words, median [5%, 95%]", f"{median:.0f} [{low:.0f}, {high:.0f}]")]
    rows += [(title, short(found.distinct[name])) for name, title in _DISTINCT.items()]
    rows += [(title, with_interval(found.shares.metrics[name])) for name, title in _SHARES.items()]
    rows += [(f"name the {region}", f"{count}") for region, count in found.regions.items()]
    how = "The more words there are in all, the fewer of them are different: compare as many answers."
    yield Details("Written answers", ("", f"{found.shares.items} answers"), tuple(rows), how)


def _calibration(evaluation: Evaluation) -> Iterator[Details]:
    if evaluation.calibration:
        found = {"": evaluation.calibration}
        found |= {f"{_VERDICTS[name]}, ": each for name, each in evaluation.verdict_calibration.items()}
        rows = tuple(
            (
                f"{verdict}{one.level}s",
                f"{one.measures.items}",
                *(_cell(name, one.measures.metrics[name]) for name in _CALIBRATION),
            )
            for verdict, each in found.items()
            for one in each
        )
        how = (
            f"Expected calibration error of P(fake) in {CALIBRATION_BINS} bins of equal width, and of equal "
            "number; 0 is best. All three hold for the share of fakes in this split."
        )
        yield Details("Calibration", ("", "items", *_CALIBRATION.values()), rows, how)


def _published(evaluation: Evaluation) -> Iterator[Details]:
    for table in beside(evaluation):
        rows = tuple((method, *cells) for method, cells in table.rows.items())
        yield Details(f"Published: {table.heading}", ("", *table.columns), rows, CAVEAT)


def _measured(
    title: str, groups: Sequence[Measures], unit: str, metrics: dict[str, str], caption: str
) -> Details:
    rows = tuple(
        (
            f"{one.name} *" if one.note else one.name,
            f"{one.items}",
            *(_cell(name, one.metrics[name]) for name in metrics),
        )
        for one in groups
    )
    stars = [f"* {names}: {note}." for note, names in notes(groups)]
    return Details(title, ("", unit, *metrics.values()), rows, "\n".join([caption.strip(), *stars]))


def _cell(name: str, estimate: Estimate) -> str:
    return with_interval(estimate) if name in _WITH_INTERVAL else short(estimate.value)
