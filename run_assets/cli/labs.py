"""``demo``, ``init``, ``refresh``, ``ui``, ``dagster``, ``doctor``, ``config``."""

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from run_assets.cli.output import Format, FormatOption, write
from run_assets.cli.session import EVERYWHERE, Session, session

if TYPE_CHECKING:
    from run_assets.lab import Lab
    from run_assets.refresh import Damage, Refreshed, Selection

config_app = typer.Typer(no_args_is_help=True)
_LISTED = 20
# `dg dev` wants a project of its own layout; a lab has none.
_UNHEEDED = "-Wignore:Function `dev_command` is superseded"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("demo", epilog=EVERYWHERE)(demo)
    app.command("init", epilog=EVERYWHERE)(init)
    app.command("refresh", epilog=EVERYWHERE)(refresh)
    app.command("ui", epilog=EVERYWHERE)(ui)
    app.command(
        "dagster",
        epilog=EVERYWHERE,
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )(dagster)
    app.command("doctor", epilog=EVERYWHERE)(doctor)


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where the demo lives.")] = Path(),
    *,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Seeds per cell.")] = 5,
) -> None:
    """Train a small experiment, refresh, and show what came out."""
    from run_assets.demo import run_demo

    given = session(context)
    given.ignore_project()
    run_demo(given, folder.absolute(), seeds=seeds)


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new or existing folder.")] = Path(),
    *,
    wandb: Annotated[str, typer.Option(help="The folder with runs.")] = "wandb",
) -> None:
    """Make a folder a lab; files that exist stay as they are."""
    from run_assets.scaffold import create_lab

    given = session(context)
    given.ignore_project()
    home = folder.expanduser().absolute()
    here = Path(wandb).expanduser().absolute()
    if here.exists() and not (home / wandb).exists():
        wandb = str(here)  # typed as seen from the current folder
    for file in create_lab(home, wandb=wandb):
        given.note(f"created {file}")
    runs = home / Path(wandb).expanduser()
    if not runs.exists():
        given.note(f"{runs} is not there yet: log a run there, or edit the sources")
    step = "" if home == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    given.note(f"next: {step}run-assets refresh")


def refresh(
    context: typer.Context,
    *,
    full: Annotated[bool, typer.Option("--full", help="Read every run again.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only runs created since this day."),
    ] = None,
    local_only: Annotated[
        bool, typer.Option("--local-only", help="Only local files.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which runs would be read.")
    ] = False,
    output_format: FormatOption = "table",
) -> None:
    """Read what changed and rebuild what depends on it."""
    from run_assets.refresh import Selection

    given = session(context)
    selection = Selection(
        reread=full,
        project=given.project,
        since=since.date() if since else None,
        local_only=local_only,
    )
    lab = given.lab()
    _check_project(lab, selection)
    if dry_run:
        _plan(given, lab, selection, output_format)
        return
    result = given.refresh(lab, selection)
    _tell(given, lab, result)
    _report_damage(result)


def ui(
    context: typer.Context,
    *,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the web server.")
    ] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open Dagster on this lab: web server and daemon, until interrupted."""
    given = session(context)
    given.ignore_project()
    given.note(f"http://{host}:{port} in a moment; Ctrl-C ends it")
    arguments = ["dev", "-w", "workspace.yaml", "-p", str(port), "-h", host]
    _become_dagster(given, arguments)


def dagster(context: typer.Context) -> None:
    """Run any Dagster command on this lab, with DAGSTER_HOME set."""
    _become_dagster(session(context), context.args)


def doctor(context: typer.Context, *, output_format: FormatOption = "table") -> None:
    """Check that everything a refresh needs is there."""
    from run_assets.doctor import examine
    from run_assets.errors import RunAssetsError

    given = session(context)
    given.ignore_project()
    frame = examine(given.config)
    write(frame, output_format)
    bad = frame.filter(result="bad")
    if not bad.is_empty():
        found = [f"  {check}: {detail}" for check, _, detail in bad.rows()]
        head = f"{bad.height} of {frame.height} checks found something to mend:"
        raise RunAssetsError("\n".join([head, *found]))


@config_app.command("show", epilog=EVERYWHERE)
def show_config(
    context: typer.Context,
    *,
    origin: Annotated[
        bool, typer.Option("--origin", help="Where each value came from.")
    ] = False,
    output_format: FormatOption = "table",
) -> None:
    """Show the configuration as it counts, secrets masked."""
    import polars as pl

    from run_assets.config import origins

    given = session(context)
    given.ignore_project()
    frame = pl.DataFrame(
        origins(given.config), ["key", "value", "origin"], orient="row"
    )
    write(frame if origin else frame.drop("origin"), output_format)


def versions() -> str:
    """This project's version and those of what it stands on."""
    from importlib.metadata import version

    names = ("run-assets", "dagster", "duckdb", "polars", "wandb", "numpy")
    return "\n".join(f"{name} {version(name)}" for name in names)


def _check_project(lab: "Lab", selection: "Selection") -> None:
    """Refuse a project that neither the lake nor a source knows."""
    from run_assets.cli.selection import check_project, collected
    from run_assets.refresh import Selection, plan_refresh

    if selection.project is None:
        return
    stored = collected(lab.table("raw.runs").select("entity", "project").unique())
    known = set(stored.rows())
    names = {project for _, project in known} | {"/".join(pair) for pair in known}
    if selection.project not in names:
        everything = Selection(local_only=selection.local_only)
        found = plan_refresh(lab, now=datetime.now(UTC), selection=everything)
        known |= {(one.entity, one.project) for one in found.changes}
        check_project(selection.project, known)


def _plan(given: Session, lab: "Lab", selection: "Selection", form: Format) -> None:
    import polars as pl

    from run_assets.refresh import is_built, plan_refresh

    plan = plan_refresh(lab, now=datetime.now(UTC), selection=selection)
    changes = plan.changes
    rows: list[tuple[str, str, str]] = [
        (one.run_path, one.reason, one.locations[0].name) for one in changes
    ]
    rows += [(one.query.target, "results", one.database.name) for one in plan.results]
    schema = {"run_path": pl.String, "reason": pl.String, "location": pl.String}
    write(pl.DataFrame(rows, schema, orient="row"), form)
    given.note(f"{_runs(len(changes))} would be read; nothing was written")
    if plan.is_empty and not is_built(lab):
        given.note("tables would be rebuilt: code, config or files differ since")


def _tell(given: Session, lab: "Lab", result: "Refreshed") -> None:
    if result.is_unchanged:
        given.note("nothing has changed since the last refresh")
        return
    given.note(f"{_runs(len(result.changes))} read")
    if result.results:
        given.note(f"results read: {', '.join(result.results)}")
    given.note(f"report  {lab.reports / 'latest' / 'report.html'}")
    given.note(f"DuckDB  {lab.warehouse}")


def _report_damage(result: "Refreshed") -> None:
    """A refresh that had to leave something out is no success.

    Raises:
        SourceError: Names the files and runs.
    """
    from run_assets.errors import SourceError
    from run_assets.sources.runs import FILES

    if not result.damaged:
        return
    files = [one for one in result.damaged if one.source == FILES]
    runs = [one for one in result.damaged if one.source != FILES]
    texts = []
    if runs:
        what = "1 run was" if len(runs) == 1 else f"{len(runs)} runs were"
        then = "everything else was refreshed, the next refresh tries again"
        texts.append(f"{what} not read; {then}:\n{_listing(runs)}")
    if files:
        what = "1 file holds" if len(files) == 1 else f"{len(files)} files hold"
        where = "raw.sync_state says what was skipped"
        texts.append(
            f"{what} data that cannot be read; everything else was refreshed:\n"
            f"{_listing(files)}\n{where}: `run-assets tables raw.sync_state`"
        )
    raise SourceError("\n".join(texts))


def _listing(damaged: "list[Damage]") -> str:
    lines = [
        f"  {one.location}" + (f": {one.problem}" if one.problem else "")
        for one in damaged[:_LISTED]
    ]
    if len(damaged) > _LISTED:
        lines.append(f"  … {len(damaged) - _LISTED} more")
    return "\n".join(lines)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"


def _become_dagster(given: Session, arguments: list[str]) -> NoReturn:
    """Exit code and signals are Dagster's own: this process goes on as Dagster."""
    from run_assets.config import config_file
    from run_assets.scaffold import ensure_dagster_files

    file = config_file(given.config)
    ensure_dagster_files(file.parent)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(file.parent),
        "RUN_ASSETS_CONFIG": str(file),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    os.chdir(file.parent)
    command = [sys.executable, _UNHEEDED, "-m", "dagster", *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606  # our own interpreter
