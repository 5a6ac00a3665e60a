import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from run_assets.contracts.tables import table
from run_assets.errors import (
    NotFoundError,
    SourceError,
    TryAgainError,
    UsageError,
)
from run_assets.store.lake import Lake, Part, schema_of
from run_assets.store.query import query
from run_assets.store.warehouse import build_warehouse, warehouse_path

DAY = ("lab--maze", "2026-01-02")
CANARY = "canary-3f9c"


def frame(name: str, *rows: Mapping[str, Any]) -> pl.DataFrame:
    contract = table(name)
    blank = dict.fromkeys(contract.columns)
    return pl.DataFrame([{**blank, **row} for row in rows], schema=schema_of(contract))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    data = tmp_path_factory.mktemp("lab") / "data"
    lake = Lake(data / "lake")
    runs = frame(
        "raw.runs",
        {
            "run_path": "lab/maze/a",
            "run_name": "x'; drop table runs; --",
            "created_at": datetime(2026, 1, 2, tzinfo=UTC),
            "tags": ["a"],
            "is_deleted": False,
        },
    )
    points = [
        {"run_path": "lab/maze/a", "metric": "loss", "step": step, "value": value}
        for step, value in enumerate([1.0, float("nan"), None])
    ]
    lake.write(Part("raw.runs", 0, *DAY), runs, digest="1")
    history = frame("raw.history", *points)
    lake.write(Part("raw.history", 0, *DAY), history, digest="1")
    build_warehouse(lake, warehouse_path(lake), code_version="1")
    (data / "secret.txt").write_text(CANARY)
    (data / "lake_of_others").mkdir()
    (data / "lake_of_others" / "secret.txt").write_text(CANARY)
    (lake.root / "link.txt").symlink_to(data / "secret.txt")
    (lake.root / "folder").symlink_to(data)
    return lake


def tree(lake: Lake) -> dict[str, tuple[int, int]]:
    """Every file beside and in the lake, its size and time of change."""
    files = [file for file in lake.root.parent.rglob("*") if file.is_file()]
    return {str(one): (one.stat().st_size, one.stat().st_mtime_ns) for one in files}


def attack(lake: Lake, sql: str) -> Exception:
    """The error that an attack ends in; nothing on disk may have changed."""
    before = tree(lake)
    sql = sql.format(lake=lake.root, data=lake.root.parent)
    with pytest.raises((UsageError, TryAgainError)) as caught:
        query(lake, sql, timeout_seconds=20)
    assert tree(lake) == before
    assert CANARY not in str(caught.value)
    return caught.value


def test_tables_and_views_over_the_lake_answer(lake: Lake) -> None:
    rows = query(lake, "select metric, count(*) as n from raw.history group by all")
    assert rows.rows() == [("loss", 3)]
    assert query(lake, "from staging.runs").height == 1


def test_the_published_file_may_be_named_instead_of_the_lake(lake: Lake) -> None:
    rows = query(warehouse_path(lake), "select count(value) as n from raw.history")
    assert rows.rows() == [(2,)]


def test_types_survive(lake: Lake) -> None:
    rows = query(lake, "select created_at, tags, is_deleted from raw.runs")
    assert rows.dtypes == [pl.Datetime("us", "UTC"), pl.List(pl.String), pl.Boolean]
    assert rows.row(0) == (datetime(2026, 1, 2, tzinfo=UTC), ["a"], False)


def test_no_rows_still_have_columns(lake: Lake) -> None:
    rows = query(lake, "select run_path, last_step from raw.runs where false")
    assert rows.schema == pl.Schema({"run_path": pl.String, "last_step": pl.Int64})


@pytest.mark.parametrize(
    "sql",
    [
        "-- a comment\nselect 1;",
        "from range(3)",
        "values (1), (2)",
        (
            "with recursive n(i) as (select 1 union all select i + 1 from n "
            "where i < 9) from n"
        ),
        "select 1 union all select 2",
        "describe raw.runs",
        "summarize raw.history",
        "show all tables",
        "from information_schema.columns",
        "from duckdb_columns()",
        "pivot raw.history on metric in ('loss') using count(*)",
        "select unnest(tags) as tag from raw.runs",
        "select list_transform([1, 2], lambda x: x + 1)",
        "from raw.runs, lateral (select run_path || 'x' as y)",
        "select * from read_parquet('{lake}/raw/history/*/*/*.parquet')",
        "select 'with x as (copy (select 1) to ''f'') {{\"type\":\"COPY_NODE\"}}' as t",
        'select 1 as "type", 2 as "function"',
        "select " + " + ".join(["1"] * 500),
    ],
)
def test_a_question_in_any_shape_is_answered(lake: Lake, sql: str) -> None:
    assert query(lake, sql.format(lake=lake.root)).height > 0


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to '{lake}/x.csv'",
        "copy (select 1) to '{lake}/raw/runs/x.parquet' (format parquet)",
        "with x as (copy (select 1) to '{lake}/x.csv') select 1",
        "with x as (copy (select 1) to '{lake}/x.csv') from x",
        "with x as materialized (copy (select 1) to '{lake}/x.csv') from x",
        "with recursive x as (copy (select 1) to '{lake}/x.csv') from x",
        "from (with x as (copy (select 1) to '{lake}/x.csv') from x)",
        "select (with x as (copy (select 1) to '{lake}/x.csv') from x)",
        "describe with x as (copy (select 1) to '{lake}/x.csv') from x",
        "explain analyze copy (select 1) to '{lake}/x.csv'",
        "with x as (insert into raw.runs (run_path) values ('x') returning *) from x",
        "with x as (delete from raw.runs returning *) from x",
        "with x as (update raw.runs set notes = 'x' returning *) from x",
        "insert into raw.runs (run_path) values ('x')",
        "update raw.runs set notes = 'x'",
        "delete from raw.runs",
        "drop table raw.runs",
        "create table t as select 1",
        "create temp table t as select 1",
        "create table memory.main.t as select 1",
        "create macro m() as 1",
        "alter table raw.runs add column x int",
        "merge into raw.runs using raw.runs as s on false when matched then delete",
        "export database '{lake}/x'",
        "import database '{lake}/x'",
        "attach '{data}/other.duckdb' as other",
        "attach ':memory:' as other",
        "detach warehouse",
        "use memory",
        "install httpfs",
        "load httpfs",
        "load '{lake}/x.duckdb_extension'",
        "set memory_limit = '100GB'",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set variable x = 1",
        "reset memory_limit",
        "pragma enable_profiling",
        "pragma database_list",
        "call enable_logging()",
        "checkpoint",
        "vacuum",
        "begin",
        "prepare p as select 1",
        "execute p",
        "create secret s (type s3, key_id 'a', secret 'b')",
        "select 1; select 2",
        "select 1; copy (select 1) to '{lake}/x.csv'",
        "",
        " ; ",
        "-- nothing",
    ],
)
def test_only_one_statement_that_selects_is_run(lake: Lake, sql: str) -> None:
    assert isinstance(attack(lake, sql), UsageError)


@pytest.mark.parametrize(
    "function",
    [
        "duckdb_secrets()",
        "duckdb_settings()",
        "which_secret('s3://x', 's3')",
        "query('from duckdb_settings()')",
        "main.\"QUERY\"('select 1')",
        "system.main.query('select 1')",
        "query_table('raw.runs')",
        "read_duckdb('{data}/warehouse.duckdb', table_name = 'runs')",
        "read_text('{lake}/link.txt')",
        "read_blob('{data}/warehouse.duckdb')",
        "read_csv('/etc/passwd')",
        "sniff_csv('/etc/passwd')",
        "read_json('/etc/passwd')",
        "enable_logging(storage = 'file', storage_path = '{lake}/logs')",
        "enable_profiling(save_location = '{lake}/profile.json')",
        "arrow_scan(1::pointer, 1::pointer, 1::pointer)",
        "pandas_scan(1::pointer)",
        "python_map_function(1::pointer)",
        "force_checkpoint()",
        "duckdb_logs()",
        "json_execute_serialized_sql('x')",
        "test_all_types()",
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "from {}",
        "select (select count(*) from {})",
        "with x as (from {}) select * from x",
        "select 1 where exists (from range(1), {})",
        "describe from {}",
    ],
)
def test_only_table_functions_that_are_named_are_called(
    lake: Lake, function: str, form: str
) -> None:
    error = attack(lake, form.replace("{}", function))
    assert "is not allowed here" in str(error)


@pytest.mark.parametrize(
    "sql",
    [
        "from '/etc/passwd'",
        "from '/etc/hostname.csv'",
        "from '{data}/secret.txt'",
        "from read_parquet('/etc/passwd')",
        "from read_parquet('{data}/lake_of_others/secret.txt')",
        "from read_parquet('{lake}/../secret.txt')",
        "from read_parquet('{lake}/raw/../../secret.txt')",
        "from read_parquet('{lake}/link.txt')",
        "from read_parquet('{lake}/folder/secret.txt')",
        "from read_parquet('file://{data}/secret.txt')",
        "from read_parquet(['{lake}/raw/runs/*/*/*.parquet', '/etc/passwd'])",
        "from parquet_metadata('{data}/secret.txt')",
        "from parquet_kv_metadata('/proc/self/environ')",
        "from glob('/etc/*')",
        "from glob('{data}/*')",
        "from glob('{lake}/../*')",
        "from glob('{lake}/folder/*')",
        "from '{lake}/link.csv'",
        "from 'https://example.com/x.parquet'",
        "from read_parquet('https://example.com/x.parquet')",
        "from read_parquet('s3://bucket/x.parquet')",
        "from read_parquet('/dev/stdin')",
    ],
)
def test_no_file_outside_the_lake_is_read(lake: Lake, sql: str) -> None:
    attack(lake, sql)


def test_variables_of_the_caller_are_not_tables(lake: Lake) -> None:
    secret = pl.DataFrame({"secret": [CANARY]})
    with pytest.raises(UsageError, match="no table 'secret'"):
        query(lake, "from secret")
    assert secret.height == 1


def test_settings_tell_nothing_of_the_environment(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    settings = query(lake, "from pg_catalog.pg_settings")
    assert CANARY not in str(settings.rows())
    with pytest.raises(UsageError, match="getenv"):
        query(lake, "select getenv('WANDB_API_KEY')")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selct 1", 'syntax error at or near "selct"'),
        ("from marts.run", "did you mean raw.runs or staging.runs or marts.runs"),
        ("select run_pth from raw.runs", "run_path"),
        ("select nosuch(1)", "nosuch does not exist"),
        ("select 1 / 'x'", "Could not convert"),
        ("select $1", "parameter"),
        ("select interval 1 day as gap", "'gap' has type .* cast it"),
        ("select {{'a': interval 1 day}} as gap", "'gap' has type .* cast it"),
        ("pivot raw.history on metric using count(*)", "name the values of a pivot"),
        ("select '" + "x" * 100_000 + "'", "at most 100,000 characters"),
        ("select " + "(" * 3000 + "1" + ")" * 3000, "depth"),
    ],
)
def test_a_mistake_is_explained(lake: Lake, sql: str, message: str) -> None:
    error = attack(lake, sql)
    assert isinstance(error, UsageError)
    with pytest.raises(UsageError, match=message):
        raise error
    assert len(str(error)) < 1_500


@pytest.mark.parametrize(
    "sql",
    [
        (
            "with recursive n(i) as (select 1 union all select i + 1 from n) "
            "select max(i) from n"
        ),
        (
            "select count(*) from range(10000000) a, range(10000000) b "
            "where hash(a.range) = hash(b.range) + 1 and a.range < b.range"
        ),
        "select sum(range) from range(1000000000000)",
        "select pg_sleep(60)",
        "select sleep_ms(60000)",
    ],
)
def test_a_query_that_does_not_end_is_interrupted(lake: Lake, sql: str) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError, match=r"longer than 0\.3 s"):
        query(lake, sql, timeout_seconds=0.3)
    assert time.monotonic() - start < 10


def test_work_beyond_the_memory_limit_is_refused(lake: Lake) -> None:
    with pytest.raises(UsageError, match=r"more than the memory limit of 0\.1 GB"):
        query(lake, "select list(range) from range(100000000)", memory_limit="100MB")


def test_a_result_beyond_the_memory_limit_is_refused_early(lake: Lake) -> None:
    with pytest.raises(UsageError, match=r"larger than the memory limit of 0\.1 GB"):
        query(lake, "from range(100000000000)", memory_limit="100MB")


def test_a_large_sort_spills_and_leaves_nothing_behind(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sql = (
        "select max(r) as top from (select row_number() over (order by hash(range)) "
        "as r from range(4000000))"
    )
    assert query(lake, sql, memory_limit="100MB").item() == 4_000_000
    assert not list(tmp_path.iterdir())


def test_more_rows_than_asked_for_are_an_error(lake: Lake) -> None:
    assert query(lake, "from range(5)", max_rows=5).height == 5
    with pytest.raises(UsageError, match="more than 5 rows"):
        query(lake, "from range(6)", max_rows=5)


def test_a_memory_limit_that_is_none_is_refused(lake: Lake) -> None:
    with pytest.raises(UsageError, match="such as 4GB, got 'much'"):
        query(lake, "select 1", memory_limit="much")


def test_without_a_warehouse_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="run-assets refresh"):
        query(Lake(tmp_path / "lake"), "select 1")


def test_a_damaged_warehouse_is_named(tmp_path: Path) -> None:
    (tmp_path / "warehouse.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(SourceError, match=r"warehouse\.duckdb cannot be opened"):
        query(Lake(tmp_path / "lake"), "select 1")


def test_an_open_connection_of_the_same_process_does_not_disturb(lake: Lake) -> None:
    with duckdb.connect(str(warehouse_path(lake)), read_only=True) as connection:
        assert query(lake, "from raw.runs").height == 1
        assert len(connection.execute("from raw.runs").fetchall()) == 1


def test_a_writing_connection_of_the_same_process_is_explained(lake: Lake) -> None:
    with (
        duckdb.connect(str(warehouse_path(lake))),
        pytest.raises(TryAgainError, match="open for writing elsewhere"),
    ):
        query(lake, "from raw.runs")


@pytest.mark.parametrize(
    ("sql", "limits"),
    [
        ("from range(6)", {"max_rows": 5}),
        ("select range from range(10_000_000)", {"memory_limit": "30MB"}),
        ("select interval 1 day", {}),
    ],
)
def test_a_refused_result_leaves_the_file_to_others(
    lake: Lake, sql: str, limits: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as refused:
        query(lake, sql, **limits)
    duckdb.connect(str(warehouse_path(lake))).close()
    assert refused.value.__traceback__, "it still holds what was open"


def test_it_works_where_the_reader_may_not_write(lake: Lake) -> None:
    folder = lake.root.parent
    before = tree(lake)
    folder.chmod(0o555)
    try:
        assert query(lake, "from raw.runs").height == 1
    finally:
        folder.chmod(0o755)
    assert tree(lake) == before


def test_a_lake_behind_a_symlink_is_read(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(lake.root.parent)
    assert query(Lake(tmp_path / "data" / "lake"), "from raw.history").height == 3


def test_no_thread_stays_behind(lake: Lake) -> None:
    before = threading.active_count()
    query(lake, "select 1")
    assert threading.active_count() == before
