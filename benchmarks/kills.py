"""Kill a refresh again and again, and count what is lost: nothing, or this fails.

Each refresh is killed with SIGKILL at a random instant between its start and its end;
then one ends undisturbed. Every table must be that of a lab where nothing was killed.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [p for p in sys.path if Path(p).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

from run_assets.lab import Lab  # noqa: E402
from tests.support.labs import make_lab, tables  # noqa: E402

RUNS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = make_lab(Path(folder) / "undisturbed", RUNS)
        started = time.monotonic()
        assert refresh(undisturbed).wait() == 0
        seconds = time.monotonic() - started
        lab = make_lab(Path(folder) / "killed", RUNS)
        ended = kill_refreshes(lab, options.kills, seconds)
        assert refresh(lab).wait() == 0
        differing = differences(lab, undisturbed)
        left = [one for one in lab.config.data_path.rglob("*.tmp*") if one.is_file()]
    print(f"{options.kills} kills, {ended} of them after the end of the refresh")
    print(f"tables that differ: {len(differing)}; files left behind: {len(left)}")
    if differing or left:
        sys.exit(f"lost: {differing} {left}")


def refresh(lab: Lab) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "run_assets.cli", "--config"]
    return subprocess.Popen(
        [*command, str(lab.config.root), "--quiet", "refresh"],
        stdout=subprocess.DEVNULL,
    )


def kill_refreshes(lab: Lab, count: int, seconds: float) -> int:
    """How many had ended by themselves before they were killed."""
    rng, ended = random.Random(7), 0
    for number in range(count):
        if number % 2:  # from nothing, or only the first would have much to write
            shutil.rmtree(lab.config.data_path / "lake", ignore_errors=True)
        with refresh(lab) as process:
            time.sleep(rng.uniform(0.1, 1.0) * seconds)
            ended += process.poll() is not None
            process.send_signal(signal.SIGKILL)
    return ended


def differences(lab: Lab, undisturbed: Lab) -> list[str]:
    mine, theirs = tables(lab), tables(undisturbed)
    return [
        name
        for name, frame in theirs.items()
        if not mine[name]
        .drop("source_location", "modified_ns", strict=False)
        .equals(frame.drop("source_location", "modified_ns", strict=False))
    ]


if __name__ == "__main__":
    main()
