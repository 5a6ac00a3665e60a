"""Write docs/tables from the contracts; ``--check`` only says whether they differ."""

import sys
from collections.abc import Iterator
from pathlib import Path

from run_assets.contracts.table import Table
from run_assets.contracts.tables import SCHEMAS, TABLES
from run_assets.store.models import Model, models

FOLDER = Path(__file__).parent / "tables"
_LAYOUTS = {
    "single": "one parquet file",
    "runs": "parquet by project and day",
    "points": "parquet by project and day; very long runs span several files",
    "batches": "parquet files in the order in which rows were read",
    "view": "a view; nothing is stored",
    "none": "only in `warehouse.duckdb`",
}


def main() -> int:
    """Write or compare the pages."""
    pages = dict(build())
    if "--check" in sys.argv[1:]:
        return check(pages)
    FOLDER.mkdir(exist_ok=True)
    for stale in set(FOLDER.glob("*.md")) - set(pages):
        stale.unlink()
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


def build() -> Iterator[tuple[Path, str]]:
    """Every page and its text."""
    yield FOLDER / "README.md", _index()
    for contract in TABLES.values():
        yield FOLDER / f"{contract.name}.md", _page(contract)


def check(pages: dict[Path, str]) -> int:
    """Name the pages that differ from the contracts."""
    known = set(FOLDER.glob("*.md"))
    differing = [
        path
        for path, text in pages.items()
        if path not in known or path.read_text("utf-8") != text
    ]
    for path in [*differing, *(known - set(pages))]:
        sys.stderr.write(f"{path} differs from the contracts; run `make docs`\n")
    return 1 if differing or known - set(pages) else 0


def _index() -> str:
    lines = [
        "# Tables",
        "",
        "Generated from `run_assets/contracts`; `make docs` rewrites it.",
        "",
    ]
    for schema, meaning in SCHEMAS.items():
        lines += [
            f"## {schema}: {meaning}",
            "",
            "| table | one row per |",
            "| --- | --- |",
        ]
        lines += [
            f"| [{one.name}]({one.name}.md) | {one.grain} |"
            for one in TABLES.values()
            if one.schema == schema
        ]
        lines.append("")
    return "\n".join(lines)


def _page(contract: Table) -> str:
    model = models().get(contract.name)
    lines = [
        f"# {contract.name}",
        "",
        f"One row per {contract.grain}.",
        "",
        f"Key: {_listed(contract.key)}. Stored as {_LAYOUTS[contract.layout]}.",
        "",
    ]
    if model:
        made_by = f"[`{_file(contract)}`](../../{_file(contract)})"
        lines += [f"Made by {made_by} from {_links(model)}.", ""]
    lines += ["| column | type | meaning |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {contract.column(name).type} | {contract.column(name).meaning} |"
        for name in contract.columns
    ]
    return "\n".join([*lines, ""])


def _file(contract: Table) -> str:
    return f"sql/{contract.name.replace('.', '/', 1)}.sql"


def _links(model: Model) -> str:
    return ", ".join(f"[{name}]({name}.md)" for name in model.reads)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.exit(main())
