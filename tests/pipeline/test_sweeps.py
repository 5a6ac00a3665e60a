"""A sweep in Dagster: one partition, trials inside one step, checks over ledgers."""

import json
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster import build_resources

from run_assets.checks import terminal, undoubled
from run_assets.config import FILE_NAME
from run_assets.definitions import build_definitions
from run_assets.errors import NotFoundError
from run_assets.jobs import record_sweep
from run_assets.lab import Lab
from run_assets.records import dagster_instance
from run_assets.resources import OpenLab
from run_assets.sweeps import start_sweep
from run_assets.sweeps.ledger import ledger_path, open_ledger
from tests.support.sweeps import (
    assert_accounted,
    function,
    query,
    statuses,
    sweep_lab,
    toy,
)

NAMES = ("plan", "results", "statistics", "report")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return sweep_lab(tmp_path)


def started(lab: Lab, body: str = "return {'reward': attempt.trial}") -> str:
    root = lab.config.root
    return start_sweep(lab, toy(root, function=function(root, body)))


def partitions(lab: Lab, name: str) -> set[str]:
    with dagster_instance(lab.config.root) as instance:
        return instance.get_materialized_partitions(dg.AssetKey(["sweeps", name]))


@pytest.mark.usefixtures("dagster_on_disk")
def test_a_sweep_is_one_partition_of_each_asset_and_is_run_by_one_step(
    lab: Lab,
) -> None:
    first, second = started(lab), started(lab)
    record_sweep(lab, first)

    path = ledger_path(lab.config.data_path, first)
    assert statuses(path) == {"successful": 8}
    assert statuses(ledger_path(lab.config.data_path, second)) == {"pending": 8}
    assert_accounted(path)
    assert {name: partitions(lab, name) for name in NAMES} == {
        name: {first} for name in NAMES
    }
    folder = lab.config.data_path / "sweeps" / first
    rates = pl.read_parquet(folder / "pass_rates.parquet")
    assert rates.filter(statistic="pass@k", k=1)["estimate"].to_list() == [0.5, 0.5]
    report = json.loads((folder / "sweep_report.json").read_text())
    assert report["sweep_id"] == first
    assert report["totals"]["successful"] == 8
    assert first in (folder / "sweep_report.md").read_text()


def test_to_materialize_again_runs_nothing_again(lab: Lab) -> None:
    sweep_id = started(lab)
    record_sweep(lab, sweep_id)
    record_sweep(lab, sweep_id)
    path = ledger_path(lab.config.data_path, sweep_id)
    assert query(path, "select count(*) from attempts") == [(8,)]


def test_a_sweep_starts_in_dagster_from_its_file(lab: Lab) -> None:
    name = function(lab.config.root, "return {'reward': 1}")
    (lab.config.root / "sweep.yaml").write_text(
        f"name: toy\nmodels: [a]\ntasks: [x]\nfunction: {name}\nenable_wandb: false\n",
        encoding="utf-8",
    )
    job = build_definitions(lab).resolve_job_def("sweep")
    key = "from_the_ui"
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sweep", [key])
        config = {"ops": {"sweeps__plan": {"config": {"file": "sweep.yaml"}}}}
        done = job.execute_in_process(
            instance=instance, partition_key=key, run_config=config
        )
    assert done.success
    assert statuses(ledger_path(lab.config.data_path, key)) == {"successful": 8}


def test_a_partition_without_a_ledger_says_how_to_start_one(lab: Lab) -> None:
    with pytest.raises(NotFoundError, match="run-assets sweep run FILE"):
        record_sweep(lab, "nobody")


def checked(lab: Lab) -> dict[str, dg.AssetCheckResult]:
    config = str(lab.config.root / FILE_NAME)
    with build_resources({"open_lab": OpenLab(config_path=config)}) as resources:
        given = {"open_lab": resources.open_lab}
        told = {"terminal": terminal(**given), "undoubled": undoubled(**given)}
    assert all(isinstance(one, dg.AssetCheckResult) for one in told.values())
    return told  # type: ignore[return-value]  # see the line before


def test_checks_name_the_sweep_that_is_not_over(lab: Lab) -> None:
    over, begun = started(lab), started(lab)
    record_sweep(lab, over)
    found = checked(lab)
    assert found["undoubled"].passed
    assert not found["terminal"].passed
    bad = str(found["terminal"].metadata["bad"])
    assert begun in bad
    assert over not in bad


def test_a_damaged_ledger_is_bad_and_not_left_out(lab: Lab) -> None:
    path = ledger_path(lab.config.data_path, started(lab))
    path.write_bytes(b"no database" * 1_000)
    found = checked(lab)
    assert not found["terminal"].passed
    assert not found["undoubled"].passed


def test_a_second_result_is_seen(lab: Lab) -> None:
    sweep_id = started(lab)
    record_sweep(lab, sweep_id)
    path = ledger_path(lab.config.data_path, sweep_id)
    with open_ledger(path) as ledger, ledger.transaction() as connection:
        connection.execute(
            "insert into attempts (trial_id, attempt, manager_id, status, started_at)"
            " select trial_id, 2, 'x', 'failed', started_at from trials limit 1"
        )
    assert not checked(lab)["undoubled"].passed
