"""A history gives the same rows whatever the route and however it is cut."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_assets.errors import SourceError
from run_assets.sources.wandb_api_rows import (
    Decoder,
    ExportSpan,
    export_pieces,
    export_span,
    joined_spans,
    json_rows,
    row_digest,
    type_counts,
)
from tests.support.wandb_server.exports import export_bytes
from tests.support.wandb_server.rows import respelled
from tests.support.wandb_server.storage import History
from tests.support.wandb_server.switches import Switches

NUMBERS = st.floats(width=64) | st.integers(-(2**53), 2**53) | st.booleans()
KEYS = st.sampled_from(["loss", "a.b", "step", "time", "ünï/🙂", "m0", "m1"])
ROWS = st.lists(
    st.dictionaries(KEYS, NUMBERS, max_size=4)
    | st.fixed_dictionaries({"text": st.text(max_size=5), "deep": st.just({"x": 1})}),
    max_size=30,
)


def stored(rows: list[dict[str, Any]]) -> History:
    history = History()
    lines = [
        json.dumps({"_step": 3 * i, "_timestamp": 1.7e9 + i, "_runtime": i, **row})
        for i, row in enumerate(rows)
    ]
    history.write(0, lines)
    return history


def decoder_of(history: History) -> Decoder:
    return Decoder(type_counts({"keys": history.key_statistics()}))


def ordered(frame: pl.DataFrame) -> list[str]:
    """Rows in order, NaN equal to itself."""
    return sorted(map(repr, frame.rows()))


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(["literal", "text"]), st.integers(1, 40))
def test_exports_and_pages_agree(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[dict[str, Any]],
    encoding: Any,
    piece: int,
) -> None:
    history = stored(rows)
    decoder = decoder_of(history)
    pages = json_rows([respelled(line, encoding) for line in history.lines], decoder)
    assert pages.steps == history.steps
    if not rows:
        assert pages.history.is_empty()
        return
    path = tmp_path_factory.mktemp("export") / "export.parquet"
    path.write_bytes(export_bytes(history.lines, Switches(nan_in_exports=encoding)))
    pieces = list(export_pieces(path, decoder, piece_values=piece))
    assert max(last for _, last in pieces) == history.steps[-1]
    # a double that is a whole number and a boolean of one column share a type there
    mixed = {k for k, v in history.key_statistics().items() if len(v["typeCounts"]) > 1}
    alike = ~pl.col("metric").is_in(sorted(mixed))
    exported = pl.concat([frame for frame, _ in pieces])
    assert ordered(exported.filter(alike)) == ordered(pages.history.filter(alike))
    assert ordered(exported.select("metric", "step", "value")) == ordered(
        pages.history.select("metric", "step", "value")
    )
    assert export_span(path) == ExportSpan(
        len(rows), history.steps[-1], is_ordered=True, first_step=0
    )


@given(ROWS, st.integers(0, 30))
def test_rows_may_come_in_any_number_of_pages(
    rows: list[dict[str, Any]], cut: int
) -> None:
    history = stored(rows)
    decoder = decoder_of(history)
    whole = json_rows(history.lines, decoder).history
    parts = [
        json_rows(some, decoder).history
        for some in (history.lines[:cut], history.lines[cut:])
    ]
    assert ordered(pl.concat(parts)) == ordered(whole)
    for step in history.steps:
        one = json_rows([history.lines[step // 3]], decoder).history
        assert row_digest(one, step) == row_digest(whole, step)


@given(st.lists(st.lists(st.integers(0, 50), min_size=1), min_size=1))
def test_spans_join_as_their_steps_do(files: list[list[int]]) -> None:
    def span(steps: list[int]) -> ExportSpan:
        ascends = all(a < b for a, b in pairwise(steps))
        return ExportSpan(len(steps), max(steps), ascends, steps[0])

    joined = joined_spans(map(span, files))
    steps = [step for file in files for step in file]
    assert (joined.rows, joined.last_step) == (len(steps), max(steps))
    assert joined.is_ordered == span(steps).is_ordered


@pytest.mark.parametrize("line", ["", "{broken", "[]", '{"x": 1}', '{"_step": "a"}'])
def test_what_is_no_row_is_refused(line: str) -> None:
    with pytest.raises(SourceError, match="a history row must be a JSON object"):
        json_rows([line], Decoder({}))


def test_a_damaged_export_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.parquet"
    for content in (b"", b"<html>", b"PAR1" + b"\0" * 100 + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(SourceError, match="damaged"):
            export_span(path)


def test_a_null_is_nan_only_where_numbers_were_counted_and_no_null() -> None:
    lines = ['{"_step": 0, "a": null, "b": null, "c": null}']
    counts = {"a": {"number": 2}, "b": {"number": 2, "nil": 1}}
    found = json_rows(lines, Decoder(counts)).history
    assert found["metric"].to_list() == ["a"]
    assert math.isnan(found["value"][0])
