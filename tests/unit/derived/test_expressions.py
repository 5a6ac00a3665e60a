"""The grammar of derived metrics, and what it must never let through."""

import time
from pathlib import Path

import pytest

from run_assets.derived.expressions import (
    MAX_DEPTH,
    MAX_LENGTH,
    Call,
    Name,
    Negation,
    Number,
    Operation,
    Summary,
    parse,
)
from run_assets.errors import UsageError

A, B = Name("a"), Name("b")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a - b - 1", Operation("-", Operation("-", A, B), Number(1.0))),
        ("a - b * 2", Operation("-", A, Operation("*", B, Number(2.0)))),
        ("-a ** 2", Negation(Operation("**", A, Number(2.0)))),
        ("a ** -b", Operation("**", A, Negation(B))),
        ("2 ** a ** b", Operation("**", Number(2.0), Operation("**", A, B))),
        ("+a", A),
        (" ( a\n+\tb )\n", Operation("+", A, B)),
        ("a-1", Operation("-", A, Number(1.0))),
        ("1e-3", Number(0.001)),
        (".5", Number(0.5)),
        ("007", Number(7.0)),
    ],
)
def test_operators_bind_as_in_python(text: str, tree: object) -> None:
    assert parse(text).root == tree


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("`eval/loss`", "eval/loss"),
        ("`two words`", "two words"),
        ("`a``b`", "a`b"),
        ("`\uff52eward`", "\uff52eward"),
        ("`line\nbreak 🦀 \"'; --`", "line\nbreak 🦀 \"'; --"),
        ("`__class__`", "__class__"),
    ],
)
def test_a_quoted_name_is_taken_letter_by_letter(text: str, name: str) -> None:
    assert parse(text).root == Name(name, quoted=True)


@pytest.mark.parametrize("word", ["lambda", "None", "import", "if", "last", "config.a"])
def test_a_word_of_python_is_a_name_like_any_other(word: str) -> None:
    assert parse(word).root == Name(word)


def test_one_name_is_summarised_and_several_are_compared() -> None:
    assert parse("max(a)").root == Summary("max", A)
    assert parse("max(a, b)").root == Call("max", (A, B))
    assert parse("mean_last_10pct(`a`)").root == Summary(
        "mean_last_10pct", Name("a", quoted=True)
    )


def test_names_come_once_and_from_left_to_right() -> None:
    expression = parse("b / max(`c/d`) + coalesce(a, b, 0) - `b`")
    assert expression.names == ("b", "c/d", "a")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is empty"),
        ("  \n", "it is empty"),
        ("a +", "near '[+]', column 3"),
        ("a b", "near 'b', column 3"),
        ("(a", "missing or too many"),
        ("a // b", "near '/'"),
        ("1_000", "near '_000'"),
        ("1e999", "too large"),
        ("a, b", "only numbers, names"),
        ("lgo(a)", "'lgo' is not a function; did you mean 'log'"),
        ("`max`(a, b)", "'max' is not a function"),
        ("log(a, b)", r"log\(\) takes one operand, got 2"),
        ("sqrt()", r"sqrt\(\) takes one operand, got 0"),
        ("coalesce(a)", r"coalesce\(\) takes two or more operands, got 1"),
        ("max(a + b)", "takes only its name, or two or more operands"),
        ("mean(a, b)", r"mean\(\) summarises one metric"),
        ("max()", r"takes two or more operands, got 0"),
        ("a + `b", "backtick in column 5 has no partner"),
        ("``", "encloses nothing"),
        ("a % b", "'%' in column 3"),
    ],
)
def test_a_mistake_is_named_and_located(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse(text)


ATTACKS = [
    "__import__('os').system('id')",
    "open('/etc/passwd').read()",
    "().__class__.__bases__[0].__subclasses__()",
    "reward.__class__()",
    "(1).real",
    "f'{reward}'",
    "'a' * 1000000000",
    "b'bytes'",
    '"text"',
    "lambda: 0",
    "(lambda x: x)(1)",
    "[x for x in (1,)]",
    "{x: 1 for x in (1,)}",
    "{1, 2}",
    "reward[0]",
    "reward if loss else 1",
    "reward and loss",
    "not reward",
    "reward < 1",
    "reward == reward",
    "reward @ loss",
    "1 << 1000000",
    "~1",
    "(x := 1)",
    "await reward",
    "*reward",
    "log(*reward)",
    "log(**reward)",
    "max(a, key=b)",
    "...",
    "1j",
    "0x1F",
    "1or 2",
    "reward; import os",
    "reward # comment",
    "reward\\\n+ 1",
    "eval(reward)",
    "exec(reward)",
    "getattr(reward, loss)",
    "log(reward)(1)",
    "1(2)",
    "(SELECT nosuch FROM read_csv('/etc/passwd'))",
    "read_csv('http://127.0.0.1/')",
    "generate_series(1, 1e11)",
    "^.*$",
    "COLUMNS('.*')",
    "$1",
    "\uff52\uff45\uff57\uff41\uff52\uff44",
    "reward\u2215loss",
    "reward\u00a0+ 1",
    "reward\x00",
    "(" * 300 + "1" + ")" * 300,
    "(" * 60 + "-" * 200 + "1" + ")" * 60,
    "-" * (MAX_LENGTH - 1) + "1",
    "abs(" * 150 + "1" + ")" * 150,
    "2**" * 300 + "2",
    "1+" * 150 + "1",
    "a+" * 100_000 + "a",
    "(" * 100_000,
    "`" * 999,
    "1" * 1_000_000,
    "a" * 1_000_000,
    "1" * 900,
]


@pytest.mark.parametrize("text", ATTACKS, ids=[each[:30] for each in ATTACKS])
def test_an_attack_is_refused_before_it_costs_anything(text: str) -> None:
    start = time.thread_time()
    with pytest.raises(UsageError) as refusal:
        parse(text)
    assert time.thread_time() - start < 0.1
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("text", ["open('{}', 'w')", "open(`{}`)", "read_csv(`{}`)"])
def test_parsing_opens_no_file(tmp_path: Path, text: str) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(UsageError):
        parse(text.format(canary))
    assert not canary.exists()
    canary.write_text("secret")
    with pytest.raises(UsageError) as refusal:
        parse(text.format(canary))
    assert "secret" not in str(refusal.value)


def test_a_tower_of_powers_is_only_a_tree_of_floats() -> None:
    nine = Number(9.0)
    assert parse("9**9**9").root == Operation("**", nine, Operation("**", nine, nine))


def test_limits_leave_room_for_a_long_sum() -> None:
    terms = " + ".join(f"m{number}" for number in range(MAX_DEPTH))
    assert len(parse(terms).names) == MAX_DEPTH
    with pytest.raises(UsageError, match="more than 200 parts"):
        parse(terms + " + m")


def test_a_tree_as_deep_as_allowed_is_read_and_one_level_more_is_not() -> None:
    levels = MAX_DEPTH - 1
    parse("-" * levels + "a")
    with pytest.raises(UsageError, match="nests deeper"):
        parse("-" * (levels + 1) + "a")
