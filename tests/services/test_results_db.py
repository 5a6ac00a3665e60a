"""Results out of a real PostgreSQL, and out of SQLite with the same rows."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from run_assets.config import Config
from run_assets.errors import (
    AuthenticationError,
    ContractError,
    NotFoundError,
    SourceError,
    TryAgainError,
    UsageError,
)
from run_assets.ingest import results as ingest_results
from run_assets.ingest.results import (
    Read,
    ResultIngest,
    read_result_state,
    sound_state,
)
from run_assets.sources.result_mapping import STEPS, TRIALS
from run_assets.sources.results import changed_results
from run_assets.store.lake import Lake
from tests.support.postgres import (
    Step,
    add_steps,
    create_programs,
    execute,
    new_schema,
    running_server,
    sqlite_programs,
)

NOW = datetime(2026, 2, 1, tzinfo=UTC)
STEPS_OF_TWO = [
    Step(1, "gpt-4o", "iron_ore_throughput", 0, 1.0, meta='{"sweep_id": "s"}'),
    Step(1, "gpt-4o", "iron_ore_throughput", 1.5, 16.0, meta='{"sweep_id": "s"}'),
    Step(2, "o'brien", "unbounded", 0, None, tokens=None),
    Step(2, "o'brien", "unbounded", 1, float("nan")),
]
CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as address:
        yield address


@pytest.fixture
def database(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with new_schema(server, "results") as address:
        monkeypatch.setenv("RUN_ASSETS_RESULTS_URL", address)
        yield address


class Reading:
    """A lake and the result sources that fill it."""

    def __init__(self, root: Path, *sources: dict[str, Any]) -> None:
        self.lake = Lake(root / "data" / "lake")
        self.config = Config(root=root, evaluations={"sources": sources})

    def refresh(self, *, reread: bool = False) -> list[Read]:
        state = sound_state(self.lake)
        changed = changed_results(self.config, state, reread=reread)
        ingest = ResultIngest(self.lake, NOW, lambda *_: None)
        ingest.sweep()
        return [ingest.read(one) for one in changed]

    def rows(self, table: str = STEPS) -> pl.DataFrame:
        return self.lake.read(table).sort("source", "row_id")


PROGRAMS = {"kind": "programs", "name": "fle"}


@pytest.mark.parametrize("meta", ["TEXT", "JSONB"])
def test_programs_are_read_whatever_the_type_of_meta(
    database: str, tmp_path: Path, meta: str
) -> None:
    create_programs(database, meta=meta)
    add_steps(database, STEPS_OF_TWO, meta=meta)
    reading = Reading(tmp_path, PROGRAMS)
    (read,) = reading.refresh()
    assert read == Read("fle", STEPS, 4, is_whole=True)
    rows = reading.rows()
    assert rows["row_id"].to_list() == [1, 2, 3, 4]
    assert rows["version"].to_list() == ["1", "1", "2", "2"]
    assert rows["step"].to_list() == [0, 1, 0, 1]
    assert rows["reward"].fill_nan(-1).to_list() == [1.0, 16.0, None, -1]
    assert rows["meta_json"].to_list() == ['{"sweep_id": "s"}'] * 2 + [None] * 2
    assert rows["recorded_at"][0] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_sqlite_gives_the_same_rows(database: str, tmp_path: Path) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    sqlite_programs(tmp_path / "results.sqlite", STEPS_OF_TWO)
    here = Reading(tmp_path / "a", PROGRAMS)
    there = Reading(
        tmp_path / "b", {**PROGRAMS, "path": str(tmp_path / "results.sqlite")}
    )
    here.refresh()
    there.refresh()
    # SQLite stores NaN as null
    mine = here.rows().with_columns(pl.col("reward", "raw_reward").fill_nan(None))
    assert_frame_equal(mine, there.rows(), check_exact=True)


TYPES = """
create table episodes (
    episode bigint primary key, agent text, puzzle uuid, try numeric(4), score numeric,
    passed smallint, spent numeric(12, 4), took interval, info jsonb,
    began timestamp, ended timestamptz, changed timestamptz
)
"""
SELECT = """
select
    episode as id, agent as model, puzzle as task, try as trial, score as reward,
    passed as success, spent as cost, took as seconds, info as meta,
    began as started_at, ended as finished_at, changed as updated_at
from episodes -- the last line may be a comment
"""
QUERY = {"kind": "query", "name": "puzzles", "trajectories": SELECT}


def test_types_that_arrow_has_no_place_for_are_cast(
    database: str, tmp_path: Path
) -> None:
    execute(
        database,
        TYPES,
        "insert into episodes values (7, 'a', "
        "'0f8fad5b-d9cb-469f-a165-70867728950e', 3, 'NaN', 1, 0.1234, "
        "interval '1 minute 1.5 seconds', '{\"x\": [1, 2]}', 'infinity', "
        "'2026-01-02 04:00:00+01', '-infinity')",
        "insert into episodes (episode, agent, score) values (8, 'b', 1e-10)",
    )
    reading = Reading(tmp_path, QUERY)
    reading.refresh()
    first, second = reading.rows(TRIALS).to_dicts()
    assert first["task"] == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert first["trial"] == 3
    assert first["has_succeeded"] is True
    assert first["duration_seconds"] == 61.5
    assert first["cost"] == 0.1234
    assert first["meta_json"] == '{"x": [1, 2]}'
    assert first["started_at"] is None
    assert first["updated_at"] is None
    assert first["ended_at"] == datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
    assert first["reward"] != first["reward"]
    assert second["reward"] == 1e-10


def test_only_new_rows_are_read(database: str, tmp_path: Path) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    reading = Reading(tmp_path, PROGRAMS)
    reading.refresh()
    assert reading.refresh() == []
    add_steps(database, [Step(3, "gpt-4o", "unbounded", 0, 2.0)])
    assert reading.refresh() == [Read("fle", STEPS, 1, is_whole=False)]
    assert reading.rows()["row_id"].to_list() == [1, 2, 3, 4, 5]


def test_changed_rows_are_read_again(database: str, tmp_path: Path) -> None:
    insert = "insert into episodes (episode, agent, try, score, changed) values "
    execute(
        database,
        TYPES,
        insert + "(1, 'a', 0, 1, '2026-01-01'), (2, 'a', 1, 2, '2026-01-02')",
    )
    reading = Reading(tmp_path, QUERY)
    reading.refresh()
    execute(
        database,
        "update episodes set score = 9, changed = '2026-01-03' where episode = 1",
        insert + "(3, 'a', 2, 3, '2026-01-03')",
    )
    assert reading.refresh() == [Read("puzzles", TRIALS, 3, is_whole=False)]
    assert reading.rows(TRIALS)["reward"].to_list() == [9.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "change",
    [
        "delete from programs where id = 2",
        "insert into programs (id, value) values (-1, 5)",
    ],
    ids=["a row was deleted", "a smaller id was committed late"],
)
def test_ids_that_do_not_add_up_are_read_anew(
    database: str, tmp_path: Path, change: str
) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    reading = Reading(tmp_path, PROGRAMS)
    reading.refresh()
    execute(database, change)
    add_steps(database, [Step(3, "gpt-4o", "unbounded", 0, 2.0)])
    (read,) = reading.refresh()
    assert read.is_whole
    whole = Reading(tmp_path / "anew", PROGRAMS)
    whole.refresh()
    assert_frame_equal(reading.rows(), whole.rows())


def test_a_table_without_ids_is_read_whole_when_it_changes(
    database: str, tmp_path: Path
) -> None:
    execute(database, "create table t (m text, k text, n int, r int)")
    execute(database, "insert into t values ('a', 'x', 1, 1), ('a', 'x', 0, 0)")
    text = "select m as model, k as task, n as trial, r as reward from t"
    reading = Reading(tmp_path, {"kind": "query", "trajectories": text})
    reading.refresh()
    assert reading.refresh() == []
    assert reading.rows(TRIALS)["trial"].to_list() == [0, 1]
    execute(database, "update t set r = 5 where n = 0")
    reading.refresh()
    assert reading.rows(TRIALS)["reward"].to_list() == [5.0, 1.0]


def test_a_full_refresh_reads_what_was_edited_in_place(
    database: str, tmp_path: Path
) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    reading = Reading(tmp_path, PROGRAMS)
    reading.refresh()
    execute(database, "update programs set value = 7 where id = 1")
    assert reading.refresh() == []  # nothing tells of it
    (read,) = reading.refresh(reread=True)
    assert read.is_whole
    assert reading.rows()["reward"][0] == 7.0


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"")])
def test_a_file_that_is_lost_or_damaged_is_read_again(
    database: str, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    reading = Reading(tmp_path, PROGRAMS)
    reading.refresh()
    (part,) = reading.lake.parts(STEPS)
    damage(reading.lake.path(part))
    add_steps(database, [Step(3, "gpt-4o", "unbounded", 0, 2.0)])
    assert reading.refresh() == [Read("fle", STEPS, 5, is_whole=True)]
    assert reading.rows().height == 5


def test_a_changed_mapping_is_read_anew(database: str, tmp_path: Path) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    text = "select id, version, model, 'x' as task, {} as reward from programs"
    first = {"kind": "query", "name": "q", "steps": text.format("value")}
    Reading(tmp_path, first).refresh()
    again = Reading(tmp_path, {**first, "steps": text.format("value * 2")})
    (read,) = again.refresh()
    assert read.is_whole
    assert again.rows()["reward"].to_list()[1] == 32.0


def test_rows_fill_files_of_bounded_size(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_results, "BATCH_ROWS", 1_000)
    create_programs(database)
    execute(
        database,
        "insert into programs (version, model, value) "
        "select i / 10, 'm', i from generate_series(1, 2500) i",
    )
    reading = Reading(tmp_path, PROGRAMS)
    reading.refresh()
    assert sizes(reading) == [1000, 1000, 500]
    execute(
        database, "insert into programs (value) select 1 from generate_series(1, 600)"
    )
    assert reading.refresh() == [Read("fle", STEPS, 600, is_whole=False)]
    assert sizes(reading) == [1000, 1000, 1000, 100]
    assert reading.rows()["row_id"].to_list() == list(range(1, 3101))


def sizes(reading: Reading) -> list[int]:
    headers = map(reading.lake.header, reading.lake.parts(STEPS))
    return [one.rows for one in headers if one]


def test_what_a_kill_left_is_neither_counted_nor_kept(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    reading = Reading(tmp_path, PROGRAMS)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResultIngest, "_remember", killed)
        with pytest.raises(KeyboardInterrupt):
            reading.refresh()
    assert reading.rows().height == 4
    reading.refresh()
    assert reading.rows()["row_id"].to_list() == [1, 2, 3, 4]


def test_the_same_database_gives_the_same_bytes(database: str, tmp_path: Path) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    contents = []
    for name in "ab":
        reading = Reading(tmp_path / name, PROGRAMS)
        reading.refresh()
        (part,) = reading.lake.parts(STEPS)
        contents.append(reading.lake.path(part).read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("agent as model, try as trial", "'task' or 'version_description' is missing"),
        ("agent as modell, puzzle as task, try as trial", "did you mean 'model'"),
        ("agent as model, puzzle as task", "'version' or 'trial' is missing"),
    ],
)
def test_a_select_without_what_is_needed_says_so(
    database: str, tmp_path: Path, columns: str, said: str
) -> None:
    execute(database, TYPES)
    source = {"kind": "query", "trajectories": f"select {columns} from episodes"}
    with pytest.raises(UsageError, match=said):
        Reading(tmp_path, source).refresh()


@pytest.mark.usefixtures("database")
def test_two_rows_with_one_id_are_refused(tmp_path: Path) -> None:
    text = (
        "select 1 as id, 'a' as model, 'b' as task, n as trial "
        "from generate_series(0, 1) n"
    )
    with pytest.raises(ContractError, match="must be unique"):
        Reading(tmp_path, {"kind": "query", "trajectories": text}).refresh()


def test_nothing_can_be_written(database: str, tmp_path: Path) -> None:
    create_programs(database)
    execute(
        database,
        "create function f() returns int language sql as "
        "'insert into programs (value) values (1); select 1'",
    )
    text = "select 'a' as model, 'b' as task, f() as trial"
    with pytest.raises(SourceError, match="read-only transaction"):
        Reading(tmp_path, {"kind": "query", "trajectories": text}).refresh()


class TestUnreadable:
    """A database that cannot be read is an error, and never "no results"."""

    @pytest.mark.usefixtures("database")
    def test_no_table(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match='"programs" does not exist'):
            Reading(tmp_path, PROGRAMS).refresh()

    @pytest.mark.usefixtures("database")
    def test_a_fault_in_the_middle(self, tmp_path: Path) -> None:
        text = (
            "select n as id, 'a' as model, 'b' as task, 1 / (90000 - n) as trial "
            "from generate_series(1, 100000) n"
        )
        reading = Reading(tmp_path, {"kind": "query", "trajectories": text})
        with pytest.raises(SourceError, match="division by zero"):
            reading.refresh()
        assert read_result_state(reading.lake).is_empty()

    def test_no_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = f"postgresql://me:{CANARY}@127.0.0.1:1/results"
        monkeypatch.setenv("RUN_ASSETS_RESULTS_URL", url)
        with pytest.raises(TryAgainError, match="cannot be reached") as caught:
            Reading(tmp_path, PROGRAMS).refresh()
        assert CANARY not in str(caught.value)

    def test_no_database(
        self, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = server.replace("/postgres?", "/nothing?")
        monkeypatch.setenv("RUN_ASSETS_RESULTS_URL", url)
        with pytest.raises(NotFoundError, match="nothing"):
            Reading(tmp_path, PROGRAMS).refresh()

    def test_a_wrong_password(
        self, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host = server.partition("host=")[2]
        file = Path(host) / "pg_hba.conf"
        before = file.read_text(encoding="utf-8")
        execute(server, "create role someone login password 'right'")
        file.write_text(f"local all someone scram-sha-256\n{before}", encoding="utf-8")
        execute(server, "select pg_reload_conf()")
        url = f"postgresql://someone:{CANARY}%40@/postgres?host={host}"
        monkeypatch.setenv("RUN_ASSETS_RESULTS_URL", url)
        with pytest.raises(AuthenticationError) as caught:
            Reading(tmp_path, PROGRAMS).refresh()
        assert CANARY not in str(caught.value)

    def test_no_address(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RUN_ASSETS_RESULTS_URL", raising=False)
        with pytest.raises(UsageError, match="set RUN_ASSETS_RESULTS_URL"):
            Reading(tmp_path, PROGRAMS).refresh()

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match=r"nowhere\.sqlite"):
            Reading(tmp_path, {**PROGRAMS, "path": "nowhere.sqlite"}).refresh()

    def test_no_sqlite_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.sqlite").write_bytes(b"no database" * 100)
        with pytest.raises(SourceError, match="not a database"):
            Reading(tmp_path, {**PROGRAMS, "path": "x.sqlite"}).refresh()

    def test_a_value_of_another_type_in_sqlite(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "x.sqlite") as connection:
            connection.execute("create table t (m, k, n, r)")
            connection.execute("insert into t values ('a', 'b', 0, 'much')")
        connection.close()
        text = "select m as model, k as task, n as trial, r as reward from t"
        source = {"kind": "query", "path": "x.sqlite", "trajectories": text}
        with pytest.raises(SourceError, match=r"'reward' .* DOUBLE, got 'much'"):
            Reading(tmp_path, source).refresh()


def test_the_variables_of_the_factorio_environment_work(
    server: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_programs(database)
    add_steps(database, STEPS_OF_TWO)
    monkeypatch.delenv("RUN_ASSETS_RESULTS_URL")
    monkeypatch.setenv("SKILLS_DB_HOST", server.partition("host=")[2])
    monkeypatch.setenv("SKILLS_DB_NAME", "postgres")
    monkeypatch.setenv("SKILLS_DB_USER", "postgres")
    reading = Reading(tmp_path, {**PROGRAMS, "table": "results.programs"})
    assert reading.refresh()[0].n_rows == 4


def test_a_sweep_that_goes_on_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    """Its file has a log beside it, which a reader must not merge or miss."""
    path = tmp_path / "data" / "sweeps" / "s_20260102_030405_0a1b2c3d.sqlite"
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute(
            "create table trials (sweep_id, model, task, trial, success, status)"
        )
        add = "insert into trials values ('s', 'm', 't', ?, ?, 'successful')"
        writer.execute(add, (0, 1))
        writer.commit()
        reading = Reading(tmp_path)
        reading.refresh()
        assert reading.refresh() == []
        writer.execute(add, (1, 0))
        writer.commit()
        reading.refresh()
        rows = reading.rows(TRIALS)
    assert rows["has_succeeded"].to_list() == [True, False]
    assert rows["source"].unique().to_list() == [f"sweeps/{path.stem}"]


def test_no_connection_is_left_open(server: str) -> None:
    text = (
        "select query from pg_stat_activity "
        "where backend_type = 'client backend' and pid <> pg_backend_pid()"
    )
    with psycopg.connect(server) as connection:
        assert connection.execute(text).fetchall() == []
