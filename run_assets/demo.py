"""The demo: a small experiment, the refresh, and what came out of it."""

import shlex
import sys
from importlib import import_module
from pathlib import Path
from shutil import which
from types import ModuleType
from typing import TYPE_CHECKING

from run_assets.config import FILE_NAME
from run_assets.errors import NotFoundError
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.scaffold import ensure_dagster_files

if TYPE_CHECKING:
    import polars as pl

    from run_assets.cli.session import Session

RUNS = Path("data/hearts")
AGENTS = "agents"
QUERIES = (
    "select run_state, count(*) as runs from marts.runs group by all order by 2 desc",
    (
        "select group_name, task, round(avg(score), 3) as mean_score "
        "from stats.scores group by all order by 2, 3 desc"
    ),
    (
        "select run_name, run_state, last as last_reward, n_nonfinite "
        "from marts.run_summaries join marts.runs using (run_path) "
        "where metric = 'overview/reward' order by last limit 5"
    ),
)


def run_demo(session: "Session", folder: Path, *, seeds: int) -> None:
    """Train, refresh and show; what exists already is not made again.

    Args:
        session: Where progress and notes go.
        folder: The lab; it gets the demo's configuration where it has none.
        seeds: Runs per algorithm and map.
    """
    _create(folder)
    hearts = example_module("train")
    session.note("Training 3 algorithms on 4 maps (numpy, offline W&B runs) ...")
    hearts.train(folder / RUNS, seeds=seeds)
    lab = open_lab(folder)
    session.note("Sweeping: 3 solvers on 12 puzzles, 8 trials each ...")
    sweep_id = _sweep(session, lab)
    session.note("Refreshing: reading the runs, SQL, statistics, report ...")
    session.refresh(lab)
    _show(lab, sweep_id)


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


def _sweep(session: "Session", lab: Lab) -> str:
    """The sweep of the example, run to its end once."""
    from run_assets.cli.sweeps import work
    from run_assets.sweeps import load_sweep, start_sweep
    from run_assets.sweeps.consistency import unfinished
    from run_assets.sweeps.ledger import ledger_path, open_ledger, sweep_ids

    known = sweep_ids(lab.config.data_path)
    mine = next((one for one in known if one.rsplit("_", 3)[0] == AGENTS), None)
    file = _example_file("agents") / "sweep.yaml"
    sweep_id = mine or start_sweep(lab, load_sweep(file), file=file)
    with open_ledger(ledger_path(lab.config.data_path, sweep_id)) as ledger:
        is_over = unfinished(ledger) is None
    if not is_over:
        work(session, lab, sweep_id, is_resume=mine is not None)
    return sweep_id


def _example_file(name: str) -> Path:
    """A file or folder of the examples, in an installed package or in a checkout."""
    package = Path(__file__).parent
    installed = package / "_examples" / name
    return installed if installed.exists() else package.parent / "examples" / name


def example_module(name: str) -> ModuleType:
    """A module of the example, in an installed package or in a checkout.

    Raises:
        NotFoundError: The example is missing.
    """
    package = Path(__file__).parent
    if (package / "_examples" / "hearts").is_dir():
        return import_module(f"run_assets._examples.hearts.{name}")
    if (package.parent / "examples" / "hearts").is_dir():
        sys.path.insert(0, str(package.parent))
        return import_module(f"examples.hearts.{name}")
    msg = f"the example is missing beside {package}; install run-assets again"
    raise NotFoundError(msg)


def _show(lab: Lab, sweep_id: str) -> None:
    from run_assets.cli.output import emit
    from run_assets.cli.text_table import to_table

    page = lab.reports / "latest" / "report.html"
    away = Path.cwd() != lab.config.root
    where = f"--config {shlex.quote(str(lab.config.root))} " if away else ""
    command = "run-assets" if which("run-assets") else ".venv/bin/run-assets"
    lines = [
        "",
        "Who learns best? Interquartile mean over maps and seeds:",
        "",
        to_table(_verdicts(lab)),
        *_unfinished(lab),
        "",
        "Who solves puzzles? Chance that one try, one of eight, all eight succeed:",
        "",
        to_table(_solved(lab, sweep_id)),
        "",
        f"Report    {page}",
        f"DuckDB    {lab.warehouse}",
        f"Sweep     {command} {where}sweep status",
        f"Dagster   {command} {where}ui",
        "",
        "Three queries to try:",
        "",
        *(f'  {command} {where}sql "{query}"' for query in QUERIES),
    ]
    emit("\n".join(lines))


def _verdicts(lab: Lab) -> "pl.DataFrame":
    return lab.sql(
        "select analysis, group_name as algorithm, round(estimate, 3) as iqm, "
        "round(ci_low, 3) as ci_low, round(ci_high, 3) as ci_high, n_runs as runs "
        "from stats.interval_estimates where statistic = 'iqm' "
        "order by analysis, estimate desc"
    )


def _solved(lab: Lab, sweep_id: str) -> "pl.DataFrame":
    import polars as pl

    from run_assets.sweeps.ledger import ledger_path, open_ledger
    from run_assets.sweeps.overview import pass_rates_of

    path = ledger_path(lab.config.data_path, sweep_id)
    with open_ledger(path, read_only=True) as ledger:
        rates = pass_rates_of(ledger)
    # For one trial "any" and "all" are the same.
    asked = (pl.col("k") == 8) | (
        (pl.col("k") == 1) & (pl.col("statistic") == "pass@k")
    )
    shown = rates.filter(asked).with_columns(
        pl.col("estimate", "ci_low", "ci_high").round(3),
        statistic=pl.col("statistic").str.replace("k", pl.col("k").cast(pl.String)),
    )
    return shown.sort(
        "k", "statistic", "estimate", descending=[False, False, True]
    ).select("statistic", "model", "estimate", "ci_low", "ci_high", tasks="n_tasks")


def _unfinished(lab: Lab) -> list[str]:
    """The demo kills some of its runs, and W&B's files cannot say so at once."""
    states = lab.sql(
        "select run_state, count(*) as runs from marts.runs "
        "where run_state != 'finished' group by all order by all"
    )
    if states.is_empty():
        return []
    counts = ", ".join(f"{runs} {state}" for state, runs in states.rows())
    told = ["", f"Left out, because they did not finish: {counts}."]
    if "running" in states["run_state"]:
        from run_assets.sources.wandb_files import HEARTBEAT_TIMEOUT

        minutes = HEARTBEAT_TIMEOUT.total_seconds() / 60
        told.append(
            "A killed run still shows as running; a refresh after its file was silent "
            f"for {minutes:.0f} minutes says crashed."
        )
    return told
