import time
from typing import Any

import polars as pl
import pytest

from run_assets.errors import UsageError
from run_assets.reading.conditions import condition, fitting_runs
from run_assets.reading.run import flat

CONFIGS: dict[str, dict[str, Any]] = {
    "a": {"lr": 1e-4, "model": "Qwen/Qwen2.5", "env": {"size": 4}, "debug": True},
    "b": {"lr": 0.01, "model": "llama", "env": {"size": 16}, "debug": False},
    "c": {"lr": "0.01", "model": "../x", "seed": 1, "note": None},
    "d": {"layers": [1, 2]},
}


def configs() -> pl.DataFrame:
    rows = []
    for path, config in CONFIGS.items():
        for key, text in flat(config).items():
            number = {"true": 1.0, "false": 0.0}.get(text)
            if number is None and text[0] not in '"[n':
                number = float(text)
            rows.append((path, key, text, number, text.strip('"')))
    names = ["run_path", "key", "value_json", "value_double", "value_text"]
    return pl.DataFrame(rows, names, orient="row").with_columns(
        value_text=pl.when(pl.col("value_json") != "null").then("value_text")
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("lr=1e-4", ["a"]),
        ("lr=0.0001", ["a"]),
        ("lr=0.01", ["b", "c"]),
        ('lr="0.01"', ["c"]),
        ("lr>0.0001", ["b"]),
        ("lr>=1e-4", ["a", "b"]),
        ("lr<0.01", ["a"]),
        ("lr<=1", ["a", "b"]),
        ("lr=1e-5..1e-3", ["a"]),
        ("lr=..0.001", ["a"]),
        ("lr=0.001..", ["b"]),
        ("lr!=0.01", ["a"]),
        ("model=Qwen/*", ["a"]),
        ("model=../x", ["c"]),
        ("model=qwen/*", []),
        ("env.size=16", ["b"]),
        ("env.*=4", ["a"]),
        ("debug=true", ["a"]),
        ("debug=1", []),
        ("seed=1", ["c"]),
        ("note=null", ["c"]),
        ("layers=[1, 2]", ["d"]),
    ],
)
def test_conditions_find_their_runs(text: str, wanted: list[str]) -> None:
    assert fitting_runs(configs(), condition(text)).to_list() == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("lr>fast", "compares numbers"),
        ("lrr=1", "did you mean 'lr'"),
        ("environment.size=1", "no run has a config key"),
    ],
)
def test_a_condition_without_meaning_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fitting_runs(configs(), condition(text))


def test_a_wildcard_made_to_backtrack_does_not() -> None:
    long = configs().with_columns(value_text=pl.lit("a" * 2000))
    began = time.monotonic()
    assert fitting_runs(long, condition(f"model={'*a' * 40}*b")).is_empty()
    assert time.monotonic() - began < 2
