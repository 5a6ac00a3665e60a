"""Checks of options; the messages say what was got and what is known."""

from collections.abc import Sequence

from run_assets.errors import UsageError, did_you_mean


def check_choice(option: str, got: str, known: Sequence[str]) -> None:
    """Refuse an unknown value of an option.

    Raises:
        UsageError: ``got`` is not among ``known``.

    >>> check_choice("test", "wilcoxn", ["ttest", "wilcoxon"])
    Traceback (most recent call last):
    run_assets.errors.UsageError: unknown test 'wilcoxn'; did you mean 'wilcoxon'?
    """
    if got not in known:
        message = f"unknown {option} {got!r}{did_you_mean(got, known)}"
        raise UsageError(message)


def check_confidence(confidence: float) -> None:
    """Refuse a confidence outside (0, 1).

    Raises:
        UsageError: A percentage was meant, or a number without meaning.
    """
    if not 0 < confidence < 1:
        message = f"confidence must be between 0 and 1, got {confidence}; 95 % is 0.95"
        raise UsageError(message)


def check_resampling(resamples: int, seed: int) -> None:
    """Refuse numbers of resamples and seeds without meaning.

    Raises:
        UsageError: No resample, or a seed that is not from 0 to 2**63 - 1.
    """
    if resamples < 1:
        message = f"resamples must be at least 1, got {resamples}"
        raise UsageError(message)
    if not 0 <= seed < 2**63:
        message = f"seed must be from 0 to 2**63 - 1, got {seed}"
        raise UsageError(message)
