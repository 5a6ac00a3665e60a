from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_assets.digests import code_digest_of, digest_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(JSON, JSON)
def test_only_equal_values_share_a_digest(one: object, other: object) -> None:
    import json

    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest_of(one) == digest_of(other)) == same


def test_the_order_of_keys_does_not_count_and_that_of_values_does() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of([1, 2]) != digest_of([2, 1])


def test_values_do_not_run_into_each_other() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of(1) != digest_of("1")


def test_other_values_count_by_their_text() -> None:
    assert digest_of(date(2026, 1, 2), Path("a")) == digest_of("2026-01-02", "a")
    assert digest_of("\ud800") != digest_of("\ud801")


def test_a_package_counts_with_all_its_modules() -> None:
    whole = code_digest_of("run_assets.contracts")
    part = code_digest_of("run_assets.contracts.tables")
    assert len({whole, part, code_digest_of("run_assets.stats")}) == 3


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        code_digest_of("run_assets.no_such_module")
