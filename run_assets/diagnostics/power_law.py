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

from run_assets.diagnostics.levels import autocorrelation_time
from run_assets.diagnostics.robust import difference_scale
from run_assets.errors import ContractError

Floats = NDArray[np.float64]
Form = Literal["power_law_with_offset", "power_law", "log_linear"]

# Source: Hoffmann et al. 2022, appendix D.3; here the least, for data without noise.
HUBER_DELTA = 1e-3
# Source: Huber 1981: 95 % efficiency at normal noise.
HUBER_TO_SD = 1.345
_MOST_STEPS = 200
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


def fit_power_law(*x: Floats, y: Floats) -> Law:
    """The power law with offset, one term for each of ``x``.

    The sum of Huber losses of the log residuals, from nine starts a term at once; the
    loss is quadratic within the noise, as far as neighbours show it.

    Args:
        x: Each of shape ``(n,)``, positive.
        y: Shape ``(n,)``, positive.

    Raises:
        ContractError: A value is not positive.
    """
    logs = np.log(np.array(_positive(*x)))
    target = np.log(_positive(y)[0])
    starts = np.array(list(_starts(logs, target)))
    theta, loss = _descended(starts, logs, target[None], _delta(logs, target))
    return _as_law(theta[int(np.argmin(loss))], logs, target)


def _as_law(theta: Floats, logs: Floats, target: Floats) -> Law:
    residuals = target - _predicted(theta[None], logs)[0][0]
    return Law(
        "power_law_with_offset",
        float(np.exp(theta[0])),
        tuple(float(one) for one in np.exp(theta[1::2])),
        tuple(float(one) for one in theta[2::2]),
        _aicc(residuals, theta.size),
        residuals,
    )


def _delta(logs: Floats, target: Floats) -> float:
    """Where the loss turns from squares to sizes."""
    order = np.argsort(logs[0], kind="stable")
    return max(HUBER_TO_SD * difference_scale(target[order]), HUBER_DELTA)


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
    """Log of the law and the share of each term, of several laws at once.

    Args:
        theta: Shape ``(laws, 1 + 2 K)``: log offset, then log factor and exponent.
        logs: Shape ``(K, n)``.

    Returns:
        Shapes ``(laws, n)`` and ``(laws, 1 + K, n)``.
    """
    offset = np.repeat(theta[:, :1, None], logs.shape[1], axis=2)
    terms = theta[:, 1::2, None] - theta[:, 2::2, None] * logs
    both = np.concatenate([offset, terms], axis=1)
    top = both.max(axis=1, keepdims=True)
    weights = np.exp(both - top)
    whole = weights.sum(axis=1, keepdims=True)
    return (top + np.log(whole))[:, 0], weights / whole


def _huber(residuals: Floats, delta: float) -> Floats:
    size = np.abs(residuals)
    loss = np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))
    return np.asarray(loss.sum(axis=1))


def _descended(
    theta: Floats, logs: Floats, target: Floats, delta: float
) -> tuple[Floats, Floats]:
    """Several laws fitted side by side by Levenberg-Marquardt with Huber weights.

    Args:
        theta: Where each begins; shape ``(laws, p)``.
        logs: Shape ``(K, n)``.
        target: Shape ``(laws, n)``, or ``(1, n)`` for all.
        delta: Of the Huber loss.

    Returns:
        The parameters and their losses.
    """
    damping = np.full(len(theta), 1e-2)
    predicted, shares = _predicted(theta, logs)
    loss = _huber(target - predicted, delta)
    for _ in range(_MOST_STEPS):
        step = _newton_step(shares, logs, target - predicted, delta, damping)
        trial = theta + step
        trial[:, 2::2] = np.clip(trial[:, 2::2], -5, 5)
        found = _predicted(trial, logs)
        lost = _huber(target - found[0], delta)
        better = lost < loss
        is_done = bool((loss - lost <= 1e-10 * loss).all())
        theta = np.where(better[:, None], trial, theta)
        predicted = np.where(better[:, None], found[0], predicted)
        shares = np.where(better[:, None, None], found[1], shares)
        loss = np.where(better, lost, loss)
        damping = np.clip(np.where(better, damping / 3, damping * 5), 1e-12, 1e12)
        if is_done and (damping > 1e6).all():
            break
    return theta, loss


def _newton_step(
    shares: Floats, logs: Floats, residuals: Floats, delta: float, damping: Floats
) -> Floats:
    size = np.maximum(np.abs(residuals), 1e-300)
    weights = np.minimum(1.0, delta / size)
    slopes = np.empty((len(shares), 1 + 2 * len(logs), logs.shape[1]))
    slopes[:, 0] = shares[:, 0]
    slopes[:, 1::2] = shares[:, 1:]
    slopes[:, 2::2] = -shares[:, 1:] * logs
    weighted = slopes * weights[:, None]
    hessian = weighted @ slopes.transpose(0, 2, 1)
    diagonal = np.einsum("bii->bi", hessian)
    size_of = np.maximum(diagonal, 1e-12 * diagonal.max(axis=1, keepdims=True))
    eye = np.eye(hessian.shape[1])
    damped = hessian + (damping[:, None] * size_of + 1e-14)[:, :, None] * eye
    gradient = (weighted * residuals[:, None]).sum(axis=2)
    return np.asarray(np.linalg.solve(damped, gradient[..., None])[..., 0])


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
    starts = rng.integers(0, n, size=(resamples, -(-n // length)))
    places = (starts[:, :, None] + np.arange(length)).reshape(resamples, -1)[:, :n] % n
    drawn = predicted + law.residuals[places]
    found = _refitted(law, np.log(np.array(x)), drawn)
    return np.asarray(np.quantile(found, [0.025, 0.975], axis=0).T)


def _refitted(law: Law, logs: Floats, drawn: Floats) -> Floats:
    """Exponents of the same form, fitted to resamples; ``(resamples, exponents)``."""
    if law.form == "power_law_with_offset":
        begin = np.repeat(_parameters(law)[None], len(drawn), axis=0)
        theta, _ = _descended(begin, logs, drawn, _delta(logs, drawn[0]))
        return np.asarray(theta[:, 2::2])
    fit = fit_without_offset if law.form == "power_law" else fit_log_linear
    x = np.exp(logs[0])
    return np.array([fit(x, np.exp(one)).exponents for one in drawn])
