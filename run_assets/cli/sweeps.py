"""``run-assets sweep``: plan, run, watch, resume, report and export trials."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from run_assets.cli.output import Format, FormatOption, emit, export, write
from run_assets.cli.session import EVERYWHERE, Session, session

if TYPE_CHECKING:
    from run_assets.lab import Lab
    from run_assets.sweeps.engine import Tell
    from run_assets.sweeps.ledger import Ledger
    from run_assets.sweeps.overview import Overview
    from run_assets.sweeps.running import Ran

app = typer.Typer(no_args_is_help=True)

_INTERRUPTED = 130
_SweepFile = Annotated[Path, typer.Argument(help="sweep.yaml: what to run, and how.")]
_Sweep = Annotated[
    str | None, typer.Argument(help="Id or name; the youngest sweep where left out.")
]


@app.command("plan", epilog=EVERYWHERE)
def plan(
    context: typer.Context, file: _SweepFile, *, output_format: FormatOption = "table"
) -> None:
    """Show which trials a sweep would run, in order; nothing is written."""
    import polars as pl

    from run_assets.sweeps import load_sweep
    from run_assets.sweeps.plan import planned

    given = session(context)
    given.ignore_project()
    config = load_sweep(file)
    columns = ("position", "model", "task", "trial", "seed")
    trials = planned(config, config.name)
    rows = [tuple(getattr(one, name) for name in columns) for one in trials]
    write(pl.DataFrame(rows, list(columns), orient="row"), output_format)
    given.note(
        f"{len(config.models)} models x {len(config.tasks)} tasks x "
        f"{config.num_trials_per_config} trials = {len(trials):,} trials, at most "
        f"{config.max_concurrent_processes} at once; nothing was written"
    )


@app.command("run", epilog=EVERYWHERE)
def run(context: typer.Context, file: _SweepFile) -> None:
    """Run every trial of a new sweep. Ctrl-C drains it, a second one stops it."""
    from run_assets.sweeps import load_sweep, start_sweep

    given = session(context)
    given.ignore_project()
    lab = given.lab()
    sweep_id = start_sweep(lab, load_sweep(file), file=file)
    work(given, lab, sweep_id)


@app.command("resume", epilog=EVERYWHERE)
def resume(
    context: typer.Context,
    sweep: _Sweep = None,
    *,
    file: Annotated[
        Path | None, typer.Option(help="Instead of the file it was started from.")
    ] = None,
    amend: Annotated[
        bool, typer.Option("--amend", help="Run what the file says now.")
    ] = False,
) -> None:
    """Go on with a sweep; beside a process that runs it, share its trials."""
    from run_assets.sweeps import load_sweep
    from run_assets.sweeps.ledger import find_sweep, open_ledger
    from run_assets.sweeps.running import reconfigure

    given = session(context)
    given.ignore_project()
    lab = given.lab()
    path = find_sweep(lab.config.data_path, sweep)
    config = load_sweep(file) if file else None
    with open_ledger(path) as ledger:
        for one in reconfigure(ledger, config, allow_amend=amend):
            given.note(f"changed: {one}")
        sweep_id = ledger.sweep_id
    work(given, lab, sweep_id, is_resume=True)


@app.command("status", epilog=EVERYWHERE)
def status(
    context: typer.Context,
    sweep: _Sweep = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again until it is over.")
    ] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between two looks.", min=0.1)
    ] = 2.0,
    output_format: FormatOption = "table",
) -> None:
    """Show each model on each task, the time left, cost, and failures by class."""
    given = session(context)
    given.ignore_project()
    with _ledger(given, sweep) as ledger:
        if watch:
            _watch(ledger, interval)
        else:
            _show(ledger, output_format)


@app.command("report", epilog=EVERYWHERE)
def report(
    context: typer.Context,
    sweep: _Sweep = None,
    *,
    output_dir: Annotated[
        Path | None, typer.Option(help="Instead of the sweep's own folder.")
    ] = None,
) -> None:
    """Write what came of a sweep as JSON and Markdown, and print the latter."""
    from run_assets.sweeps.overview import write_report
    from run_assets.sweeps.running import output_folder

    given = session(context)
    given.ignore_project()
    with _ledger(given, sweep) as ledger:
        folder = output_dir or output_folder(given.lab(), ledger)
        files = write_report(ledger, folder.expanduser().absolute())
    emit(files["md"].read_text(encoding="utf-8").removesuffix("\n"))
    for file in files.values():
        given.note(f"wrote {file}")


@app.command("export", epilog=EVERYWHERE)
def export_rows(
    context: typer.Context,
    sweep: _Sweep = None,
    *,
    what: Annotated[
        Literal["trials", "attempts", "steps"], typer.Option(help="Which rows.")
    ] = "trials",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="FILE.csv or FILE.parquet, not stdout."),
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Print or write the rows of a sweep: its trials, attempts or steps."""
    from run_assets.sweeps.overview import exported

    given = session(context)
    given.ignore_project()
    with _ledger(given, sweep) as ledger:
        frame = exported(ledger, what)
    if output is None:
        write(frame, output_format)
        return
    export(frame.lazy(), output)
    given.note(f"wrote {frame.height:,} rows to {output}")


def work(given: Session, lab: "Lab", sweep_id: str, *, is_resume: bool = False) -> None:
    """Work on a sweep with a bar on stderr, and say what came of it.

    A sweep that is complete is made known to the lab's Dagster, with its statistics and
    its report.

    Raises:
        SweepFailedError: Trials failed for good, or a budget was spent.
    """
    from run_assets.sweeps.engine import Stop
    from run_assets.sweeps.running import signals, work_on

    given.note(f"sweep {sweep_id}")
    stop = Stop()

    def said() -> None:
        given.note(
            "stopping at once"
            if stop.is_stopping
            else "draining: what runs may finish; Ctrl-C again stops it"
        )

    with given.progress(lab, "sweep"), signals(stop, said):
        ran = work_on(
            lab,
            sweep_id,
            stop=stop,
            tell=_teller(given, lab, sweep_id),
            say=given.note,
            is_resume=is_resume,
        )
    if ran.ending == "complete" and not _is_recorded(ran):
        from run_assets.jobs import record_sweep

        record_sweep(lab, sweep_id)
    _tell(given, ran)


def _is_recorded(ran: "Ran") -> bool:
    """Dagster writes the report last."""
    from run_assets.sweeps.ledger import open_ledger
    from run_assets.sweeps.overview import is_reported

    with open_ledger(ran.ledger, read_only=True) as ledger:
        return is_reported(ledger, ran.folder)


def _teller(given: Session, lab: "Lab", sweep_id: str) -> "Tell":
    """Bars of what is over, and of what went wrong; in a log file a line at times."""
    from run_assets.sweeps.ledger import ledger_path, open_ledger
    from run_assets.sweeps.policy import TERMINAL

    if not sys.stderr.isatty():
        path = ledger_path(lab.config.data_path, sweep_id)
        with open_ledger(path, read_only=True) as ledger:
            return _logger(given, ledger.config.log_interval_minutes * 60)
    shown: set[str] = set()

    def told(counts: dict[str, int]) -> None:
        total = sum(counts.values())
        lab.progress("trials", sum(counts.get(one, 0) for one in TERMINAL), total)
        for name, text in (("will_retry", "to retry"), ("failed_final", "failed")):
            if counts.get(name) or name in shown:
                shown.add(name)
                lab.progress(text, counts.get(name, 0), total)

    return told


def _logger(given: Session, interval: float) -> "Tell":
    last = time.monotonic()

    def told(counts: dict[str, int]) -> None:
        nonlocal last
        if time.monotonic() - last >= interval:
            last = time.monotonic()
            parts = [f"{count:,} {name}" for name, count in sorted(counts.items())]
            given.note(", ".join(parts))

    return told


def _tell(given: Session, ran: "Ran") -> None:
    from run_assets.sweeps.running import SweepFailedError

    done = ran.counts.get("successful", 0)
    skipped = ran.counts.get("skipped_early_stop", 0)
    more = f", {skipped:,} skipped after a success" if skipped else ""
    given.note(f"{done:,} trials run{more}; cost {ran.cost:.6g}")
    given.note(f"ledger  {ran.ledger}")
    if ran.ending == "complete":
        given.note(f"report  {ran.folder / 'sweep_report.md'}")
    if ran.publication_error:
        raise ran.publication_error
    again = f"`run-assets sweep resume {ran.sweep_id}` runs the other {ran.n_open:,}"
    if ran.ending in ("drained", "stopped"):
        given.note(again)
        raise typer.Exit(_INTERRUPTED)
    if ran.ending != "complete":
        limit = {"cost": "max_cost", "time": "max_hours"}[ran.ending]
        msg = f"{limit} is reached; raise it, then {again}"
        raise SweepFailedError(msg)
    if failed := ran.counts.get("failed_final"):
        msg = (
            f"{failed:,} trials failed for good; everything else was run: "
            f"`run-assets sweep status {ran.sweep_id}` says why"
        )
        raise SweepFailedError(msg)


def _ledger(given: Session, sweep: str | None) -> "Ledger":
    from run_assets.sweeps.ledger import find_sweep, open_ledger

    path = find_sweep(given.lab().config.data_path, sweep)
    return open_ledger(path, read_only=True)


def _show(ledger: "Ledger", form: Format) -> None:
    from run_assets.sweeps.overview import overview

    found = overview(ledger)
    if form == "table":
        emit("\n".join(_lines(found)))
    else:
        write(found.cells, form)


def _watch(ledger: "Ledger", interval: float) -> None:
    """Draw the same place again on a terminal; elsewhere print a line a look."""
    from run_assets.cli.terminal import is_terminal
    from run_assets.sweeps.overview import overview

    if not is_terminal():
        while not (found := overview(ledger)).is_over:
            emit(_headline(found))
            time.sleep(interval)
        emit("\n".join(_lines(found)))
        return
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            found = overview(ledger)
            live.update(Text("\n".join(_lines(found)), no_wrap=True), refresh=True)
            if found.is_over:
                return
            time.sleep(interval)


def _lines(found: "Overview") -> Iterator[str]:
    from run_assets.cli.terminal import terminal_width
    from run_assets.cli.text_table import to_table
    from run_assets.sweeps.status import matrix

    yield _headline(found)
    yield ""
    yield to_table(matrix(found.cells), terminal_width())
    if not found.failures.is_empty():
        yield ""
        yield to_table(found.failures, terminal_width())


def _headline(found: "Overview") -> str:
    from run_assets.sweeps.policy import TERMINAL

    total = sum(found.counts.values())
    done = sum(found.counts.get(one, 0) for one in TERMINAL)
    parts = [f"{found.sweep_id}  {done:,}/{total:,}"]
    named = {"running": "running", "will_retry": "to retry", "failed_final": "failed"}
    named["skipped_early_stop"] = "skipped"
    parts += [
        f"{found.counts[k]:,} {v}" for k, v in named.items() if found.counts.get(k)
    ]
    parts.append(_time_left(found))
    if found.cost:
        parts.append(f"cost {found.cost:.6g}")
    if found.tokens:
        parts.append(f"{found.tokens:,} tokens")
    return "  ".join(parts)


def _time_left(found: "Overview") -> str:
    if found.is_over and found.ended_at:
        return f"took {duration((found.ended_at - found.created_at).total_seconds())}"
    if found.managers == 0:
        return "nobody works on it"
    if found.seconds_left is None:
        return "time left unknown before the first end"
    return f"about {duration(found.seconds_left)} left"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(7.2), duration(187), duration(7384)
    ('7 s', '3 min 07 s', '2 h 03 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
