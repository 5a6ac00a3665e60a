"""Shapes that every format can write: sentences, cells and tables.

A ``Name`` is text of strangers. Each format marks and escapes it in its own way;
everything else in a sentence is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from run_assets.reports.text import count, shown
from run_assets.reports.verdicts import Relation

Kind = Literal["name", "text", "number", "interval", "relation", "state"]


class Name(str):
    """A name of a group, run, metric or file, shortened to one printable line."""

    __slots__ = ()


Column = tuple[str, Kind]
"""Heading and kind of a column."""

Sentence = tuple[str, ...]
"""Parts of a sentence; the ``Name`` among them are foreign."""


def name(text: object, limit: int = 80) -> Name:
    r"""A foreign name, ready for a sentence.

    >>> name("a\nb")
    'a b'
    """
    return Name(shown(text, limit))


def names(texts: Sequence[object], limit: int = 10) -> Sentence:
    """Names with commas, cut after ``limit``.

    >>> names(["a", "b", "c"], limit=2)
    ('a', ', ', 'b', ' and 1 more')
    """
    parts: list[str] = []
    for text in texts[:limit]:
        parts += [", ", name(text, 60)] if parts else [name(text, 60)]
    if len(texts) > limit:
        parts.append(f" and {len(texts) - limit:,} more")
    return tuple(parts)


class Span(NamedTuple):
    """An interval as a drawing in a table cell; positions are shares of its width.

    Attributes:
        low: Left end, in [0, 1].
        high: Right end, in [0, 1].
        center: The estimate, in [0, 1].
        zero: Where no difference is, in [0, 1].
    """

    low: float
    high: float
    center: float
    zero: float


class Cell(NamedTuple):
    """One cell of a table.

    Attributes:
        text: What it says; a ``Name`` where it is foreign.
        detail: A smaller second part.
        url: Where a name leads to: an ``http`` or ``https`` address.
        relation: Marks the cell as a judgement.
        span: A drawing instead of text; ``text`` then says the same in words.
    """

    text: str
    detail: str = ""
    url: str | None = None
    relation: Relation | None = None
    span: Span | None = None


@dataclass(frozen=True)
class TableView:
    """A table as a reader sees it.

    Attributes:
        title: What it shows.
        columns: Heading and kind of each column.
        rows: The rows that are shown.
        n_rows: How many there are.
        address: Table of the warehouse that holds them all.
        note: How to read it.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_rows: int
    address: str
    note: str = ""

    @property
    def cut_note(self) -> str:
        """What is not shown and where it is; empty where all is shown."""
        if len(self.rows) == self.n_rows:
            return ""
        return (
            f"{len(self.rows):,} of {count(self.n_rows, 'row')} shown; "
            f"the table {self.address} has all of them."
        )


def safe_url(url: str | None) -> str | None:
    """An address that a reader may follow; anything but http(s) is dropped.

    >>> safe_url("https://wandb.ai/a/b/runs/c")
    'https://wandb.ai/a/b/runs/c'
    >>> safe_url("javascript:alert(1)")
    """
    if url is None or not url.startswith(("https://", "http://")):
        return None
    return url if url.isprintable() and " " not in url and len(url) <= 2_000 else None
