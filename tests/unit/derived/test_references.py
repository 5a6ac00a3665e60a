"""What a name in an expression stands for."""

import pytest

from run_assets.derived.expressions import Name, Summary, parse
from run_assets.derived.references import Reference, Vocabulary, plan, resolve
from run_assets.errors import UsageError

WORDS = Vocabulary(
    metrics=["reward", "steps", "config.lr", "gain", "eval/a", "eval/loss", "a-b"],
    config_keys=["lr", "optimizer/name", "trainer.env.size"],
    constants=["gain", "optimal"],
)


def reference(text: str, vocabulary: Vocabulary = WORDS) -> Reference:
    return next(iter(resolve(parse(text), vocabulary).values()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reward", Reference("metric", "reward")),
        ("max(reward)", Reference("metric", "reward", "max")),
        ("config.trainer.env.size", Reference("config", "trainer.env.size")),
        ("`config.optimizer/name`", Reference("config", "optimizer/name")),
        ("optimal", Reference("constant", "optimal")),
        ("`optimal`", Reference("constant", "optimal")),
        ("runtime_seconds", Reference("run_column", "runtime_seconds")),
    ],
)
def test_a_name_is_found_in_its_namespace(text: str, expected: Reference) -> None:
    assert reference(text) == expected


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("steps", Reference("run_column", "steps")),
        ("gain", Reference("constant", "gain")),
        ("config.lr", Reference("config", "lr")),
    ],
)
def test_a_logged_metric_never_takes_over_a_declared_name(
    name: str, declared: Reference
) -> None:
    assert reference(name) == declared
    assert reference(f"`{name}`") == Reference("metric", name)
    assert reference(f"last({name})") == Reference("metric", name, "last")


def test_a_derived_metric_comes_before_a_logged_one_even_in_backticks() -> None:
    vocabulary = Vocabulary(metrics=["gap"], derived=["gap"])
    assert reference("gap", vocabulary) == Reference("derived", "gap")
    assert reference("`gap`", vocabulary) == Reference("derived", "gap")


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'reward'"):
        resolve(parse("rewrd / steps"), WORDS)
    with pytest.raises(UsageError, match="did you mean 'eval/a'"):
        resolve(parse("max(`eval/aa`)"), WORDS)


def test_a_name_in_other_letters_is_another_name() -> None:
    with pytest.raises(UsageError, match="unknown name '\uff52eward'"):
        resolve(parse("`\uff52eward`"), WORDS)


@pytest.mark.parametrize(
    "text", ["1 + eval/loss", "eval/loss*2", "(a-b)", "-eval/loss"]
)
def test_a_metric_spelled_without_backticks_is_not_divided(text: str) -> None:
    words = Vocabulary(metrics=[*WORDS.metrics, "eval", "loss", "a", "b"])
    with pytest.raises(UsageError, match="reads as arithmetic; write `"):
        resolve(parse(text), words)


def test_spaces_or_backticks_say_which_one_is_meant() -> None:
    words = Vocabulary(metrics=["eval", "loss", "eval/loss"])
    assert set(resolve(parse("eval / loss"), words)) == {Name("eval"), Name("loss")}
    assert set(resolve(parse("`eval/loss`/2"), words)) == {
        Name("eval/loss", quoted=True)
    }


def test_a_piece_of_a_metric_without_backticks_is_explained() -> None:
    words = Vocabulary(metrics=["eval / loss", "reward"])
    with pytest.raises(UsageError, match="metric 'eval / loss' goes in backticks"):
        resolve(parse("reward - eval / loss"), words)


@pytest.mark.parametrize("name", ["steps_taken", "optimal", "config.lr2", "other"])
def test_only_a_logged_metric_is_summarised(name: str) -> None:
    words = Vocabulary(
        constants=["optimal"], config_keys=["lr2"], derived=["other", "steps_taken"]
    )
    with pytest.raises(UsageError, match="summarises the points of a logged metric"):
        resolve(parse(f"max({name})"), words)


def test_derived_metrics_come_after_those_they_read() -> None:
    texts = {"c": "a + b", "b": "a * 2", "a": "reward", "d": "c - `b`"}
    order = [metric.name for metric in plan(texts, WORDS)]
    assert order.index("a") < order.index("b") < order.index("c") < order.index("d")


@pytest.mark.parametrize(
    ("texts", "circle"),
    [
        ({"a": "a + 1"}, "a -> a"),
        ({"reward": "`reward` / 100"}, "reward -> reward"),
        ({"a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a"),
    ],
)
def test_a_circle_is_refused_and_shown(texts: dict[str, str], circle: str) -> None:
    with pytest.raises(UsageError, match="in a circle") as refusal:
        plan(texts, WORDS)
    shown = str(refusal.value).split(": ", 1)[1].split(";", 1)[0]
    steps = shown.split(" -> ")
    start = steps.index(circle.split(" -> ", 1)[0])
    assert [*steps[start:-1], *steps[: start + 1]] == circle.split(" -> ")


@pytest.mark.parametrize("name", ["optimal", "steps", "config.lr"])
def test_a_derived_metric_cannot_take_a_declared_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' has the name of a .*; rename it"):
        plan({name: "1"}, WORDS)


def test_an_error_names_the_derived_metric() -> None:
    with pytest.raises(UsageError, match="derived metric 'gap': cannot read"):
        plan({"gap": "1 +"}, WORDS)


def test_a_label_is_what_the_expression_says() -> None:
    assert Reference("config", "lr").label == "config.lr"
    assert Reference("metric", "r", "last").label == "r"
    assert Reference("metric", "r", "std").label == "std(r)"
    assert Summary("std", Name("r")) in resolve(parse("std(r)"), Vocabulary(["r"]))
