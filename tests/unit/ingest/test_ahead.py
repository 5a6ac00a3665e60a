"""Runs are fetched ahead, in order, never far, and never waited for in vain."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from threading import Event

import pytest

from run_assets.errors import SourceError
from run_assets.ingest.ahead import fetched_ahead
from run_assets.sources.runs import ChangedRun


def _change(number: int, fetch: Callable[[], object] | None) -> ChangedRun:
    def read(_: datetime, __: str | None) -> None:
        raise AssertionError

    return ChangedRun(
        run_path=f"me/p/r{number}",
        entity="me",
        project="p",
        run_id=f"r{number}",
        created_at=datetime(2026, 11, 20, tzinfo=UTC),
        source="wandb_api",
        locations=(),
        estimated_rows=1,
        reason="new",
        read=read,  # type: ignore[arg-type]  # is never called
        fetch=fetch,
    )


def test_an_arrival_waits_for_the_fetch_and_raises_what_it_raised() -> None:
    fetched: list[int] = []

    def broken() -> None:
        message = "the server said no"
        raise SourceError(message)

    changes = [
        _change(0, lambda: fetched.append(0)),
        _change(1, broken),
        _change(2, None),
    ]
    with fetched_ahead(changes, workers=2) as arrival:
        arrival(changes[0])
        assert fetched == [0]
        with pytest.raises(SourceError, match="the server said no"):
            arrival(changes[1])
        arrival(changes[2])


def test_no_more_than_twice_the_workers_lie_ahead() -> None:
    fetched: list[int] = []
    is_full = Event()

    def fetch(number: int) -> None:
        fetched.append(number)
        if len(fetched) == 4:
            is_full.set()

    changes = [_change(number, partial(fetch, number)) for number in range(20)]
    with fetched_ahead(changes, workers=2) as arrival:
        assert is_full.wait(10)
        assert sorted(fetched) == [0, 1, 2, 3]
        for change in changes:
            arrival(change)
    assert sorted(fetched) == list(range(20))


def test_what_was_not_begun_is_not_fetched_after_the_end() -> None:
    begun, go = Event(), Event()
    fetched: list[int] = []

    def slow() -> None:
        begun.set()
        go.wait(10)

    later = [_change(number, lambda: fetched.append(1)) for number in (1, 2)]
    with fetched_ahead([_change(0, slow), *later], workers=1):
        assert begun.wait(10)
    go.set()
    assert fetched == []


def test_an_interrupted_process_does_not_wait_for_a_hanging_server() -> None:
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.unit.ingest.test_ahead import _change\n"
        "from run_assets.ingest.ahead import fetched_ahead\n"
        "hanging = _change(0, lambda: (print('hangs', flush=True), time.sleep(600)))\n"
        "with fetched_ahead([hanging], 1) as arrival:\n"
        "    arrival(hanging)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in errors
