"""From what sources say to the raw lake."""

from run_assets.ingest.ingest import Ingest
from run_assets.ingest.parts import PARTITIONED, Written, unreadable_runs
from run_assets.ingest.placement import Place, place_runs
from run_assets.ingest.state import STATE, damaged_rows, read_state

__all__ = [
    "PARTITIONED",
    "STATE",
    "Ingest",
    "Place",
    "Written",
    "damaged_rows",
    "place_runs",
    "read_state",
    "unreadable_runs",
]
