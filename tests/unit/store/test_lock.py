"""One writer per lake; a kill frees it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from run_assets.errors import TryAgainError
from run_assets.store.lock import lake_lock

HOLD = """
import sys, time
from pathlib import Path
from run_assets.store.lock import lake_lock
with lake_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(TryAgainError, match=f"pid {holder.pid}"),
            lake_lock(tmp_path),
        ):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with lake_lock(tmp_path, timeout=5):
            pass


def test_a_writer_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        begin = time.monotonic()
        with pytest.raises(TryAgainError), lake_lock(tmp_path, timeout=0.5):
            pass
        assert time.monotonic() - begin >= 0.5
        holder.kill()


def test_the_same_process_may_take_it_again(tmp_path: Path) -> None:
    with lake_lock(tmp_path), lake_lock(tmp_path):
        pass
    with lake_lock(tmp_path):
        pass
