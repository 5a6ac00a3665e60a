"""Wildcards as regular expressions mean what ``fnmatch`` means."""

import re
from fnmatch import fnmatchcase

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_assets.stats.task_rules import pattern_of

SIGNS = st.text(alphabet="ab[]!^*?.\\-\n", max_size=6)


@given(SIGNS, SIGNS)
def test_a_wildcard_matches_the_same_names(match: str, name: str) -> None:
    # A range like [b-a] is an error in a regular expression, and matches nothing else.
    try:
        found = re.fullmatch(pattern_of(match), name) is not None
    except re.error:
        return
    assert found == fnmatchcase(name, match)


@pytest.mark.parametrize(
    ("match", "name"),
    [("*", "a\nb"), ("iron_*", "iron_ore"), ("[!a]?", "bc"), ("a.b", "a.b")],
)
def test_the_engine_reads_it_alike(match: str, name: str) -> None:
    with duckdb.connect() as connection:
        row = connection.execute(
            "select regexp_full_match(?, ?)", [name, pattern_of(match)]
        ).fetchone()
    assert row == (True,)
