import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from run_assets.errors import UsageError
from run_assets.lab import Lab
from run_assets.sweeps import Attempt, Ran, run_sweep
from run_assets.sweeps.results import Failure
from run_assets.sweeps.workers import Processes, command_work
from tests.support.sweeps import query, sweep_lab, toy


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return sweep_lab(tmp_path)


def run(lab: Lab, script: str, arguments: str = "", **changes: Any) -> Ran:
    root = lab.config.root
    (root / "solve.py").write_text(script, encoding="utf-8")
    command = f"{sys.executable} solve.py {arguments}"
    one = {"models": ["a"], "tasks": ["x"], "num_trials_per_config": 1, **changes}
    return run_sweep(lab, toy(root, command=command, **{"max_retries": 0, **one}))


def told(ran: Ran, columns: str = "status, error_class, error") -> Any:
    return query(ran.ledger, f"select {columns} from trials")[0]


def test_the_last_line_is_the_result(lab: Lab) -> None:
    script = (
        "import json, sys\nprint('hello')\n"
        "print(json.dumps({'reward': 3, 'output': sys.argv[1:]}))\nprint()\n"
    )
    task = "it's $HOME; {x}"
    arguments = "{model} {task} {trial} {attempt} {options.n}"
    ran = run(lab, script, arguments, tasks=[task], options={"n": "a b"})

    status, reward, output = told(ran, "status, reward, output_json")
    assert (status, reward) == ("successful", 3.0)
    assert output == '["a", "it\'s $HOME; {x}", "0", "1", "a b"]'
    logs = sorted(one.name for one in (ran.folder / "trials").iterdir())
    assert [one[16:] for one in logs] == ["-1.err", "-1.out"]


@pytest.mark.parametrize(
    ("script", "error_class", "said"),
    [
        ("import sys; sys.exit(3)", "exit_3", ""),
        ("1/0", "exit_1", "ZeroDivisionError"),
        ("print('no json')", "no_result", "no json"),
        ("pass", "no_result", "''"),
        ("print('[1]')", "bad_result", "got list"),
        ("print('{\"rewrad\": 1}')", "bad_result", "reward is missing"),
        ("import os; os.kill(os.getpid(), 11)", "killed", "SIGSEGV"),
        ("import os; os.kill(os.getpid(), 9)", "killed", "SIGKILL"),
        ("import os; os.kill(os.getppid(), 9)", "killed", "SIGKILL"),
        (
            'print(\'{"error": "429", "error_class": "rate_limit"}\'); exit(1)',
            "rate_limit",
            "429",
        ),
        ("import time; time.sleep(60)", "timeout", "no end after 0.5 seconds"),
    ],
)
def test_whatever_goes_wrong_has_a_class_and_a_text(
    lab: Lab, script: str, error_class: str, said: str
) -> None:
    ran = run(lab, script, timeout_seconds=0.5 if "sleep" in script else None)
    status, found, error = told(ran)
    assert (status, found) == ("failed_final", error_class)
    assert said in error


def test_what_goes_wrong_around_a_command_is_a_failure_too(tmp_path: Path) -> None:
    no_folder = Processes(tmp_path / "nowhere")
    work = command_work(toy(tmp_path, command="true"), no_folder, 0)
    found = work(Attempt("s", "0" * 64, "a", "x", 0, 0, 1, {}))
    assert isinstance(found, Failure)
    assert found.error_class == "FileNotFoundError"


def test_a_script_of_the_folder_is_named_by_its_path(lab: Lab) -> None:
    script = lab.config.root / "solve.sh"
    script.write_text("#!/bin/sh\necho '{\"reward\": 1}'\n", encoding="utf-8")
    script.chmod(0o755)
    one = {"models": ["a"], "tasks": ["x"], "num_trials_per_config": 1}
    with pytest.raises(UsageError, match="at the PATH"):
        run_sweep(lab, toy(lab.config.root, command="solve.sh {task}", **one))
    ran = run_sweep(lab, toy(lab.config.root, command="./solve.sh {task}", **one))
    assert ran.counts == {"successful": 1}


def test_what_a_trial_leaves_running_ends_with_it(lab: Lab) -> None:
    script = (
        "import subprocess, sys\n"
        "sleep = 'import time; time.sleep(99)'\n"
        "child = subprocess.Popen([sys.executable, '-c', sleep])\n"
        "print('{\"reward\": %d}' % child.pid)\n"
    )
    ran = run(lab, script)
    (pid,) = told(ran, "reward")
    assert is_gone(int(pid))


def is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_command_dies_with_its_manager(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "import run_assets\n"
        "from run_assets.sweeps import run_sweep, load_sweep\n"
        "run_sweep(run_assets.open('.'), load_sweep(Path('sweep.yaml')))\n"
    )
    sweep_lab(tmp_path)
    script = (
        "import os, time\n"
        f"open({str(pids)!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(99)\n"
    )
    (tmp_path / "solve.py").write_text(script, encoding="utf-8")
    (tmp_path / "sweep.yaml").write_text(
        "name: toy\nmodels: [a]\ntasks: [x]\nenable_wandb: false\n"
        f"command: {sys.executable} solve.py\nnum_trials_per_config: 1\n",
        encoding="utf-8",
    )
    manager = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (pids.exists() and pids.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(manager.pid, signal.SIGKILL)
    manager.wait()
    assert is_gone(int(pids.read_text()))


def test_without_them_only_failures_keep_what_they_printed(lab: Lab) -> None:
    script = "import sys\nprint('{\"reward\": 1}' if sys.argv[1] == 'x' else 'bad')\n"
    ran = run(lab, script, "{task}", tasks=["x", "y"], save_intermediate_results=False)
    (kept,) = (ran.folder / "trials").glob("*.out")
    assert kept.read_text() == "bad\n"


def test_variables_of_a_file_reach_trials_and_are_stored_nowhere(lab: Lab) -> None:
    secret = "sk-very-secret"
    (lab.config.root / "keys.env").write_text(f"TOY_KEY={secret}\n", encoding="utf-8")
    script = "import os\nprint('{\"reward\": %d}' % len(os.environ['TOY_KEY']))\n"
    ran = run(lab, script, api_key_config_file="keys.env")
    assert told(ran, "reward") == (len(secret),)
    files = [one for one in lab.config.data_path.rglob("*") if one.is_file()]
    assert files
    assert not [one for one in files if secret.encode() in one.read_bytes()]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command": "no-such-program {model}"}, "there is no program"),
        ({"command": "true", "api_key_config_file": "nope.env"}, "there is no file"),
    ],
)
def test_what_is_not_there_is_said_before_a_trial_starts(
    lab: Lab, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run_sweep(lab, toy(lab.config.root, **changes))
    assert not (lab.config.data_path / "sweeps").exists()
