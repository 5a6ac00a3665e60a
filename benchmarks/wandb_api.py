"""How fast runs come from a W&B server, against the loop that everybody writes.

    python benchmarks/wandb_api.py                 # 200 runs x 2,000 rows x 20 metrics
    python benchmarks/wandb_api.py --long 10000000 # rows of the one long run, 0 = none

The server is the loopback one of the tests, in a process of its own; its exports are
made before any clock starts. The loop is ``for run in api.runs(…): run.scan_history()``
with the SDK as it is. Both run in fresh processes; imports count for neither.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LATENCY_SECONDS = 0.05
METRICS = 20
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--long", type=int, default=10_000_000)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        CHILDREN[options.child[0]](*options.child[1:])
        return
    first_pull(options.runs, options.rows)
    nothing_changed_and_growth(options.many)
    if options.long:
        long_run(options.long)


def first_pull(runs: int, rows: int) -> None:
    print(f"First pull of {runs} runs x {rows:,} rows x {METRICS} metrics\n")
    print(f"{'latency':<9}{'':<34}{'wall s':>8}{'ratio':>8}{'requests/run':>14}")
    with server() as ask:
        ask("runs", runs=runs, rows=rows)
        for latency in (0.0, LATENCY_SECONDS):
            ask("latency", seconds=latency)
            loop = timed_child(ask, "loop", ask.url)
            ours = min(timed_child(ask, "pull", lab(ask.url)) for _ in range(REPEATS))
            for name, (seconds, requests) in (
                ("for run in api.runs(): scan_history", loop),
                ("run-assets, into the lake", ours),
            ):
                ratio = loop[0] / seconds
                shown = f"{latency * 1000:.0f} ms"
                print(
                    f"{shown:<9}{name:<36}{seconds:>6.2f}{ratio:>7.1f}x"
                    f"{requests / runs:>14.2f}"
                )
    print()


def nothing_changed_and_growth(runs: int) -> None:
    with server() as ask:
        ask("runs", runs=runs, rows=100)
        folder = lab(ask.url)
        refresh = ["-m", "run_assets.cli", "--config", folder, "-q", "refresh"]
        imports = min(seconds("-c", "import dagster, wandb") for _ in range(REPEATS))
        rows = [("import dagster, wandb", imports, 0)]
        ask("clear")
        rows.append(("first refresh", seconds(*refresh, key=True), ask("count")))
        times = []
        for _ in range(REPEATS):
            ask("clear")
            times.append(seconds(*refresh, key=True))
        rows.append(("refresh, nothing changed", min(times), ask("count")))
        ask("grow", runs=10, rows=100)
        ask("clear")
        grown = seconds(*refresh, key=True)
        rows.append(("refresh, 10 runs grew by 100 rows", grown, ask("count")))
        ask("grow", runs=10, rows=100)
        ask("clear")
        pulled = timed_child(ask, "pull", folder)
        rows.append(("  of that, reading the 10 into the lake", *pulled))
    print(f"{runs:,} runs x 100 rows x {METRICS} metrics\n")
    print(f"{'':<40}{'wall s':>8}{'ratio':>8}{'requests':>10}")
    for name, wall, requests in rows:
        print(f"{name:<40}{wall:>8.2f}{wall / imports:>7.1f}x{requests:>10}")
    print()


def long_run(rows: int) -> None:
    print("One long run of 4 metrics, exported\n")
    print(f"{'rows':>12}{'wall s':>9}{'rows/s':>12}{'peak MB':>9}")
    for count in (rows // 10, rows):
        with server() as ask:
            ask("long", rows=count)
            answer = child("pull", lab(ask.url))
            speed = count / answer["seconds"]
            print(
                f"{count:>12,}{answer['seconds']:>9.1f}{speed:>12,.0f}"
                f"{answer['peak_mb']:>9.0f}"
            )
    print()


def lab(url: str) -> str:
    folder = tempfile.mkdtemp(prefix="wandb-api-")
    text = (
        f"sources:\n  - {{kind: wandb_api, projects: [me/p], base_url: '{url}'}}\n"
        "publish: {wandb: {mode: disabled}}\n"
    )
    Path(folder, "run_assets.yaml").write_text(text)
    return folder


def seconds(*arguments: str, key: bool = False) -> float:
    begin = time.perf_counter()
    environment = {**os.environ, **({"WANDB_API_KEY": KEY} if key else {})}
    subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, env=environment)
    return time.perf_counter() - begin


def timed_child(ask: Any, name: str, argument: str) -> tuple[float, int]:
    ask("clear")
    return child(name, argument)["seconds"], ask("count")


def child(name: str, argument: str) -> Any:
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            **dict.fromkeys(("HOME", "WANDB_CACHE_DIR", "WANDB_DIR"), home),
            "WANDB_API_KEY": KEY,
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, __file__, "--child", name, argument],
            check=True,
            env=environment,
            cwd=home,
            stdout=subprocess.PIPE,
        )
    return json.loads(done.stdout.splitlines()[-1])


KEY = "loopback" + "0" * 32


class Server:
    """The other end of a server in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.url = self._read()

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Let it do something; its answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([command, arguments]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


@contextmanager
def server() -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", "serve"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Server(process)
        assert process.stdin
        process.stdin.close()


# What runs in the other processes.


def serve() -> None:
    from tests.support.wandb_server import late, wandb_server

    with wandb_server() as served:
        print(json.dumps(served.url), flush=True)
        for line in sys.stdin:
            command, arguments = json.loads(line)
            answer = None
            match command:
                case "runs":
                    add_runs(served, **arguments)
                case "grow":
                    grow(served, **arguments)
                case "long":
                    add_long_run(served, **arguments)
                case "latency":
                    served.faults.clear()
                    served.faults.inject(late(arguments["seconds"]))
                case "clear":
                    served.requests.clear()
                case "count":
                    answer = served.requests.total
            print(json.dumps(answer), flush=True)


def add_runs(served: Any, runs: int, rows: int) -> None:
    served.switches.exported_share = 1.0
    for number in range(runs):
        served.add_run(f"me/p/r{number}", logged(0, rows), config={"seed": number})
    served.prepare()


def grow(served: Any, runs: int, rows: int) -> None:
    from tests.support.wandb_server import append_rows

    for number in range(runs):
        run = served.store.run(f"me/p/r{number}")
        run.exported_rows = run.exported_rows or len(run.history)
        append_rows(run, logged(len(run.history), rows))


def logged(first: int, rows: int) -> Iterator[dict[str, float]]:
    names = [f"train/metric_{k:02d}" for k in range(METRICS)]
    for step in range(first, first + rows):
        yield {name: (step * 31 + k * 7) % 1009 / 1009 for k, name in enumerate(names)}


def add_long_run(served: Any, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.support.wandb_server import filed_history

    folder = Path(tempfile.mkdtemp(prefix="wandb-long-"))
    paths = []
    for first in range(0, rows, 1_000_000):
        steps = np.arange(first, min(first + 1_000_000, rows))
        columns = {"_step": steps, "_timestamp": 1.7e9 + steps, "_runtime": steps * 1.0}
        columns |= {f"m{k}": np.sin(steps / (k + 10)) for k in range(4)}
        paths.append(folder / f"{first}.parquet")
        pq.write_table(pa.table(columns), paths[-1], row_group_size=100_000)
    served.add_run("me/p/long", filed=filed_history(paths), summary={"m0": 0.0})


def loop(url: str) -> None:
    import wandb

    os.environ["WANDB_BASE_URL"] = url
    begin = time.perf_counter()
    count = 0
    for run in wandb.Api().runs("me/p"):
        for _row in run.scan_history():
            count += 1
    tell(begin, count)


def pull(folder: str) -> None:
    import requests  # noqa: F401  # imports are not what is timed

    import run_assets
    from tests.support.api_labs import pull as pull_runs

    lab = run_assets.open(folder)
    before = peak_mb()
    begin = time.perf_counter()
    pull_runs(lab)
    tell(begin, 0, before)


def tell(begin: float, count: int, before: float = 0) -> None:
    wall = time.perf_counter() - begin
    print(json.dumps({"seconds": wall, "rows": count, "peak_mb": peak_mb() - before}))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


CHILDREN = {"serve": serve, "loop": loop, "pull": pull}


if __name__ == "__main__":
    main()
