"""SQL files keep the project's rules; each rule is shown to catch a planted fault."""

import re
import shutil
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import duckdb
import pytest

from run_assets.contracts.table import Table
from run_assets.contracts.tables import SCHEMAS, TABLES
from run_assets.store.models import create_view, sql_folder

SQL_SCHEMAS = ("staging", "core", "marts")
FLOW = list(SCHEMAS)
READS = re.compile(r"-- reads: (\S+(?:, \S+)*)")
COMMENT_OR_TEXT = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
STAR = re.compile(r"(?:\bselect|\bdistinct|,)\s+(?:\w+\.)?\*|\bcolumns\s*\(")
# Same input, same rows; and every row comes from a table that the shell has bound.
FORBIDDEN = re.compile(
    r"\b(now|today|current_\w+|get_current_\w+|random|uuid|setseed|nextval|tablesample"
    r"|read_\w+|parquet_scan|glob|getenv|attach|install|load|copy|pragma|set)\b"
)


def address(file: Path) -> str:
    return f"{file.parent.name}.{file.stem}"


def reads(file: Path) -> tuple[str, ...]:
    lines = file.read_text(encoding="utf-8").splitlines()
    said = READS.fullmatch(lines[1]) if len(lines) > 1 else None
    return tuple(said[1].split(", ")) if said else ()


def code(file: Path) -> str:
    """The text without comments and string literals."""
    return COMMENT_OR_TEXT.sub("", file.read_text(encoding="utf-8"))


def sql_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.sql"))


def wrong_addresses(folder: Path) -> Iterator[str]:
    files = {address(file) for file in folder.glob("*/*.sql")}
    tables = {name for name, one in TABLES.items() if one.schema in SQL_SCHEMAS}
    yield from (f"{name}: a file without a contract" for name in files - tables)
    yield from (f"{name}: a contract without a file" for name in tables - files)
    for path in folder.rglob("*"):
        is_model = path.suffix == ".sql" and path.parent.parent == folder
        if path.is_file() and not is_model:
            yield f"{path.name}: no model lies here"


def wrong_headers(folder: Path) -> Iterator[str]:
    for file in sql_files(folder):
        grain, lineage = file.read_text(encoding="utf-8").splitlines()[:2]
        contract = TABLES.get(address(file))
        promised = f"-- One row per {contract.grain}" if contract else "-- One row per "
        if not (grain.startswith(promised) and grain.endswith(".")):
            yield f"{address(file)}: line 1 must be `{promised}….`"
        if not READS.fullmatch(lineage):
            yield f"{address(file)}: line 2 must be `-- reads: <table>, <table>`"


def wrong_directions(folder: Path) -> Iterator[str]:
    for file in sql_files(folder):
        name = address(file)
        for read in reads(file):
            if FLOW.index(read.split(".")[0]) > FLOW.index(file.parent.name):
                yield f"{name} reads {read}, which lies to its right"
            if read == name:
                yield f"{name} reads itself"


def cycles(folder: Path) -> Iterator[str]:
    graph = {address(file): reads(file) for file in sql_files(folder)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " reads ".join(reversed(error.args[1]))


def stars(folder: Path) -> Iterator[str]:
    for file in sql_files(folder):
        if file.parent.name in ("core", "marts") and STAR.search(code(file)):
            yield f"{address(file)}: name the columns"


def hidden_inputs(folder: Path) -> Iterator[str]:
    for file in sql_files(folder):
        for found in FORBIDDEN.findall(code(file)):
            yield f"{address(file)} uses {found}"


def bound_types(
    file: Path, inputs: tuple[str, ...], contract: Table
) -> tuple[dict[str, str], dict[str, str]]:
    """Types that the model gives and promises, where only these inputs exist."""
    with duckdb.connect() as connection:
        for name in inputs:
            create_view(connection, name, [])
        text = file.read_text(encoding="utf-8")
        found = connection.execute(f"describe {text}").fetchall()
        promise = ", ".join(
            f'cast(null as {kind}) as "{column}"'
            for column, kind in contract.types.items()
        )
        expected = connection.execute(f"describe select {promise}").fetchall()
    return dict(row[:2] for row in found), dict(row[:2] for row in expected)


def binds(file: Path, inputs: tuple[str, ...], contract: Table) -> bool:
    try:
        bound_types(file, inputs, contract)
    except duckdb.CatalogException:
        return False
    return True


def wrong_lineage(folder: Path) -> Iterator[str]:
    for file in sql_files(folder):
        contract, said = TABLES[address(file)], reads(file)
        if not binds(file, said, contract):
            yield f"{contract.name} reads more than {said}"
            continue
        for read in said:
            others = tuple(name for name in said if name != read)
            if binds(file, others, contract):
                yield f"{contract.name} does not read {read}"


def wrong_columns(folder: Path) -> Iterator[str]:
    for file in sql_files(folder):
        contract = TABLES[address(file)]
        found, promised = bound_types(file, reads(file), contract)
        if list(found.items()) != list(promised.items()):
            wrong = sorted(found.items() ^ promised.items())
            yield f"{contract.name} differs from its contract: {wrong or 'order'}"


RULES: tuple[Callable[[Path], Iterator[str]], ...] = (
    wrong_addresses,
    wrong_headers,
    wrong_directions,
    cycles,
    stars,
    hidden_inputs,
    wrong_lineage,
    wrong_columns,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_sql_models_keep_the_rule(rule: Callable[[Path], Iterator[str]]) -> None:
    assert sql_files(sql_folder())
    assert list(rule(sql_folder())) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "sql"
    shutil.copytree(sql_folder(), folder)
    return folder


def edit(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / f"{name.replace('.', '/')}.sql"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_renamed_file_is_caught(copy: Path) -> None:
    (copy / "marts/runs.sql").rename(copy / "marts/run.sql")
    assert sorted(wrong_addresses(copy)) == [
        "marts.run: a file without a contract",
        "marts.runs: a contract without a file",
    ]


@pytest.mark.parametrize("path", ["notes.md", "marts/old/runs.sql", "marts/runs.sql~"])
def test_a_stray_file_is_caught(copy: Path, path: str) -> None:
    (copy / path).parent.mkdir(exist_ok=True)
    (copy / path).touch()
    assert list(wrong_addresses(copy)) == [f"{Path(path).name}: no model lies here"]


def test_a_grain_other_than_the_contracts_is_caught(copy: Path) -> None:
    edit(copy, "core.run_configs", "-- One row per run and config", "-- One row per")
    assert any("line 1" in problem for problem in wrong_headers(copy))


def test_a_missing_lineage_is_caught(copy: Path) -> None:
    edit(copy, "core.run_configs", "-- reads: staging.runs", "-- from staging.runs")
    assert any("line 2" in problem for problem in wrong_headers(copy))


@pytest.mark.parametrize("later", ["marts.runs", "derived.run_metrics", "stats.scores"])
def test_a_read_against_the_flow_is_caught(copy: Path, later: str) -> None:
    edit(copy, "core.run_configs", "reads: staging.runs", f"reads: {later}")
    assert list(wrong_directions(copy)) == [
        f"core.run_configs reads {later}, which lies to its right"
    ]


def test_a_model_that_reads_itself_is_caught(copy: Path) -> None:
    edit(copy, "core.run_configs", "reads: staging.runs", "reads: core.run_configs")
    assert list(wrong_directions(copy)) == ["core.run_configs reads itself"]


def test_models_that_read_each_other_are_caught(copy: Path) -> None:
    edit(
        copy,
        "marts.run_summaries",
        "reads: core.metric_points",
        "reads: marts.runs, core.metric_points",
    )
    assert len(list(cycles(copy))) == 1


@pytest.mark.parametrize(
    "columns", ["*", "runs.*", "run_path, *", "distinct *", "columns('run.*')"]
)
def test_a_star_is_caught_and_a_count_is_not(copy: Path, columns: str) -> None:
    assert "count(*)" in (copy / "marts/runs.sql").read_text(encoding="utf-8")
    edit(copy, "marts.runs", "    runs.run_path,", f"    {columns},")
    assert list(stars(copy)) == ["marts.runs: name the columns"]


@pytest.mark.parametrize(
    "source", ["now()", "random()", "read_parquet('x')", "current_date", "glob('*')"]
)
def test_a_source_other_than_the_bound_tables_is_caught(
    copy: Path, source: str
) -> None:
    edit(copy, "marts.runs", "    runs.notes,", f"    {source} as notes,")
    assert len(list(hidden_inputs(copy))) == 1


def test_an_undeclared_read_is_caught(copy: Path) -> None:
    edit(copy, "marts.runs", "staging.runs, marts.run_summaries", "staging.runs")
    assert list(wrong_lineage(copy)) == ["marts.runs reads more than ('staging.runs',)"]


def test_an_undeclared_read_inside_a_subquery_is_caught(copy: Path) -> None:
    edit(
        copy,
        "staging.history",
        "where value is not null",
        "where value is not null and run_path in (select run_path from raw.runs)",
    )
    assert len(list(wrong_lineage(copy))) == 1


def test_a_declared_read_that_is_not_used_is_caught(copy: Path) -> None:
    edit(
        copy, "core.run_configs", "reads: staging.runs", "reads: staging.runs, raw.runs"
    )
    assert list(wrong_lineage(copy)) == ["core.run_configs does not read raw.runs"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    runs.notes,\n", ""),
        ("    runs.notes,\n", "    runs.notes as note,\n"),
        (
            "    runs.last_step,\n",
            "    cast(runs.last_step as integer) as last_step,\n",
        ),
        ("    runs.program,\n", "    cast(runs.program as json) as program,\n"),
        (
            "    runs.entity,\n    runs.project,\n",
            "    runs.project,\n    runs.entity,\n",
        ),
    ],
    ids=["missing", "renamed", "integer", "json", "order"],
)
def test_columns_other_than_the_contracts_are_caught(
    copy: Path, old: str, new: str
) -> None:
    edit(copy, "marts.runs", old, new)
    assert len(list(wrong_columns(copy))) == 1


def test_a_column_that_no_input_has_is_an_error(copy: Path) -> None:
    edit(copy, "marts.runs", "runs.notes", "runs.note")
    with pytest.raises(duckdb.BinderException, match="note"):
        list(wrong_columns(copy))
