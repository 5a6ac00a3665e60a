"""What assets are given: the lab, and the engine for SQL models."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from dagster_duckdb import DuckDBResource

from run_assets.lab import Lab
from run_assets.store.lock import lake_lock
from run_assets.store.models import quoted

if TYPE_CHECKING:
    import duckdb

PID_TAG = "run_assets/pid"
_UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,  # killed while its events were being planned
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)

_labs: dict[str, Lab] = {}


class OpenLab(dg.ConfigurableResource):  # type: ignore[type-arg]  # has no own value
    """The lab of a config file, for what does not write to its lake."""

    config_path: str

    @property
    def lab(self) -> Lab:
        """The configuration and the lake."""
        if self.config_path not in _labs:
            from run_assets.lab import open as open_lab

            _labs[self.config_path] = open_lab(self.config_path)
        return _labs[self.config_path]


class LabResource(OpenLab):
    """The lab of a config file; holds the lake's lock while a Dagster run lives."""

    @contextmanager
    def yield_for_execution(
        self, context: dg.InitResourceContext
    ) -> Iterator["LabResource"]:
        """Wait for the lock, then report what a killed refresh left in Dagster."""
        instance, run = context.instance, context.run
        if instance and run:
            instance.add_run_tags(run.run_id, {PID_TAG: str(os.getpid())})
        config = self.lab.config
        with lake_lock(config.data_path, timeout=config.lock_timeout):
            if instance and run:
                fail_dead_runs(instance, besides=run.run_id)
            yield self


def use_lab(lab: Lab, config_path: str) -> LabResource:
    """The resource of a lab that is open already, flags included."""
    _labs[config_path] = lab
    return LabResource(config_path=config_path)


def fail_dead_runs(instance: dg.DagsterInstance, *, besides: str) -> None:
    """Mark unfinished runs whose process is gone as failed: a kill cannot say so."""
    unfinished = dg.RunsFilter(statuses=list(_UNFINISHED))
    for run in instance.get_runs(filters=unfinished):
        pid = run.tags.get(PID_TAG)
        # The daemon watches re-executions; at first their tag is that of their parent.
        is_own = run.parent_run_id is None and run.run_id != besides
        if is_own and pid and not _is_alive(int(pid)):
            instance.report_run_failed(run, f"process {pid} was killed")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def engine(
    duckdb_resource: DuckDBResource, lab: Lab
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A connection that gives the same bytes for the same input; always closed."""
    spill = quoted(str(lab.config.data_path / ".spill"))
    with duckdb_resource.get_connection() as connection:
        try:
            connection.execute("set threads = 1")  # parallel sums differ in last bits
            connection.execute("set timezone = 'UTC'")
            connection.execute(f"set temp_directory = {spill}")
            yield connection
        finally:
            connection.close()
