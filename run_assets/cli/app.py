"""The commands, the global options, and what happens to errors."""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from run_assets.cli import data, labs, runs
from run_assets.cli.session import Session
from run_assets.errors import RunAssetsError

_WITH_VALUE = ("--config", "--project")
_ALONE = ("-v", "--verbose", "--quiet")
_INTERRUPTED = 130

app = typer.Typer(
    name="run-assets",
    help="W&B runs as partitioned parquet, a DuckDB file, statistics and a report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
labs.register(app)
data.register(app)
app.add_typer(runs.app, name="runs", help="Runs and what they logged.")
app.add_typer(labs.config_app, name="config", help="The configuration.")


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option(help="run_assets.yaml or its folder.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="Only this project (project or entity/project).")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Tracebacks of errors.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="No progress and no notes.")] = False,
    version: Annotated[bool, typer.Option(help="Print versions and leave.")] = False,
) -> None:
    context.obj = Session(config, project, quiet)
    if verbose:
        os.environ["RUN_ASSETS_VERBOSE"] = "1"
    if version:
        typer.echo(labs.versions())
        raise typer.Exit


def run() -> NoReturn:
    """Run a command; every error ends in one line and its class's exit code."""
    arguments = hoisted(sys.argv[1:])
    is_verbose = "-v" in arguments or "--verbose" in arguments
    try:
        app(arguments, standalone_mode=False)
        code = 0
    except RunAssetsError as error:
        code = _fail(error, error.exit_code, is_verbose=is_verbose)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted; nothing half-written was published", err=True)
        code = _INTERRUPTED
    except typer.Exit as leave:
        code = leave.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001  # the outermost frame
        code = _unexpected(error, is_verbose=is_verbose)
    sys.exit(code)


def hoisted(arguments: list[str]) -> list[str]:
    """Global options work behind a command, too: they are moved before it.

    >>> hoisted(["refresh", "--project", "lab/maze", "--quiet", "--full"])
    ['--project', 'lab/maze', '--quiet', 'refresh', '--full']
    """
    if "dagster" in arguments[:1] or "--" in arguments:
        return arguments
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument in _ALONE or argument.startswith(
            tuple(f"{o}=" for o in _WITH_VALUE)
        ):
            front.append(argument)
        elif argument in _WITH_VALUE:
            front += [argument, *([value] if (value := next(waiting, None)) else [])]
        else:
            rest.append(argument)
    return front + rest


def _fail(error: Exception, code: int, *, is_verbose: bool) -> int:
    if is_verbose:
        traceback.print_exception(error)
    typer.echo(f"error: {error}", err=True)
    return code


def _unexpected(error: Exception, *, is_verbose: bool) -> int:
    show = getattr(error, "show", None)
    if show is not None and hasattr(error, "exit_code"):  # click's usage errors
        show()
        return int(error.exit_code)
    if is_verbose:
        traceback.print_exception(error)
    name = type(error).__name__
    typer.echo(
        f"error: {name}: {error}\nThis is a defect of run-assets; "
        "run the command again with -v and report what it prints.",
        err=True,
    )
    return 1
