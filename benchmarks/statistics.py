"""Statistics: our speed against rliable's, in one run, as ratios of CPU time.

Every job runs in a process of its own with one thread; the best of a few repeats
counts, with libraries and compiled code loaded. rliable runs in an environment that
this script makes once in ``benchmarks/data`` (pandas < 3 and arch 7.2: what it can
still be imported with), with fewer resamples, scaled up: its cost is linear in them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# This file has the name of a module of the standard library, which others must find.
sys.path[:] = [p for p in sys.path if Path(p).resolve() != ROOT / "benchmarks"]
DATA = ROOT / "benchmarks" / "data"
ENVIRONMENT = DATA / "rliable"
PACKAGES = ("rliable==1.2.0", "arch==7.2.0", "pandas<3")
RUNS, TASKS, RESAMPLES, THRESHOLDS = 100, 26, 50_000, 101
PROFILE_RESAMPLES, SMALL_RESAMPLES = 2_000, 10_000
ANALYSES, GROUPS, SMALL_TASKS, SMALL_RUNS = 1_000, 5, 10, 5
REPEATS = 5

# Job, the job of rliable it is compared with, and the ratio that we promise.
ROWS = (
    ("IQM interval, 50,000 resamples", "iqm", "iqm", 80),
    ("IQM + mean + median + gap, 50,000", "four", "four", 45),
    ("profile, bootstrap band, 2,000", "profile", "profile", 170),
    ("profile, exact band", "exact", "profile", 170),
    ("P(improvement), 50,000", "improvement", "improvement", 900),
    ("IQM, numpy only, 50,000", "plain", "iqm", 6),
    ("1,000 analyses of 5 groups, 10,000", "analyses", "analyses", 300),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", help="run one of ours and print its figures")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measure(JOBS[options.job], options.repeats)))
        return
    theirs = rliable_seconds()
    print(f"{TASKS} tasks x {RUNS} runs; CPU seconds of one process, one thread\n")
    print(f"{'':<36}{'rliable':>10}{'ours':>9}{'ratio':>9}{'promised':>10}{'MB':>6}")
    ours = {}
    for title, job, rival, promised in ROWS:
        mine = ours[job] = in_process(job, options.repeats)
        ratio = theirs[rival] / mine["cpu"]
        print(
            f"{title:<36}{theirs[rival]:>10.2f}{mine['cpu']:>9.4f}{ratio:>8.0f}x"
            f"{promised:>9}x{mine['peak_mb']:>6.1f}"
        )
    floor = in_process("floor", options.repeats)["cpu"]
    share = floor / ours["iqm"]["cpu"]
    print(
        f"\nfloor of the IQM (random numbers and counts only): {floor:.4f} s, ", end=""
    )
    print(f"{share:.0%} of the time taken")
    repeats = 4 * options.repeats
    one, two = (in_process("iqm", repeats, threads=n)["wall"] for n in (1, 2))
    print(f"two threads: {one / two:.2f}x of one; two processes at once, which share ")
    print(f"nothing: {2 * one / both_at_once('iqm', repeats):.2f}x of one ", end="")
    print(f"(wall; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
    cold = in_process("cold", 1)
    print(f"a small job (5 x 10 runs x 2,000) in a fresh process: {cold['wall']:.3f} s")


def in_process(job: str, repeats: int, threads: int = 1) -> dict[str, float]:
    """The figures of one of our jobs, from a process of its own."""
    one = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    environment = {**os.environ, **one, "NUMBA_NUM_THREADS": str(threads)}
    command = [sys.executable, "-P", __file__, "--job", job, "--repeats", str(repeats)]
    shown = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, cwd=ROOT
    )
    figures: dict[str, float] = json.loads(shown.stdout)
    return figures


def both_at_once(job: str, repeats: int) -> float:
    """Wall seconds of a job while a second process does the same: what 2 cores give."""
    with ThreadPoolExecutor(2) as pool:
        figures = list(pool.map(lambda _: in_process(job, repeats), range(2)))
    return sum(one["wall"] for one in figures) / 2


def measure(
    prepare: Callable[[], Callable[[], object]], repeats: int
) -> dict[str, float]:
    """The best of some repeats, and how far one call raises the peak of memory."""
    call = prepare()
    if prepare is not cold_job:
        call()  # imports and compiled code
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = [], []
    for _ in range(repeats):
        began = time.process_time(), time.perf_counter()
        call()
        cpu.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"cpu": min(cpu), "wall": min(wall), "peak_mb": peak / 1024}


def matrix_frame():  # noqa: ANN201  # polars is imported late: a cold process counts
    """The scores that rliable gets, too: log-normal, 100 runs x 26 tasks, 2 groups."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    scores = [rng.lognormal(0, 1, (RUNS, TASKS)) + shift for shift in (0, 0.1)]
    return pl.concat(
        pl.DataFrame(
            {
                "group_name": name,
                "task": np.tile([f"task {t:02}" for t in range(TASKS)], RUNS),
                "run_path": [f"{name}/{index}" for index in range(RUNS * TASKS)],
                "score": values.ravel(),
            }
        )
        for name, values in zip("xy", scores, strict=True)
    )


def intervals_job(statistics: tuple[str, ...]) -> Callable[[], object]:
    from run_assets import stats

    scores = matrix_frame().filter(group_name="x")
    return lambda: stats.interval_estimates(
        scores, statistics=statistics, method="percentile", resamples=RESAMPLES
    )


def iqm_job() -> Callable[[], object]:
    return intervals_job(("iqm",))


def four_job() -> Callable[[], object]:
    return intervals_job(("iqm", "mean", "median", "optimality_gap"))


def plain_job() -> Callable[[], object]:
    from run_assets.stats import replicates

    replicates.COMPILED_DRAWS = sys.maxsize
    return intervals_job(("iqm",))


def profile_job(band: str = "bootstrap") -> Callable[[], object]:
    from run_assets import stats

    scores = matrix_frame().filter(group_name="x")
    thresholds = [step / 10 for step in range(THRESHOLDS)]
    return lambda: stats.performance_profiles(
        scores,
        thresholds=thresholds,
        band=band,
        method="percentile",
        resamples=PROFILE_RESAMPLES,
    )


def exact_job() -> Callable[[], object]:
    return profile_job("exact")


def improvement_job() -> Callable[[], object]:
    from run_assets import stats

    scores = matrix_frame()
    return lambda: stats.probability_of_improvement(
        scores, pairs=[("x", "y")], method="percentile", resamples=RESAMPLES
    )


def analyses_job() -> Callable[[], object]:
    """A tenth of the analyses; the rest would be more of the same."""
    import numpy as np
    import polars as pl

    from run_assets import stats

    rng = np.random.default_rng(1)
    n = GROUPS * SMALL_TASKS * SMALL_RUNS
    index = np.arange(n)
    labels = pl.DataFrame(
        {
            "group_name": (index // (SMALL_TASKS * SMALL_RUNS)).astype(str),
            "task": (index // SMALL_RUNS % SMALL_TASKS).astype(str),
            "run_path": index.astype(str),
        }
    )
    frames = [
        labels.with_columns(score=rng.lognormal(0, 1, n)) for _ in range(ANALYSES // 10)
    ]

    def analyse() -> None:
        for frame in frames:
            stats.interval_estimates(
                frame,
                statistics=("iqm",),
                method="percentile",
                resamples=SMALL_RESAMPLES,
            )

    return analyse


def floor_job() -> Callable[[], object]:
    """Random numbers and counter increments, without which nothing can do."""
    import numpy as np
    from numba import njit

    from run_assets.stats import kernels
    from run_assets.stats.resampling import plan_draws

    sizes = np.full(TASKS, RUNS)
    draws = plan_draws([str(task) for task in range(TASKS)], sizes, seed=0)
    draw = kernels.draw

    @njit
    def draw_all(n: int, counts, low, high) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
        total = 0
        for resample in range(n):
            draw(draws, resample, counts, low, high)
            total += counts[resample % counts.size]
        return total

    counts = np.empty(TASKS * RUNS + 1, np.int32)
    words = [np.empty(kernels.BLOCK, np.uint64) for _ in range(2)]
    return lambda: draw_all(RESAMPLES, counts, *words)


def cold_job() -> Callable[[], object]:
    def call() -> object:
        import polars as pl

        from run_assets import stats

        scores = pl.DataFrame(
            {"group_name": ["a"] * 50, "score": [float(i % 7) for i in range(50)]}
        )
        return stats.interval_estimates(
            scores, task=None, replicate=None, resamples=2_000
        )

    return call


JOBS: dict[str, Callable[[], Callable[[], object]]] = {
    "iqm": iqm_job,
    "four": four_job,
    "profile": profile_job,
    "exact": exact_job,
    "improvement": improvement_job,
    "plain": plain_job,
    "analyses": analyses_job,
    "floor": floor_job,
    "cold": cold_job,
}


def rliable_seconds() -> dict[str, float]:
    """CPU seconds that rliable takes for each of its jobs."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        print("making an environment for rliable, once", file=sys.stderr)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(install, check=True)
        (ENVIRONMENT / "ready").touch()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    shown = subprocess.run(
        [python, "-P", "-W", "ignore", ROOT / "benchmarks" / "statistics_rliable.py"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds: dict[str, float] = json.loads(shown.stdout)
    seconds["analyses"] /= 10  # ours does a tenth of them
    return seconds


if __name__ == "__main__":
    main()
