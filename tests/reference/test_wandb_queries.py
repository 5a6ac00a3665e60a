"""We ask W&B for nothing that its own SDK does not ask for.

W&B publishes no schema; the documents in the SDK are the nearest there is. They are
constants of Python modules, and texts in the SDK's own process, written in Go.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import wandb
from graphql import GraphQLSyntaxError, parse, visit
from graphql.language import DocumentNode, FieldNode, Visitor

from run_assets.sources import wandb_api_queries as ours

DOCUMENTS = {
    name: text
    for name, text in {**vars(ours), "EXISTENCE": ours.existence_query(2)}.items()
    if isinstance(text, str) and text.lstrip().startswith("query ")
}

BUILT = {("events", "samples"), ("history", "samples")}
"""Fields of a document that `Run.history` puts together when it is called."""


class _Fields(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.arguments: set[tuple[str, str]] = set()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self.names.add(node.name.value)
        pairs = ((node.name.value, one.name.value) for one in node.arguments)
        self.arguments.update(pairs)


def fields_of(documents: Iterator[DocumentNode]) -> _Fields:
    found = _Fields()
    for document in documents:
        visit(document, found)
    return found


def parsed(texts: Iterator[str]) -> Iterator[DocumentNode]:
    for text in texts:
        try:
            yield parse(text, no_location=True)
        except GraphQLSyntaxError:
            continue  # a fragment of a text, or no GraphQL at all


def python_texts() -> Iterator[str]:
    for name in ("wandb.apis._generated", "wandb.sdk.artifacts._generated"):
        module = import_module(f"{name}.operations")
        yield from (one for one in vars(module).values() if isinstance(one, str))
    runs, files = (
        import_module(f"wandb.apis.public.{name}") for name in ("runs", "files")
    )
    yield runs._create_runs_query(lazy=False)
    yield files.FILE_FRAGMENT


def go_texts() -> Iterator[str]:
    """Documents in the executable: a name, then whatever is in balanced braces."""
    program = Path(wandb.__file__).parent / "bin" / "wandb-core"
    text = program.read_bytes().decode("latin1")
    for start in re.finditer(r"query [A-Z]\w+ ?\(", text):
        depth, position = 0, start.start()
        for brace in re.finditer(r"[{}]", text[position : position + 4000]):
            depth += 1 if brace.group() == "{" else -1
            if depth == 0:
                yield text[position : position + brace.end()]
                break


@pytest.fixture(scope="module")
def sdk() -> _Fields:
    found = fields_of(iter([*parsed(python_texts()), *parsed(go_texts())]))
    assert {"parquetHistory", "historyLineCount", "eventsLineCount"} <= found.names
    source = inspect.getsource(import_module("wandb.apis.public.runs").Run)
    assert '"events"' in source
    assert "(samples: $samples)" in source
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_and_argument_is_one_the_sdk_asks_for(
    sdk: _Fields, name: str
) -> None:
    mine = fields_of(iter([parse(DOCUMENTS[name])]))
    assert mine.names
    assert mine.names - sdk.names - {field for field, _ in BUILT} == set()
    assert mine.arguments - sdk.arguments - BUILT == set()
