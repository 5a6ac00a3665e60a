"""Which trials are chosen, and what a wrong name says."""

from datetime import timedelta

import pytest

from run_assets.errors import NotFoundError
from run_assets.stats.trial_selection import TrialSelection, select_trials
from tests.support.trials import START, trials_of

TRIALS = trials_of(
    {
        ("gpt-4o", "iron_ore_throughput"): (1, 4),
        ("gpt-4o", "steel[1]"): (0, 2),
        ("mini", "iron_ore_throughput"): (0, 2),
    }
)


@pytest.mark.parametrize(
    ("asked", "n"),
    [
        (TrialSelection(), 8),
        (TrialSelection(models=("gpt-4o",)), 6),
        (TrialSelection(tasks=("iron*",)), 6),
        (TrialSelection(tasks=("steel[[]1]",)), 2),
        (TrialSelection(versions=("3", "1")), 4),
        (TrialSelection(since=START + timedelta(minutes=3)), 2),
        (TrialSelection(min_trials=3), 6),
        (TrialSelection(models=("gpt-4o", "mini"), tasks=("steel*", "*ore*")), 8),
    ],
)
def test_every_option_chooses(asked: TrialSelection, n: int) -> None:
    assert select_trials(TRIALS, asked).height == n


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (TrialSelection(models=("gpt4o",)), "no trial of model 'gpt4o'; did you mean"),
        (TrialSelection(models=("x' OR '1'='1",)), "no trial of model"),
        (TrialSelection(versions=("9",)), "no trial of version '9'"),
        (TrialSelection(sweeps=("s",)), "no trial of sweep 's'"),
        (TrialSelection(tasks=("copper*",)), "no task matches 'copper"),
    ],
)
def test_a_name_that_nobody_has_is_an_error(asked: TrialSelection, said: str) -> None:
    with pytest.raises(NotFoundError, match=said):
        select_trials(TRIALS, asked)
