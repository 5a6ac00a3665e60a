import polars as pl

from run_assets.reading.similarity import similar_runs

HERE = pl.DataFrame({"key": ["lr", "seed", "env"], "value_json": ["1e-05", "1", '"a"']})
OTHERS = {
    "same": {"lr": "0.00001", "seed": "1", "env": '"a"'},
    "seed": {"lr": "1e-05", "seed": "2", "env": '"a"'},
    "added": {"lr": "1e-05", "seed": "1", "env": '"a"', "new": "null"},
    "lacks": {"lr": "1e-05", "seed": "1"},
    "far": {"lr": "1", "seed": "2", "env": '"b"'},
}


def others() -> pl.DataFrame:
    rows: list[tuple[str, str | None, str | None]] = [
        (path, key, text)
        for path, config in OTHERS.items()
        for key, text in config.items()
    ]
    rows.append(("bare", None, None))
    return pl.DataFrame(rows, ["run_path", "key", "value_json"], orient="row")


def test_the_nearest_come_first_with_the_keys_that_differ() -> None:
    found = {
        row["run_path"]: [tuple(one.values()) for one in row["differences"]]
        for row in similar_runs(HERE, others(), 2).to_dicts()
    }
    assert found == {
        "same": [],
        "added": [("new", None, "null")],
        "lacks": [("env", '"a"', None)],
        "seed": [("seed", "1", "2")],
    }
    assert next(iter(found)) == "same"


def test_more_differences_may_be_allowed() -> None:
    assert set(similar_runs(HERE, others(), 3)["run_path"]) == {*OTHERS, "bare"}


def test_no_other_run_is_no_row() -> None:
    assert similar_runs(HERE, others().clear(), 3).is_empty()
