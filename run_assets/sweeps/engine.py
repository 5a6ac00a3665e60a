"""The pool: one loop that reports ends and claims starts, and a thread a trial.

Only the loop talks to the ledger, once for everything that happened meanwhile, so that
a short trial costs a fraction of a millisecond.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from run_assets.sweeps import claims
from run_assets.sweeps.attempts import Attempt, Ended
from run_assets.sweeps.config import SweepConfig
from run_assets.sweeps.ledger import Ledger
from run_assets.sweeps.policy import TERMINAL
from run_assets.sweeps.results import Failure, Result, failure
from run_assets.sweeps.success import Judge
from run_assets.sweeps.workers import TIMEOUT, Work

_HEARTBEAT_SECONDS = claims.LEASE_SECONDS / 4
_LOOK_SECONDS = 0.5
_TELL_SECONDS = 0.2

Ending = Literal["complete", "drained", "stopped", "cost", "time"]
"""Why a pool ended: all trials are terminal, a signal, or a budget."""
Tell = Callable[[dict[str, int]], None]
"""Called now and then with how many trials have which status."""


@dataclass
class Stop:
    """How a signal reaches the pool: the first drains it, the second stops it.

    Attributes:
        wake: Lets the pool look at once.
        kill: Ends the commands that run.
    """

    wake: Callable[[], None] = lambda: None
    kill: Callable[[], None] = lambda: None
    is_draining: bool = False
    is_stopping: bool = False

    def ask(self) -> None:
        """Drain; asked again, stop."""
        self.is_stopping = self.is_draining
        self.is_draining = True
        if self.is_stopping:
            self.kill()
        self.wake()


@dataclass
class Pool:
    """Trials under way in this process.

    Attributes:
        ledger: Of the sweep, for the thread that runs the pool.
        config: Of the sweep.
        manager_id: Of `claims.join`.
        work: Runs one attempt.
        judge: Says whether a result is a success.
        stop: Where signals arrive.
        tell: Told how far the sweep has come.
    """

    ledger: Ledger
    config: SweepConfig
    manager_id: str
    work: Work
    judge: Judge
    stop: Stop
    tell: Tell = lambda _: None
    _ends: "queue.SimpleQueue[Ended | None]" = field(default_factory=queue.SimpleQueue)
    _starts: "queue.SimpleQueue[Attempt | None]" = field(
        default_factory=queue.SimpleQueue
    )
    _threads: int = 0
    _running: dict[str, tuple[Attempt, float]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _beat: float = -inf
    _looked: float = -inf
    _told: float = -inf

    def wake(self) -> None:
        """Look at once; safe in a signal handler."""
        self._ends.put(None)

    def run(self) -> Ending:
        """Work until every trial is terminal, a budget is spent or a signal came."""
        try:
            return self._run()
        finally:
            for _ in range(self._threads):
                self._starts.put(None)

    def _run(self) -> Ending:
        ended: list[Ended] = []
        while True:
            self._keep_alive()
            slots = 0 if self._holds_back() else self._free()
            for attempt in self._exchange(ended, slots):
                self._start(attempt)
            ending = None if self._running else self._ending()
            if ending or self.stop.is_stopping:
                self._tell(always=True)
                return ending or "stopped"
            self._tell()
            ended = self._wait()

    def _exchange(self, ended: list[Ended], slots: int) -> list[Attempt]:
        return claims.exchange(
            self.ledger,
            self.manager_id,
            self.config,
            [(one, self._is_success(one)) for one in ended],
            slots=slots,
            now=time.time(),
        )

    def _is_success(self, one: Ended) -> bool:
        told = one.outcome
        return isinstance(told, Result) and self.judge(one.attempt.task, told)

    def _free(self) -> int:
        return self.config.max_concurrent_processes - len(self._running)

    def _holds_back(self) -> bool:
        return self.stop.is_draining or self._is_late()

    def _is_late(self) -> bool:
        limit = self.config.max_hours
        spent = time.monotonic() - self._began
        return limit is not None and spent >= limit * 3_600

    def _ending(self) -> Ending | None:
        """Why nothing of ours runs; ``None`` where there is something to wait for."""
        counts = self.ledger.counts()
        if all(status in TERMINAL for status in counts):
            return "complete"
        if self.stop.is_draining:
            return "drained"
        if self._is_late():
            return "time"
        if counts.get("running", 0) == 0 and self._is_spent():
            return "cost"
        return None

    def _is_spent(self) -> bool:
        return claims.budget_left(self.ledger, self.config) == 0

    def _start(self, attempt: Attempt) -> None:
        self._running[attempt.trial_id] = (attempt, time.monotonic())
        if self._threads < len(self._running):
            self._threads += 1
            threading.Thread(target=self._serve, name="trial", daemon=True).start()
        self._starts.put(attempt)

    def _serve(self) -> None:
        """Run attempts, one after the other, for as long as the process lives."""
        while attempt := self._starts.get():
            began = time.monotonic()
            outcome = self.work(attempt)
            seconds = time.monotonic() - began
            if self.stop.is_stopping and isinstance(outcome, Failure):
                continue  # it was stopped, and that is no failure of the trial
            self._ends.put(Ended(attempt, outcome, seconds, time.time()))

    def _wait(self) -> list[Ended]:
        """What has ended; returns as soon as something did, or when it is time."""
        found: list[Ended | None] = []
        try:
            found.append(self._ends.get(timeout=self._patience()))
            while True:
                found.append(self._ends.get_nowait())
        except queue.Empty:
            pass
        return [one for one in found if one and self._is_mine(one)] + self._overdue()

    def _is_mine(self, ended: Ended) -> bool:
        """The attempt was still waited for, and no longer is."""
        attempt = ended.attempt
        is_mine = self._running.get(attempt.trial_id, (None,))[0] is attempt
        if is_mine:
            del self._running[attempt.trial_id]
        return is_mine

    def _patience(self) -> float:
        """Seconds until something might be due."""
        if self._running:
            return _LOOK_SECONDS
        due = self.ledger.value(
            "select min(not_before) from trials where status = 'will_retry'"
        )
        wait = _LOOK_SECONDS if due is None else due - time.time()
        return min(max(wait, 0.001), _LOOK_SECONDS)

    def _overdue(self) -> list[Ended]:
        """Functions that ran out of time: a thread cannot be killed, only left."""
        limit = self.config.timeout_seconds
        if limit is None or self.config.function is None:
            return []
        now = time.monotonic()
        late = [one for one in self._running.values() if now - one[1] > limit]
        for attempt, _ in late:
            del self._running[attempt.trial_id]
            self._threads -= 1  # it may never come back
        told = failure(TIMEOUT, f"no end after {limit:g} seconds")
        return [Ended(one, told, now - since, time.time()) for one, since in late]

    def _keep_alive(self) -> None:
        """Renew our leases, and look after those of managers that died."""
        now = time.monotonic()
        if now - self._beat >= _HEARTBEAT_SECONDS:
            self._beat = now
            claims.heartbeat(self.ledger, self.manager_id, time.time())
        is_idle = len(self._running) < self.config.max_concurrent_processes
        patience = _LOOK_SECONDS if is_idle else _HEARTBEAT_SECONDS
        if now - self._looked >= patience and not self._holds_back():
            self._looked = now
            claims.reclaim(self.ledger, self.manager_id, time.time())

    def _tell(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self._told >= _TELL_SECONDS:
            self._told = now
            self.tell(self.ledger.counts())
