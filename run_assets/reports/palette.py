"""Colours, dashes and shapes of the groups, on light paper and on dark.

Blue, orange, purple … differ in hue for every common colour blindness; neighbours
also differ in lightness, and each group has a dash and a shape of its own, so that
a plot survives a grey printer. Checked against white: at least 3 : 1 (WCAG 1.4.11).
"""

from typing import NamedTuple


class Ink(NamedTuple):
    """One colour on both papers, as ``#rrggbb``."""

    light: str
    dark: str


PAPER = Ink("#ffffff", "#14191f")
TEXT = Ink("#1c2530", "#e6eaef")
MUTED = Ink("#586472", "#a3afbc")
GRID = Ink("#e4e8ed", "#2c343d")
AXIS = Ink("#9aa5b1", "#66727f")

GROUPS: tuple[Ink, ...] = (
    Ink("#0b4f8a", "#6db3f2"),
    Ink("#d07a00", "#f4b350"),
    Ink("#7b2d78", "#dd8fd6"),
    Ink("#12876a", "#4fd0ac"),
    Ink("#b3322c", "#f48c82"),
    Ink("#2f8fc0", "#9adcff"),
    Ink("#4d5866", "#b4bec9"),
    Ink("#7c6a12", "#d6c561"),
)
DASHES: tuple[list[int], ...] = (
    [1, 0],
    [7, 3],
    [2, 2],
    [9, 3, 2, 3],
    [5, 2],
    [1, 3],
    [12, 4],
    [4, 2, 1, 2],
)
SHAPES: tuple[str, ...] = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "triangle-down",
    "cross",
    "triangle-right",
    "triangle-left",
)

INKS: tuple[Ink, ...] = (PAPER, TEXT, MUTED, GRID, AXIS, *GROUPS)
