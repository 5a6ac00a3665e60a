"""Every table and column is in the contracts, and every contract is documented."""

from pathlib import Path

import pytest

from run_assets.contracts.columns import COLUMNS
from run_assets.contracts.table import Table
from run_assets.contracts.tables import SCHEMAS, TABLES
from run_assets.store.lake import TYPES, schema_of

DOCS = Path(__file__).parents[2] / "docs"
RESERVED = {"group", "order", "select", "table", "end", "pct"}


@pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)
def test_a_contract_is_complete(contract: Table) -> None:
    assert contract.schema in SCHEMAS
    assert contract.grain
    assert contract.key
    assert set(contract.key) <= set(contract.columns)
    assert set(contract.sort) <= set(contract.columns)
    assert len(set(contract.columns)) == len(contract.columns)
    assert schema_of(contract).names() == list(contract.columns)


@pytest.mark.parametrize("contract", TABLES.values(), ids=TABLES)
def test_columns_follow_the_naming_rules(contract: Table) -> None:
    for name, kind in contract.types.items():
        assert name not in RESERVED
        assert not name.endswith("_pct")
        assert (kind == "TIMESTAMPTZ") == name.endswith("_at"), name
        assert (kind == "BOOLEAN") == name.startswith(("is_", "has_")), name
        assert contract.column(name).meaning


def test_every_column_is_used_and_every_type_is_known() -> None:
    used = {name for table in TABLES.values() for name in table.columns}
    assert set(COLUMNS) <= used
    assert {kind for table in TABLES.values() for kind in table.types.values()} <= set(
        TYPES
    )


def test_every_table_has_its_page() -> None:
    pages = {page.stem for page in (DOCS / "tables").glob("*.md")} - {"README"}
    assert pages == set(TABLES)


def test_a_contracts_digest_changes_with_its_promise() -> None:
    digests = {contract.digest for contract in TABLES.values()}
    assert len(digests) == len(TABLES)
