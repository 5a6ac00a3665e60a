from datetime import UTC, datetime

import polars as pl
import pytest
from rich.cells import cell_len

from run_assets.cli.text_table import cell_text, to_table

LONG = pl.DataFrame(
    {
        "run_path": [f"lab/project/{'x' * 30}"],
        "notes": ["word " * 40],
        "at": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)],
        "value": [123456.789],
        "more": ["m" * 30],
    }
)


def widths(text: str) -> set[int]:
    return {cell_len(line) for line in text.splitlines()}


def test_columns_align_for_wide_joined_and_reversed_text() -> None:
    names = ["plain", "日本語", "👩\u200d👩\u200d👧", "e\u0301te\u0301", "שלום"]
    frame = pl.DataFrame({"name": names, "value": [1, 20, 300, 4, 5]})
    assert widths(to_table(frame)) == {cell_len("日本語") + 2 + len("value")}


def test_numbers_stand_right_and_text_left() -> None:
    table = to_table(pl.DataFrame({"a": ["x", "long"], "b": [1.5, 100.25]}))
    assert table.splitlines()[2:] == ["x        1.5", "long  100.25"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_a_terminal_is_never_overrun(width: int) -> None:
    assert max(widths(to_table(LONG, width))) <= width


def test_numbers_and_times_are_never_cut() -> None:
    for width in range(20, 140):
        shown = to_table(LONG, width)
        assert ("123457" in shown) or ("value" in shown.splitlines()[-1]) or width < 60
        assert "2026-01-0…" not in shown


def test_what_does_not_fit_is_named() -> None:
    last = to_table(LONG, 60).splitlines()[-1]
    assert last.startswith("(")
    assert "more columns in csv, json, parquet" in last


def test_a_pipe_gets_the_last_column_whole_and_other_texts_cut_at_80() -> None:
    shown = to_table(LONG.with_columns(more=pl.lit("m" * 200)))
    assert "more columns" not in shown
    head, dashes, row = shown.splitlines()
    assert row.endswith("  " + "m" * 200)
    assert "word…  2026" in row
    assert cell_len(dashes) == 42 + 80 + 19 + len("123457") + 80 + 4 * 2
    assert cell_len(head) < cell_len(dashes)


def test_cutting_wide_text_counts_columns_not_characters() -> None:
    frame = pl.DataFrame({"a": ["日" * 50], "b": [1]})
    assert max(widths(to_table(frame, 40))) <= 40


def test_no_rows_are_said() -> None:
    shown = to_table(pl.DataFrame(schema={"a": pl.Int64}))
    assert shown.splitlines() == ["a", "-", "(no rows)"]


def test_only_the_head_is_bold() -> None:
    lines = to_table(pl.DataFrame({"a": [1]}), is_styled=True).splitlines()
    assert lines == ["\x1b[1ma\x1b[0m", "-", "1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (float("nan"), "nan"),
        (1234567.0, "1.23457e+06"),
        ([1, None], "1, "),
        ({"name": "x\ny", "size": 2}, "name: x·y, size: 2"),
        (b"\x00\xff", "00ff"),
        ("two\nlines", "two·lines"),
    ],
)
def test_every_value_is_one_line(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_a_hostile_column_name_is_made_safe() -> None:
    assert "\x1b" not in to_table(pl.DataFrame({"\x1b[31m": [1]}))
