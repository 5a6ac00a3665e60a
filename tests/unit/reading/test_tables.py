import json

import polars as pl
import pytest

from run_assets.errors import SourceError
from run_assets.reading.run import flat, parsed
from run_assets.reading.tables import logged_objects, table_rows


def test_columns_keep_their_kind_or_become_text() -> None:
    text = json.dumps(
        {
            "columns": ["n", "x", "ok", "mixed", "none", "n"],
            "data": [[1, 0.5, True, 1, None, 7], [2, "NaN", None, "a", None, 8]],
        }
    )
    found = table_rows(text, "t")
    assert found.columns == ["n", "x", "ok", "mixed", "none", "n.1"]
    assert found["n"].dtype == pl.Int64
    assert found["x"].is_nan().to_list() == [False, True]
    assert found["ok"].to_list() == [True, None]
    assert found["mixed"].to_list() == ["1", '"a"']
    assert found["none"].to_list() == [None, None]


def test_an_empty_table_has_its_columns() -> None:
    found = table_rows('{"columns": ["a"], "data": []}', "t")
    assert (found.columns, found.height) == (["a"], 0)


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{", "null", '{"columns": ["a"]}'),
        '{"columns": ["a"], "data": [[1, 2]]}',
        '{"columns": ["a"], "data": 3}',
        "[" * 100_000,
    ],
)
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="not a W&B table"):
        table_rows(text, "t")


def test_objects_are_listed_whatever_strangers_put_in_them() -> None:
    texts = [
        '{"_type": "table-file", "path": "media/t.json", "size": 3, "nrows": 1.0}',
        '{"_type": "image-file", "path": 7, "size": "big", "sha256": ["x"]}',
        '"text"',
        "[1]",
        "not json",
    ]
    frame = pl.DataFrame(
        [("m", step, text) for step, text in enumerate(texts)],
        ["metric", "step", "value_json"],
        orient="row",
    )
    found = logged_objects(frame)
    assert found["kind"].to_list() == ["table-file", "image-file"]
    assert found["path"].to_list() == ["media/t.json", None]
    assert found["n_rows"].to_list() == [1, None]


def test_a_config_is_flattened_as_in_the_lake() -> None:
    assert flat({"a": {"b": {}, "c": [1, {"d": 2}]}, "e": None}) == {
        "a.b": "{}",
        "a.c": '[1, {"d": 2}]',
        "e": "null",
    }


def test_a_config_nested_too_deep_stays_text() -> None:
    text = '{"a":' * 20_000 + "1" + "}" * 20_000
    assert parsed(text) == {"_unreadable": text}
    deep: dict[str, object] = {}
    inner = deep
    for _ in range(500):
        inner["k"] = inner = {}
    [key] = flat(deep)
    assert key.count(".") == 63
