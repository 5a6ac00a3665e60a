"""Expressions against Python's own arithmetic, on random trees."""

import ast
import math
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from run_assets.derived.evaluation import (
    RunInputs,
    evaluate_per_run,
    evaluate_per_step,
)
from run_assets.derived.expressions import parse
from run_assets.derived.metric_groups import match
from run_assets.errors import UsageError

FAST = settings(max_examples=60, deadline=None)  # timings vary on shared machines
METRICS = ("a", "b/c", "d e")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ATOMS = st.sampled_from(["a", "`b/c`", "`d e`"]) | st.floats(
    0, allow_nan=False, allow_infinity=False
).map(repr)


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Signs, operators and functions whose results all libraries agree on."""
    return st.one_of(
        inner.map("-({})".format),
        st.builds("({}) {} ({})".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("{} {} {}".format, inner, st.sampled_from("+-*/"), inner),
        inner.map("abs({})".format),
        inner.map("sqrt({})".format),
        st.builds("max({}, {}, {})".format, inner, inner, inner),
        st.builds("min({}, {})".format, inner, inner),
    )


TREES = st.recursive(ATOMS, combined, max_leaves=20)


class Finite(float):
    """A float whose arithmetic raises instead of overflowing."""

    def __add__(self, other: float) -> "Finite":
        return finite(float(self) + float(other))

    def __sub__(self, other: float) -> "Finite":
        return finite(float(self) - float(other))

    def __mul__(self, other: float) -> "Finite":
        return finite(float(self) * float(other))

    def __truediv__(self, other: float) -> "Finite":
        return finite(float(self) / float(other))

    def __radd__(self, other: float) -> "Finite":
        return finite(float(other) + float(self))

    def __rsub__(self, other: float) -> "Finite":
        return finite(float(other) - float(self))

    def __rmul__(self, other: float) -> "Finite":
        return finite(float(other) * float(self))

    def __rtruediv__(self, other: float) -> "Finite":
        return finite(float(other) / float(self))

    def __neg__(self) -> "Finite":
        return Finite(-float(self))

    def __abs__(self) -> "Finite":
        return Finite(abs(float(self)))


def finite(value: float) -> Finite:
    if not math.isfinite(value):
        raise OverflowError
    return Finite(value)


class FiniteLiterals(ast.NodeTransformer):
    """Makes every number in Python's tree a `Finite`."""

    def visit_Constant(self, node: ast.Constant) -> ast.Call:
        return ast.Call(ast.Name("finite", ast.Load()), [node], [])


SCOPE: dict[str, Callable[..., float]] = {
    "abs": abs,
    "sqrt": lambda x: finite(math.sqrt(x)),
    "max": max,
    "min": min,
    "finite": finite,
}


def with_python(text: str, values: dict[str, float]) -> float | None:
    """What Python makes of it; None where it raises or overflows on the way."""
    names = {"a": "a", "`b/c`": "b", "`d e`": "d"}
    for quoted, plain in names.items():
        text = text.replace(quoted, plain)
    numbers = map(finite, values.values())
    scope = dict(zip(names.values(), numbers, strict=True))
    tree = ast.fix_missing_locations(
        FiniteLiterals().visit(ast.parse(text, mode="eval"))
    )
    code = compile(tree, "<oracle>", "eval")
    try:
        return float(eval(code, {"__builtins__": SCOPE}, scope))  # our own text
    except (ZeroDivisionError, OverflowError, ValueError):
        return None


def inputs(values: dict[str, float]) -> RunInputs:
    return RunInputs(
        pl.DataFrame(
            {
                "run_path": ["r"] * len(values),
                "metric": list(values),
                "last": list(values.values()),
            }
        ),
        pl.DataFrame({"run_path": ["r"], "last_step": [0]}),
    )


@FAST
@given(TREES, st.tuples(NUMBERS, NUMBERS, NUMBERS))
def test_an_expression_gives_what_python_gives(
    text: str, numbers: tuple[float, float, float]
) -> None:
    values = dict(zip(METRICS, numbers, strict=True))
    row = evaluate_per_run({"it": text}, inputs(values)).row(0, named=True)
    assert row["value"] == with_python(text, values)
    assert (row["null_reason"] is None) == (row["value"] is not None)


@FAST
@given(TREES, st.tuples(NUMBERS, NUMBERS, NUMBERS))
def test_a_run_with_one_step_is_the_same_per_step_and_per_run(
    text: str, numbers: tuple[float, float, float]
) -> None:
    values = dict(zip(METRICS, numbers, strict=True))
    per_run = evaluate_per_run({"it": text}, inputs(values))
    points = inputs(values).summaries.rename({"last": "value"}).with_columns(step=0)
    per_step = evaluate_per_step({"it": text}, points, inputs(values))
    has_metric = bool(parse(text).names)
    assert per_step.height == has_metric
    if has_metric:
        assert per_step.drop("step").equals(per_run)


@FAST
@given(st.floats(0.001, 1000), st.floats(-5, 5))
@pytest.mark.parametrize(
    ("text", "function"),
    [("log(a)", math.log), ("exp(a)", math.exp), ("a ** b", math.pow)],
)
def test_curved_functions_agree_to_the_last_digits(
    text: str, function: Callable[..., float], a: float, b: float
) -> None:
    values = {"a": min(a, 700.0), "b": b}
    expected = function(*list(values.values())[: 2 if "b" in text else 1])
    [value] = evaluate_per_run({"it": text}, inputs(values))["value"]
    assert math.isclose(value, expected, rel_tol=1e-13, abs_tol=1e-15)


@FAST
@given(st.text(max_size=60) | st.text("ab`+-*/(),. 1e_\n", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = parse(text)
    except UsageError as refusal:
        assert "cannot read the expression" in str(refusal)  # noqa: PT017 - either may be
    else:
        assert all(expression.names)


@FAST
@given(
    st.lists(st.text("ab*?[]@/", max_size=6)), st.sets(st.text("ab*[]/", min_size=1))
)
def test_a_pattern_finds_only_what_is_there(
    names: list[str], available: set[str]
) -> None:
    wanted = [name for name in names if not name.startswith("@")]
    found, unmatched = match(wanted, groups={}, available=available)
    assert set(found) <= available
    assert len(set(found)) == len(found)
    assert set(unmatched) <= set(wanted) - available
    assert available & set(wanted) <= set(found)
