"""A run that a command line names: an export, a run of the lake, or one to fetch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.selection import collected, resolve_run
from run_assets.errors import NotFoundError

if TYPE_CHECKING:
    import polars as pl

    from run_assets.cli.session import Session
    from run_assets.lab import Lab
    from run_assets.reading.run import Run

RunArgument = Annotated[
    str, typer.Argument(help="Run path, run id, display name or export.")
]
RunArguments = Annotated[
    list[str], typer.Argument(help="Run paths, run ids, display names or exports.")
]
LocalOnly = Annotated[
    bool, typer.Option("--local-only", help="Ask no source for a run that is missing.")
]
ForceFetch = Annotated[
    bool, typer.Option("--force-fetch", help="Read the run from its source again.")
]


@dataclass(frozen=True)
class Fetching:
    """Whether sources are asked for runs.

    Attributes:
        local_only: Ask none.
        force: Read the runs again, although the lake has them.
    """

    local_only: bool = False
    force: bool = False


def read_runs(
    given: "Session", lab: "Lab", names: list[str], fetching: Fetching
) -> "list[Run]":
    """The runs that words mean, in their order.

    Raises:
        NotFoundError: Neither the lake nor a source has one of them.
        UsageError: Several runs have this name.
    """
    from run_assets.exports import is_export, read_export
    from run_assets.stored_runs import stored_runs

    exports = {name for name in names if is_export(Path(name))}
    if exports and fetching.force:
        given.note("an export stays as it is: --force-fetch changes nothing about it")
    named = [name for name in dict.fromkeys(names) if name not in exports]
    paths = run_paths(given, lab, named, fetching)
    read = [name for name in names if name not in exports]
    stored = iter(stored_runs(lab, [paths[name] for name in read]) if read else [])
    return [
        read_export(Path(name)) if name in exports else next(stored) for name in names
    ]


def run_paths(
    given: "Session", lab: "Lab", names: list[str], fetching: Fetching
) -> dict[str, str]:
    """The run path of each name; what has to be fetched is, in one go.

    Raises:
        NotFoundError: Neither the lake nor a source has one of them.
        UsageError: Several runs have this name.
    """
    from run_assets.fetching import fetch_runs

    if not names:
        return {}
    columns = ("run_path", "entity", "project", "run_id", "run_name", "run_state")
    runs = collected(lab.table("marts.runs").select(columns)).lazy()
    stored = {name: _stored(runs, name, given.project) for name in names}
    missing = {
        name: _at_sources(given, lab, name, found, fetching)
        for name, found in stored.items()
        if isinstance(found, NotFoundError)
    }
    paths = {name: one for name, one in stored.items() if isinstance(one, str)}
    wanted = set(missing.values()) | (set(paths.values()) if fetching.force else set())
    if wanted and not fetching.local_only:
        given.note(f"fetching {', '.join(sorted(wanted))}")
        fetch_runs(
            lab, wanted, lambda one: given.refresh(lab, one), reread=fetching.force
        )
    return {**paths, **missing}


def _stored(
    runs: "pl.LazyFrame", name: str, project: str | None
) -> str | NotFoundError:
    try:
        return resolve_run(runs, name, project)
    except NotFoundError as error:
        return error


def _at_sources(
    given: "Session", lab: "Lab", name: str, error: NotFoundError, fetching: Fetching
) -> str:
    """Where a source has a run that the lake has not."""
    from run_assets.fetching import find_at_sources

    if fetching.local_only:
        msg = f"{error}; --local-only asked no source"
        raise NotFoundError(msg) from None
    found = find_at_sources(lab, name, given.project)
    if found is None:
        raise error
    return found


def lab_of(given: "Session", names: list[str]) -> "Lab":
    """The lab; one without sources where exports alone are read outside of any."""
    from run_assets.config import Config
    from run_assets.exports import is_export
    from run_assets.lab import Lab

    try:
        return given.lab()
    except NotFoundError:
        are_exports = bool(names) and all(is_export(Path(name)) for name in names)
        if given.config is not None or not are_exports:
            raise
        return Lab(Config(root=Path.cwd()))
