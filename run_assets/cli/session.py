"""What every command is given: the lab, and where progress goes."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from run_assets.cli.terminal import safe_message

if TYPE_CHECKING:
    from rich.progress import TaskID

    from run_assets.lab import Lab
    from run_assets.refresh import Refreshed, Selection

EVERYWHERE = "Also: --config, --project, --verbose, --quiet; see run-assets --help."


@dataclass(frozen=True)
class Session:
    """The global options of one command.

    Attributes:
        config: The config file or its folder, where given.
        project: Only this project, where given.
        quiet: Neither progress nor notes.
    """

    config: Path | None
    project: str | None
    quiet: bool

    def lab(self, flags: Mapping[str, Any] | None = None) -> "Lab":
        """The lab of the config file; dotted keys of ``flags`` win over the file."""
        from run_assets.lab import open as open_lab

        return open_lab(self.config, flags)

    def note(self, text: str) -> None:
        """Say something that is not data."""
        if not self.quiet:
            typer.echo(safe_message(text), err=True)

    def ignore_project(self) -> None:
        """Say that ``--project`` changes nothing here."""
        if self.project is not None:
            self.note("--project changes nothing here: this concerns the whole lab")

    def refresh(self, lab: "Lab", selection: "Selection | None" = None) -> "Refreshed":
        """Refresh with bars on stderr."""
        with self.progress(lab, "refreshing"):
            return lab.refresh(selection=selection)

    @contextmanager
    def progress(self, lab: "Lab", what: str) -> Iterator[None]:
        """Bars on stderr: one for the whole, one for each thing ``lab`` tells of."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        with Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
            transient=True,
        ) as bars:
            bars.add_task(what, total=None, count="")
            tasks: dict[str, TaskID] = {}

            def told(name: str, done: int, of: int) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(name, count="")
                count = f"{done:,}/{of:,}" if of else f"{done:,}"
                bars.update(tasks[name], completed=done, total=of or None, count=count)

            before, lab.progress = lab.progress, told
            try:
                yield
            finally:
                lab.progress = before


def session(context: typer.Context) -> Session:
    """The session of a command."""
    found = context.find_object(Session)
    return found or Session(None, None, quiet=False)
