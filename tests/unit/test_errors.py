import inspect
import re

import pytest

from run_assets import errors
from run_assets.errors import RunAssetsError, did_you_mean

CLASSES = [
    one
    for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, RunAssetsError)
]


def test_the_docstring_draws_every_class_with_its_exit_code() -> None:
    drawn = re.findall(r"─ (\w+Error) +(\d+)", errors.__doc__ or "")
    wanted = {(one.__name__, str(one.exit_code)) for one in CLASSES}
    assert {*drawn, ("RunAssetsError", "1")} == wanted


def test_no_two_situations_share_a_special_exit_code() -> None:
    special = [one.exit_code for one in CLASSES if one.exit_code != 1]
    assert sorted(special) == [2, 4, 5, 75]


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("los", ["loss", "reward"], "; did you mean 'loss'?"),
        ("zzz", ["b", "a", "a"], "; known: a, b"),
        ("zzz", [], ""),
        ("zzz", [f"n{i:02}" for i in range(13)], "n11, …"),
    ],
)
def test_an_unknown_name_gets_the_nearest_or_the_known(
    name: str, known: list[str], said: str
) -> None:
    assert did_you_mean(name, known).endswith(said)
