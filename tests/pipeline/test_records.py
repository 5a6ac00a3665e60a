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


def test_a_database_that_is_none_is_named_as_such(tmp_path: Path) -> None:
    make_lab(tmp_path, runs=0)
    with recorded(tmp_path):
        pass
    index = tmp_path / "data" / "dagster" / "history" / "runs" / "index.db"
    index.write_bytes(b"not a database" * 1000)
    with (
        pytest.raises(SourceError, match=r"could not record .* not a database"),
        recorded(tmp_path),
    ):
        pass


def test_the_folder_of_the_records_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lab(tmp_path, runs=0)
    monkeypatch.setenv("RECORDS", str(tmp_path / "elsewhere"))
    settings = "storage: {sqlite: {base_dir: {env: RECORDS}}}\n"
    (tmp_path / "dagster.yaml").write_text(settings, encoding="utf-8")
    with recorded(tmp_path) as instance:
        assert not instance.get_runs()
    assert (tmp_path / "elsewhere" / "history" / "runs.db").is_file()
