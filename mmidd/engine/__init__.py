"""Run a stage over units, with the Parquet parts as the ledger."""

from mmidd.engine.ledger import Ledger
from mmidd.engine.stage import EngineOptions, Interrupted, Reporter, Summary, run_stage
from mmidd.engine.units import Blob, Row, Stage, Unit, content_id

__all__ = [
    "Blob",
    "EngineOptions",
    "Interrupted",
    "Ledger",
    "Reporter",
    "Row",
    "Stage",
    "Summary",
    "Unit",
    "content_id",
    "run_stage",
]
