"""The model of a lab: a stack of members, what it learned out of fold, and its scalers.

It knows two situations: other configurations of environments that it has seen, and
environments that it has not. Each has weights and intervals of its own, from forecasts
for runs, or for environments, that were held out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np

from run_assets.curves.calibration import Calibration, calibrate
from run_assets.curves.conditioning import Conditioning, fit_conditioning
from run_assets.curves.encoding import Encoder, fit_encoder
from run_assets.curves.environments import EnvironmentEffects, fit_environment_effects
from run_assets.curves.examples import (
    Bools,
    CurveTable,
    Examples,
    Floats,
    Forecast,
    Ints,
    Names,
)
from run_assets.curves.folds import fold_numbers, splits, twin_labels
from run_assets.curves.members import MEMBERS, Member, MemberKind
from run_assets.curves.scores import LEVELS
from run_assets.curves.settings import Curves, Feature
from run_assets.curves.shapes import Shapes, fit_shapes
from run_assets.curves.stack import Stack, fit_stack
from run_assets.curves.targets import TargetScale, fit_target_scale
from run_assets.errors import UsageError

KNOWN, NEW = "known environments", "new environments"
FEWEST_ENVIRONMENTS = 6
"""With fewer, nothing can be learned about environments that were not seen."""
FEWEST_RUNS = 10
TASK = "task"


@dataclass(frozen=True)
class Trial:
    """Forecasts for runs that were held out.

    Attributes:
        forecasts: Of each member, for all runs.
        folds: In which fold each run was held out.
        names: Environment of each run.
        targets: What happened, shape ``(runs, points)``; NaN where unknown.
    """

    forecasts: Mapping[str, Forecast]
    folds: Ints
    names: Names
    targets: Floats

    def rows(self, chosen: Ints) -> "Trial":
        """Some of the runs."""
        told = rows_of(self.forecasts, chosen)
        return Trial(told, self.folds[chosen], self.names[chosen], self.targets[chosen])

    def only(self, member: str) -> "Trial":
        """The same trial with one member alone."""
        alone = {member: self.forecasts[member]}
        return Trial(alone, self.folds, self.names, self.targets)

    def without(self, member: str) -> "Trial":
        """The same trial with one member less."""
        rest = {name: one for name, one in self.forecasts.items() if name != member}
        return Trial(rest, self.folds, self.names, self.targets)


@dataclass(frozen=True)
class Situation:
    """What was learned of one kind of runs: weights, intervals, prefixes."""

    stack: Stack
    calibration: Calibration
    conditioning: Conditioning | None
    shapes: Shapes | None = None


@dataclass(frozen=True)
class Prediction:
    """Curves in the unit of the reward.

    Attributes:
        mean: Shape ``(runs, points)``.
        quantiles: At ``LEVELS``, ascending, shape ``(levels, runs, points)``.
        is_new_environment: Shape ``(runs,)``.
    """

    mean: Floats
    quantiles: Floats
    is_new_environment: Bools

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        """Both ends of the central interval, each ``(runs, points)``."""
        return self.at((1 - confidence) / 2), self.at((1 + confidence) / 2)

    def at(self, level: float) -> Floats:
        """One quantile, ``(runs, points)``; interpolated between ``LEVELS``."""
        place = float(np.interp(level, LEVELS, np.arange(len(LEVELS))))
        low = min(int(place), len(LEVELS) - 2)
        share = place - low
        below, above = self.quantiles[low], self.quantiles[low + 1]
        return np.asarray((1 - share) * below + share * above)


@dataclass(frozen=True)
class CurveModel:
    """A fitted model.

    Attributes:
        settings: What it was fitted with.
        encoders: Of environment and agent features.
        scale: Of the rewards.
        members: Fitted on all training runs.
        known: For configurations of environments that were seen.
        new: For environments that were not; ``None`` with too few environments.
        effects: What finished runs of a new environment say; as ``new``.
        environments: That were seen, sorted.
        left_out: Members that could not be fitted, and why.
    """

    settings: Curves
    encoders: tuple[Encoder, Encoder]
    scale: TargetScale
    members: Mapping[str, Member]
    known: Situation
    new: Situation | None
    effects: EnvironmentEffects | None
    environments: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def predict(
        self, table: CurveTable, finished: CurveTable | None = None
    ) -> Prediction:
        """Forecast runs by their configurations and by what is known of their curves.

        Args:
            table: The runs; all NaN in ``curves`` where nothing is known yet.
            finished: Runs of new environments that have ended, if any: they improve the
                forecasts for their environments.
        """
        examples = self.examples(table)
        is_new = self.is_new(table)
        mean = np.zeros(table.curves.shape)
        quantiles = np.zeros((len(LEVELS), *mean.shape))
        told = {name: one.predict(examples) for name, one in self.members.items()}
        for situation, mine in (
            (self.known, ~is_new),
            (self.new or self.known, is_new),
        ):
            if mine.any():
                prior = situation.stack.combine(rows_of(told, mine))
                chosen = table.rows(mine)
                if situation is self.new and finished is not None and len(finished):
                    prior = self._informed(prior, chosen.environments, finished)
                observed = self.scale.scale(chosen.curves, chosen.tasks)
                forecast, spread = quantile_forecast(
                    situation, prior, chosen.environments, observed
                )
                mean[mine], quantiles[:, mine] = forecast.mean, spread
        return Prediction(*self._in_rewards(mean, quantiles, table.tasks), is_new)

    def expected(self, table: CurveTable) -> Floats:
        """Mean curves by the configurations alone, shape ``(runs, points)``."""
        examples = self.examples(table)
        told = {name: one.predict(examples) for name, one in self.members.items()}
        is_new = self.is_new(table)[:, None]
        known = self.known.stack.combine(told).mean
        new = (self.new or self.known).stack.combine(told).mean
        return self.scale.unscale(np.where(is_new, new, known), table.tasks)

    def examples(self, table: CurveTable) -> Examples:
        """Encoded configurations and scaled curves."""
        environment, agent = (one.encode(table.features) for one in self.encoders)
        targets = self.scale.scale(table.curves, table.tasks)
        return Examples(environment, agent, table.environments, targets)

    def is_new(self, table: CurveTable) -> Bools:
        """Which runs are of environments that were not seen."""
        return ~np.isin(table.environments, self.environments)

    def _informed(
        self, prior: Forecast, names: Names, finished: CurveTable
    ) -> Forecast:
        """The prior, moved by the finished runs of the same environments."""
        assert self.effects is not None  # noqa: S101  # as ``new``
        assert self.new is not None  # noqa: S101
        examples = self.examples(finished)
        told = {name: one.predict(examples) for name, one in self.members.items()}
        residuals = examples.targets - self.new.stack.combine(told).mean
        mean, sd = prior.mean.copy(), prior.sd.copy()
        for name in np.unique(names):
            seen = residuals[finished.environments == name]
            mine = names == name
            if len(seen):
                part = Forecast(prior.mean[mine], prior.sd[mine])
                moved = self.effects.update(part, seen)
                mean[mine], sd[mine] = moved.mean, moved.sd
        return Forecast(mean, sd)

    def _in_rewards(
        self, mean: Floats, quantiles: Floats, tasks: Names
    ) -> tuple[Floats, Floats]:
        rewards = self.scale.unscale(quantiles, tasks)
        ascending = rewards if self.scale.sign > 0 else rewards[::-1]
        return self.scale.unscale(mean, tasks), ascending


@dataclass(frozen=True)
class Fitted:
    """A model, and the trials that its weights and intervals come from."""

    model: CurveModel
    trials: Mapping[str, Trial]


Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""


def fit_curve_model(
    table: CurveTable,
    settings: Curves,
    kinds: Mapping[str, MemberKind] = MEMBERS,
    progress: Progress | None = None,
) -> Fitted:
    """Fit members, weights, intervals and everything else; deterministic.

    Args:
        table: Runs that have ended, each with at least two points.
        settings: Which members, how many folds, which seed.
        kinds: The members to choose from, by name.
        progress: Told of each member that is fitted.

    Raises:
        UsageError: There are too few runs, or no member can be fitted.
    """
    if len(table) < FEWEST_RUNS:
        msg = (
            f"a model needs at least {FEWEST_RUNS} runs with a curve, got {len(table)}"
            "; log more runs, or check curves.metric and curves.budget"
        )
        raise UsageError(msg)
    encoders = (
        fit_encoder(table.features, environment_features(settings)),
        fit_encoder(table.features, settings.agent_features),
    )
    scale = fit_target_scale(
        table.curves,
        table.tasks,
        settings.anchors,
        is_maximized=settings.goal == "maximize",
    )
    examples = Examples(
        encoders[0].encode(table.features),
        encoders[1].encode(table.features),
        table.environments,
        scale.scale(table.curves, table.tasks),
    )
    usable, left_out = available_members(settings.model.members, kinds)
    chosen = {name: kinds[name] for name in usable}
    members, trials = _cross_fit(examples, settings, chosen, progress)
    new = trials.get(NEW)
    model = CurveModel(
        settings=settings,
        encoders=encoders,
        scale=scale,
        members=members,
        known=learn_situation(trials[KNOWN], by_environment=False),
        new=None if new is None else learn_situation(new, by_environment=True),
        effects=None if new is None else _effects(new),
        environments=tuple(np.unique(table.environments).tolist()),
        left_out=left_out,
    )
    return Fitted(model, trials)


def environment_features(settings: Curves) -> tuple[Feature, ...]:
    """The configured ones, and the task where there is one."""
    if settings.task is None:
        return settings.environment_features
    task = Feature(name=TASK, key=settings.task, kind="category")
    return (*settings.environment_features, task)


def available_members(
    names: Sequence[str], kinds: Mapping[str, MemberKind] = MEMBERS
) -> tuple[list[str], dict[str, str]]:
    """Which members can be fitted here, and why the others cannot.

    Raises:
        UsageError: None can.
    """
    usable, left_out = [], {}
    for name in names:
        needs = kinds[name].needs
        if needs is None or find_spec(needs) is not None:
            usable.append(name)
        else:
            left_out[name] = f"{needs} is missing: pip install 'run-assets[curves]'"
    if not usable:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        msg = f"no member of curves.model.members can be fitted ({reasons})"
        raise UsageError(msg)
    return usable, left_out


def quantile_forecast(
    situation: Situation, prior: Forecast, names: Names, observed: Floats
) -> tuple[Forecast, Floats]:
    """Calibrated quantiles of a prior, conditioned on the points that are known.

    Returns:
        The forecast and its quantiles, shape ``(levels, runs, points)``.
    """
    own = Forecast(prior.mean, prior.sd * situation.calibration.factor(names))
    levels = situation.calibration.at(prior.mean.shape[1])
    quantiles = (
        own.mean + levels[:, None] * own.sd
        if situation.shapes is None
        else situation.shapes.quantiles(own)
    )
    begun = np.isfinite(observed).any(axis=1)
    if not begun.any() or situation.conditioning is None:
        return own, quantiles
    part = Forecast(own.mean[begun], own.sd[begun])
    moved, spread = situation.conditioning.predict(part, observed[begun])
    mean, sd = own.mean.copy(), own.sd.copy()
    mean[begun], sd[begun], quantiles[:, begun] = moved.mean, moved.sd, spread
    return Forecast(mean, sd), quantiles


def _cross_fit(
    examples: Examples,
    settings: Curves,
    kinds: Mapping[str, MemberKind],
    progress: Progress | None,
) -> tuple[dict[str, Member], dict[str, Trial]]:
    """Members of all runs, and forecasts of members that had not seen the run."""
    numbers = _folds(examples, settings)
    parts = [(kind, *one) for kind, folds in numbers.items() for one in splits(folds)]
    samples = [examples, *(examples.rows(kept) for _, kept, _ in parts)]
    members: dict[str, Member] = {}
    forecasts: dict[str, dict[str, Forecast]] = {kind: {} for kind in numbers}
    for done, (name, kind) in enumerate(kinds.items()):
        if progress is not None:
            progress("members", done, len(kinds))
        whole, *halves = kind.fit(samples, settings.model, settings.model.seed)
        members[name] = whole
        empty = {
            one: Forecast(*np.full((2, *examples.targets.shape), np.nan))
            for one in numbers
        }
        for (situation, _, held), member in zip(parts, halves, strict=True):
            told = member.predict(examples.rows(held))
            empty[situation].mean[held] = told.mean
            empty[situation].sd[held] = told.sd
        for situation, forecast in empty.items():
            forecasts[situation][name] = forecast
    trials = {
        kind: Trial(forecasts[kind], folds, examples.names, examples.targets)
        for kind, folds in numbers.items()
    }
    return members, trials


def _folds(examples: Examples, settings: Curves) -> dict[str, Ints]:
    folds, seed = settings.model.folds, settings.model.seed
    numbers = {KNOWN: fold_numbers(twin_labels(examples.inputs), folds, seed)}
    if len(np.unique(examples.names)) >= FEWEST_ENVIRONMENTS:
        # Twice as many: with fewer environments a model misses more than the last one.
        numbers[NEW] = fold_numbers(examples.names, 2 * folds, seed)
    return numbers


def learn_situation(
    trial: Trial,
    *,
    by_environment: bool,
    has_prefixes: bool = True,
    is_shaped: bool = True,
) -> Situation:
    """Weights, intervals and what prefixes say, from forecasts of held-out runs.

    Args:
        trial: The forecasts.
        by_environment: As in ``calibrate``.
        has_prefixes: Also learn to condition on the first points of curves.
        is_shaped: Let forecasts that were alike shape the intervals.
    """
    stack = stack_of(trial, by_environment=by_environment)
    prior = stack.combine(trial.forecasts)
    standardized = (trial.targets - prior.mean) / prior.sd
    calibration = calibrate(standardized, trial.names, by_environment=by_environment)
    own = Forecast(prior.mean, prior.sd * calibration.factor(trial.names))
    # For new environments the promise is by environment, which neighbours do not keep.
    is_shaped = is_shaped and not by_environment
    shapes = fit_shapes(own, trial.targets) if is_shaped else None
    conditioning = fit_conditioning(own, trial.targets) if has_prefixes else None
    return Situation(stack, calibration, conditioning, shapes)


def stack_of(trial: Trial, *, by_environment: bool) -> Stack:
    """The weights that a trial asks for."""
    runs = np.char.mod("%d", np.arange(len(trial.names)))
    groups = trial.names if by_environment else runs
    return fit_stack(trial.forecasts, trial.targets, groups, seed=len(groups))


def _effects(trial: Trial) -> EnvironmentEffects:
    stack = stack_of(trial, by_environment=True)
    residuals = trial.targets - stack.combine(trial.forecasts).mean
    return fit_environment_effects(residuals, trial.names)


def rows_of(told: Mapping[str, Forecast], chosen: Bools | Ints) -> dict[str, Forecast]:
    """The forecasts of some runs."""
    return {
        name: Forecast(one.mean[chosen], one.sd[chosen]) for name, one in told.items()
    }
