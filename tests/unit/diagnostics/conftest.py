"""Runs made of arrays, for the rules."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from run_assets.config import Diagnostics
from run_assets.diagnostics.diagnose import settings
from run_assets.diagnostics.model import Outcome, Run, Series
from run_assets.diagnostics.registry import rule
from run_assets.diagnostics.roles import Parts

MakeRun = Callable[..., Run]
Judge = Callable[..., list[Outcome]]


def series(name: str, values: ArrayLike, seconds: ArrayLike | None = None) -> Series:
    """A series whose steps count from 0."""
    array = np.asarray(values, dtype=np.float64)
    times = np.full(array.size, np.nan) if seconds is None else np.asarray(seconds)
    return Series(name, np.arange(array.size), array, times.astype(np.float64))


@pytest.fixture
def make_run() -> MakeRun:
    def make(
        metrics: Mapping[str, ArrayLike] | None = None,
        *,
        seconds: ArrayLike | None = None,
        system: Mapping[str, ArrayLike] | None = None,
        state: str = "finished",
        **more: Any,
    ) -> Run:
        known = {
            name: series(name, values, seconds)
            for name, values in (metrics or {}).items()
        }
        return Run(
            "lab/maze/r1",
            state,
            known,
            more.pop("parts", Parts()),
            system={n: series(n, v) for n, v in (system or {}).items()},
            **more,
        )

    return make


@pytest.fixture
def judge() -> Judge:
    def outcomes(code: str, run: Run, **limits: float) -> list[Outcome]:
        asked = settings(Diagnostics(select=(code,), thresholds={code: limits}))
        return rule(code).check(run, asked.limits[code])

    return outcomes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)
