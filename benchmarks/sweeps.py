"""What a sweep costs a trial, beside a Dagster run a trial; and 50 times kill -9.

The trials do nothing, so all of the time is overhead. Ratios are of wall time in one
run of this file, on whatever else the machine does at that time.
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from run_assets.sweeps import run_sweep  # noqa: E402
from tests.support.sweep_kills import killed_sweep  # noqa: E402
from tests.support.sweeps import function, sweep_lab, toy  # noqa: E402


def swept(folder: Path, trials: int) -> float:
    """Seconds of a whole sweep: plan, ledger, pool."""
    lab = sweep_lab(folder)
    config = toy(
        lab.config.root,
        function=function(lab.config.root, "return {'reward': 1.0}"),
        num_trials_per_config=trials // 4,
        max_concurrent_processes=2,
    )
    began = time.perf_counter()
    ran = run_sweep(lab, config)
    seconds = time.perf_counter() - began
    assert ran.counts == {"successful": trials}
    return seconds


def pooled(trials: int) -> float:
    """Seconds of the same calls in a bare pool that keeps nothing."""
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(lambda _: 1, range(trials))) == trials
    return time.perf_counter() - began


def a_run_each(folder: Path, trials: int) -> float:
    """Seconds of one Dagster run a trial, in process, on a SQLite home."""

    @dg.asset
    def trial() -> int:
        return 1

    job = dg.Definitions(
        assets=[trial], jobs=[dg.define_asset_job("one", selection=[trial])]
    ).resolve_job_def("one")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        job.execute_in_process(instance=instance, run_config=quiet)  # makes the files
        began = time.perf_counter()
        for _ in range(trials):
            assert job.execute_in_process(instance=instance, run_config=quiet).success
        return time.perf_counter() - began


def overhead(trials: int, runs: int) -> None:
    """Print the table of costs."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = swept(Path(folder) / "lab", trials) / trials
        pool = pooled(trials) / trials
        each = a_run_each(Path(folder), runs) / runs
    print(f"Overhead of a trial that does nothing ({trials:,} trials, 2 at once)\n")
    print(f"{'':34}{'ms/trial':>10}{'ratio':>9}{f'{trials:,} trials':>16}")
    rows = {
        "bare thread pool, nothing kept": pool,
        "a sweep: ledger, result, attempt": sweep,
        f"a Dagster run a trial ({runs} runs)": each,
    }
    for name, cost in rows.items():
        ratio, whole = cost / sweep, f"{cost * trials:,.1f} s"
        print(f"{name:34}{cost * 1_000:>10.3f}{ratio:>8.2f}x{whole:>16}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    overhead(given.trials, given.runs)
    with tempfile.TemporaryDirectory() as folder:
        told = killed_sweep(
            Path(folder), kills=given.kills, seed=given.seed, trial_seconds=0.5
        )
    print(f"\n200 trials, {given.kills} times kill -9 of the manager\n")
    print("\n".join(told.lines()))


if __name__ == "__main__":
    main()
