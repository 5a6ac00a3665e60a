"""The models that a stack is made of, and the rule that all of them keep.

A member is fitted to examples and then says, for any configuration, a mean curve and a
standard deviation. What a fitted member knows are arrays and JSON, so that it can be
stored without pickle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from run_assets.curves.examples import Examples, Floats, Forecast, Names, filled
from run_assets.curves.settings import Model

Arrays = Mapping[str, np.ndarray[Any, Any]]
SMALLEST_SD = 1e-3
BASELINES = frozenset({"mean_curve", "environment_mean", "nearest_configs"})
"""Members that learn nothing about the shape of the dependence."""
_MOST_NEIGHBOURS = 15


class Member(Protocol):
    """A fitted member."""

    def predict(self, examples: Examples) -> Forecast:
        """A mean curve and its scatter for each configuration."""
        ...

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Everything it knows: arrays, and JSON."""
        ...


class MemberKind(NamedTuple):
    """How a member is made and brought back.

    Attributes:
        fit: From several samples, settings and a seed, a member for each sample.
        restore: From what ``state`` gave.
        needs: The package it needs to be fitted, if any.
        title: As people read it.
    """

    fit: Callable[[Sequence[Examples], Model, int], Sequence[Member]]
    restore: Callable[[Arrays, dict[str, Any]], Member]
    needs: str | None
    title: str


def scatter(residuals: Floats) -> Floats:
    """Root mean square at each point, over the rows that have one; ``(points,)``."""
    known = np.isfinite(residuals)
    squares = np.where(known, residuals, 0.0) ** 2
    counts = np.maximum(known.sum(axis=0), 1)
    return np.asarray(np.maximum(np.sqrt(squares.sum(axis=0) / counts), SMALLEST_SD))


@dataclass(frozen=True)
class MeanCurve:
    """The mean of all curves, whatever the configuration."""

    mean: Floats
    sd: Floats

    def predict(self, examples: Examples) -> Forecast:
        """The same for each configuration."""
        shape = (len(examples), len(self.mean))
        return Forecast(
            np.tile(self.mean, (shape[0], 1)), np.tile(self.sd, (shape[0], 1))
        )

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Mean and scatter."""
        return {"mean": self.mean, "sd": self.sd}, {}


def fit_mean_curve(examples: Examples, _settings: Model, _seed: int) -> MeanCurve:
    """Over the runs that reach a point; the rest of each run is held."""
    mean = filled(examples.targets).mean(axis=0)
    return MeanCurve(mean, scatter(examples.targets - mean))


@dataclass(frozen=True)
class EnvironmentMean:
    """The mean curve of the environment; of all where that is unknown.

    Attributes:
        names: Of the environments, shape ``(environments,)``.
        means: Shape ``(environments + 1, points)``; the last is the mean of all.
        sds: As ``means``.
    """

    names: Names
    means: Floats
    sds: Floats

    def predict(self, examples: Examples) -> Forecast:
        """By the name of each configuration's environment."""
        place = {name: at for at, name in enumerate(self.names.tolist())}
        rows = np.array([place.get(one, -1) for one in examples.names.tolist()], int)
        return Forecast(self.means[rows], self.sds[rows])

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Means and scatter; the names are JSON."""
        return {"means": self.means, "sds": self.sds}, {"names": self.names.tolist()}


def fit_environment_mean(
    examples: Examples, settings: Model, seed: int
) -> EnvironmentMean:
    """Each environment by its own runs."""
    everything = fit_mean_curve(examples, settings, seed)
    names = np.unique(examples.names)
    parts = [
        fit_mean_curve(examples.rows(examples.names == name), settings, seed)
        for name in names
    ]
    # One run says nothing about its own scatter.
    alone = [(examples.names == name).sum() < 3 for name in names]
    sds = [
        everything.sd if is_alone else part.sd
        for part, is_alone in zip(parts, alone, strict=True)
    ]
    return EnvironmentMean(
        names,
        np.stack([*(part.mean for part in parts), everything.mean]),
        np.stack([*sds, everything.sd]),
    )


@dataclass(frozen=True)
class NearestConfigs:
    """The mean curve of the runs whose encoded configurations lie nearest.

    Attributes:
        inputs: Of the training runs, shape ``(runs, columns)``.
        curves: Theirs, without gaps, shape ``(runs, points)``.
        scales: Of the columns, so that a category counts as much as a number.
        neighbours: How many count.
    """

    inputs: Floats
    curves: Floats
    scales: Floats
    neighbours: int

    def predict(self, examples: Examples) -> Forecast:
        """Mean and scatter of the neighbours, the nearer the heavier."""
        distances = _distances(examples.inputs / self.scales, self.inputs / self.scales)
        nearest = _nearest(distances, self.neighbours)
        near = np.take_along_axis(distances, nearest, axis=1)
        weights = 1 / (near + near.mean(axis=1, keepdims=True) + 1e-9)
        weights /= weights.sum(axis=1, keepdims=True)
        curves = self.curves[nearest]
        mean = np.einsum("rk,rkp->rp", weights, curves)
        squares = np.einsum("rk,rkp->rp", weights, (curves - mean[:, None]) ** 2)
        return Forecast(mean, np.maximum(np.sqrt(squares), SMALLEST_SD))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """The training runs themselves."""
        arrays = {"inputs": self.inputs, "curves": self.curves, "scales": self.scales}
        return arrays, {"neighbours": self.neighbours}


def fit_nearest_configs(
    examples: Examples, _settings: Model, _seed: int
) -> NearestConfigs:
    """As many neighbours as leave their own curve the least error, 1 to 15."""
    curves = filled(examples.targets)
    spread = examples.inputs.std(axis=0)
    scales = np.where(spread > SMALLEST_SD, spread, 1.0)
    distances = _distances(examples.inputs / scales, examples.inputs / scales)
    np.fill_diagonal(distances, np.inf)
    most = max(min(_MOST_NEIGHBOURS, len(examples) - 1), 1)
    order = _nearest(distances, most)
    thin = np.unique(np.linspace(0, curves.shape[1] - 1, 20).round().astype(int))
    sums = np.cumsum(curves[:, thin][order], axis=1)
    means = sums / np.arange(1, most + 1)[None, :, None]
    errors = np.nanmean((means - examples.targets[:, None, thin]) ** 2, axis=(0, 2))
    return NearestConfigs(examples.inputs, curves, scales, int(np.argmin(errors)) + 1)


def _nearest(distances: Floats, count: int) -> NDArray[np.intp]:
    """Columns of the smallest distances of each row, the nearest first."""
    some = np.argpartition(distances, min(count, distances.shape[1] - 1), axis=1)
    some = np.sort(some[:, :count], axis=1)
    order = np.argsort(np.take_along_axis(distances, some, axis=1), kind="stable")
    return np.take_along_axis(some, order, axis=1)


def _distances(these: Floats, those: Floats) -> Floats:
    squares = (these**2).sum(1)[:, None] + (those**2).sum(1) - 2 * these @ those.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _mean_curve(arrays: Arrays, _more: dict[str, Any]) -> MeanCurve:
    return MeanCurve(arrays["mean"], arrays["sd"])


def _environment_mean(arrays: Arrays, more: dict[str, Any]) -> EnvironmentMean:
    return EnvironmentMean(np.array(more["names"]), arrays["means"], arrays["sds"])


def _nearest_configs(arrays: Arrays, more: dict[str, Any]) -> NearestConfigs:
    inputs, curves, scales = (arrays[name] for name in ("inputs", "curves", "scales"))
    return NearestConfigs(inputs, curves, scales, more["neighbours"])


def _each(
    fit: Callable[[Examples, Model, int], Member],
) -> Callable[[Sequence[Examples], Model, int], Sequence[Member]]:
    """One sample after the other."""

    def fit_all(
        samples: Sequence[Examples], settings: Model, seed: int
    ) -> Sequence[Member]:
        return [fit(sample, settings, seed) for sample in samples]

    return fit_all


def _fit_trees(examples: Examples, settings: Model, seed: int) -> Member:
    from run_assets.curves.trees import fit_extra_trees

    return fit_extra_trees(examples, settings, seed)


def _restore_trees(arrays: Arrays, more: dict[str, Any]) -> Member:
    from run_assets.curves.trees import restore_extra_trees

    return restore_extra_trees(arrays, more)


def _fit_boosted(examples: Examples, settings: Model, seed: int) -> Member:
    from run_assets.curves.trees import fit_boosted_trees

    return fit_boosted_trees(examples, settings, seed)


def _restore_boosted(arrays: Arrays, more: dict[str, Any]) -> Member:
    from run_assets.curves.trees import restore_boosted_trees

    return restore_boosted_trees(arrays, more)


def _fit_variational(
    samples: Sequence[Examples], settings: Model, seed: int
) -> Sequence[Member]:
    from run_assets.curves.variational import fit_variational

    return fit_variational(samples, settings, seed)


def _restore_variational(arrays: Arrays, more: dict[str, Any]) -> Member:
    from run_assets.curves.variational import restore_variational

    return restore_variational(arrays, more)


MEMBERS: dict[str, MemberKind] = {
    "mean_curve": MemberKind(_each(fit_mean_curve), _mean_curve, None, "mean curve"),
    "environment_mean": MemberKind(
        _each(fit_environment_mean), _environment_mean, None, "environment mean"
    ),
    "nearest_configs": MemberKind(
        _each(fit_nearest_configs), _nearest_configs, None, "nearest configurations"
    ),
    "extra_trees": MemberKind(
        _each(_fit_trees), _restore_trees, "sklearn", "ExtraTrees"
    ),
    "boosted_trees": MemberKind(
        _each(_fit_boosted), _restore_boosted, "sklearn", "boosted trees"
    ),
    "variational": MemberKind(
        _fit_variational, _restore_variational, "torch", "variational ensemble"
    ),
}
