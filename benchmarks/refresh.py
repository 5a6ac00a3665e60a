"""What a refresh costs when nothing, or one run of a thousand, has changed.

Prints each refresh as a process of its own beside ``import dagster``, in one run.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.labs import (  # noqa: E402  # the checkout's own test support
    START,
    append,
    make_lab,
    run_file,
    run_records,
    write_run,
)

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    n_runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        lab = make_lab(Path(folder) / "lab", runs=0)
        for number in range(n_runs):
            started = START + timedelta(days=number % 50, seconds=number)
            config = {"algorithm": "ab"[number % 2], "env": "xyz"[number % 3]}
            write_run(lab.config.root, f"r{number}", started_at=started, config=config)
        refresh = ["-m", "run_assets.cli", "--config", folder + "/lab", "-q", "refresh"]
        reference = min(measured("-c", "import dagster") for _ in range(REPEATS))
        rows = [("import dagster", reference), ("first refresh", measured(*refresh))]
        rows.append(
            ("nothing changed", min(measured(*refresh) for _ in range(REPEATS)))
        )
        grown = run_records("r7", steps=12, exit_code=None)
        append(run_file(lab.config.root, "r7"), grown[11:])
        rows.append(("one run grew", measured(*refresh)))
    print(f"{n_runs:,} runs of 10 steps x 2 metrics on 50 days\n")
    print(f"{'':<16}{'CPU s':>8}{'ratio':>8}{'wall s':>9}{'ratio':>8}")
    for name, (cpu, wall) in rows:
        ratios = cpu / reference[0], wall / reference[1]
        print(f"{name:<16}{cpu:>8.2f}{ratios[0]:>7.1f}x{wall:>9.2f}{ratios[1]:>7.1f}x")


def measured(*arguments: str) -> tuple[float, float]:
    """CPU and wall seconds of a Python process that ends well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT)
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall


if __name__ == "__main__":
    main()
