"""Labs whose runs lie on the loopback server, refreshed without Dagster."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from run_assets.ingest import Ingest, place_runs, read_state
from run_assets.lab import Lab
from run_assets.refresh import Selection, plan_refresh
from run_assets.sources.changes import Asked
from run_assets.sources.runs import ChangedRun
from tests.support.labs import make_lab
from tests.support.wandb_server import WandbServer


def api_lab(
    folder: Path,
    server: WandbServer,
    *projects: str,
    files: bool = False,
    **source: Any,
) -> Lab:
    """A lab that reads projects of the server, and its own run files if asked to."""
    api = {
        "kind": "wandb_api",
        "projects": list(projects or ("me/p",)),
        "base_url": server.url,
        "timeout_seconds": 10,
        **source,
    }
    sources = [api, *([{"kind": "wandb_files", "path": "wandb"}] if files else [])]
    return make_lab(folder, 0, sources=sources, analyses=[], derived_metrics={})


@dataclass(frozen=True)
class Pulled:
    """What reading the changed runs did."""

    changes: tuple[ChangedRun, ...]
    asked: Asked
    state: pl.DataFrame

    @property
    def reasons(self) -> dict[str, str]:
        """Why each run was read, by run id."""
        return {change.run_id: change.reason for change in self.changes}

    @property
    def problems(self) -> dict[str, str]:
        """What was wrong, by location."""
        bad = self.state.filter(pl.col("problem").is_not_null())
        return dict(bad.select("source_location", "problem").iter_rows())


def pull(lab: Lab, **selection: Any) -> Pulled:
    """Read what changed into the raw lake: a refresh without Dagster and the rest."""
    now = datetime.now(UTC)
    plan = plan_refresh(lab, now=now, selection=Selection(**selection))
    places = place_runs(
        lab.lake,
        read_state(lab.lake),
        plan.changes,
        first_day=lab.config.first_day,
        today=now.date(),
    )
    ingest = Ingest(lab.lake, now=now, progress=lab.progress, workers=8)
    try:
        for _written in ingest.run(plan.changes, places):
            pass
    finally:
        plan.asked.close()
    return Pulled(plan.changes, plan.asked, ingest.state)


def history(lab: Lab, run_path: str) -> pl.DataFrame:
    """What the lake holds of a run."""
    return lab.lake.read("raw.history").filter(run_path=run_path)


def steps(lab: Lab, run_path: str, metric: str = "x") -> list[int]:
    """The steps of a metric, in order."""
    return history(lab, run_path).filter(metric=metric)["step"].sort().to_list()


def run(lab: Lab, run_path: str) -> dict[str, Any]:
    """The row of ``raw.runs``."""
    return lab.lake.read("raw.runs").filter(run_path=run_path).row(0, named=True)
