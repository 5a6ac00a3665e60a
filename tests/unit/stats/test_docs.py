"""The page on statistics: its example runs, and it leaves nothing public out."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from run_assets import stats
from run_assets.stats import aggregate, bootstrap, corrections, normalization
from run_assets.stats.comparisons import TESTS
from run_assets.stats.significance import ALTERNATIVES, EFFECTS

PAGE = Path(__file__).parents[3] / "docs" / "statistics.md"


def test_the_example_prints_what_the_page_shows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), {})
    assert printed.getvalue() == shown


@pytest.mark.parametrize(
    "name",
    [
        *(f"stats.{name}" for name in stats.__all__),
        *aggregate.NAMES,
        *bootstrap.METHODS,
        *normalization.METHODS,
        *corrections.CORRECTIONS,
        *TESTS,
        *EFFECTS,
        *ALTERNATIVES,
    ],
)
def test_every_public_name_and_option_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
