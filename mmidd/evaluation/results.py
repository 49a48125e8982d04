"""What an evaluation found, as stored in `evaluation.json`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mmidd.errors import UsageError
from mmidd.evaluation.protocol import Level, Protocol, ThresholdRule
from mmidd.evaluation.tables import GroupKind

EVALUATION_FILE = "evaluation.json"
THRESHOLD_FILE = "threshold.json"
SCORES_FILE = "scores.parquet"
REPORT_FILE = "report.html"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Frozen):
    """A metric with its 95% interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


class Result(_Frozen):
    """All metrics of one group under one protocol.

    Attributes:
        protocol: how it was measured.
        kind: what the group is a value of.
        name: the value, such as `FS`; `all` for everything.
        reals: real items (videos or frames, by the protocol's level).
        fakes: fake items.
        clusters: identities or videos the bootstrap drew from.
        metrics: estimates by the names of metrics.METRICS.
        note: what a reader must know, empty if nothing.
    """

    protocol: Protocol
    kind: GroupKind
    name: str
    reals: int
    fakes: int
    clusters: int
    metrics: dict[str, Estimate]
    note: str = ""


class Measures(_Frozen):
    """What was measured of a group of samples.

    Attributes:
        kind: what the group is a value of.
        name: the value; `all` for everything.
        items: samples.
        clusters: identities or videos the bootstrap drew from.
        metrics: estimates by name.
        note: what a reader must know, empty if nothing.
    """

    kind: GroupKind
    name: str
    items: int
    clusters: int
    metrics: dict[str, Estimate]
    note: str = ""


class Bin(_Frozen):
    """Items whose P(fake) lies in [low, high), or in the last bin at 1.

    Attributes:
        low, high: of the bin.
        items: in it.
        score: their mean P(fake), None without items.
        fake: the share of them that is fake.
    """

    low: float
    high: float
    items: int
    score: float | None
    fake: float | None


class Calibration(_Frozen):
    """Whether P(fake) is how often items of that score are fake.

    Attributes:
        level: what is counted.
        measures: `ece`, `adaptive_ece` and `brier`: see `calibration.measure_calibration`.
        bins: of equal width, lowest first.
    """

    level: Level
    measures: Measures
    bins: tuple[Bin, ...]


class Explanations(_Frozen):
    """Statistics of written explanations.

    Attributes:
        words: median, 5% and 95% quantile of the words of a text.
        distinct: see `explanations.measure_explanations`; None where no text has so many words.
        shares: of texts that are `well_formed` (undefined where no form is asked for), give no verdict
            (`unparsed`), name a region (`names_region`).
        regions: how many texts name a region, by its name.
    """

    words: tuple[float, float, float]
    distinct: dict[str, float | None]
    shares: Measures
    regions: dict[str, int]


class Threshold(_Frozen):
    """Decision thresholds on P(fake), per level, and where they come from."""

    rule: ThresholdRule
    video: float
    frame: float
    dataset: str
    items: str

    def at(self, level: Level) -> float:
        """The threshold of a level."""
        return self.video if level is Level.VIDEO else self.frame

    def describe(self) -> str:
        """One line for people."""
        if self.rule is ThresholdRule.FIXED:
            return f"0.5, not fitted: {self.items}"
        return f"{self.video:.3f}, fitted on the val split of {self.dataset} ({self.items})"


FIXED_THRESHOLD = Threshold(
    rule=ThresholdRule.FIXED,
    video=0.5,
    frame=0.5,
    dataset="none",
    items="no validation scores of both classes",
)


class Evaluation(_Frozen):
    """The whole evaluation of a run on a dataset.

    Everything derives from `scores.parquet`, and what follows `left_out` from `evidence.parquet`.

    Attributes:
        run: name of the run folder.
        method: training method of the run.
        dataset: name of the folder of shards.
        dataset_sha256: SHA-256 of the index of the shards, empty where it has none.
        results: one per level and group, video level first.
        threshold: decision thresholds.
        confusion: video counts [true type][predicted type], None without a five-way task.
        replicates: bootstrap replicates behind every interval.
        seed: seed of the bootstrap.
        calibration: of videos and of frames.
        left_out: reals that gave no simulated forgery, by reason.
        localisation: maps against masks, of forgeries that have one: see `localisation.measure_maps`.
        marked: share of the pixels of reals that is called forged.
        verdicts: results of other verdicts than the run's score: see `answers.measure_verdicts`.
        verdict_calibration: of these, as far as they are probabilities.
        answers: how written answers agree with the run's score.
        regions: those that answers name against those that were forged.
        explanations: what the answers look like.
    """

    run: str
    method: str
    dataset: str
    dataset_sha256: str
    results: tuple[Result, ...]
    threshold: Threshold
    confusion: list[list[int]] | None
    replicates: int
    seed: int
    calibration: tuple[Calibration, ...] = ()
    left_out: dict[str, int] = {}
    localisation: tuple[Measures, ...] = ()
    marked: Measures | None = None
    verdicts: dict[str, tuple[Result, ...]] = {}
    verdict_calibration: dict[str, tuple[Calibration, ...]] = {}
    answers: Measures | None = None
    regions: tuple[Measures, ...] = ()
    explanations: Explanations | None = None

    def at(self, level: Level) -> list[Result]:
        """Results of one level, in table order."""
        return [result for result in self.results if result.protocol.level is level]

    @property
    def headline(self) -> Result:
        """Everything at video level."""
        return self.at(Level.VIDEO)[0]


def save(model: BaseModel, path: Path) -> None:
    """Write a result as JSON, whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(model.model_dump_json(indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def load_threshold(run_dir: Path) -> Threshold | None:
    """The thresholds that `mmidd eval` fitted for a run, None before the first evaluation.

    Raises:
        UsageError: the file cannot be read by this version.
    """
    path = run_dir / "eval" / THRESHOLD_FILE
    if not path.exists():
        return None
    try:
        return Threshold.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        raise UsageError(f"{path} is damaged or of another version; run `mmidd eval` again") from None
