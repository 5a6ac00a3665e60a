"""Every line of the playbook and of the reward guide has its counterpart, and it runs.

The table is in docs/cli.md; what it says is what is run here.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from run_assets.lab import Lab

from .conftest import Answer, Call

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
TABLE = PAGE.read_text(encoding="utf-8").split("\n## The playbook and the guide", 1)[1]


def lines() -> Iterator[tuple[str, str]]:
    rows = TABLE.split("\n## ", 1)[0]
    yield from re.findall(
        r"^\| ([^|]+) \| `(run-assets [^`]+)` \|$", rows, re.MULTILINE
    )


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer]:
    """What each line answered, so that each runs once."""
    return {}


def test_the_table_has_every_step_but_the_one_that_is_missing() -> None:
    said = " ".join(purpose for purpose, _ in lines())
    for step in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12):
        assert f"playbook {step}:" in said
    for pattern in range(1, 7):
        assert f"pattern {pattern}:" in said
    assert said.count("guide:") >= 8


@pytest.mark.parametrize("line", dict.fromkeys(line for _, line in lines()))
def test_every_line_runs(
    inquire: Call, playbook: Lab, answers: dict[str, Answer], line: str
) -> None:
    answer = inquire(*shlex.split(line)[1:])
    assert answer.code == 0, answer.err
    answers[line] = answer
    if "--output-format json" in line:
        document = json.loads(answer.out, parse_constant=_refuse)
        assert document["schema_version"] == 1
        assert document["rows"]
        _check_metrics(line, document["rows"])
    if "runs export" in line:
        target = playbook.config.root / shlex.split(line)[-1]
        assert inquire("runs", "get", str(target)).code == 0


def _check_metrics(line: str, rows: list[dict[str, Any]]) -> None:
    """Each metric that was asked for is there, with its values."""
    asked = [one for one in re.findall(r"-m (\S+)", line) if "*" not in one]
    if asked:
        assert {row["metric"] for row in rows} == set(asked)
        assert all(row["values"] for row in rows)


def _refuse(constant: str) -> None:
    raise AssertionError(constant)
