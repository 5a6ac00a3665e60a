import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_assets.reports import text


@given(st.text())
def test_a_shown_name_is_one_short_line_without_control_characters(name: str) -> None:
    line = text.shown(name, limit=40)
    assert len(line) <= 40
    assert len(line.splitlines()) <= 1
    kept = {unicodedata.category(one) for one in line if one != "\u200d"}
    assert not kept & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_a_long_name_keeps_its_start_and_its_end() -> None:
    assert text.shown("first-" + "x" * 300 + "-last", limit=15) == "first-x…xx-last"


def test_an_emoji_made_of_several_stays_one() -> None:
    assert text.shown("👩\u200d🔬") == "👩\u200d🔬"


@given(st.lists(st.text(max_size=30), unique=True, max_size=8))
def test_labels_of_different_names_differ(names: list[str]) -> None:
    found = text.labels(names, limit=6)
    assert list(found) == names
    assert len(set(found.values())) == len(names)


@given(st.lists(st.text(max_size=60), unique=True, max_size=8))
def test_slugs_are_distinct_safe_file_names(names: list[str]) -> None:
    slugs = [text.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert all(set(one) <= allowed and 0 < len(one) <= 49 for one in slugs if one)


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [
        (-0.0001, 3, "0.000"),
        (-0.5, 1, "\u22120.5"),
        (12_345.6, 0, "12,346"),
        (2.5e12, 0, "2.50e+12"),
        (float("inf"), 2, "∞"),
        (float("-inf"), 2, "\u2212∞"),
    ],
)
def test_a_number_has_a_true_minus_and_no_negative_zero(
    value: float, places: int, expected: str
) -> None:
    assert text.number(value, places) == expected


def test_decimals_follow_the_largest_finite_value() -> None:
    assert text.decimals([0.001, 432.1, float("nan"), float("inf")]) == 0
    assert text.decimals([]) == 3


@pytest.mark.parametrize(
    ("share", "expected"), [(0.95, "95%"), (0.9, "90%"), (0.999, "99.9%"), (1, "100%")]
)
def test_a_confidence_is_a_plain_percentage(share: float, expected: str) -> None:
    assert text.percent(share) == expected
