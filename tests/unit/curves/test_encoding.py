"""Configurations become numbers by scalers of the training rows alone."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from run_assets.curves.encoding import Encoder, fit_encoder
from run_assets.curves.settings import Feature


def number(name: str) -> Feature:
    return Feature(name=name, key=name)


def encoded(
    train: list[float | None], asked: list[float | None], name: str = "x"
) -> "np.ndarray[Any, Any]":
    encoder = fit_encoder(pl.DataFrame({name: train}), [number(name)])
    return encoder.encode(pl.DataFrame({name: asked}, schema={name: pl.Float64}))


def test_two_decades_are_taken_by_their_logarithm() -> None:
    found = encoded([1e-4, 1e-2], [1e-3])
    assert found == pytest.approx(np.array([[0.0]]), abs=1e-12)


def test_less_than_two_decades_stay_as_they_are() -> None:
    assert encoded([1.0, 3.0], [2.0, 4.0]).ravel() == pytest.approx([0.0, 2.0])


@pytest.mark.parametrize("name", ["gamma", "gae_lambda", "discounting", "beta1"])
def test_discounts_are_taken_by_their_distance_from_one(name: str) -> None:
    found = encoded([0.9, 0.999], [0.99], name)
    assert found == pytest.approx(np.array([[0.0]]), abs=1e-9)


def test_a_name_that_only_contains_a_discount_is_none() -> None:
    encoder = fit_encoder(pl.DataFrame({"betting": [0.1, 0.9]}), [number("betting")])
    assert encoder.columns[0].transform == "linear"


def test_a_missing_number_is_the_mean_and_says_so() -> None:
    found = encoded([1.0, 3.0, None], [None, 3.0])
    assert found.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_an_unknown_category_is_other() -> None:
    spec = Feature(name="algorithm", key="algorithm", kind="category")
    encoder = fit_encoder(pl.DataFrame({"algorithm": ["a", "b", None]}), [spec])
    asked = pl.DataFrame({"algorithm": ["b", "c", None]})
    assert encoder.names == ["algorithm=a", "algorithm=b", "algorithm=other"]
    assert encoder.encode(asked).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]


def test_a_constant_feature_does_not_divide_by_zero() -> None:
    assert np.isfinite(encoded([2.0, 2.0], [2.0, 5.0])).all()


def test_an_infinite_value_counts_as_missing() -> None:
    assert encoded([1.0, 3.0, float("inf")], [1.0]).tolist() == [[-1.0, 0.0]]


def test_the_state_survives_json() -> None:
    frame = pl.DataFrame({"x": [1.0, None, 200.0], "c": ["a", None, "b"]})
    specs = [number("x"), Feature(name="c", key="c", kind="category")]
    encoder = fit_encoder(frame, specs)
    again = Encoder.from_state(json.loads(json.dumps(encoder.state())))
    assert again == encoder


def test_decoding_is_the_way_back() -> None:
    for name, values in (
        ("x", [1e-4, 1e-1]),
        ("gamma", [0.9, 0.99]),
        ("y", [1.0, 2.0]),
    ):
        column = fit_encoder(pl.DataFrame({name: values}), [number(name)]).columns[0]
        there = column.encode(pl.Series(name, values))[:, 0]
        assert column.decode(there) == pytest.approx(values)
