"""A real Dagster on a lab: web server, daemon and code server, as people start them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.error import URLError
from urllib.request import Request, urlopen

Found = TypeVar("Found")

RUN_ASSETS = (sys.executable, "-m", "run_assets.cli")
LOCATION = {
    "repositoryLocationName": "run_assets",
    "repositoryName": "__repository__",
}
RAW_TABLES = ("artifacts", "history", "metric_definitions", "runs", "system_metrics")
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


def environment(home: Path) -> dict[str, str]:
    """What a shell in the lab would have: no other lab's settings, no account."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DAGSTER", "RUN_ASSETS", "WANDB"))
    }
    return {**kept, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1"}


def start_cli(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start ``run-assets`` in a lab, in a process group of its own."""
    return subprocess.Popen(
        [*RUN_ASSETS, *arguments],
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_cli(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``run-assets`` in a lab to its end."""
    return subprocess.run(
        [*RUN_ASSETS, *arguments],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def eventually(
    find: Callable[[], Found | None],
    what: str,
    *,
    seconds: float = 90,
    every: float = 0.5,
) -> Found:
    """What ``find`` returns as soon as it is true.

    Raises:
        TimeoutError: It never was.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(every)
    msg = f"{what} did not happen within {seconds:.0f} s"
    raise TimeoutError(msg)


class Run(NamedTuple):
    """A run as the UI shows it."""

    run_id: str
    status: str
    tags: dict[str, str]


class Dagster(NamedTuple):
    """The GraphQL door that the UI in the browser uses."""

    home: Path
    url: str

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer to a GraphQL query; an error in it is raised."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"content-type": "application/json"}
        request = Request(f"{self.url}/graphql", data=body, headers=headers)
        with urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        if found.get("errors"):
            raise AssertionError(found["errors"][0]["message"])
        return found["data"]

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        query = """{ runsOrError { ... on Runs { results {
            runId status tags { key value } } } } }"""
        results = self.ask(query)["runsOrError"]["results"]
        return [
            Run(
                one["runId"], one["status"], {t["key"]: t["value"] for t in one["tags"]}
            )
            for one in results
        ]

    def ended(self, is_mine: Callable[[Run], bool], *, seconds: float = 90) -> Run:
        """The newest run of a kind, as soon as it has ended."""

        def find() -> Run | None:
            mine = [run for run in self.runs() if is_mine(run)]
            return mine[0] if mine and mine[0].status in ENDED else None

        return eventually(find, "the end of a run", seconds=seconds)

    def launch_backfill(self, **parameters: Any) -> str:
        """What the "Launch backfill" button of a page sends; the backfill's id."""
        mutation = """mutation ($p: LaunchBackfillParams!) {
            launchPartitionBackfill(backfillParams: $p) {
                __typename
                ... on LaunchBackfillSuccess { backfillId }
                ... on PythonError { message }
                ... on InvalidSubsetError { message }
            } }"""
        found = self.ask(mutation, p=parameters)["launchPartitionBackfill"]
        assert found["__typename"] == "LaunchBackfillSuccess", found
        return str(found["backfillId"])

    def backfill_status(self, backfill_id: str) -> str:
        """Status of a backfill, as the UI names it."""
        query = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status error { message } } } }"""
        found = self.ask(query, id=backfill_id)["partitionBackfillOrError"]
        assert found["error"] is None, found
        return str(found["status"])

    def launch_job(
        self, assets: Sequence[str] = (), config: Mapping[str, Any] | None = None
    ) -> str:
        """What the "Materialize" button sends: the ``refresh`` job on chosen assets."""
        mutation = """mutation ($p: ExecutionParams!) {
            launchPipelineExecution(executionParams: $p) {
                __typename
                ... on LaunchRunSuccess { run { runId } }
                ... on PythonError { message }
                ... on RunConfigValidationInvalid { errors { message } }
            } }"""
        selector: dict[str, Any] = {**LOCATION, "pipelineName": "refresh"}
        if assets:
            selector["assetSelection"] = [{"path": one.split(".")} for one in assets]
        parameters = {"selector": selector, "runConfigData": config or {}}
        found = self.ask(mutation, p=parameters)["launchPipelineExecution"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["runId"])

    def ended_run(self, run_id: str, *, seconds: float = 90) -> Run:
        """A run, as soon as it has ended."""
        return self.ended(lambda run: run.run_id == run_id, seconds=seconds)

    def ticks(self) -> list[dict[str, Any]]:
        """Ticks of the schedule, the newest first."""
        query = """query ($s: ScheduleSelector!) { scheduleOrError(
            scheduleSelector: $s) { ... on Schedule { scheduleState {
                ticks { status skipReason timestamp endTimestamp runIds
                        error { message } } } } } }"""
        found = self.ask(query, s={**LOCATION, "scheduleName": "nightly"})
        return list(found["scheduleOrError"]["scheduleState"]["ticks"])

    def tick_by_hand(self) -> dict[str, Any]:
        """The schedule evaluated now, as its page offers; no run is launched."""
        mutation = """mutation ($s: ScheduleSelector!, $t: Float) {
            scheduleDryRun(selectorData: $s, timestamp: $t) {
                ... on DryRunInstigationTick { evaluationResult {
                    skipReason runRequests { runKey } error { message } } }
                ... on PythonError { message } } }"""
        selector = {**LOCATION, "scheduleName": "nightly"}
        found = self.ask(mutation, s=selector, t=time.time())
        return dict(found["scheduleDryRun"]["evaluationResult"])

    def switch_schedule(self, *, on: bool) -> None:
        """The switch beside the schedule."""
        if on:
            self.ask(
                """mutation ($s: ScheduleSelector!) {
                startSchedule(scheduleSelector: $s) { __typename } }""",
                s={**LOCATION, "scheduleName": "nightly"},
            )
            return
        query = """query ($s: ScheduleSelector!) { scheduleOrError(
            scheduleSelector: $s) { ... on Schedule { scheduleState { id } } } }"""
        found = self.ask(query, s={**LOCATION, "scheduleName": "nightly"})
        state = found["scheduleOrError"]["scheduleState"]
        self.ask(
            "mutation ($id: String!) { stopRunningSchedule(id: $id) { __typename } }",
            id=state["id"],
        )


@contextmanager
def dagster_on(home: Path) -> Iterator[Dagster]:
    """``run-assets ui`` on a lab, from its first answer to its last process."""
    port = free_port()
    log = home / "ui.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*RUN_ASSETS, "ui", "--port", str(port)],
            cwd=home,
            env=environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = Dagster(home, f"http://127.0.0.1:{port}")
        try:
            eventually(lambda: _is_loaded(server), "the start of Dagster")
        except TimeoutError as error:
            error.add_note(log.read_text(encoding="utf-8"))
            raise
        yield server
    finally:
        end_group(process)


def _is_loaded(server: Dagster) -> bool:
    try:
        found = server.ask("{ assetNodes { id } }")
    except (URLError, OSError):
        return False
    return bool(found["assetNodes"])


def end_group(process: subprocess.Popen[Any], *, patience: float = 15) -> None:
    """End a process and all that it started: first asked, then killed."""
    signal_group(process.pid, signal.SIGINT)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and _group_lives(process):
        time.sleep(0.2)
    signal_group(process.pid, signal.SIGKILL)
    process.wait(timeout=10)


def _group_lives(process: subprocess.Popen[Any]) -> bool:
    process.poll()  # a zombie would count as alive
    return signal_group(process.pid, 0)


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; false where nothing of it is left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    """A port of the loopback that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
