"""A run that a command line names: an export, a run of the lake, or one to fetch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from run_assets.cli.selection import resolve_run
from run_assets.errors import NotFoundError

if TYPE_CHECKING:
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


def read_runs(
    given: "Session", names: list[str], *, local_only: bool, force_fetch: bool
) -> "tuple[Lab, list[Run]]":
    """The lab, and the runs that are named, each once, in their order.

    Exports alone need no lab.
    """
    lab = lab_of(given, names)
    runs = [
        read_run(given, lab, name, local_only=local_only, force_fetch=force_fetch)
        for name in names
    ]
    return lab, list({run.path: run for run in runs}.values())


def read_run(
    given: "Session", lab: "Lab", name: str, *, local_only: bool, force_fetch: bool
) -> "Run":
    """The run that a word means.

    Raises:
        NotFoundError: Neither the lake nor a source has it.
        UsageError: Several runs have this name.
    """
    from run_assets.exports import is_export, read_export
    from run_assets.stored_runs import stored_run

    if is_export(Path(name)):
        if force_fetch:
            given.note(f"{name} is an export; --force-fetch changes nothing about it")
        return read_export(Path(name))
    path = run_path_of(given, lab, name, local_only=local_only, force_fetch=force_fetch)
    return stored_run(lab, path)


def run_path_of(
    given: "Session", lab: "Lab", name: str, *, local_only: bool, force_fetch: bool
) -> str:
    """The run path that a word means, after the run was fetched where it has to be."""
    from run_assets.fetching import fetch_run, find_at_sources

    try:
        path = resolve_run(lab.table("marts.runs"), name, given.project)
    except NotFoundError as error:
        if local_only:
            msg = f"{error}; --local-only asked no source"
            raise NotFoundError(msg) from None
        found = find_at_sources(lab, name, given.project)
        if found is None:
            raise
        given.note(f"fetching {found}")
        fetch_run(lab, found, lambda one: given.refresh(lab, one), reread=False)
        return found
    if force_fetch and not local_only:
        given.note(f"fetching {path} again")
        fetch_run(lab, path, lambda one: given.refresh(lab, one), reread=True)
    return path


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
