"""The package: its public names and what importing them costs."""

import subprocess
import sys

import pytest

from run_assets import stats


def test_every_public_name_is_a_documented_function() -> None:
    for name in stats.__all__:
        assert callable(getattr(stats, name))
        assert getattr(stats, name).__doc__


def test_public_names_are_listed_and_others_are_no_attributes() -> None:
    assert set(stats.__all__) <= set(dir(stats))
    with pytest.raises(AttributeError, match="no attribute 'iqm'"):
        _ = stats.iqm


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("dagster", "duckdb", "numpy", "polars", "scipy", "wandb")
    code = (
        "import sys; from run_assets import stats; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


def test_intervals_need_no_scipy() -> None:
    code = (
        "import sys; from run_assets import stats; stats.interval_estimates; "
        "stats.compare_groups; print('scipy' in sys.modules, 'dagster' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "False False"
