"""Laws of scale: a power law with offset and its rivals, fitted robustly.

The model is ``y = E + sum_k A_k x_k^-alpha_k`` with ``E, A_k > 0``, fitted to the
logarithm of ``y``: the exponent is positive where ``y`` falls with ``x``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from run_assets.diagnostics.levels import autocorrelation_time
from run_assets.errors import ContractError

Floats = NDArray[np.float64]
Form = Literal["power_law_with_offset", "power_law", "log_linear"]

# Source: Hoffmann et al. 2022, appendix D.3.
HUBER_DELTA = 1e-3
LEAST_DECADES = 1.5
LEAST_POINTS = 8
_EXPONENTS = (0.1, 0.35, 0.9)
# The offset as a share of the smallest value.
_OFFSETS = (0.95, 0.6, 0.05)


@dataclass(frozen=True)
class Law:
    """A fitted law.

    Attributes:
        form: Which law.
        offset: ``E``, in the unit of ``y``; 0 without one.
        factors: ``A_k``; of ``log_linear`` the value at ``x = 1``.
        exponents: ``alpha_k``; of ``log_linear`` the gain per factor e of ``x``.
        aicc: Akaike's criterion for small samples; comparable between the forms.
        residuals: Logarithm of ``y`` over the law; shape ``(n,)``.
    """

    form: Form
    offset: float
    factors: tuple[float, ...]
    exponents: tuple[float, ...]
    aicc: float
    residuals: Floats

    def at(self, *x: Floats) -> Floats:
        """The law at some points, one array a term."""
        if self.form == "log_linear":
            return np.asarray(self.factors[0] + self.exponents[0] * np.log(x[0]))
        terms = zip(self.factors, self.exponents, x, strict=True)
        return np.asarray(self.offset + sum(a * one**-b for a, b, one in terms))


def refusal(x: Floats) -> str | None:
    """Why a law cannot be told from these places; ``None`` where it can.

    >>> refusal(np.array([1.0, 2.0, 4.0]))
    'needs at least 8 points, has 3'
    """
    if x.size < LEAST_POINTS:
        return f"needs at least {LEAST_POINTS} points, has {x.size}"
    decades = float(np.log10(x.max() / x.min()))
    if decades < LEAST_DECADES:
        return f"needs {LEAST_DECADES} decades of compute, has {decades:.2f}"
    return None


def fit_power_law(*x: Floats, y: Floats, start: Law | None = None) -> Law:
    """The power law with offset, one term for each of ``x``.

    The sum of Huber losses of the log residuals by L-BFGS-B with an exact gradient,
    from several starts. The sum, not the mean: a mean is so small that the optimizer
    stops early (Besiroglu et al. 2024).

    Args:
        x: Each of shape ``(n,)``, positive.
        y: Shape ``(n,)``, positive.
        start: Only from here, for resamples of a fit that is known.

    Raises:
        ContractError: A value is not positive.
    """
    logs = np.log(np.array(_positive(*x)))
    target = np.log(_positive(y)[0])
    starts = [_parameters(start)] if start else list(_starts(logs, target))
    bounds = [(None, float(target.max()))] + [(None, None), (-5.0, 5.0)] * len(x)
    found = min(
        (
            minimize(
                _loss,
                one,
                args=(logs, target),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-9},
            )
            for one in starts
        ),
        key=lambda one: float(one.fun),
    )
    residuals = target - _predicted(found.x, logs)[0]
    return Law(
        "power_law_with_offset",
        float(np.exp(found.x[0])),
        tuple(float(one) for one in np.exp(found.x[1::2])),
        tuple(float(one) for one in found.x[2::2]),
        _aicc(residuals, found.x.size),
        residuals,
    )


def _positive(*arrays: Floats) -> tuple[Floats, ...]:
    if any((one <= 0).any() for one in arrays):
        msg = (
            "a law of scale needs positive values, got some at or below 0; leave them "
            "out or fit the distance from an optimum"
        )
        raise ContractError(msg)
    return arrays


def _parameters(law: Law) -> Floats:
    offset = max(law.offset, 1e-12)
    pairs = zip(np.log(law.factors), law.exponents, strict=True)
    return np.array([np.log(offset), *(one for pair in pairs for one in pair)])


def _starts(logs: Floats, target: Floats) -> Iterator[Floats]:
    """Offsets below the smallest value, and exponents of the sign that the data has."""
    smallest = float(target.min())
    signs = [-np.sign(np.corrcoef(one, target)[0, 1]) or 1.0 for one in logs]
    exponents = [[sign * size for size in _EXPONENTS] for sign in signs]
    for offset, *chosen in product(_OFFSETS, *exponents):
        rest = np.log(np.maximum(np.exp(target) - offset * np.exp(smallest), 1e-9))
        rest = rest - np.log(len(logs))
        pairs = [
            (float(np.median(rest + exponent * one)), float(exponent))
            for exponent, one in zip(chosen, logs, strict=True)
        ]
        yield np.array(
            [np.log(offset) + smallest, *(one for pair in pairs for one in pair)]
        )


def _predicted(theta: Floats, logs: Floats) -> tuple[Floats, Floats]:
    """Log of the law, and the share of each term in it; ``(n,)`` and ``(1 + K, n)``."""
    terms = np.vstack(
        [np.full(logs.shape[1], theta[0]), theta[1::2, None] - theta[2::2, None] * logs]
    )
    top = terms.max(axis=0)
    weights = np.exp(terms - top)
    whole = weights.sum(axis=0)
    return top + np.log(whole), weights / whole


def _loss(theta: Floats, logs: Floats, target: Floats) -> tuple[float, Floats]:
    """Sum of the Huber losses, and its gradient."""
    predicted, shares = _predicted(theta, logs)
    residuals = target - predicted
    size = np.abs(residuals)
    is_small = size <= HUBER_DELTA
    loss = np.where(
        is_small, residuals**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2)
    ).sum()
    slope = -np.clip(residuals, -HUBER_DELTA, HUBER_DELTA)
    gradient = np.empty_like(theta)
    gradient[0] = (slope * shares[0]).sum()
    gradient[1::2] = (slope * shares[1:]).sum(axis=1)
    gradient[2::2] = -(slope * shares[1:] * logs).sum(axis=1)
    scale = 1 / HUBER_DELTA
    return float(loss * scale), gradient * scale


def fit_without_offset(x: Floats, y: Floats) -> Law:
    """A straight line in log-log space, by iterated Huber weights."""
    logs, target = np.log(_positive(x)[0]), np.log(_positive(y)[0])
    level, slope = _robust_line(logs, target)
    residuals = target - (level + slope * logs)
    return Law(
        "power_law",
        0.0,
        (float(np.exp(level)),),
        (-slope,),
        _aicc(residuals, 2),
        residuals,
    )


def fit_log_linear(x: Floats, y: Floats) -> Law:
    """A straight line over the logarithm of ``x``; its residuals are those of log y."""
    logs = np.log(_positive(x)[0])
    level, slope = _robust_line(logs, _positive(y)[0])
    predicted = np.maximum(level + slope * logs, 1e-3 * float(y.min()))
    residuals = np.log(y) - np.log(predicted)
    return Law("log_linear", 0.0, (level,), (slope,), _aicc(residuals, 2), residuals)


def _robust_line(x: Floats, y: Floats) -> tuple[float, float]:
    weights = np.ones_like(y)
    level = slope = 0.0
    for _ in range(20):
        mean_x = np.average(x, weights=weights)
        mean_y = np.average(y, weights=weights)
        spread = np.average((x - mean_x) ** 2, weights=weights)
        slope = float(np.average((x - mean_x) * (y - mean_y), weights=weights) / spread)
        level = float(mean_y - slope * mean_x)
        residuals = np.abs(y - level - slope * x)
        scale = max(1.345 * 1.4826 * float(np.median(residuals)), 1e-15)
        weights = np.minimum(1.0, scale / np.maximum(residuals, 1e-300))
    return level, slope


def _aicc(residuals: Floats, parameters: int) -> float:
    """Akaike's criterion for small samples; the noise's scale is one parameter more.

    Source: Hurvich and Tsai 1989.
    """
    n, k = residuals.size, parameters + 1
    variance = max(float(np.mean(residuals**2)), 1e-24)
    return float(n * np.log(variance) + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1))


def fits(x: Floats, y: Floats) -> list[Law]:
    """All three forms, the best by Akaike's criterion first."""
    found = [fit_power_law(x, y=y), fit_without_offset(x, y), fit_log_linear(x, y)]
    return sorted(found, key=lambda law: law.aicc)


def exponent_intervals(
    law: Law, *x: Floats, resamples: int, rng: np.random.Generator
) -> Floats:
    """95 % percentile intervals of the exponents, by resampling blocks of residuals.

    The places stay, and residuals move in blocks as long as their autocorrelation
    time: points inside one run are no independent trials.

    Args:
        law: As fitted.
        x: What it was fitted to, ascending in the first.
        resamples: How many.
        rng: Randomness.

    Returns:
        Shape ``(exponents, 2)``.
    """
    predicted = np.log(law.at(*x))
    n = predicted.size
    length = min(int(np.ceil(autocorrelation_time(law.residuals))), max(n // 4, 1))
    found = []
    for _ in range(resamples):
        starts = rng.integers(0, n, size=-(-n // length))
        places = (starts[:, None] + np.arange(length)).ravel()[:n] % n
        y = np.exp(predicted + law.residuals[places])
        found.append(_refit(law, *x, y=y).exponents)
    return np.asarray(np.quantile(np.array(found), [0.025, 0.975], axis=0).T)


def _refit(law: Law, *x: Floats, y: Floats) -> Law:
    match law.form:
        case "power_law_with_offset":
            return fit_power_law(*x, y=y, start=law)
        case "power_law":
            return fit_without_offset(x[0], y)
    return fit_log_linear(x[0], y)
