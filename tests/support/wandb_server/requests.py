"""What was asked of the server: requests per operation and fields nobody knows."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One request: ``query Runs`` is `Runs`, a download is `GET exports`.

    Attributes:
        operation: The name that faults and counts go by.
        path: Path of the URL.
        request_bytes: Size of the body as sent.
        variables: GraphQL variables, empty for anything else.
    """

    operation: str
    path: str
    request_bytes: int
    variables: dict[str, object] = field(default_factory=dict)


class RequestLog:
    """Counts requests; safe to read while others are served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._unknown: Counter[str] = Counter()
        self._sent_bytes = 0

    def add(self, request: Request) -> None:
        """Note a request as it arrives."""
        with self._lock:
            self._requests.append(request)

    def add_sent(self, size_bytes: int) -> None:
        """Note the bytes of a reply's body."""
        with self._lock:
            self._sent_bytes += size_bytes

    def add_unknown(self, name: str) -> None:
        """Note a field, operator or stream that this server does not know."""
        with self._lock:
            self._unknown[name] += 1

    def clear(self) -> None:
        """Start counting again, unknown fields included."""
        with self._lock:
            self._requests.clear()
            self._unknown.clear()
            self._sent_bytes = 0

    @property
    def all(self) -> tuple[Request, ...]:
        """Every request since the last `clear`, in the order of arrival."""
        with self._lock:
            return tuple(self._requests)

    @property
    def counts(self) -> Counter[str]:
        """Requests per operation."""
        return Counter(request.operation for request in self.all)

    @property
    def total(self) -> int:
        """All requests."""
        with self._lock:
            return len(self._requests)

    @property
    def sent_bytes(self) -> int:
        """Bytes of all reply bodies."""
        with self._lock:
            return self._sent_bytes

    @property
    def unknown(self) -> Counter[str]:
        """Fields, filters and streams that were asked for and do not exist here."""
        with self._lock:
            return Counter(self._unknown)
