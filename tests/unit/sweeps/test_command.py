import pytest

from run_assets.sweeps.command import PLACEHOLDERS, check_command, filled

VALUES = {
    "sweep_id": "s",
    "model": "gpt; rm -rf /",
    "task": "it's a $(task) {model}",
    "trial": 3,
    "seed": 7,
    "attempt": 1,
    "server": "",
    "options": {"temperature": 0.5, "prompt": "be brief"},
}


def test_a_value_stays_one_argument_whatever_it_holds() -> None:
    words = filled("solve --model={model} {task} 'a b' {{x}}", VALUES)
    assert words == [
        "solve",
        "--model=gpt; rm -rf /",
        "it's a $(task) {model}",
        "a b",
        "{x}",
    ]


def test_options_are_json_or_picked() -> None:
    words = filled("{options.temperature} {options.prompt} {options} {trial}", VALUES)
    options = '{"prompt": "be brief", "temperature": 0.5}'
    assert words == ["0.5", "be brief", options, "3"]


def test_every_placeholder_can_be_filled() -> None:
    command = " ".join(f"{{{one}}}" for one in PLACEHOLDERS)
    check_command(command, {})
    assert len(filled(command, VALUES)) == len(PLACEHOLDERS)


@pytest.mark.parametrize("word", ["{options.nope}", "{model!r:}x{modell}", "{}", "{0}"])
def test_an_unknown_placeholder_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="unknown placeholder"):
        check_command(f"solve {word}", {"temperature": 1})
