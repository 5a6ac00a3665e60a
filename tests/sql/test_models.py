"""Every case under tests/sql: given these rows of its inputs, a model says this.

``tests/sql/<schema>/<table>/<case>.yaml`` holds ``about`` (what the case shows),
``given`` (rows by input table) and ``expect`` (all rows, in any order). A column that
a given row leaves out is null; a column that no expected row names is not compared.
Types come from the contracts.
"""

from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from run_assets.contracts.tables import table
from run_assets.store.lake import conform, schema_of
from run_assets.store.models import Model, create_view, model, models

FOLDER = Path(__file__).parent
REQUIRED = ("typical", "empty", "null_and_nan", "duplicates", "ties")


class Case(NamedTuple):
    """One file: a model, the rows it is given and the rows it must give."""

    model: Model
    given: dict[str, pl.DataFrame]
    expect: pl.DataFrame
    compared: list[str]


def frame_of(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as the table's contract types them."""
    schema = schema_of(table(name))
    unknown = {column for row in rows for column in row} - set(schema)
    assert not unknown, f"{name} has no columns {sorted(unknown)}"
    frame = pl.DataFrame(
        {column: [row.get(column) for row in rows] for column in schema},
        schema=schema,
    )
    return frame.with_columns(pl.col(pl.Datetime).dt.cast_time_unit("us"))


def read_case(file: Path) -> Case:
    said = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert list(said) == ["about", "given", "expect"], f"{file}: {list(said)}"
    tested = model(f"{file.parent.parent.name}.{file.parent.name}")
    assert set(said["given"]) <= set(tested.reads), f"{file} gives what is not read"
    named = {column for row in said["expect"] for column in row}
    return Case(
        tested,
        {name: frame_of(name, said["given"].get(name, [])) for name in tested.reads},
        frame_of(tested.name, said["expect"]),
        [column for column in tested.contract.columns if column in named],
    )


def run(
    tested: Model, given: dict[str, pl.DataFrame], folder: Path, *, threads: int = 1
) -> pl.DataFrame:
    """The model's rows as the lake would store them."""
    with duckdb.connect(config={"threads": str(threads)}) as connection:
        connection.execute("set timezone = 'UTC'")
        for name, frame in given.items():
            file = folder / f"{name}.parquet"
            frame.write_parquet(file)
            create_view(connection, name, [file])
        frame = connection.sql(tested.sql).pl()
    return conform(frame, tested.contract).sort(tested.contract.key)


CASES = sorted(FOLDER.glob("*/*/*.yaml"))


def case_id(file: Path) -> str:
    return str(file.relative_to(FOLDER).with_suffix(""))


@pytest.mark.parametrize("file", CASES, ids=case_id)
def test_given_these_rows_the_model_says_what_is_expected(
    file: Path, tmp_path: Path
) -> None:
    case = read_case(file)
    found = run(case.model, case.given, tmp_path)
    assert_frame_equal(
        found.select(case.compared),
        case.expect.sort(case.model.contract.key).select(case.compared),
        rel_tol=1e-12,
        abs_tol=0,
    )


@pytest.mark.parametrize("file", CASES, ids=case_id)
def test_neither_the_order_of_its_input_nor_the_threads_change_a_byte(
    file: Path, tmp_path: Path
) -> None:
    case = read_case(file)
    turned = {name: frame.reverse() for name, frame in case.given.items()}
    expected = run(case.model, case.given, tmp_path)
    found = run(case.model, turned, tmp_path, threads=2)
    assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("name", models())
def test_every_model_has_the_cases_that_models_fail_on(name: str) -> None:
    folder = FOLDER / name.replace(".", "/")
    missing = [case for case in REQUIRED if not (folder / f"{case}.yaml").is_file()]
    assert not missing


@pytest.mark.parametrize("name", models())
def test_the_typical_case_names_every_column(name: str) -> None:
    case = read_case(FOLDER / name.replace(".", "/") / "typical.yaml")
    assert case.compared == list(case.model.contract.columns)


@pytest.mark.parametrize("file", CASES, ids=case_id)
def test_a_case_belongs_to_a_model_and_says_what_it_shows(file: Path) -> None:
    assert f"{file.parent.parent.name}.{file.parent.name}" in models()
    about = yaml.safe_load(file.read_text(encoding="utf-8"))["about"]
    assert about.endswith(".")


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    file = FOLDER / "staging" / "history" / "typical.yaml"
    case = read_case(file)
    found = run(case.model, case.given, tmp_path)
    wrong = found.with_columns(step=pl.col("step") + 1)
    with pytest.raises(AssertionError):
        assert_frame_equal(found, wrong)


def test_a_row_with_a_column_of_another_table_is_refused() -> None:
    with pytest.raises(AssertionError, match="logged_when"):
        frame_of("raw.history", [{"logged_when": None}])
