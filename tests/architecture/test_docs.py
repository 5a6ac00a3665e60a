"""Nothing ships undocumented: commands, options, config keys, variables, examples."""

import ast
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import typer
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from run_assets.cli.app import app, hoisted
from run_assets.config import Config
from run_assets.contracts.tables import TABLES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "run_assets"
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
VARIABLE = re.compile(r"(RUN_ASSETS|WANDB|DAGSTER|DISABLE|ENABLE|NETRC|NO_COLOR)\w*")
# What we only ever set for a child, so that its user cannot: no setting of ours.
SET_BY_US = {
    *("DAGSTER_DISABLE_TELEMETRY", "WANDB_", "RUN_ASSETS_", "WANDB_ARTIFACT_DIR"),
    *("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_DIR", "WANDB_ERROR_REPORTING"),
}
GLOBAL = {"--config", "--project", "--verbose", "-v", "--quiet", "-q"}


def commands() -> dict[str, Any]:
    """Each command by its words."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if inner := getattr(command, "commands", None):
            for name, one in inner.items():
                walk(one, (*words, name))
        else:
            found[" ".join(words)] = command

    walk(typer.main.get_command(app), ())
    return found


def options(command: Any) -> set[str]:
    """Every spelling of every option."""
    return {
        spelling
        for parameter in command.params
        if parameter.param_type_name == "option"
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }


def section(words: str) -> str:
    """What the page says about one command."""
    start = re.search(rf"^## `run-assets {re.escape(words)}( .*)?`$", CLI, re.MULTILINE)
    assert start, f"docs/cli.md has no section on {words!r}"
    return CLI[start.end() :].split("\n## ", 1)[0]


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_command_and_option_is_documented(words: str) -> None:
    said = section(words)
    common = {"--help", "-h", "--output-format"}
    missing = {
        one for one in options(commands()[words]) - common if f"`{one}" not in said
    }
    assert not missing


def test_the_options_that_work_everywhere_are_documented() -> None:
    said = CLI.split("\n## `", 1)[0]
    known = options(typer.main.get_command(app))
    assert {one for one in known if f"`{one}" not in said} == set()


def test_no_command_is_documented_that_does_not_exist() -> None:
    named = re.findall(r"^## `run-assets ([a-z -]*[a-z])", CLI, re.MULTILINE)
    assert sorted(named) == sorted(commands())


def examples() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            commands_of = (line.split(" && ") for line in lines)
            for command in (one.strip() for line in commands_of for one in line):
                if command.startswith(("run-assets ", "$ run-assets ")):
                    yield page.name, command.removeprefix("$ ")


def test_the_pages_show_examples() -> None:
    assert len(list(examples())) >= 8


@pytest.mark.parametrize(("page", "line"), list(examples()))
def test_every_example_is_a_command_that_parses(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    end = next((i for i, w in enumerate(words) if w in ("<", ">", "|")), len(words))
    given = [word for word in hoisted(words[:end]) if word != "--quiet"]
    while given and given[0] in GLOBAL:
        given = given[1:] if given[0].startswith("-v") else given[2:]
    name = next(
        (
            " ".join(given[:count])
            for count in (2, 1)
            if " ".join(given[:count]) in commands()
        ),
        None,
    )
    if given in (["--help"], ["--version"]):
        return
    assert name is not None, f"{page}: {line}: no such command"
    command = commands()[name]
    command.make_context(name, given[len(name.split()) :], resilient_parsing=False)


def keys(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of the configuration and their defaults; lists as ``key[]``."""
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        default = field.get_default(call_default_factory=True)
        inner = _inner(field.annotation)
        if not inner or inner[0][1]:
            yield f"{before}{name}", default
        found = {
            key: one
            for kind, mark in inner
            for key, one in keys(kind, f"{before}{name}{mark}.")
        }
        yield from found.items()


def _inner(annotation: Any) -> list[tuple[type[BaseModel], str]]:
    """Models in a type, and how a key says that there are several of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, "")]
    origin = get_origin(annotation)
    is_plain = origin in (Union, UnionType) or not isinstance(origin, type)
    mark = ".<name>" if origin is dict else "[]"
    return [
        (kind, below if is_plain else mark)
        for one in get_args(annotation)
        for kind, below in _inner(one)
    ]


def rows() -> dict[str, str]:
    """Default as written, by key."""
    table = CONFIGURATION.split("## Keys", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", table, re.MULTILINE)
    return {key: default.strip() for key, default in cells}


def test_every_config_key_is_documented_and_no_other() -> None:
    said = rows()
    assert {key for key, _ in keys(Config)} == set(said)


@pytest.mark.parametrize(("key", "default"), list(keys(Config)))
def test_the_documented_default_is_the_real_one(key: str, default: object) -> None:
    said = rows()[key].strip("`")
    if default is PydanticUndefined:
        assert said == "required"
    elif key == "sources":
        assert said == "none"
        assert default == ()
    elif key in ("curves.environment_features", "curves.agent_features"):
        assert said == "the preset"
    else:
        # A default is shown as YAML would write it.
        written = said if key in ("schedule.cron", "data_dir") else yaml.safe_load(said)
        real = list(default) if isinstance(default, tuple) else default
        assert written == (str(real) if isinstance(real, Path) else real)


def test_every_environment_variable_is_documented() -> None:
    named = {
        node.value
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and VARIABLE.fullmatch(node.value)
    }
    assert len(named) > 8
    assert {
        one for one in named - SET_BY_US if f"`{one}`" not in CONFIGURATION
    } == set()


def test_the_configuration_page_shows_a_valid_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from run_assets.config import load_config

    for name in [one for one in os.environ if VARIABLE.fullmatch(one)]:
        monkeypatch.delenv(name)
    block = re.search(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL)
    assert block is not None
    (tmp_path / "run_assets.yaml").write_text(block[1], encoding="utf-8")
    assert load_config(tmp_path).analyses[0].name == "algorithms"


def test_every_table_has_its_page() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "tables").glob("*.*.md")}
    assert pages == set(TABLES)
