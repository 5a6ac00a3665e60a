"""One refreshed lab with names that strangers chose, and a way to call commands."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from run_assets.lab import Lab
from tests.support.command_line import Answer, CommandLine
from tests.support.labs import START, make_lab, run_file, write_run
from tests.support.playbook_labs import playbook_lab
from tests.support.wandb_log import (
    exit_record,
    history_record,
    log_bytes,
    run_record,
    with_flipped_bit,
)

HOSTILE = "=HYPERLINK(1)\x1b[31m\u202e 日本 🚀"


Call = Callable[..., Answer]

__all__ = ["Answer", "Call"]


def write_named_run(lab: Path, run_id: str, name: str, *, tags: list[str]) -> None:
    """A run with a display name, tags, a group and a metric of every kind."""
    path = run_file(lab, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    started = START + timedelta(days=2)
    records = [
        run_record(
            run_id,
            started_at=started,
            config={"lr": 0.1, "env": {"size": 3}},
            project="other",
            entity="lab",
            display_name=name,
            run_group="sweep",
            tags=tags,
        ),
        *(
            history_record(
                {
                    "_step": step,
                    "_timestamp": started.timestamp() + step,
                    "_runtime": float(step),
                    "eval/score": float("nan") if step == 1 else float(step),
                    "eval/loss": 1.0 / (step + 1),
                    **({"epoch": step // 2} if step % 2 == 0 else {}),
                }
            )
            for step in range(4)
        ),
        exit_record(1),
    ]
    path.write_bytes(log_bytes(records))


@pytest.fixture(scope="session")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Read-only: five runs of lab/maze, one of them damaged, and three of lab/other."""
    folder = tmp_path_factory.mktemp("cli") / "lab"
    lab = make_lab(folder)
    write_named_run(folder, "named1", "twin", tags=["a", "b"])
    write_named_run(folder, "named2", "twin", tags=["a"])
    write_named_run(folder, "named3", HOSTILE, tags=[])
    damaged = write_run(folder, "damaged")
    whole = damaged.read_bytes()
    damaged.write_bytes(with_flipped_bit(whole, len(whole) // 2))
    lab.refresh()
    return lab


@pytest.fixture(scope="session")
def playbook(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Read-only: what the playbook and the reward guide ask about."""
    lab = playbook_lab(tmp_path_factory.mktemp("playbook") / "lab")
    lab.refresh()
    return lab


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("RUN_ASSETS_", "WANDB_", "DAGSTER_")):
            monkeypatch.delenv(name)
    for name in ("ENABLE_WANDB", "DISABLE_WANDB", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command line in this process, from a folder."""
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def inquire(call: Call, playbook: Lab) -> Call:
    """Run a command line on the playbook's lab."""

    def asked(*words: str) -> Answer:
        return call(*words, folder=playbook.config.root)

    return asked


@pytest.fixture
def ask(call: Call, refreshed: Lab) -> Call:
    """Run a command line on the refreshed lab."""

    def asked(*words: str) -> Answer:
        return call(*words, folder=refreshed.config.root)

    return asked
