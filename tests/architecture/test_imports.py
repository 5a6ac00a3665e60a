"""The core is pure, heavy imports are lazy, and the flow has one direction."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "run_assets"
CORE = (
    *("contracts", "derived", "stats", "diagnostics"),
    *("reading", "rewards", "curves", "reports"),
)
IMPURE = ("dagster", "dagster_duckdb", "duckdb", "wandb")
NEVER = ("pandas", "pickle", "rliable", "arch", "seaborn", "matplotlib", "lightgbm")
TORCH = {"autoencoders.py", "trainer.py", "variational.py", "threads.py"}
SAFE = {"checkpoint.py", "trainer.py"}


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def roots(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(file)}


@pytest.mark.parametrize("room", CORE)
def test_the_core_imports_no_engine_and_no_outside(room: str) -> None:
    wrong = {
        str(file): found
        for file in modules(PACKAGE / room)
        if (found := roots(file) & set(IMPURE))
    }
    assert not wrong


def test_sweeps_decide_without_files_and_processes() -> None:
    shell = {"ledger", "claims", "consistency", "engine", "workers", "leash"}
    shell |= {"running", "publishing", "overview", "__init__"}
    outside = {"sqlite3", "subprocess", "threading", "os", "time", *IMPURE}
    wrong = {
        str(file): found
        for file in modules(PACKAGE / "sweeps")
        if (found := roots(file) & (set(IMPURE) if file.stem in shell else outside))
    }
    assert not wrong


def test_only_sources_and_publish_touch_wandb() -> None:
    allowed = {PACKAGE / "sources", PACKAGE / "publish"}
    wrong = [
        str(file)
        for file in modules(PACKAGE)
        if "wandb" in roots(file) and not allowed & set(file.parents)
    ]
    assert not wrong


def test_only_the_shell_imports_dagster() -> None:
    shell = {"assets", "cli"}
    shell_files = {"definitions.py", "jobs.py", "records.py", "checks.py"}
    shell_files |= {"resources.py"}
    wrong = [
        str(file)
        for file in modules(PACKAGE)
        if roots(file) & {"dagster", "dagster_duckdb"}
        and file.parent.name not in shell
        and file.name not in shell_files
    ]
    assert not wrong


def test_nothing_forbidden_is_imported_anywhere() -> None:
    wrong = {
        str(file): found
        for file in modules(PACKAGE)
        if (found := roots(file) & set(NEVER))
    }
    assert not wrong


def test_torch_is_imported_by_the_modules_of_its_networks_only() -> None:
    importing = {file for file in modules(PACKAGE) if "torch" in roots(file)}
    assert importing == {PACKAGE / "curves" / name for name in TORCH}


def test_trees_are_grown_in_one_place() -> None:
    importing = {file for file in modules(PACKAGE) if "sklearn" in roots(file)}
    assert importing == {PACKAGE / "curves" / "trees.py"}


def test_torch_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; import run_assets.curves.model, run_assets.curves.checkpoint, "
        "run_assets.definitions\n"
        "print(*sorted({'torch', 'sklearn', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_dagster_modules_keep_their_annotations_as_objects() -> None:
    wrong = [
        str(file)
        for file in modules(PACKAGE)
        if "from __future__ import annotations" in file.read_text(encoding="utf-8")
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("contracts", {"sources", "store", "derived", "stats", "reports", "publish"}),
        ("sources", {"store", "derived", "stats", "reports", "publish", "assets"}),
        ("store", {"sources", "derived", "stats", "reports", "publish", "assets"}),
        ("ingest", {"derived", "stats", "reports", "publish", "assets"}),
        ("derived", {"sources", "store", "stats", "curves", "reports", "publish"}),
        ("stats", {"sources", "store", "derived", "reports", "publish", "assets"}),
        ("reading", {"sources", "store", "reports", "publish", "assets", "rewards"}),
        ("rewards", {"sources", "store", "reports", "publish", "assets"}),
        (
            "diagnostics",
            {"sources", "store", "derived", "stats", "reports", "publish", "assets"},
        ),
        ("curves", {"sources", "store", "stats", "reports", "publish", "assets"}),
        ("reports", {"sources", "store", "publish", "assets"}),
        ("publish", {"sources", "derived", "stats", "assets", "sweeps"}),
        ("sweeps", {"sources", "derived", "assets", "cli"}),
    ],
)
def test_a_room_knows_only_rooms_before_it(room: str, never: set[str]) -> None:
    wrong = {
        str(file): found
        for file in modules(PACKAGE / room)
        if (
            found := {
                name.split(".")[1]
                for name in imported(file)
                if name.startswith("run_assets.") and name.split(".")[1] in never
            }
        )
    }
    assert not wrong


# Of the process, of its threads, and of what others wrote: a trial may raise anything.
OUTERMOST = {"cli/app.py", "ingest/ahead.py", "sweeps/workers.py"}


def test_no_broad_except_outside_the_outermost_frame() -> None:
    def is_broad(node: ast.ExceptHandler) -> bool:
        names = {
            one.id for one in ast.walk(node.type or node) if isinstance(one, ast.Name)
        }
        last = node.body[-1]  # cleaning up and raising again swallows nothing
        is_raised_again = isinstance(last, ast.Raise) and last.exc is None
        is_all = node.type is None or bool(names & {"Exception", "BaseException"})
        return is_all and not is_raised_again

    wrong = [
        f"{file}:{node.lineno}"
        for file in modules(PACKAGE)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and is_broad(node)
        and file.relative_to(PACKAGE).as_posix() not in OUTERMOST
    ]
    assert not wrong


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['run-assets', '--help']\n"
        "from run_assets.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'dagster', 'wandb', 'polars', 'duckdb', 'scipy', 'numba', 'numpy'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "refresh" in done.stdout
    assert done.stderr == ""
