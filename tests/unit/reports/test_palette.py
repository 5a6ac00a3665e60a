from itertools import pairwise

import pytest

from run_assets.reports import palette
from run_assets.reports.palette import Ink


def _luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ink", palette.GROUPS)
def test_lines_stand_out_on_both_papers(ink: Ink) -> None:
    assert _contrast(ink.light, palette.PAPER.light) >= 3
    assert _contrast(ink.dark, palette.PAPER.dark) >= 3


@pytest.mark.parametrize("ink", [palette.TEXT, palette.MUTED])
def test_text_is_readable_on_both_papers(ink: Ink) -> None:
    assert _contrast(ink.light, palette.PAPER.light) >= 4.5
    assert _contrast(ink.dark, palette.PAPER.dark) >= 4.5


def test_neighbours_differ_on_a_grey_printer() -> None:
    for one, other in pairwise(palette.GROUPS):
        assert _contrast(one.light, other.light) >= 1.3


def test_each_group_has_a_dash_and_a_shape_of_its_own() -> None:
    size = len(palette.GROUPS)
    assert len({tuple(dash) for dash in palette.DASHES}) == size
    assert len(set(palette.SHAPES)) == size
    assert len({ink.light for ink in palette.INKS}) == len(palette.INKS)
