"""Findings are built as everything is: only what changed, and one check a family."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from run_assets.definitions import build_definitions
from run_assets.diagnostics.registry import FAMILIES
from run_assets.lab import Lab
from tests.support.labs import (
    START,
    changed_files,
    lake_files,
    make_lab,
    run_file,
    write_run,
)
from tests.support.wandb_log import exit_record, history_record, log_bytes, run_record

Evaluations = dict[str, Any]


def write_overflow(lab: Lab) -> None:
    """A run whose loss ends in infinity."""
    path = run_file(lab.config.root, "overflow")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        history_record(
            {
                "_step": step,
                "_timestamp": START.timestamp() + step,
                "loss": 1.0 / (step + 1) if step < 30 else float("inf"),
            }
        )
        for step in range(40)
    ]
    start = run_record("overflow", started_at=START, project="maze", entity="lab")
    path.write_bytes(log_bytes([start, *rows, exit_record(0)]))


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Lab, Evaluations]]:
    lab = make_lab(tmp_path_factory.mktemp("lab"), 2)
    write_overflow(lab)
    job = build_definitions(lab).resolve_job_def("refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        found = {
            one.check_name: one
            for one in result.get_asset_check_evaluations()
            if one.asset_key.to_user_string() == "diagnostics/findings"
        }
        yield lab, found


def test_each_family_has_a_check_and_only_the_faulty_one_warns(
    built: tuple[Lab, Evaluations],
) -> None:
    _, found = built
    assert set(FAMILIES) < set(found)
    failed = {name for name in FAMILIES if not found[name].passed}
    assert failed == {"instability"}
    assert found["instability"].severity == dg.AssetCheckSeverity.WARN
    assert "overflow" in str(found["instability"].metadata["findings"].value)
    assert found["contract"].passed


def test_the_run_that_overflowed_is_told_from_the_others(
    built: tuple[Lab, Evaluations],
) -> None:
    lab, _ = built
    health = dict(
        lab.lake.read("diagnostics.run_health")
        .select("run_path", "worst_severity")
        .rows()
    )
    assert health["lab/maze/overflow"] == "error"
    assert health["lab/maze/r0"] != "error"


def test_only_the_files_of_runs_that_changed_are_written_again(
    built: tuple[Lab, Evaluations],
) -> None:
    lab, _ = built
    before = lake_files(lab)
    write_run(
        lab.config.root,
        "r1",
        steps=12,
        started_at=START + timedelta(days=1, minutes=1),
        config={"algorithm": "b", "env": "easy"},
    )
    lab.refresh()
    changed = {
        name
        for name in changed_files(before, lake_files(lab))
        if name.startswith("diagnostics/findings")
    }
    assert len(changed) == 1
    assert "day=2026-01-03" in changed.pop()
