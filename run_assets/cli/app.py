"""The commands, the global options, and what happens to errors."""

import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from run_assets.cli import (
    artifacts,
    comparing,
    curves,
    data,
    diagnosis,
    evals,
    labs,
    publishing,
    rewards,
    runs,
    searching,
    stats,
    sweeps,
)
from run_assets.cli.session import Session
from run_assets.cli.terminal import safe_message
from run_assets.errors import RunAssetsError, UsageError

_WITH_VALUE = ("--config", "--project")
_ALONE = ("-v", "--verbose", "-q", "--quiet")
_OWN_CONFIG = (["runs", "search"], ["rewards"])
"""Commands whose own ``--config`` asks about the configs of runs."""
_INTERRUPTED = 130

app = typer.Typer(
    name="run-assets",
    help="W&B runs as partitioned parquet, a DuckDB file, statistics and a report.",
    epilog="These options also work behind a command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
labs.register(app)
data.register(app)
diagnosis.register(app)
publishing.register(app)
rewards.register(app)
artifacts.register(runs.app)
comparing.register(runs.app)
searching.register(runs.app)
app.add_typer(runs.app, name="runs", help="Runs and what they logged.")
app.add_typer(stats.app, name="stats", help="Statistics of any groups of runs.")
app.add_typer(evals.app, name="evals", help="Trials of models on tasks.")
app.add_typer(sweeps.app, name="sweep", help="Trials of models on tasks.")
app.add_typer(curves.app, name="curves", help="Training curves, predicted.")
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
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no notes.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print versions and leave.")
    ] = False,
) -> None:
    del verbose  # `run` has seen it: it counts for errors of these options, too
    context.obj = Session(config, project, quiet)
    if version:
        typer.echo(labs.versions())
        raise typer.Exit


def run() -> NoReturn:
    """Run a command; every error ends in one message and its class's exit code."""
    given = sys.argv[1:]
    own = given[: _dagster_at(given)]
    is_verbose = "-v" in own or "--verbose" in own
    try:
        # Commands return nothing: a number is the code of `typer.Exit`.
        code = app(hoisted(given), standalone_mode=False) or 0
    except RunAssetsError as error:
        code = _fail(error, error.exit_code, is_verbose=is_verbose)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except typer.TyperException as error:
        code = _wrong_usage(error)
    except OSError as error:
        code = _fail(error, 1, is_verbose=is_verbose)
    except Exception as error:  # noqa: BLE001  # the outermost frame
        code = _unexpected(error, is_verbose=is_verbose)
    if code == _INTERRUPTED:
        typer.echo("interrupted; nothing half-written was published", err=True)
    sys.exit(code)


def hoisted(arguments: list[str]) -> list[str]:
    """Global options work behind a command, too: they are moved before it.

    What follows ``dagster`` is Dagster's own, what follows ``--`` is no option, and
    ``--config`` behind a command that has one of its own is that command's.

    Raises:
        UsageError: An option is the last word and its value is missing.

    >>> hoisted(["refresh", "--project", "lab/maze", "--quiet", "--full"])
    ['--project', 'lab/maze', '--quiet', 'refresh', '--full']
    >>> hoisted(["--config", "lab", "runs", "search", "--config", "lr=0.1"])
    ['--config', 'lab', 'runs', 'search', '--config', 'lr=0.1']
    >>> hoisted(["--config", "lab", "dagster", "job", "list", "-v"])
    ['--config', 'lab', 'dagster', 'job', 'list', '-v']
    """
    end = _dagster_at(arguments)
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments[:end])
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif _is_own_config(argument, rest):
            rest.append(argument)
        elif argument in _ALONE or argument.startswith(
            tuple(f"{option}=" for option in _WITH_VALUE)
        ):
            front.append(argument)
        elif argument in _WITH_VALUE:
            front += [argument, _value_of(argument, next(waiting, None))]
        else:
            rest.append(argument)
    return front + rest + arguments[end:]


def _dagster_at(arguments: list[str]) -> int:
    """Where the words of a Dagster command begin; the end where it is no such one."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in _WITH_VALUE else 1
    is_dagster = arguments[position : position + 1] == ["dagster"]
    return position if is_dagster else len(arguments)


def _is_own_config(argument: str, before: list[str]) -> bool:
    """The option belongs to the command whose words came before."""
    is_config = argument == "--config" or argument.startswith("--config=")
    return is_config and any(before[: len(one)] == one for one in _OWN_CONFIG)


def _value_of(option: str, value: str | None) -> str:
    if value is None:
        msg = f"{option} needs a value; see `run-assets --help`"
        raise UsageError(msg)
    return value


def _fail(error: Exception, code: int, *, is_verbose: bool) -> int:
    if is_verbose:
        traceback.print_exception(error)
    typer.echo(safe_message(f"error: {error}"), err=True)
    return code


def _wrong_usage(error: typer.TyperException) -> int:
    show = getattr(error, "show", None)  # prints the usage of the command meant, too
    if show is None:
        typer.echo(f"error: {error}", err=True)
    else:
        show()
    return int(error.exit_code)


def _unexpected(error: Exception, *, is_verbose: bool) -> int:
    name = type(error).__name__
    hint = (
        "This is a defect of run-assets; run the command again with -v and report "
        "what it prints."
    )
    return _fail(
        RunAssetsError(f"{name}: {error}\n{hint}").with_traceback(error.__traceback__),
        1,
        is_verbose=is_verbose,
    )
