"""A healthy, a crashed and a diverged run of the example tell three stories."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.hearts.learning import train
from examples.hearts.sweep import LAST_BREATH, plan_run
from run_assets.config import load_config
from run_assets.diagnostics.diagnose import Settings, settings
from run_assets.diagnostics.model import Run, Series
from run_assets.diagnostics.playbook import RunAnalysis, analysis_of, document
from run_assets.reports.run_analysis import as_markdown

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def asked() -> Settings:
    return settings(load_config(ROOT).diagnostics)


def trained(asked: Settings, plan: Any, state: str, share: float = 1.0) -> Run:
    """The metrics that the example's run logs, without wandb."""
    values: dict[str, list[tuple[int, float]]] = {}
    last = int(share * plan.parameters.epochs)
    with np.errstate(all="ignore"):
        for metrics in train(plan.parameters):
            epoch = int(metrics["metric/epoch"])
            for name, value in metrics.items():
                values.setdefault(name, []).append((epoch, value))
            if epoch == last:
                break
    series = {
        name: Series(
            name,
            np.array([step for step, _ in found]),
            np.array([value for _, value in found], dtype=np.float64),
            np.array([1e9 + step for step, _ in found], dtype=np.float64),
        )
        for name, found in values.items()
    }
    return Run(
        f"local/hearts/{plan.run_id}",
        state,
        series,
        asked.parts,
        last_step=last,
        history_rows=last,
    )


def read(asked: Settings, run: Run) -> RunAnalysis:
    return analysis_of(run, {"run_name": "x", "run_state": run.state}, asked)


def worst_codes(found: RunAnalysis) -> set[str]:
    return {
        one.code
        for section in found.sections
        for one in section.findings
        if one.severity != "info"
    }


def test_three_runs_tell_three_stories(asked: Settings) -> None:
    healthy = read(asked, trained(asked, plan_run("q-learning", "open", 0), "finished"))
    crash = plan_run("sarsa", "maze", 1)
    crashed = read(asked, trained(asked, crash, "crashed", LAST_BREATH))
    far = plan_run("expected-sarsa", "open", 1)
    diverged = read(asked, trained(asked, far, "finished"))

    assert worst_codes(healthy) == set()
    assert worst_codes(crashed) == {"RUN094"}
    assert worst_codes(diverged) == {"RUN003", "RUN004"}
    assert healthy.severity == "info"
    first = diverged.hypotheses[0]
    assert "learning rate" in first.text
    assert "trainer/loss" in as_markdown(diverged).split("## 1.")[0]
    assert "Nothing is wrong" in as_markdown(healthy)
    assert "crashed" in as_markdown(crashed).split("## 1.")[0]
    assert len(document(crashed)["sections"]) == 12
