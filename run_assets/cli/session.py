"""What every command is given: the lab, and where progress goes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from run_assets.lab import Lab


@dataclass
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

    def lab(self) -> "Lab":
        """The lab of the config file."""
        from run_assets.lab import open as open_lab

        return open_lab(self.config)

    def note(self, text: str) -> None:
        """Say something that is not data."""
        if not self.quiet:
            typer.echo(text, err=True)

    @contextmanager
    def progress(self, lab: "Lab") -> Iterator[None]:
        """Bars on stderr while a lab works."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        with Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
        ) as bars:
            tasks: dict[str, int] = {}

            def told(what: str, done: int, of: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=of)
                bars.update(tasks[what], completed=done, total=of)  # type: ignore[arg-type]  # TaskID is an int

            lab.progress = told
            yield


def session(context: typer.Context) -> Session:
    """The session of a command."""
    found = context.find_object(Session)
    return found or Session(None, None, quiet=False)
