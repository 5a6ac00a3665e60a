"""What all tests share."""

from collections.abc import Iterator

import dagster as dg
import pytest

from run_assets import jobs, records
from run_assets.lab import Lab

_ON_DISK = records.dagster_instance


@pytest.fixture(scope="session", autouse=True)
def dagster_in_memory() -> Iterator[None]:
    """Refreshes of this process are recorded by a real Dagster without files.

    That takes half the time. Whatever runs in a process of its own, as the command
    line, the UI and the daemon do, records on disk.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            records, "dagster_instance", lambda _: dg.DagsterInstance.ephemeral()
        )
        yield


@pytest.fixture
def dagster_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refreshes of this test are recorded in the lab's folder."""
    monkeypatch.setattr(records, "dagster_instance", _ON_DISK)


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refreshes of this test build the tables of runs and the warehouse, no more.

    For tests of what happens to runs: a refresh takes a quarter of the time.
    """
    schemas = {"raw", "staging", "core", "marts"}
    published = {"warehouse", "last_refresh"}
    asked_for = jobs._asked_for

    def fewer(lab: Lab, job: dg.JobDefinition) -> list[dg.AssetKey] | None:
        asked = asked_for(lab, job) or []
        return [
            one for one in asked if one.path[0] in schemas or one.path[-1] in published
        ]

    monkeypatch.setattr(jobs, "_asked_for", fewer)
