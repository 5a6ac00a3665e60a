"""The checks of the statistics pass on a good lab and turn red on planted faults."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster import build_resources

from run_assets.checks import counts, scored
from run_assets.contracts.tables import table
from run_assets.definitions import build_definitions
from run_assets.lab import Lab
from run_assets.resources import use_lab
from run_assets.stats import consistency
from tests.support.labs import ANALYSIS, make_lab

WHOLE = {
    **ANALYSIS,
    "statistics": ["iqm", "mean", "optimality_gap"],
    "optimal_scores": {"easy": 1.0, "hard": 2.0},
    "target_score": 0.5,
}
NOBODY = {**ANALYSIS, "name": "nobody", "runs": {"state": ["running"]}}


@pytest.fixture(scope="module")
def evaluated(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Lab, dict[tuple[str, str], bool]]]:
    lab = make_lab(tmp_path_factory.mktemp("lab"), 8, analyses=[WHOLE, NOBODY])
    job = build_definitions(lab).resolve_job_def("refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        yield (
            lab,
            {
                (one.asset_key.to_user_string(), one.check_name): one.passed
                for one in result.get_asset_check_evaluations()
            },
        )


def test_every_check_of_a_good_lab_passes_but_for_the_empty_analysis(
    evaluated: tuple[Lab, dict[tuple[str, str], bool]],
) -> None:
    _, passed = evaluated
    names = {name for asset, name in passed if asset.startswith("stats/")}
    assert names == {
        *("contract", "scored", "answered", "intervals", "counts", "trials_counted"),
    }
    # `fresh` asks when the sources were last read, and the stamp is written last.
    assert {key for key, is_good in passed.items() if not is_good} <= {
        ("stats/scores", "scored"),
        ("raw/runs", "fresh"),
    }
    assert not passed["stats/scores", "scored"]


def test_every_table_of_statistics_has_rows(
    evaluated: tuple[Lab, dict[tuple[str, str], bool]],
) -> None:
    lab, _ = evaluated
    for name in consistency.INTERVALS:
        rows = lab.lake.read(name)
        if "analysis" not in table(name).columns:  # of evaluations: there are none here
            assert rows.is_empty(), name
            continue
        assert set(rows["analysis"]) == {"algorithms"}, name
        assert rows.columns == list(table(name).columns)
    reached = lab.lake.read("stats.sample_efficiency").filter(statistic="first_step")
    assert reached["level"].to_list() == [0.5, 0.5]


def test_an_estimate_of_too_many_runs_turns_a_check_red(
    evaluated: tuple[Lab, dict[tuple[str, str], bool]], tmp_path: Path
) -> None:
    lab, _ = evaluated
    file = str(tmp_path / "run_assets.yaml")
    (part,) = lab.lake.parts("stats.interval_estimates")
    header = lab.lake.header(part)
    assert header is not None
    rows = lab.lake.read("stats.interval_estimates")
    more = rows.with_columns(pl.col("n_runs") + 1)
    lab.lake.write(part, more, digest=header.digest, code=header.code)
    with build_resources({"lab": use_lab(lab, file)}) as of:
        found = counts(of.lab)
        empty = scored(of.lab)
    assert isinstance(found, dg.AssetCheckResult)
    assert not found.passed
    assert isinstance(empty, dg.AssetCheckResult)
    assert "nobody" in (empty.description or "")
