"""What only a real process shows: signals, pipes, terminals, exit codes, time."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from tests.support.labs import START, make_lab, tables, write_run

COMMAND = (sys.executable, "-m", "run_assets.cli")


def environment(**more: str) -> dict[str, str]:
    foreign = ("WANDB_", "RUN_ASSETS_", "DAGSTER_", "PYTEST_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return {**kept, **more}


def start(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background ignores Ctrl-C, and its children with it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no threads yet
    )


@pytest.mark.usefixtures("tables_only")
def test_ctrl_c_during_a_refresh_leaves_nothing_half_written(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, runs=2, analyses=[])
    for number in range(30):
        write_run(tmp_path, f"long{number}", steps=300, started_at=START)
    process = start(tmp_path, "refresh")
    announced = lab.lake.root / "raw" / "sync_state" / "part-0.parquet"
    while not announced.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "interrupted; nothing half-written was published\n"
    assert not list(tmp_path.rglob("*.tmp"))
    again = open_lab(tmp_path)
    again.refresh()
    history = tables(again)["raw.history"]
    assert history.height == 2 * 10 * 2 + 30 * 300 * 2


def test_ctrl_c_ends_a_query(refreshed: Lab, tmp_path: Path) -> None:
    endless = "select count(*) from range(1000000000000) numbers(n) where n % 7 = 3"
    words = ("sql", endless, "--timeout", "10")
    process = start(refreshed.config.root, *words, TMPDIR=str(tmp_path))
    while not list(tmp_path.glob("run_assets_sql_*")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)  # into the query itself; 130 is right before it, too
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.startswith("interrupted")


def test_a_reader_that_goes_away_early_is_no_error(refreshed: Lab) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [*COMMAND, "tables", "--columns", "--output-format", "json"],
        cwd=refreshed.config.root,
        env=environment(),
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_dagsters_exit_code_is_ours(refreshed: Lab) -> None:
    process = start(refreshed.config.root, "dagster", "no-such-command")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "No such command" in err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--version",), 0),
        (("sql", "select 1", "--timeout", "never"), 2),
        (("runs", "get", "nobody"), 5),
    ],
)
def test_exit_codes_reach_the_shell(
    refreshed: Lab, words: tuple[str, ...], code: int
) -> None:
    process = start(refreshed.config.root, *words)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err


def test_data_is_utf_8_whatever_the_locale_says(refreshed: Lab) -> None:
    done = subprocess.run(
        [*COMMAND, "sql", "select '日本 🚀' as name", "--output-format", "json"],
        cwd=refreshed.config.root,
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout.decode("utf-8"))["rows"] == [{"name": "日本 🚀"}]


def on_a_terminal(folder: Path, *words: str, **variables: str) -> str:
    """What a command shows on a terminal of 60 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(COLUMNS="60", TERM="xterm", **variables),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            data = os.read(ours, 65_536)
        except OSError:  # Linux says so when the other side has closed
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert process.wait(timeout=60) in (0, 1)
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_bold_head_and_its_own_width(refreshed: Lab) -> None:
    shown = on_a_terminal(refreshed.config.root, "tables", "raw.runs", "-q")
    assert shown.startswith("\x1b[1mrun_path")
    plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert max(map(len, plain.splitlines())) <= 60
    assert "more columns in csv, json, parquet" in plain


def test_no_color_is_honoured(refreshed: Lab) -> None:
    shown = on_a_terminal(refreshed.config.root, "tables", NO_COLOR="1")
    assert "\x1b" not in shown


def test_a_refresh_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    make_lab(tmp_path, runs=2, analyses=[])
    shown = on_a_terminal(tmp_path, "refresh")
    assert "refreshing" in shown
    assert "2/2" in shown
    assert "2 runs read\nreport  " in shown


def test_help_is_fast() -> None:
    used = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [*COMMAND, "--help"], env=environment(), capture_output=True, check=True
        )
        after = os.times()
        used.append(after.children_user - before.children_user)
    assert min(used) < 0.4  # seconds of CPU: twice the goal, for slow machines
