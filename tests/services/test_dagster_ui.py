"""What people click in the Dagster UI does what it says, through real processes.

Two backfills and a "Materialize" are launched at once and wait for each other at the
lake's lock, while the command line refreshes the same lab.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from run_assets.ingest import PARTITIONED, read_state
from run_assets.lab import Lab
from run_assets.lab import open as open_lab
from run_assets.records import dagster_instance
from run_assets.scaffold import ensure_dagster_files
from tests.support.dagster_home import (
    ENDED,
    LOCATION,
    RAW_TABLES,
    Dagster,
    Run,
    dagster_on,
    eventually,
    run_cli,
)
from tests.support.labs import START, write_config, write_run
from tests.support.wandb_log import with_flipped_bit

MAZE, HALL = "lab--maze", "lab--hall"
DAYS = tuple(f"2026-01-0{2 + day}" for day in range(4))

FROM_GRAPH = {f"{DAYS[0]}|{MAZE}", f"{DAYS[1]}|{HALL}", f"{DAYS[1]}|{MAZE}"}
"""Not a box of days and projects, so no single range holds exactly these."""
FROM_JOB = {f"{day}|{HALL}" for day in DAYS[2:]} | {f"{DAYS[3]}|{MAZE}"}

MOST_REFRESHES = 10


@dataclass(frozen=True)
class Afternoon:
    """What was launched, what came of it, and what the lake was before and after."""

    from_graph: list[Run]
    from_job: list[Run]
    right_of_raw: Run
    refreshes: list[tuple[int, str]]
    read_before: Mapping[str, datetime]
    read_after: Mapping[str, datetime]
    files_before: Mapping[str, int]
    files_after: Mapping[str, int]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two projects with a run on each of four days, refreshed by the CLI."""
    folder = tmp_path_factory.mktemp("lab")
    write_config(folder)
    ensure_dagster_files(folder)
    for day in range(4):
        for project in ("maze", "hall"):
            write_run(
                folder,
                f"{project}{day}",
                project=project,
                started_at=START + timedelta(days=day),
                config={"algorithm": "ab"[day % 2], "env": project},
            )
    done = run_cli(folder, "refresh")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def dagster(home: Path) -> Iterator[Dagster]:
    with dagster_on(home) as server:
        yield server


@pytest.fixture(scope="module")
def afternoon(dagster: Dagster) -> Afternoon:
    lab = open_lab(dagster.home)
    read_before, files_before = read_at(lab), raw_files(lab)
    from_graph = dagster.launch_backfill(
        assetSelection=[{"path": ["raw", name]} for name in RAW_TABLES],
        partitionNames=sorted(FROM_GRAPH),
    )
    from_job = dagster.launch_backfill(
        selector={
            "partitionSetName": "refresh_partition_set",
            "repositorySelector": LOCATION,
        },
        partitionNames=sorted(FROM_JOB),
    )
    assets = [
        f"{one.asset_key.path[0]}.{one.asset_key.path[1]}"
        for one in asset_nodes(dagster)
        if not one.is_partitioned
    ]
    launched = dagster.launch_job(assets)
    refreshes = list(refreshes_beside(dagster.home))
    graph_runs, job_runs = (
        runs_of_backfill(dagster, one) for one in (from_graph, from_job)
    )
    return Afternoon(
        graph_runs,
        job_runs,
        dagster.ended_run(launched),
        refreshes,
        read_before,
        read_at(lab),
        files_before,
        raw_files(lab),
    )


@dataclass(frozen=True)
class Node:
    asset_key: dg.AssetKey
    is_partitioned: bool


def asset_nodes(dagster: Dagster) -> list[Node]:
    found = dagster.ask("{ assetNodes { assetKey { path } isPartitioned } }")
    return [
        Node(dg.AssetKey(one["assetKey"]["path"]), one["isPartitioned"])
        for one in found["assetNodes"]
    ]


def refreshes_beside(home: Path) -> Iterator[tuple[int, str]]:
    """Exit codes and messages of refreshes, until one finds the lock free."""
    for _ in range(MOST_REFRESHES):
        done = run_cli(home, "refresh")
        yield done.returncode, done.stderr
        if done.returncode == 0:
            return


def runs_of_backfill(dagster: Dagster, backfill_id: str) -> list[Run]:
    """Its runs, when all have ended; the daemon looks at backfills twice a minute."""

    def find() -> list[Run]:
        mine = [
            run
            for run in dagster.runs()
            if run.tags.get("dagster/backfill") == backfill_id
        ]
        return mine if all(run.status in ENDED for run in mine) else []

    return eventually(find, "the end of a backfill", seconds=150)


def read_at(lab: Lab) -> dict[str, datetime]:
    """When the runs of each partition were last read."""
    state = read_state(lab.lake).with_columns(
        partition=pl.format("{}|{}", "day", "project_slug")
    )
    return dict(state.select("partition", "fetched_at").iter_rows())


def raw_files(lab: Lab) -> dict[str, int]:
    """Time of change of each partitioned raw file."""
    files = [lab.lake.path(p) for name in PARTITIONED for p in lab.lake.parts(name)]
    return {str(file): file.stat().st_mtime_ns for file in files}


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    return {name for name, value in after.items() if before.get(name) != value}


def partition_of(file: str) -> str:
    slug, day = Path(file).parts[-3:-1]
    return f"{day.removeprefix('day=')}|{slug.removeprefix('project_slug=')}"


def materialized(home: Path, runs: Sequence[Run]) -> list[dg.AssetMaterialization]:
    """Each event of the runs that says "materialized"."""
    with dagster_instance(home) as instance:
        return [
            entry.dagster_event.step_materialization_data.materialization
            for run in runs
            for entry in instance.all_logs(
                run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            if entry.dagster_event
        ]


def partitions_said(
    home: Path, runs: Sequence[Run]
) -> list[tuple[str, str | None, object]]:
    """Asset, partition and row count of each event about a partition."""
    return sorted(
        {
            (
                one.asset_key.path[-1],
                one.partition,
                one.metadata["dagster/row_count"].value,
            )
            for one in materialized(home, runs)
            if one.partition
        }
    )


ROWS = {
    "artifacts": 0,
    "history": 20,
    "metric_definitions": 0,
    "runs": 1,
    "system_metrics": 0,
}


def test_chosen_partitions_and_no_others_are_read_again(afternoon: Afternoon) -> None:
    chosen = FROM_GRAPH | FROM_JOB
    assert changed(afternoon.read_before, afternoon.read_after) == chosen
    written = changed(afternoon.files_before, afternoon.files_after)
    assert {partition_of(file) for file in written} == chosen


def test_a_backfill_of_the_asset_graph_says_which_partitions_it_read(
    afternoon: Afternoon, home: Path
) -> None:
    assert {run.status for run in afternoon.from_graph} == {"SUCCESS"}
    assert partitions_said(home, afternoon.from_graph) == [
        (name, key, ROWS[name]) for name in RAW_TABLES for key in sorted(FROM_GRAPH)
    ]


def test_a_backfill_of_the_jobs_page_reads_more_than_its_first_partition(
    afternoon: Afternoon, home: Path
) -> None:
    assert {run.status for run in afternoon.from_job} == {"SUCCESS"}
    assert any(
        "dagster/partition" in run.tags or "dagster/partition/day" in run.tags
        for run in afternoon.from_job
    ), "Dagster no longer tags such a run with its first key: simplify raw.py"
    assert partitions_said(home, afternoon.from_job) == [
        (name, key, ROWS[name]) for name in RAW_TABLES for key in sorted(FROM_JOB)
    ]


def test_everything_right_of_raw_materializes_with_green_checks(
    afternoon: Afternoon, dagster: Dagster
) -> None:
    assert afternoon.right_of_raw.status == "SUCCESS"
    events = materialized(dagster.home, [afternoon.right_of_raw])
    assert {one.asset_key for one in events} == {
        one.asset_key for one in asset_nodes(dagster) if not one.is_partitioned
    }
    assert outcomes(dagster.home, afternoon.right_of_raw.run_id) == {True}


def outcomes(home: Path, run_id: str) -> set[bool]:
    """What the checks of a run said."""
    return set(checked(home, run_id).values())


def checked(home: Path, run_id: str) -> dict[str, bool]:
    with dagster_instance(home) as instance:
        logs = instance.all_logs(
            run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        found = [
            entry.dagster_event.asset_check_evaluation_data
            for entry in logs
            if entry.dagster_event
        ]
    return {
        f"{one.asset_key.to_user_string()}:{one.check_name}": one.passed
        for one in found
    }


def test_the_command_line_works_beside_the_daemon(afternoon: Afternoon) -> None:
    codes = [code for code, _ in afternoon.refreshes]
    assert set(codes) <= {0, 75}, afternoon.refreshes
    assert 0 in codes
    assert not any("database is locked" in text for _, text in afternoon.refreshes)
    waiting = [text for code, text in afternoon.refreshes if code == 75]
    assert all("(pid " in text and ", since " in text for text in waiting)


def test_rows_columns_lineage_and_plots_are_in_the_metadata(
    afternoon: Afternoon, dagster: Dagster
) -> None:
    about = {
        one.asset_key.to_user_string(): one.metadata
        for one in materialized(dagster.home, [afternoon.right_of_raw])
    }
    assert about["marts/runs"]["dagster/row_count"].value == 8
    schema = about["marts/runs"]["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    assert schema.columns[0].name == "run_path"
    assert schema.columns[0].description
    lineage = about["marts/run_summaries"]["dagster/column_lineage"].value
    assert isinstance(lineage, dg.TableColumnLineage)
    assert (
        dg.TableColumnDep(
            asset_key=dg.AssetKey(["core", "metric_points"]), column_name="metric"
        )
        in lineage.deps_by_column["metric"]
    )
    for name in ("stats/interval_estimates", "reports/report"):
        plot = about[name]["plot"].value
        assert str(plot).startswith("![")
        assert "](data:image/svg+xml;base64," in str(plot)


def test_a_damaged_file_turns_a_check_red_and_the_run_stays_green(
    afternoon: Afternoon, dagster: Dagster
) -> None:
    assert afternoon.right_of_raw.status == "SUCCESS"
    path = write_run(dagster.home, "bent", started_at=START, steps=50)
    path.write_bytes(with_flipped_bit(path.read_bytes(), 2_000))
    run = dagster.ended_run(dagster.launch_job())
    assert run.status == "SUCCESS"
    red = {name for name, ok in checked(dagster.home, run.run_id).items() if not ok}
    # What was lost is told of the file, and of the run.
    assert red == {"raw/sync_state:readable", "diagnostics/findings:coverage"}
