"""Results out of PostgreSQL: our route against others, in one run, as ratios.

A table of programs with 1,000,000 rows lies in a PostgreSQL of its own. Each route runs
in a process of its own, in turns, and the best of its repeats counts, because the
server shares the cores. pandas runs in an environment that this script makes once in
``benchmarks/data``.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [p for p in sys.path if Path(p).resolve() != ROOT / "benchmarks"]
DATA = ROOT / "benchmarks" / "data"
ENVIRONMENT = DATA / "pandas"
PACKAGES = ("pandas", "sqlalchemy", "psycopg[binary]")
REPEATS = 4
NEW_ROWS = 1_000

ROUTES = {
    "bare": "ADBC stream, batches thrown away",
    "ours": "run-assets, into the lake (parquet)",
    "copy": "psycopg: COPY as CSV, bytes thrown away",
    "psycopg": "psycopg: rows, in batches of 50,000",
    "pandas": "pandas.read_sql with SQLAlchemy, in one frame",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--route", help="run one and print its figures")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", nargs="+", choices=ROUTES, default=list(ROUTES))
    options = parser.parse_args()
    if options.route:
        print(json.dumps(measured(JOBS[options.route])))
        return
    sys.path.insert(0, str(ROOT))
    from tests.support.postgres import running_server

    with running_server() as url:
        fill(url, options.rows)
        os.environ["RUN_ASSETS_RESULTS_URL"] = url
        os.environ["RESULTS_QUERY"] = query_text()
        compare(options.rows, options.repeats, ["bare", *options.only])
        increment(url)


def compare(rows: int, repeats: int, chosen: list[str]) -> None:
    routes = {name: title for name, title in ROUTES.items() if name in chosen}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in routes}
    for _ in range(repeats):  # in turns, so that a busy moment hits all of them
        for name in routes:
            found[name].append(in_process(name))
    best = {
        name: min(runs, key=lambda one: one["wall"]) for name, runs in found.items()
    }
    bare = best["bare"]["wall"]
    print(f"{rows:,} rows of programs, 14 columns cast in SQL, ordered by id\n")
    print(f"{'':<48}{'wall s':>8}{'speed':>8}{'CPU s':>8}{'peak MB':>9}")
    for name, title in routes.items():
        one = best[name]
        print(
            f"{title:<48}{one['wall']:>8.2f}{bare / one['wall']:>7.2f}x"
            f"{one['cpu']:>8.2f}{one['peak_mb']:>9.0f}"
        )
    print("\nspeed: of a bare stream of the same query; promised to ours: 0.90x")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def increment(url: str) -> None:
    """What a nightly refresh of the same source costs: nothing new, and a few rows."""
    from run_assets.ingest.results import ResultIngest, read_result_state
    from run_assets.sources.results import changed_results
    from run_assets.store.lake import Lake
    from tests.support.postgres import execute

    with tempfile.TemporaryDirectory() as folder:
        lake, config = Lake(Path(folder) / "lake"), lab_config(Path(folder))

        def refresh() -> float:
            began = time.perf_counter()
            ingest = ResultIngest(lake, datetime.now(UTC), lambda *_: None)
            for one in changed_results(config, read_result_state(lake)):
                ingest.read(one)
            return time.perf_counter() - began

        whole, nothing = refresh(), refresh()
        execute(
            url,
            "insert into programs (value, model) "
            f"select 1, 'm' from generate_series(1, {NEW_ROWS})",
        )
        some = refresh()
    print(f"\nall rows {whole:.2f} s, nothing new {nothing:.2f} s ", end="")
    print(f"({nothing / whole:.0%}), {NEW_ROWS:,} new rows {some:.2f} s ", end="")
    print(f"({some / whole:.0%})")


def fill(url: str, rows: int) -> None:
    from tests.support.postgres import create_programs, execute

    create_programs(url)
    execute(
        url,
        "insert into programs (code, value, raw_reward, version, version_description, "
        "model, meta, achievements_json, instance, depth, completion_token_usage, "
        "prompt_token_usage, token_usage, response, created_at) "
        "select 'x = ' || i, i % 50, i % 50, i / 50, "
        "E'model:m' || i / 50 % 4 || E'\\ntype:iron_ore_throughput_' || i / 200 % 8 || "
        "E'\\nnum_agents:1', 'm' || i / 50 % 4, "
        '\'{"sweep_id": "s_1", "production_score": \' || i % 50 || \'}\', '
        "'{}', 0, i % 50, 100, 1000, 1100, 'ok', "
        "timestamp '2026-01-01' + i * interval '1 second' "
        f"from generate_series(0, {rows - 1}) i",
        "vacuum analyze programs",
    )


def lab_config(root: Path):  # noqa: ANN201  # imported late: other routes do not have it
    from run_assets.config import Config

    sources = [{"kind": "programs", "name": "fle"}]
    return Config(root=root, evaluations={"sources": sources})


def query_text() -> str:
    """The SELECT that our route sends, for the others."""
    from run_assets.sources.results import opened, result_databases
    from run_assets.sources.results_db import select_of

    (database,) = result_databases(lab_config(ROOT))
    (query,) = database.queries
    with opened(database) as found:
        return select_of(query, found.fields(query), None)[0]


def in_process(route: str) -> dict[str, float]:
    python = sys.executable if route != "pandas" else str(pandas_python())
    command = [python, "-P", __file__, "--route", route]
    shown = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT
    )
    figures: dict[str, float] = json.loads(shown.stdout)
    return figures


def pandas_python() -> Path:
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True
        )
    return python


def measured(prepare: Callable[[], Callable[[], int]]) -> dict[str, float]:
    """Wall and CPU seconds of this process, and its peak of memory over the start."""
    call = prepare()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    rows = call()
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"wall": wall, "cpu": used, "peak_mb": peak / 1024, "rows": rows}


def url() -> str:
    return os.environ["RUN_ASSETS_RESULTS_URL"]


def text() -> str:
    return os.environ["RESULTS_QUERY"]


def bare_job() -> Callable[[], int]:
    import adbc_driver_postgresql.dbapi as driver

    def read() -> int:
        with driver.connect(url()) as connection, connection.cursor() as cursor:
            cursor.execute(text())
            return sum(batch.num_rows for batch in cursor.fetch_record_batch())

    return read


def our_job() -> Callable[[], int]:
    import adbc_driver_postgresql.dbapi  # noqa: F401  # loaded before the clock starts
    import polars as pl

    from run_assets.ingest.results import ResultIngest
    from run_assets.sources.results import changed_results
    from run_assets.store.lake import Lake, empty

    pl.DataFrame({"warm": [1]}).lazy().collect()
    folder = Path(tempfile.mkdtemp(dir=DATA))
    config, lake = lab_config(folder), Lake(folder / "lake")
    (change,) = changed_results(config, empty("raw.result_sources"))

    def read() -> int:
        try:
            return ResultIngest(lake, datetime.now(UTC), lambda *_: None).read(change)[
                2
            ]
        finally:
            shutil.rmtree(folder)

    return read


def copy_job() -> Callable[[], int]:
    import psycopg

    def read() -> int:
        command = f"copy ({text()}) to stdout (format csv)"
        with (
            psycopg.connect(url()) as connection,
            connection.cursor() as cursor,
            cursor.copy(command) as copy,
        ):
            return sum(bytes(block).count(b"\n") for block in copy)

    return read


def psycopg_job() -> Callable[[], int]:
    import psycopg

    def read() -> int:
        with (
            psycopg.connect(url()) as connection,
            connection.cursor("rows") as cursor,
        ):
            cursor.itersize = 50_000
            cursor.execute(text())
            return sum(len([*row]) > 0 for row in cursor)

    return read


def pandas_job() -> Callable[[], int]:
    import pandas as pd
    import sqlalchemy

    address = url().replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(address)

    def read() -> int:
        with engine.connect() as connection:
            return len(
                pd.read_sql(sqlalchemy.text(text().replace(":", r"\:")), connection)
            )

    return read


JOBS: dict[str, Callable[[], Callable[[], int]]] = {
    "bare": bare_job,
    "ours": our_job,
    "copy": copy_job,
    "psycopg": psycopg_job,
    "pandas": pandas_job,
}

if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    main()
