r"""The language of derived metrics: text in, a small tree out; nothing is executed.

An expression is arithmetic over names: ``reward / steps``,
``max(`eval/b`) - coalesce(`eval/a`, 0)``.

============== ===============================================================
numbers        ``1``, ``0.5``, ``1e-3``; always 64-bit floats
names          ASCII letters, digits, ``_`` and ``.``; any other name stands in
               backticks (a backtick inside is doubled), taken letter by letter
operators      ``+ - * / **`` and the signs, with Python's precedence:
               ``-2 ** 2`` is -4, ``2 ** 3 ** 2`` is 512
functions      ``log`` (natural), ``exp``, ``sqrt``, ``abs``: one operand;
               ``min``, ``max``: two or more, compared element by element;
               ``coalesce``: two or more, the first one that has a value
summaries      ``last first min max mean median std count mean_last_10pct`` of
               one metric's name: a single number per run. So ``max(a, b)``
               compares and ``max(a)`` summarises.
============== ===============================================================

What a name stands for is decided in `run_assets.derived.references`.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

from run_assets.errors import UsageError, did_you_mean

MAX_LENGTH = 1000  # characters
MAX_NODES = 200
MAX_DEPTH = 100  # so that a sum of 100 terms, which leans left, still passes

Operator: TypeAlias = Literal["+", "-", "*", "/", "**"]
Function: TypeAlias = Literal["log", "exp", "sqrt", "abs", "min", "max", "coalesce"]
Aggregate: TypeAlias = Literal[
    "last",
    "first",
    "min",
    "max",
    "mean",
    "median",
    "std",
    "count",
    "mean_last_10pct",
]

FUNCTIONS: tuple[Function, ...] = get_args(Function)
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
_ONE_OPERAND = frozenset({"log", "exp", "sqrt", "abs"})

_OPERATORS: dict[type[ast.operator], Operator] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A name whose meaning is still open; `quoted` if it stood in backticks."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """One number per run from all points of a metric: ``max(`eval/b`)``."""

    aggregate: Aggregate
    metric: Name


@dataclass(frozen=True, slots=True)
class Negation:
    """A minus sign."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class Operation:
    """Two operands and an operator between them."""

    operator: Operator
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function that works row by row."""

    function: Function
    operands: tuple["Node", ...]


Leaf: TypeAlias = Name | Summary
Node: TypeAlias = Number | Leaf | Negation | Operation | Call


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression and the text it came from."""

    text: str
    root: Node

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every name and summary once, from left to right."""
        return tuple(dict.fromkeys(_leaves(self.root)))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name used, once, from left to right.

        >>> parse("max(`eval/b`) + reward / reward").names
        ('eval/b', 'reward')
        """
        return tuple(dict.fromkeys(leaf_name(leaf).text for leaf in self.leaves))


class Token(NamedTuple):
    """A piece of the text; ``text`` is unquoted if ``kind`` is ``quoted``."""

    kind: Literal["number", "name", "quoted", "symbol"]
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"""
      (?P<number> (?: [0-9]+ (?: \.[0-9]* )? | \.[0-9]+ ) (?: [eE][+-]?[0-9]+ )? )
    | (?P<name>   [A-Za-z_][A-Za-z0-9_]* (?: \.[A-Za-z0-9_]+ )* )
    | `(?P<quoted> (?: [^`] | `` )+ )`
    | (?P<symbol> \*\* | [-+*/(),] )
    """,
    re.VERBOSE,
)
_SPACE = re.compile(r"[ \t\r\n]*")


def parse(text: str) -> Expression:
    """The tree of an expression.

    Names and numbers are taken out of the text before Python's grammar sees it,
    so that grammar is only asked for precedence: keywords, attributes, strings
    and look-alike letters cannot reach it.

    Args:
        text: At most `MAX_LENGTH` characters; comes from a config file.

    Returns:
        A tree of at most `MAX_NODES` nodes and `MAX_DEPTH` levels.

    Raises:
        UsageError: ``text`` is not in the language; says where it departs from it.

    >>> parse("-loss ** 2").root
    Negation(operand=Operation(operator='**', left=Name(text='loss', quoted=False), \
right=Number(value=2.0)))
    """
    if len(text) > MAX_LENGTH:
        raise _refusal(text, f"it has {len(text)} characters, at most {MAX_LENGTH}")
    tokens = list(tokenize(text))
    if not tokens:
        raise _refusal(text, "it is empty")
    tree = _python_tree(text, tokens)
    if sum(isinstance(node, ast.expr) for node in ast.walk(tree)) > MAX_NODES:
        raise _refusal(text, f"it has more than {MAX_NODES} parts")
    return Expression(text, _Translation(text, tokens).node(tree, depth=1))


def tokenize(text: str) -> Iterator[Token]:
    """The pieces of an expression, without the white space between them.

    Raises:
        UsageError: A character is outside the language.

    >>> [token.text for token in tokenize("`eval/b`/2e3")]
    ['eval/b', '/', '2e3']
    """
    position = _skip_space(text, 0)
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refusal(text, _unexpected(text, position))
        yield _token(match)
        position = _skip_space(text, match.end())


def leaf_name(leaf: Leaf) -> Name:
    """The name inside a name or a summary."""
    return leaf.metric if isinstance(leaf, Summary) else leaf


def _token(match: re.Match[str]) -> Token:
    start, end = match.span()
    if number := match["number"]:
        return Token("number", number, start, end)
    if name := match["name"]:
        return Token("name", name, start, end)
    if quoted := match["quoted"]:
        return Token("quoted", quoted.replace("``", "`"), start, end)
    return Token("symbol", match["symbol"], start, end)


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _python_tree(text: str, tokens: list[Token]) -> ast.expr:
    """Python's grammar over placeholders: ``n3 / n5`` for ``reward / steps``."""
    source = " ".join(
        token.text if token.kind == "symbol" else f"n{index}"
        for index, token in enumerate(tokens)
    )
    try:
        return ast.parse(source, mode="eval").body
    except SyntaxError as error:
        reason = _syntax_reason(tokens, source, error)
        raise _refusal(text, reason) from None
    except (MemoryError, RecursionError):  # the parser's own stack is full
        raise _refusal(text, f"it nests deeper than {MAX_DEPTH} levels") from None


def _syntax_reason(tokens: list[Token], source: str, error: SyntaxError) -> str:
    if "too many nested" in error.msg:
        return f"it nests deeper than {MAX_DEPTH} levels"
    # The offset counts from 1; 0 means the end of the text came too soon.
    index = source[: error.offset - 1].count(" ") if error.offset else -1
    token = tokens[index]
    return (
        f"near {token.text!r}, column {token.start + 1}, "
        "an operator, an operand or a parenthesis is missing or too many"
    )


class _Translation:
    """From Python's tree of placeholders to ours, refusing what is not ours."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = {f"n{index}": token for index, token in enumerate(tokens)}

    def node(self, tree: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _refusal(self._text, f"it nests deeper than {MAX_DEPTH} levels")
        match tree:
            case ast.Name():
                return self._operand(tree)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.node(tree.operand, depth + 1)
            case ast.UnaryOp(op=ast.USub()):
                return Negation(self.node(tree.operand, depth + 1))
            case ast.BinOp(op=op) if operator := _OPERATORS.get(type(op)):
                left = self.node(tree.left, depth + 1)
                return Operation(operator, left, self.node(tree.right, depth + 1))
            case ast.Call(func=ast.Name() as function, keywords=[]):
                operands = [self.node(operand, depth + 1) for operand in tree.args]
                return self._call(self._tokens[function.id], operands)
        reason = "only numbers, names, + - * / ** and function calls are allowed"
        raise _refusal(self._text, reason)

    def _operand(self, tree: ast.Name) -> Number | Name:
        token = self._tokens[tree.id]
        if token.kind != "number":
            return Name(token.text, quoted=token.kind == "quoted")
        value = float(token.text)
        if value == float("inf"):
            raise _refusal(self._text, f"the number {token.text[:20]} is too large")
        return Number(value)

    def _call(self, token: Token, operands: list[Node]) -> Summary | Call:
        name = token.text if token.kind == "name" else ""
        if name in AGGREGATES and (name not in FUNCTIONS or len(operands) == 1):
            return self._summary(AGGREGATES[AGGREGATES.index(name)], operands)
        if name not in FUNCTIONS:
            known = did_you_mean(token.text, {*FUNCTIONS, *AGGREGATES})
            raise _refusal(self._text, f"{token.text!r} is not a function{known}")
        function = FUNCTIONS[FUNCTIONS.index(name)]
        self._check_count(function, len(operands))
        return Call(function, tuple(operands))

    def _summary(self, aggregate: Aggregate, operands: list[Node]) -> Summary:
        match operands:
            case [Name() as metric]:
                return Summary(aggregate, metric)
        reason = f"{aggregate}() summarises one metric and takes only its name"
        if aggregate in FUNCTIONS:
            reason += f", or two or more operands to compare: {aggregate}(a, b)"
        raise _refusal(self._text, reason)

    def _check_count(self, function: Function, count: int) -> None:
        if function in _ONE_OPERAND and count != 1:
            reason = f"{function}() takes one operand, got {count}"
            raise _refusal(self._text, reason)
        if function not in _ONE_OPERAND and count < 2:
            reason = f"{function}() takes two or more operands, got {count}"
            raise _refusal(self._text, reason)


def _leaves(node: Node) -> Iterator[Leaf]:
    match node:
        case Name() | Summary():
            yield node
        case Negation(operand):
            yield from _leaves(operand)
        case Operation(_, left, right):
            yield from _leaves(left)
            yield from _leaves(right)
        case Call(_, operands):
            for operand in operands:
                yield from _leaves(operand)


def _unexpected(text: str, position: int) -> str:
    where = f"column {position + 1}"
    if text[position] == "`":
        return f"the backtick in {where} has no partner or encloses nothing"
    return (
        f"the character {text[position]!r} in {where} is not part of the language; "
        "a name with more than ASCII letters, digits, '_' and '.' goes in backticks"
    )


def _refusal(text: str, reason: str) -> UsageError:
    shown = text if len(text) <= 80 else text[:79] + "…"
    return UsageError(f"cannot read the expression {shown!r}: {reason}")
