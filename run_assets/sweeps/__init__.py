"""Sweeps: thousands of trials of models on tasks, run, retried and resumed.

``config``, ``plan``, ``policy``, ``room``, ``results``, ``summary`` and ``status`` are
pure; ``ledger`` and ``claims`` are the SQLite file; ``engine`` and ``workers`` run
trials; ``running`` puts them together.
"""

from run_assets.sweeps.attempts import Attempt
from run_assets.sweeps.config import SweepConfig, load_sweep
from run_assets.sweeps.running import Ran, resume_sweep, run_sweep, start_sweep

__all__ = [
    "Attempt",
    "Ran",
    "SweepConfig",
    "load_sweep",
    "resume_sweep",
    "run_sweep",
    "start_sweep",
]
