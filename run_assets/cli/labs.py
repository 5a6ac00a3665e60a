"""``demo``, ``init``, ``refresh``, ``ui``, ``dagster``, ``doctor``, ``config``."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.output import FormatOption, write
from run_assets.cli.session import Session, session

if TYPE_CHECKING:
    from run_assets.refresh import Refreshed, Selection

config_app = typer.Typer(no_args_is_help=True)
_LISTED = 20


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("demo")(demo)
    app.command("init")(init)
    app.command("refresh")(refresh)
    app.command("ui")(ui)
    app.command(
        "dagster",
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )(dagster)
    app.command("doctor")(doctor)


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where the demo lives.")] = Path(),
    *,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="Seeds per cell.")] = 5,
) -> None:
    """Train a small experiment, refresh, and show what came out."""
    from run_assets.demo import run_demo

    run_demo(session(context), folder.absolute(), seeds=seeds)


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new or existing folder.")],
    *,
    wandb: Annotated[
        str, typer.Option(help="The folder with runs, from there or absolute.")
    ] = "wandb",
) -> None:
    """Make a folder a lab: run_assets.yaml, dagster.yaml and workspace.yaml."""
    from run_assets.scaffold import create_lab

    for file in create_lab(folder.absolute(), wandb=wandb):
        session(context).note(f"created {file}")
    session(context).note(f"next: cd {folder} && run-assets refresh")


def refresh(
    context: typer.Context,
    *,
    full: Annotated[bool, typer.Option(help="Read every run again.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only runs created since this day."),
    ] = None,
    local_only: Annotated[bool, typer.Option(help="Only local files.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would be read.")] = False,
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
    if dry_run:
        _plan(given, selection)
        return
    lab = given.lab()
    with given.progress(lab):
        result = lab.refresh(selection=selection)
    _tell(given, result)
    if result.damaged:
        from run_assets.errors import SourceError

        listed = "\n  ".join(result.damaged[:_LISTED])
        msg = (
            f"{len(result.damaged)} files hold data that cannot be read; everything "
            f"else was refreshed:\n  {listed}\nraw.sync_state says what was skipped"
        )
        raise SourceError(msg)


def ui(
    context: typer.Context,
    *,
    port: Annotated[int, typer.Option(help="Port of the web server.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Open Dagster on this lab: web server and daemon, until interrupted."""
    arguments = ["dev", "-w", "workspace.yaml", "-p", str(port), "-h", host]
    _run_dagster(session(context), arguments)


def dagster(context: typer.Context) -> None:
    """Run any Dagster command on this lab, with DAGSTER_HOME set."""
    _run_dagster(session(context), context.args)


def doctor(context: typer.Context, *, output_format: FormatOption = "table") -> None:
    """Check that everything a refresh needs is there."""
    from run_assets.doctor import examine
    from run_assets.errors import RunAssetsError

    given = session(context)
    frame = examine(given.config)
    write(frame, output_format)
    bad = frame.filter(result="bad")
    if not bad.is_empty():
        msg = f"{bad.height} of {frame.height} checks found something to mend"
        raise RunAssetsError(msg)


@config_app.command("show")
def show_config(
    context: typer.Context,
    *,
    origin: Annotated[bool, typer.Option(help="Where each value came from.")] = False,
    output_format: FormatOption = "table",
) -> None:
    """Show the configuration as it counts, secrets masked."""
    import polars as pl

    from run_assets.config import origins

    rows = origins(session(context).config)
    frame = pl.DataFrame(rows, ["key", "value", "origin"], orient="row")
    write(frame if origin else frame.drop("origin"), output_format)


def versions() -> str:
    """This project's version and those of what it stands on."""
    from importlib.metadata import version

    names = ("run-assets", "dagster", "duckdb", "polars", "wandb", "numpy")
    return "\n".join(f"{name} {version(name)}" for name in names)


def _plan(given: Session, selection: "Selection") -> None:
    from datetime import UTC

    import polars as pl

    from run_assets.refresh import plan_refresh

    lab = given.lab()
    changes = plan_refresh(lab, now=datetime.now(UTC), selection=selection).changes
    rows = [(one.run_path, one.reason, one.locations[0].name) for one in changes]
    schema = {"run_path": pl.String, "reason": pl.String, "location": pl.String}
    write(pl.DataFrame(rows, schema, orient="row"), "table")
    given.note(f"{len(changes)} runs would be read; nothing was written")


def _tell(given: Session, result: "Refreshed") -> None:
    if result.is_unchanged:
        given.note("nothing has changed since the last refresh")
        return
    given.note(f"{len(result.changes)} runs read; Dagster run {result.dagster_run_id}")


def _run_dagster(given: Session, arguments: list[str]) -> None:
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
    command = [sys.executable, "-m", "dagster", *arguments]
    done = subprocess.run(command, cwd=file.parent, env=environment, check=False)  # noqa: S603  # our own interpreter
    raise typer.Exit(done.returncode)
