"""Executes GraphQL documents over plain mappings, without a schema.

W&B does not publish its schema. Here an object is a mapping from field names to
values or to functions of the field's arguments. An unknown field is null and counted.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import parse
from graphql.language import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    NamedTypeNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)
from graphql.utilities import value_from_ast_untyped

Node = dict[str, Any]
"""A GraphQL object: field name to value, or to a function of keyword arguments."""


class GraphQLRefusalError(Exception):
    """An error that the server reports inside a GraphQL answer with some status."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


RENAMED = {"input": "given", "id": "identifier"}
"""Arguments whose names would hide builtins."""


@lru_cache(maxsize=1024)
def python_name(argument: str) -> str:
    """The name under which a resolver takes an argument.

    >>> python_name("clientID"), python_name("minStep"), python_name("input")
    ('client_id', 'min_step', 'given')
    """
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", argument).lower()
    return RENAMED.get(snake, snake)


@lru_cache(maxsize=512)
def parsed(query: str) -> DocumentNode:
    """The document of a query; the SDK sends the same few dozen texts."""
    return parse(query, no_location=True)


def operation_of(document: DocumentNode) -> OperationDefinitionNode:
    """The document's only operation."""
    return next(
        node
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
    )


def operation_name(query: str) -> str:
    """The name of the query's operation.

    >>> operation_name("query Runs { project { id } }")
    'Runs'
    """
    name = operation_of(parsed(query)).name
    return name.value if name else "anonymous"


def execute(
    query: str,
    variables: Mapping[str, Any],
    root: Node,
    on_unknown: Callable[[str], None],
) -> Node:
    """The data that a query or mutation selects from `root`.

    >>> root = {"run": lambda name: {"id": name}}
    >>> execute("{ run(name: 1) { id } }", {}, root, print)
    {'run': {'id': 1}}

    Raises:
        GraphQLRefusalError: A resolver refused.
    """
    document = parsed(query)
    operation = operation_of(document)
    execution = _Execution(
        fragments={
            node.name.value: node
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        },
        variables=_with_defaults(operation, variables),
        on_unknown=on_unknown,
    )
    return execution.select(operation.selection_set, root, operation.operation.value)


def _with_defaults(
    operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for definition in operation.variable_definitions or ():
        default = definition.default_value
        name = definition.variable.name.value
        filled[name] = value_from_ast_untyped(default) if default else None
    return {**filled, **variables}


@dataclass(frozen=True)
class _Execution:
    """One document with its variables, walked selection by selection."""

    fragments: Mapping[str, FragmentDefinitionNode]
    variables: dict[str, Any]
    on_unknown: Callable[[str], None]

    def select(self, selections: SelectionSetNode, node: Node, path: str) -> Node:
        selected: Node = {}
        for selection in selections.selections:
            if self._is_on(selection):
                for name, value in self._selected(selection, node, path):
                    selected[name] = _merged(selected.get(name), value)
        return selected

    def _selected(
        self, selection: SelectionNode, node: Node, path: str
    ) -> Iterator[tuple[str, Any]]:
        if isinstance(selection, FieldNode):
            alias = selection.alias or selection.name
            yield alias.value, self._field(selection, node, path)
            return
        fragment = self._fragment(selection)
        if _is_a(node, fragment.type_condition):
            yield from self.select(fragment.selection_set, node, path).items()

    def _fragment(
        self, selection: SelectionNode
    ) -> FragmentDefinitionNode | InlineFragmentNode:
        if isinstance(selection, FragmentSpreadNode):
            return self.fragments[selection.name.value]
        if isinstance(selection, InlineFragmentNode):
            return selection
        message = f"unknown selection {selection.kind}"
        raise GraphQLRefusalError(message)

    def _field(self, field: FieldNode, node: Node, path: str) -> Any:
        name = field.name.value
        here = f"{path}.{name}"
        if name not in node:
            self.on_unknown(here)
            return None
        value = node[name]
        if callable(value):
            value = value(**self._arguments(field))
        return self._completed(field, value, here)

    def _completed(self, field: FieldNode, value: Any, path: str) -> Any:
        if field.selection_set is None or value is None:
            return value
        if isinstance(value, list):
            return [self._completed(field, item, path) for item in value]
        return self.select(field.selection_set, value, path)

    def _arguments(self, field: FieldNode | DirectiveNode) -> dict[str, Any]:
        return {
            python_name(node.name.value): value_from_ast_untyped(
                node.value, self.variables
            )
            for node in field.arguments
        }

    def _is_on(self, selection: SelectionNode) -> bool:
        for directive in selection.directives:
            condition = self._arguments(directive).get("if")
            if directive.name.value == "include" and not condition:
                return False
            if directive.name.value == "skip" and condition:
                return False
        return True


def _is_a(node: Node, condition: NamedTypeNode | None) -> bool:
    """Whether a fragment applies; one without a condition always does."""
    if condition is None or "__typename" not in node:
        return True
    names = (node["__typename"], *node.get("__interfaces", ()))
    return condition.name.value in names


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {
            name: _merged(old.get(name), new.get(name, old.get(name)))
            for name in {**old, **new}
        }
    return new
