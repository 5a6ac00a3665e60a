"""The demo: a small experiment, the refresh, and what came out of it."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import typer

from run_assets.config import FILE_NAME
from run_assets.errors import NotFoundError
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.scaffold import ensure_dagster_files

if TYPE_CHECKING:
    import polars as pl

    from run_assets.cli.session import Session

RUNS = Path("data/hearts")
QUERIES = (
    "select run_state, count(*) as runs from marts.runs group by all order by 2 desc",
    (
        "select group_name, task, round(avg(score), 3) as mean_score "
        "from stats.scores group by all order by 2, 3 desc"
    ),
    (
        "select run_name, step, value from core.metric_points join marts.runs "
        "using (run_path) where metric = 'overview/reward' and not isfinite(value)"
    ),
)


def run_demo(session: "Session", folder: Path, *, seeds: int) -> None:
    """Train, refresh and show; what exists already is not made again."""
    _create(folder)
    hearts = _example()
    session.note("Training 3 algorithms on 4 maps (numpy, offline W&B runs) ...")
    hearts.train(folder / RUNS, seeds=seeds)
    lab = open_lab(folder)
    session.note("Refreshing: reading the runs, SQL, statistics, report ...")
    with session.progress(lab):
        lab.refresh()
    _show(lab)


def _create(folder: Path) -> None:
    """A folder that is no lab yet gets the demo's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / FILE_NAME).exists():
        text = _demo_config().read_text(encoding="utf-8")
        (folder / FILE_NAME).write_text(text, encoding="utf-8")
    ensure_dagster_files(folder)


def _demo_config() -> Path:
    """In an installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "_examples" / FILE_NAME
    return installed if installed.exists() else package.parent / FILE_NAME


def _example() -> ModuleType:
    package = Path(__file__).parent
    if (package / "_examples" / "hearts").is_dir():
        return import_module("run_assets._examples.hearts.train")
    if (package.parent / "examples" / "hearts").is_dir():
        sys.path.insert(0, str(package.parent))
        return import_module("examples.hearts.train")
    msg = f"the example is missing beside {package}; install run-assets again"
    raise NotFoundError(msg)


def _show(lab: Lab) -> None:
    from run_assets.cli.output import to_table

    typer.echo("\nWho learns best? Interquartile mean over maps and seeds:\n")
    typer.echo(to_table(_verdicts(lab)))
    typer.echo(f"\nReport    {lab.reports / 'latest' / 'report.html'}")
    typer.echo(f"DuckDB    {lab.warehouse}")
    typer.echo("Dagster   run-assets ui\n\nThree queries to try:\n")
    for query in QUERIES:
        typer.echo(f'  run-assets sql "{query}"')


def _verdicts(lab: Lab) -> "pl.DataFrame":
    return lab.sql(
        "select analysis, group_name as algorithm, round(estimate, 3) as iqm, "
        "round(ci_low, 3) as ci_low, round(ci_high, 3) as ci_high, n_runs as runs "
        "from stats.interval_estimates where statistic = 'iqm' "
        "order by analysis, estimate desc"
    )
