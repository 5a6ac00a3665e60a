"""A command line, run in this process."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from run_assets.cli.app import run


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs ``run-assets`` as a terminal would, without one."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: str, folder: Path | None = None) -> Answer:
        """Run a command line, from a folder."""
        if folder is not None:
            self._monkeypatch.chdir(folder)
        self._monkeypatch.setattr(sys, "argv", ["run-assets", *words])
        with pytest.raises(SystemExit) as leaving:
            run()
        out, err = self._capsys.readouterr()
        return Answer(int(leaving.value.code or 0), out, err)
