"""Performance profiles on cases worked by hand."""

import math

import numpy as np
import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats import replicates as loops
from run_assets.stats.binomials import share_quantiles
from run_assets.stats.profiles import SCHEMA
from tests.support.scores import scores

ONE = scores(a={"maze": [0, 1, 1, 2, 3]})


def test_above_is_strict_and_thresholds_come_sorted() -> None:
    result = stats.performance_profiles(ONE, thresholds=[3, 1, -1, 1])
    assert result.schema == SCHEMA
    assert result["threshold"].to_list() == [-1.0, 1.0, 3.0]
    assert result["fraction"].to_list() == pytest.approx([1.0, 0.4, 0.0])
    assert set(result["kind"]) == {"score"}


def test_every_task_has_the_same_say() -> None:
    ragged = scores(a={"maze": [1, 1, 1, 1], "nav": [0]})
    assert (
        stats.performance_profiles(ragged, thresholds=[0.5])["fraction"].item() == 0.5
    )


def test_shares_fall_and_stay_inside_their_band_and_in_0_to_1() -> None:
    result = stats.performance_profiles(ONE)
    assert result.height == 101
    assert result["fraction"].is_sorted(descending=True)
    assert result.select(
        (pl.col("fraction").is_between("ci_low", "ci_high")).all()
        & (pl.col("ci_low") >= 0).all()
        & (pl.col("ci_high") <= 1).all()
    ).item()


def test_the_band_of_one_task_is_binomial() -> None:
    half = scores(a={"maze": [0.0] * 50 + [1.0] * 50})
    row = stats.performance_profiles(half, thresholds=[0.5], resamples=20_000)
    # Binomial(100, 0.5) has its 2.5 and 97.5 % quantiles at 40 and 60.
    assert row["ci_low"].item() == pytest.approx(0.40, abs=0.011)
    assert row["ci_high"].item() == pytest.approx(0.60, abs=0.011)


def test_one_run_has_a_profile_without_a_band() -> None:
    row = stats.performance_profiles(scores(a={"maze": [2.0]}), thresholds=[1.0]).row(
        0, named=True
    )
    assert (row["fraction"], row["ci_low"], row["ci_high"]) == (1.0, None, None)
    assert "no interval: one run" in row["notes"]


def test_a_group_without_scores_has_null_shares_and_a_reason() -> None:
    both = scores(a={"maze": [math.nan]}, b={"maze": [1, 2]})
    result = stats.performance_profiles(both, thresholds=[0.0, 1.5])
    assert result.filter(group_name="a")["fraction"].to_list() == [None, None]
    assert result["notes"][0] == "1 of 1 scores left out (1 missing); no usable score"
    assert result.filter(group_name="b")["fraction"].to_list() == [1.0, 0.5]


def test_no_usable_score_at_all_gives_no_rows() -> None:
    result = stats.performance_profiles(scores(a={"maze": [math.nan]}))
    assert result.schema == SCHEMA
    assert result.is_empty()


def test_an_empty_frame_gives_an_empty_result() -> None:
    assert stats.performance_profiles(ONE.clear()).is_empty()


def test_thresholds_must_be_numbers() -> None:
    with pytest.raises(UsageError, match="thresholds must be finite"):
        stats.performance_profiles(ONE, thresholds=[0.0, math.nan])


@pytest.mark.parametrize(
    "tasks",
    [
        {"maze": [0, 1, 1, 2, 3], "nav": [1, 2, 3, 4, 5]},
        {"maze": [0, 1, 1, 2, 3], "nav": [1, 2], "zoo": [3, 1, 5]},
        {f"task {t}": list(range(t % 3, t % 3 + 7)) for t in range(12)},
    ],
    ids=["equal runs", "ragged", "many tasks"],
)
def test_the_exact_band_is_what_many_resamples_come_to(
    tasks: dict[str, list[float]],
) -> None:
    data = scores(a=tasks)
    options = {"thresholds": [-1.0, 0.5, 1.0, 2.5, 4.0, 9.0], "confidence": 0.9}
    exact = stats.performance_profiles(data, **options)  # type: ignore[arg-type]  # a mapping of options
    drawn = stats.performance_profiles(
        data,
        band="bootstrap",
        resamples=40_000,
        **options,  # type: ignore[arg-type]  # as above
    )
    assert set(exact["band"]) == {"exact"}
    assert exact["resamples"].null_count() == exact.height
    for end in ("ci_low", "ci_high"):
        # One step of the grid: 40,000 resamples may miss the exact quantile by it.
        np.testing.assert_allclose(exact[end], drawn[end], atol=0.011)


def test_exact_ends_are_those_of_the_binomial_distribution() -> None:
    import scipy.stats

    counts = np.array([[0], [3], [10], [19], [20]])
    ends = share_quantiles(counts, np.array([20]), 0.05)
    assert ends is not None
    expected = scipy.stats.binom(20, counts[:, 0] / 20).ppf([[0.05], [0.95]]) / 20
    np.testing.assert_allclose(ends, np.maximum(expected, 0))


def test_runs_without_a_common_grid_are_resampled_and_noted() -> None:
    tasks = {f"task {n}": [float(i) for i in range(n)] for n in (89, 97, 101, 103)}
    tasks |= {f"task {n}": [60.0] * n for n in range(105, 200)}  # beyond 64 bits
    result = stats.performance_profiles(scores(a=tasks), thresholds=[50.0])
    assert result["band"].item() == "bootstrap"
    assert result["resamples"].item() == 2_000
    assert "band by resampling" in result["notes"].item()


def test_compiled_and_plain_bands_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    data = scores(a={"maze": [0, 1, 1, 2, 3], "nav": [1, 2], "zoo": [4]})
    bands = []
    for draws in (0, 10**9):
        monkeypatch.setattr(loops, "COMPILED_DRAWS", draws)
        result = stats.performance_profiles(data, band="bootstrap", resamples=200)
        bands.append(result.select("ci_low", "ci_high").to_numpy())
    np.testing.assert_allclose(bands[0], bands[1], rtol=1e-12, atol=1e-15)


def test_ratios_are_to_the_best_mean_of_the_task() -> None:
    both = scores(
        a={"maze": [10, 30], "nav": [-1, 1]}, b={"maze": [10, 10], "nav": [2, 6]}
    )
    result = stats.performance_profiles(
        both, kind="ratio", thresholds=[-0.5, 0.0, 0.5, 1.0]
    )
    assert set(result["kind"]) == {"ratio"}
    # The best means are 20 (a in maze) and 4 (b in nav).
    shares = result["fraction"].to_list()
    assert shares == pytest.approx([1, 0.75, 0.25, 0.25, 1, 1, 0.25, 0.25])


def test_a_task_without_a_positive_best_has_no_ratios() -> None:
    both = scores(a={"maze": [-3, -1], "nav": [1, 2]}, b={"maze": [-9]})
    result = stats.performance_profiles(both, kind="ratio", thresholds=[0.5])
    assert result["fraction"].to_list() == [1.0, None]
    assert "no ratio in 'maze': no positive best" in result["notes"][0]
    assert "no usable score" in result["notes"][1]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"kind": "scores"}, "unknown kind 'scores'; did you mean 'score'"),
        ({"band": "exat"}, "unknown band 'exat'; did you mean 'exact'"),
        ({"method": "bca"}, "unknown method 'bca'"),
    ],
)
def test_unknown_options_are_refused(option: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        stats.performance_profiles(ONE, **option)  # type: ignore[arg-type]  # on purpose
