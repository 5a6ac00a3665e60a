"""Pages, cursors and identifiers of GraphQL objects."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar

from tests.support.wandb_server.graphql import Node

T = TypeVar("T")

DEFAULT_PAGE = 50


def encoded(text: str) -> str:
    """An identifier or cursor as clients see it.

    >>> encoded("User:1")
    'VXNlcjox'
    """
    return b64encode(text.encode()).decode()


def decoded(identifier: str) -> str:
    """The inverse of `encoded`."""
    return b64decode(identifier).decode()


def timestamp(when: datetime, suffix: Literal["", "Z"] = "Z") -> str:
    """A time as W&B writes it: UTC, whole seconds.

    >>> timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S}{suffix}"


def connection(
    items: Sequence[T],
    node: Callable[[T], Node],
    after: str | None = None,
    first: int | None = None,
    edge: Callable[[T], Node] | None = None,
) -> Node:
    """One page of `items`; only the page's own nodes are built.

    Args:
        items: All items in order.
        node: Makes the node of an item.
        after: Cursor of the last item already seen.
        first: Items in a page.
        edge: Further fields of an item's edge.
    """
    start = int(decoded(after).split(":")[1]) + 1 if after else 0
    stop = start + (first or DEFAULT_PAGE)
    page = items[start:stop]
    edges = [
        {
            **(edge(item) if edge else {}),
            "node": node(item),
            "cursor": encoded(f"cursor:{start + index}"),
        }
        for index, item in enumerate(page)
    ]
    return {
        "edges": edges,
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": edges[-1]["cursor"] if edges else None,
            "hasNextPage": stop < len(items),
        },
        "totalCount": len(items),
    }
