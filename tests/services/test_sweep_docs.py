"""docs/sweeps.md: its files, commands and Python are run, its keys are real."""

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from run_assets.cli.app import run
from run_assets.sweeps.config import SweepConfig
from run_assets.sweeps.ledger import ledger_path, sweep_ids
from tests.architecture.test_docs import keys
from tests.support.sweeps import query, statuses, sweep_lab

PAGE = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def documented(section: str) -> dict[str, str]:
    """Second cell of each row of a section's first table, by the first."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", text, re.MULTILINE)
    return {key: cell.strip() for key, cell in cells}


def test_every_key_is_documented_with_its_default() -> None:
    said = documented("Keys")
    real = dict(keys(SweepConfig))
    assert set(said) == set(real)
    for key, default in real.items():
        if default is PydanticUndefined:
            assert said[key] == "required", key
        else:
            plain = list(default) if isinstance(default, tuple) else default
            assert yaml.safe_load(said[key].strip("`")) == plain, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab with the files of the page, as the current folder."""
    root = tmp_path_factory.mktemp("docs")
    sweep_lab(root, publish={"wandb": {"mode": "offline", "project": "evals"}})
    for text in (*blocks("yaml"), *blocks("python")):
        first = text.splitlines()[0]
        if titled := re.fullmatch(r"# (\w+\.\w+)", first):
            (root / titled[1]).write_text(text, encoding="utf-8")
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        # `python` is that of these tests.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        patch.setenv("PATH", path)
        for name in list(os.environ):
            if name.startswith("WANDB_"):
                patch.delenv(name)
        os.chdir(root)
        try:
            yield root
        finally:
            os.chdir(before)


def call(line: str) -> str:
    """Run a command line; returns what it printed."""
    kept = io.BytesIO()
    out = io.TextIOWrapper(kept, encoding="utf-8")
    words = ["run-assets", "--quiet", *shlex.split(line, comments=True)[1:]]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as leaving:
            run()
    out.flush()
    assert leaving.value.code == 0, line
    return kept.getvalue().decode()


@pytest.mark.timeout(240)
def test_the_page_works_from_its_first_line_to_its_last(folder: Path) -> None:
    printed: dict[str, str] = {}
    for block in blocks("bash"):
        for line in block.splitlines():
            printed[line] = call(line)
    printed["watch"] = call("run-assets sweep status --watch")

    path = ledger_path(folder / "data", sweep_ids(folder / "data")[0])
    assert statuses(path) == {"successful": 2 * 2 * 8}
    assert query(path, "select count(*) from attempts") == [(32,)]
    assert "gpt-4o-mini" in printed["run-assets sweep status"]
    assert "32/32" in printed["watch"]
    assert "pass@k" in printed["run-assets sweep report"]
    assert (folder / "trials.parquet").is_file()
    assert list((folder / "data" / "published" / "sweeps").glob("*/wandb/offline-*"))


@pytest.mark.timeout(240)
def test_the_python_of_the_page_works(folder: Path) -> None:
    scripts = [one for one in blocks("python") if not one.startswith("# solve.py")]
    names: dict[str, object] = {}
    for script in scripts:
        exec(compile(script, "docs/sweeps.md", "exec"), names)

    path = next(
        ledger_path(folder / "data", one)
        for one in sweep_ids(folder / "data")
        if one.startswith("production_eval_")
    )
    assert statuses(path) == {"successful": 32}
    assert query(path, "select count(*) from attempts") == [(32,)]
    assert (folder / "results" / path.stem / "trials").is_dir()
    assert len(names["trials"]) == 32  # type: ignore[arg-type]  # a frame
