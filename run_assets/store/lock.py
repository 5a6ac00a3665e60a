"""One writer per lake: a lock of the operating system, released by a kill."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from run_assets.errors import TryAgainError

_POLL_SECONDS = 0.2
_held: set[Path] = set()


@contextmanager
def lake_lock(data_path: Path, *, timeout: float = 0) -> Iterator[None]:
    """Hold the right to write; a process that holds it already goes on at once.

    Args:
        data_path: The data folder.
        timeout: Seconds to wait for another writer.

    Raises:
        TryAgainError: Another process still writes; its pid and start are named.
    """
    path = (data_path / ".lock").absolute()
    if path in _held:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _acquire(file, path, timeout)
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)
            file.truncate(0)


def _acquire(file: IO[str], path: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not _try_lock(file):
        if time.monotonic() >= deadline:
            msg = (
                f"another refresh is writing {path.parent}{_holder(path)}; "
                "try again when it has ended"
            )
            raise TryAgainError(msg)
        time.sleep(_POLL_SECONDS)
    file.truncate(0)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    file.write(json.dumps({"pid": os.getpid(), "started_at": now}))
    file.flush()


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f" (pid {holder['pid']}, since {holder['started_at']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
