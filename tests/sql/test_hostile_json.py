"""One bad run never stops the part: JSON from strangers, from raw to the marts."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from run_assets.contracts.tables import table
from run_assets.store.lake import conform, schema_of
from run_assets.store.models import run_model

MAX_LEVELS = 64
INVALID = ("", "{", '{"a": 1}}', '{"a": 1} x', "NaN!", "'a'", "{'a': 1}", '"\\ud800"')


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def frame_of(name: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    schema = schema_of(table(name))
    return pl.DataFrame(
        {column: [row.get(column) for row in rows] for column in schema}, schema=schema
    )


def run(
    name: str, given: dict[str, list[dict[str, object]]], tmp: Path
) -> pl.DataFrame:
    files = {}
    for read, rows in given.items():
        files[read] = [tmp / f"{read}.parquet"]
        frame_of(read, rows).write_parquet(files[read][0])
    with duckdb.connect(config={"threads": "1"}) as connection:
        connection.execute("set timezone = 'UTC'")
        return conform(run_model(connection, name, files), table(name))


@pytest.mark.parametrize("text", INVALID)
def test_what_is_not_json_gives_no_rows_and_stops_no_other_run(
    text: str, tmp_path: Path
) -> None:
    bad = {"run_path": "a/p/bad", "config_json": text, "summary_json": text}
    good = {"run_path": "a/p/good", "config_json": "{}", "summary_json": '{"loss": 2}'}
    good["config_json"] = '{"lr": 0.1}'
    points: list[dict[str, object]] = [
        {"run_path": path, "metric": "loss", "step": 0, "value": 1.0}
        for path in ("a/p/bad", "a/p/good")
    ]
    runs: list[dict[str, object]] = [{**bad}, {**good}]
    configs = run("core.run_configs", {"raw.runs": runs}, tmp_path)
    assert configs["run_path"].to_list() == ["a/p/good"]
    given = {"raw.runs": runs, "core.metric_points": points}
    summaries = run("marts.run_summaries", given, tmp_path).sort("run_path")
    assert summaries["summary_value"].to_list() == [None, 2.0]


@pytest.mark.parametrize("levels", [MAX_LEVELS - 1, MAX_LEVELS])
def test_nesting_up_to_the_limit_is_one_dotted_key(levels: int, tmp_path: Path) -> None:
    runs: list[dict[str, object]] = [
        {"run_path": "a/p/1", "config_json": nested(levels)}
    ]
    rows = run("core.run_configs", {"raw.runs": runs}, tmp_path).rows()
    assert rows == [("a/p/1", ".".join("a" * levels), "1", 1.0, "1")]


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 5_000, 100_000])
def test_deeper_nesting_stays_json_under_the_key_of_the_limit(
    levels: int, tmp_path: Path
) -> None:
    text = nested(levels)
    runs: list[dict[str, object]] = [
        {"run_path": "a/p/1", "config_json": text, "summary_json": text}
    ]
    rows = run("core.run_configs", {"raw.runs": runs}, tmp_path).rows()
    rest = nested(levels - MAX_LEVELS)
    assert rows == [("a/p/1", ".".join("a" * MAX_LEVELS), rest, None, rest)]
    points: list[dict[str, object]] = [
        {"run_path": "a/p/1", "metric": "a", "step": 0, "value": 1.0}
    ]
    given = {"raw.runs": runs, "core.metric_points": points}
    assert run("marts.run_summaries", given, tmp_path)["summary_value"][0] is None


def test_deeply_nested_lists_stay_one_value(tmp_path: Path) -> None:
    text = f'{{"a": {"[" * 5_000}{"]" * 5_000}}}'
    runs: list[dict[str, object]] = [{"run_path": "a/p/1", "config_json": text}]
    assert run("core.run_configs", {"raw.runs": runs}, tmp_path).height == 1


def test_a_wide_config_keeps_every_key(tmp_path: Path) -> None:
    text = "{" + ", ".join(f'"k{i}": {{"v": {i}}}' for i in range(20_000)) + "}"
    runs: list[dict[str, object]] = [{"run_path": "a/p/1", "config_json": text}]
    rows = run("core.run_configs", {"raw.runs": runs}, tmp_path)
    assert rows["value_double"].sum() == sum(range(20_000))
