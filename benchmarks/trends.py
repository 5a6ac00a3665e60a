"""How often the interval of a trend holds the true one, beside ordinary regression.

Series of first-order autoregression around a straight line; 95 % is promised.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import linregress
from scipy.stats import t as student

from run_assets.stats.trends import linear_trend

SERIES = 1000
LENGTHS = (20, 50, 200, 1000)
MEMORIES = (0.0, 0.5, 0.8, 0.95)
SLOPE = 0.01
_BURN_IN = 200


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    print(f"{SERIES} series a row; coverage of 95 % intervals\n")
    print("values  memory  here  without interval  ordinary regression")
    for n in LENGTHS:
        for memory in MEMORIES:
            held, without, ordinary = _row(rng, n, memory)
            print(f"{n:6}  {memory:6}  {held:.2f}  {without:16.2f}  {ordinary:19.2f}")


def _row(rng: np.random.Generator, n: int, memory: float) -> tuple[float, float, float]:
    steps = np.arange(float(n))
    true = SLOPE * (n - 1)
    held = without = ordinary = 0
    for values in _series(rng, n, memory) + SLOPE * steps:
        found = linear_trend(steps, values, 0.95)
        if found is None or found.ci_low is None or found.ci_high is None:
            without += 1
        else:
            held += found.ci_low <= true <= found.ci_high
        fit = linregress(steps, values)
        reach = float(student.ppf(0.975, n - 2)) * fit.stderr
        ordinary += abs(fit.slope - SLOPE) <= reach
    with_interval = max(SERIES - without, 1)
    return held / with_interval, without / SERIES, ordinary / SERIES


def _series(rng: np.random.Generator, n: int, memory: float) -> NDArray[np.float64]:
    """Shape ``(series, n)``, in their stationary state."""
    noise = rng.standard_normal((SERIES, n + _BURN_IN))
    values = np.zeros_like(noise)
    for at in range(1, n + _BURN_IN):
        values[:, at] = memory * values[:, at - 1] + noise[:, at]
    return values[:, _BURN_IN:]


if __name__ == "__main__":
    main()
