"""The core: statistics over scores; numpy and polars in, polars out.

Frames of scores are long: one row per run and task, ragged allowed. Every function is
pure: the same frame, options and seed give the same bytes. Formulas, sources and the
policy for messy input are in ``docs/statistics.md``.

>>> import polars as pl
>>> from run_assets import stats
>>> scores = pl.DataFrame({
...     "group_name": ["ppo"] * 4 + ["sac"] * 4,
...     "task": ["maze", "maze", "nav", "nav"] * 2,
...     "run_path": [f"lab/p/{i}" for i in range(8)],
...     "score": [0.25, 0.75, 0.5, 0.5, 0.25, 0.75, 1.0, 1.0],
... })
>>> stats.interval_estimates(scores, statistics=("mean",))["estimate"].to_list()
[0.5, 0.75]
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from run_assets.stats.comparisons import compare_groups
    from run_assets.stats.corrections import adjust_p_values
    from run_assets.stats.efficiency import sample_efficiency
    from run_assets.stats.gaps import optimality_gaps
    from run_assets.stats.improvement import probability_of_improvement
    from run_assets.stats.intervals import interval_estimates
    from run_assets.stats.normalization import normalize
    from run_assets.stats.paired import paired_difference
    from run_assets.stats.pass_rates import pass_at_k, pass_hat_k
    from run_assets.stats.planning import required_runs
    from run_assets.stats.profiles import performance_profiles
    from run_assets.stats.ranks import rank_stability

__all__ = [
    "adjust_p_values",
    "compare_groups",
    "interval_estimates",
    "normalize",
    "optimality_gaps",
    "paired_difference",
    "pass_at_k",
    "pass_hat_k",
    "performance_profiles",
    "probability_of_improvement",
    "rank_stability",
    "required_runs",
    "sample_efficiency",
]

# Loaded on first use: commands that only print help must not pay for numpy and polars.
_HOMES = {
    "adjust_p_values": "corrections",
    "compare_groups": "comparisons",
    "interval_estimates": "intervals",
    "normalize": "normalization",
    "optimality_gaps": "gaps",
    "paired_difference": "paired",
    "pass_at_k": "pass_rates",
    "pass_hat_k": "pass_rates",
    "performance_profiles": "profiles",
    "required_runs": "planning",
    "probability_of_improvement": "improvement",
    "rank_stability": "ranks",
    "sample_efficiency": "efficiency",
}


def __getattr__(name: str) -> object:
    """The public function ``name``, imported from its module on first use."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    function: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    """The public functions, loaded or not."""
    return sorted({*globals(), *__all__})
