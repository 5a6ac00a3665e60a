"""Refreshes are recorded where the UI looks, with one engine for each database."""

from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite import sqlite_event_log

from run_assets.errors import SourceError
from run_assets.records import dagster_instance, recorded
from tests.support.labs import make_lab

pytestmark = pytest.mark.usefixtures("dagster_on_disk")


@dg.op
def nothing() -> None: ...


@dg.job
def idle() -> None:
    nothing()


def test_one_engine_is_made_for_each_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lab(tmp_path, runs=0)
    made: Counter[str] = Counter()
    create = vars(sqlite_event_log)["create_engine"]

    def counted(url: str, **settings: object) -> object:
        made[url] += 1
        return create(url, **settings)

    monkeypatch.setitem(vars(sqlite_event_log), "create_engine", counted)
    with recorded(tmp_path) as instance:
        run_id = idle.execute_in_process(instance=instance).run_id
    assert len(made) == 2, "the index and the run's own"
    assert set(made.values()) == {1}
    assert vars(sqlite_event_log)["create_engine"] is counted
    with dagster_instance(tmp_path) as instance:
        assert instance.get_runs()[0].run_id == run_id
        assert instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)


def test_a_folder_that_refuses_is_the_disks_error(tmp_path: Path) -> None:
    make_lab(tmp_path, runs=0)
    folder = tmp_path / "data" / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history").write_text("in the way")
    with (
        pytest.raises(SourceError, match=r"could not record .* make room"),
        recorded(tmp_path),
    ):
        pass
