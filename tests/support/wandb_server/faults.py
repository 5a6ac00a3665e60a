"""Everything a server and a network do wrong, by rule and repeatable."""

import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Literal

FaultKind = Literal["status", "drop", "hang", "truncate", "html", "latency"]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: ``status`` answers with `status`; ``drop`` closes the connection without
            a word; ``hang`` waits `seconds` first; ``truncate`` cuts the body in half;
            ``html`` sends a proxy's page with status 200; ``latency`` only waits.
        status: HTTP status of a ``status`` fault.
        retry_after: Seconds in the Retry-After header; None sends no header.
        seconds: How long ``hang`` and ``latency`` wait.
        is_applied: The request takes effect and only its answer is lost.
    """

    kind: FaultKind
    status: int = 200
    retry_after: float | None = None
    seconds: float = 0.0
    is_applied: bool = False


def throttled(retry_after: float | None = None) -> Fault:
    """429, with a Retry-After header if `retry_after` seconds are given."""
    return Fault("status", status=429, retry_after=retry_after)


def refused(status: int, *, is_applied: bool = False) -> Fault:
    """Any other HTTP status: 500, 502, 503, or 401 and 403 for a key that expired."""
    return Fault("status", status=status, is_applied=is_applied)


def dropped(*, is_applied: bool = False) -> Fault:
    """The connection closes before an answer."""
    return Fault("drop", is_applied=is_applied)


def hanging(seconds: float) -> Fault:
    """Nothing comes for `seconds`, then the connection closes."""
    return Fault("hang", seconds=seconds)


def truncated() -> Fault:
    """Half of the body, then the connection closes."""
    return Fault("truncate", is_applied=True)


def html_page() -> Fault:
    """A page of HTML with status 200 instead of the answer."""
    return Fault("html")


def late(seconds: float) -> Fault:
    """The right answer, `seconds` later."""
    return Fault("latency", seconds=seconds, is_applied=True)


@dataclass(frozen=True)
class FaultRule:
    """When a fault strikes.

    Attributes:
        fault: What happens.
        operation: Glob over operation names, such as ``Runs`` or ``GET exports``.
        calls: Numbers (from 1) of the matching calls that it may strike; empty: all.
        rate: Share of those calls that it strikes, in [0, 1].
    """

    fault: Fault
    operation: str = "*"
    calls: frozenset[int] = field(default_factory=frozenset)
    rate: float = 1.0


class Faults:
    """The rules in force.

    Whether a rule strikes its nth call follows from the seed, the rule and n, not
    from the order in which threads arrive.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.struck: Counter[str] = Counter()
        self._rules: list[FaultRule] = []
        self._calls: list[int] = []
        self._lock = threading.Lock()

    def inject(
        self,
        fault: Fault,
        operation: str = "*",
        *,
        calls: Collection[int] = (),
        rate: float = 1.0,
    ) -> None:
        """Add a rule; its calls are counted from now on."""
        with self._lock:
            rule = FaultRule(fault, operation, frozenset(calls), rate)
            self._rules.append(rule)
            self._calls.append(0)

    def storm(self, rate: float, operation: str = "*") -> None:
        """Let each fault that a retry can cure strike, `rate` of all calls together."""
        cures = [
            throttled(retry_after=0.1),
            throttled(),
            *(refused(status) for status in (500, 502, 503)),
            refused(500, is_applied=True),
            dropped(),
            dropped(is_applied=True),
            truncated(),
            html_page(),
        ]
        for fault in cures:
            self.inject(fault, operation, rate=rate / len(cures))

    def clear(self) -> None:
        """Drop all rules and counts."""
        with self._lock:
            self._rules.clear()
            self._calls.clear()
            self.struck.clear()

    def strike(self, operation: str) -> list[Fault]:
        """The faults for this call: any number of waits, then at most one other."""
        with self._lock:
            hits = [
                rule.fault
                for index, rule in enumerate(self._rules)
                if fnmatchcase(operation, rule.operation) and self._is_hit(index, rule)
            ]
            waits = [fault for fault in hits if fault.kind == "latency"]
            others = [fault for fault in hits if fault.kind != "latency"][:1]
            self.struck.update(fault.kind for fault in waits + others)
            return waits + others

    def _is_hit(self, index: int, rule: FaultRule) -> bool:
        self._calls[index] += 1
        number = self._calls[index]
        if rule.calls and number not in rule.calls:
            return False
        return rule.rate >= 1 or self._draw(index, number) < rule.rate

    def _draw(self, index: int, number: int) -> float:
        key = f"{self.seed}:{index}:{number}".encode()
        return int.from_bytes(blake2b(key, digest_size=6).digest()) / 2**48
