"""Which metric plays which part in a run, and which direction is good.

A direction is declared, here or in the configuration, and never guessed from a name
that no declaration fits.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from typing import Literal

from run_assets.config import Diagnostics
from run_assets.errors import UsageError, did_you_mean

Direction = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Role:
    """A part that metrics play.

    Attributes:
        match: Names and wildcards, anchored; ``config.*`` are keys of the config.
        direction: Which values are good.
    """

    match: tuple[str, ...]
    direction: Direction = "none"


def _role(names: str, direction: Direction = "none") -> Role:
    return Role(tuple(names.split()), direction)


# Source: names logged by the trainers that the playbook and the reward guide were
# written for (diplomacy GRPO, Metta, Dakota), and W&B's own system metrics.
DEFAULT_ROLES: Mapping[str, Role] = {
    "loss": _role("loss */loss loss/mean", "lower"),
    "reward": _role("*reward_mean reward/mean overview/reward", "higher"),
    "reward_std": _role("*reward_std reward/std"),
    "reward_component": _role("reward_components/* reward/components/* */rewards/*"),
    "success_rate": _role("success_rate */success_rate", "higher"),
    "gradient_norm": _role("grad_norm *grad_norm"),
    "learning_rate": _role("lr optim/lr *learning_rate"),
    "kl": _role("kl */kl kl/mean *approx_kl *kl_divergence"),
    "entropy": _role("entropy */entropy entropy/mean"),
    "throughput": _role(
        "perf/throughput *steps_per_second *tokens_per_second */sps sps", "higher"
    ),
    "utilization": _role("perf/mfu */mfu", "higher"),
    "trajectories": _role("*/trajectories"),
    "rollout_seconds": _role("*rollout_time_s"),
    "training_seconds": _role("*training_time_s"),
    "overlap_seconds": _role("*pipeline_overlap_s"),
    "slowest_rollout_seconds": _role("rollout/max_total_s"),
    "reload_seconds": _role("*max_volume_reload_s"),
    "failed_rollouts": _role("rollout/failed_count"),
    "gpu_use": _role("gpu.*.gpu system.gpu.*.gpu monitor/gpu_utilization"),
    "memory": _role(
        "proc.memory.rssMB gpu.*.memoryAllocatedBytes system.proc.memory.rssMB"
        " monitor/gpu_memory_used_gb"
    ),
    "extraction_rate": _role("extraction/rate", "higher"),
    "orders_expected": _role("extraction/orders_expected"),
    "orders_extracted": _role("extraction/orders_extracted"),
    "empty_responses": _role("extraction/empty_responses"),
    "partial_responses": _role("extraction/partial_responses"),
    "cache_hit_rate": _role("cache/hit_rate", "higher"),
    "cache_hits": _role("cache/total_hits"),
    "cache_queries": _role("cache/total_queries"),
    "prompt_tokens": _role("cache/prompt_tokens"),
    "cache_switch": _role("config.*prefix_cache_optimized config.*enable_prefix_cach*"),
    "compute": _role("power_law/cumulative_simulated_years *cumulative_compute"),
    "compute_per_step": _role("power_law/simulated_years_per_step"),
    "performance_at_compute": _role("power_law/reward_at_compute", "higher"),
    "model_parameters": _role("config.*n_parameters config.*num_parameters"),
    "training_tokens": _role("*tokens_seen *total_tokens"),
    "elo": _role("elo/challenger", "higher"),
    "gatekeeper_win_rate": _role("elo/win_rate", "higher"),
    "games_played": _role("elo/games_played"),
    "league_size": _role("league/num_checkpoints"),
    "best_elo": _role("league/best_elo", "higher"),
    "opponent_win_rate": _role("eval/vs_*/win_rate", "higher"),
    "opponent_survival_rate": _role("eval/vs_*/survival_rate", "higher"),
    "opponent_centers": _role("eval/vs_*/avg_centers", "higher"),
    "opponent_games": _role("eval/vs_*/games eval/vs_*/num_games"),
    "planned_steps": _role("config.total_steps config.*.total_steps"),
}
"""The parts that ship; ``diagnostics.metrics`` adds and replaces."""


class Parts:
    """Who plays what: roles, and the metrics that their patterns fit.

    Attributes:
        roles: By name.
    """

    def __init__(self, roles: Mapping[str, Role] | None = None) -> None:
        self.roles: Mapping[str, Role] = DEFAULT_ROLES if roles is None else roles
        self._found: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    def players(self, role: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """The known names that play a part, sorted.

        >>> Parts().players("loss", ("trainer/loss", "loss_scale"))
        ('trainer/loss',)
        """
        key = (role, known)
        if key not in self._found:
            fits = _pattern(self.roles[role].match).fullmatch
            self._found[key] = tuple(sorted(one for one in known if fits(one)))
        return self._found[key]

    def direction(self, metric: str) -> Direction:
        """The direction of the first role with one that a metric plays."""
        for role in self.roles.values():
            if role.direction != "none" and _pattern(role.match).fullmatch(metric):
                return role.direction
        return "none"


def declared_parts(config: Diagnostics) -> Parts:
    """The parts that ship, with what the configuration says of them.

    Raises:
        UsageError: It names a part that does not exist.
    """
    roles = dict(DEFAULT_ROLES)
    for name, one in config.metrics.items():
        before = roles.get(name)
        if before is None:
            hint = did_you_mean(name, roles)
            msg = f"diagnostics.metrics: no part {name!r}{hint}"
            raise UsageError(msg)
        match = before.match if one.match is None else one.match
        roles[name] = Role(match, one.direction or before.direction)
    return Parts(roles)


@cache
def _pattern(match: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for several; a name with wildcard signs also fits itself."""
    both = [*map(translate, match), *map(re.escape, match)]
    return re.compile("|".join(f"(?:{one})" for one in both), re.DOTALL)
