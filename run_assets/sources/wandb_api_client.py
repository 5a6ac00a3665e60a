"""Requests to a W&B server: one pause, one layer of retries and one count for all.

W&B's own client retries inside another process, each call by itself, and says nothing
of what it waited for. Here a server that asks for patience is heard by every thread.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from run_assets import __version__
from run_assets.errors import (
    AuthenticationError,
    NotFoundError,
    RunAssetsError,
    SourceError,
    TryAgainError,
)

if TYPE_CHECKING:
    import requests

CLOUD = "https://api.wandb.ai"
ATTEMPTS = 8
FIRST_ATTEMPTS = 3
"""Before the server has answered once: nobody wants to wait long for no network."""
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 300.0
"""A server that asks for a longer pause is left alone until the next refresh."""
MOST_FAILURES = 3
"""Requests given up in a row, over all threads, after which the server is down."""
_CHUNK_BYTES = 1 << 18
_RETRIED = frozenset({408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524})

T = TypeVar("T")


def server_address(base_url: str | None) -> str:
    """Where the API is: what is given, WANDB_BASE_URL, or the cloud."""
    return (base_url or os.environ.get("WANDB_BASE_URL") or CLOUD).rstrip("/")


def web_address(base_url: str) -> str:
    """Where people look at runs.

    >>> web_address("https://api.wandb.ai"), web_address("http://localhost:8080")
    ('https://wandb.ai', 'http://localhost:8080')
    """
    return base_url.replace("://api.wandb.ai", "://wandb.ai")


def find_key(base_url: str) -> str:
    """The API key for a server: WANDB_API_KEY, or netrc as ``wandb login`` writes it.

    Raises:
        AuthenticationError: There is none.
    """
    if key := os.environ.get("WANDB_API_KEY"):
        return key.strip()
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    host = urlsplit(base_url).hostname or ""
    try:
        found = netrc(file).authenticators(host)
    except (OSError, NetrcParseError):
        found = None
    if found and found[2]:
        return found[2]
    msg = (
        f"no API key for {base_url}: set WANDB_API_KEY (in the environment or in .env "
        f"beside run_assets.yaml), or run `wandb login --host {base_url}`; "
        "--local-only reads local files alone"
    )
    raise AuthenticationError(msg)


@dataclass
class Traffic:
    """What was asked of a server.

    Attributes:
        requests: By operation, retries included.
        received_bytes: Bytes of all bodies.
        retries: Requests sent again.
        waited_seconds: Time that threads spent waiting before a retry.
        run_seconds: How long each run took to fetch, by run path.
    """

    requests: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    retries: int = 0
    waited_seconds: float = 0.0
    run_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())

    def add(self, other: "Traffic") -> None:
        """Count what went to another server, too."""
        self.requests.update(other.requests)
        self.received_bytes += other.received_bytes
        self.retries += other.retries
        self.waited_seconds += other.waited_seconds
        self.run_seconds.update(other.run_seconds)

    def slowest(self, count: int) -> list[tuple[str, float]]:
        """The runs that took longest to fetch, and their seconds."""
        by_time = sorted(self.run_seconds.items(), key=lambda one: -one[1])
        return by_time[:count]


class _Unusable(Exception):  # noqa: N818  # not an error yet: it is tried again
    """An answer that another try may improve."""

    def __init__(
        self, what: str, *, pause: float | None = None, is_throttle: bool = False
    ) -> None:
        super().__init__(what)
        self.pause = pause
        self.is_throttle = is_throttle


class WandbClient:
    """Talks to one server; safe to share between threads.

    Attributes:
        base_url: The server's address.
        traffic: What was asked so far.
    """

    def __init__(
        self, base_url: str, *, timeout_seconds: float, key: str | None = None
    ) -> None:
        self.base_url = base_url
        self.traffic = Traffic()
        self._key = key or find_key(base_url)
        self._timeout = timeout_seconds
        self._local = threading.local()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._resume_at = 0.0
        self._has_answered = False
        self._given_up = 0
        self._down: RunAssetsError | None = None

    def query(
        self, operation: str, document: str, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The data of a GraphQL query.

        Raises:
            AuthenticationError: The key is wrong or has expired.
            TryAgainError: The server cannot be reached, or asks for much patience.
            SourceError: It refuses the query.
        """
        body = json.dumps({"query": document, "variables": variables}).encode()

        def send() -> dict[str, Any]:
            headers = {"Content-Type": "application/json"}
            deadline = time.monotonic() + self._timeout
            with self._request(
                "POST", f"{self.base_url}/graphql", data=body, headers=headers, own=True
            ) as response:
                self._check(response, is_api=True)
                return self._data(_body(response, deadline), operation)

        return self._persist(operation, send, is_api=True)

    def download(self, url: str, target: Path, operation: str) -> int:
        """Store a file whole, or not at all; its size in bytes.

        The key goes along only to the server itself: W&B's files lie in other
        people's stores, under addresses that are signed.

        Raises:
            NotFoundError: The address is no longer valid.
            TryAgainError: The server cannot be reached.
        """
        part = target.with_name(f"{target.name}.part")

        def send() -> int:
            is_own = _origin(url) == _origin(self.base_url)
            with self._request("GET", url, own=is_own) as response:
                self._check(response, is_api=False)
                size = self._store(response, part)
            part.replace(target)
            return size

        return self._persist(operation, send, is_api=False)

    def close(self) -> None:
        """Let no thread send or wait any more."""
        self._closing.set()

    def _session(self) -> "requests.Session":
        import requests

        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["User-Agent"] = f"run_assets/{__version__}"
        session: requests.Session = self._local.session
        return session

    def _request(
        self, method: str, url: str, *, own: bool, **more: Any
    ) -> "requests.Response":
        """Send; what the network does wrong is worth another try."""
        import requests

        auth = ("api", self._key) if own else _NoAuth()
        try:
            return self._session().request(
                method, url, auth=auth, timeout=self._timeout, stream=True, **more
            )
        except requests.exceptions.RequestException as error:
            raise _Unusable(_network_reason(error)) from None

    def _check(self, response: "requests.Response", *, is_api: bool) -> None:
        status = response.status_code
        if status == HTTPStatus.OK:
            return
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            pause = retry_after(response.headers.get("Retry-After"))
            what = "too many requests (429)"
            raise _Unusable(what, pause=pause, is_throttle=True)
        if status in _RETRIED:
            pause = retry_after(response.headers.get("Retry-After"))
            what = f"status {status}"
            raise _Unusable(what, pause=pause)
        if is_api and status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            self._fail(
                AuthenticationError(
                    f"{self.base_url} refused the API key ({status}): it is wrong or "
                    "has expired; set WANDB_API_KEY, or run `wandb login --relogin`"
                )
            )
        kind = SourceError if is_api else NotFoundError
        msg = f"{_place(response.url)} answered with status {status}"
        raise kind(msg)

    def _data(self, body: bytes, operation: str) -> dict[str, Any]:
        with self._lock:
            self.traffic.received_bytes += len(body)
        try:
            answer = json.loads(body)
        except ValueError:
            raise _Unusable(_not_json(body)) from None
        data = answer.get("data") if isinstance(answer, dict) else None
        if isinstance(data, dict) and not answer.get("errors"):
            return data
        errors = answer.get("errors") if isinstance(answer, dict) else None
        msg = (
            f"{self.base_url} refused the query {operation}: "
            f"{_messages(errors) or 'no data'}"
        )
        raise SourceError(msg)

    def _store(self, response: "requests.Response", part: Path) -> int:
        import requests

        size = 0
        try:
            with part.open("wb") as file:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    self._refuse_if_closing()
                    size += file.write(chunk)
        except requests.exceptions.RequestException as error:
            raise _Unusable(_network_reason(error)) from None
        except OSError as error:
            msg = f"{part} cannot be written: {error}; make room and refresh again"
            raise SourceError(msg) from error
        with self._lock:
            self.traffic.received_bytes += size
        promised = response.headers.get("Content-Length")
        is_plain = "Content-Encoding" not in response.headers
        if is_plain and promised is not None and int(promised) != size:
            what = f"{size} of {promised} bytes arrived"
            raise _Unusable(what)
        return size

    def _persist(self, operation: str, send: Callable[[], T], *, is_api: bool) -> T:
        """Send until there is an answer: the only place where anything is retried."""
        attempt, waited = 0, 0.0
        while True:
            self._wait_for_turn()
            with self._lock:
                self.traffic.requests[operation] += 1
                self.traffic.retries += attempt > 0 or waited > 0
            try:
                answer = send()
            except _Unusable as problem:
                attempt += not problem.is_throttle
                pause = self._pause(problem, attempt)
                waited += pause
                attempts = ATTEMPTS if self._has_answered else FIRST_ATTEMPTS
                too_long = max(pause, waited / 4) > LONGEST_PAUSE_SECONDS
                if attempt >= attempts or too_long:
                    raise self._give_up(operation, problem, is_api=is_api) from None
                self._wait(pause, is_shared=problem.pause is not None)
            else:
                self._has_answered = True
                self._given_up = 0 if is_api else self._given_up
                return answer

    def _pause(self, problem: _Unusable, attempt: int) -> float:
        longest = FIRST_WAIT_SECONDS * 2.0 ** max(attempt - 1, 0)
        own: float = min(longest, LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1)  # noqa: S311
        return own if problem.pause is None else problem.pause * 1.02 + own / 10

    def _wait(self, seconds: float, *, is_shared: bool) -> None:
        """Wait before another try; a pause that the server asked for is for all."""
        with self._lock:
            self.traffic.waited_seconds += seconds
            if is_shared:
                self._resume_at = max(self._resume_at, time.monotonic() + seconds)
        self._closing.wait(seconds)

    def _wait_for_turn(self) -> None:
        while (left := self._resume_at - time.monotonic()) > 0:
            # Not all at the same instant: that is what was too much for the server.
            spread = random.uniform(0, min(left, 1) / 10)  # noqa: S311
            if self._closing.wait(left + spread):
                break
        self._refuse_if_closing()
        if self._down:
            raise self._down

    def _refuse_if_closing(self) -> None:
        if self._closing.is_set():
            msg = "the refresh was ended while it was asking W&B; refresh again"
            raise TryAgainError(msg)

    def _give_up(
        self, operation: str, problem: _Unusable, *, is_api: bool
    ) -> SourceError:
        msg = f"{self.base_url} did not answer {operation}: {problem}"
        if problem.pause:
            msg = f"{msg} and asks for a pause of {problem.pause:,.0f} s"
        with self._lock:
            self._given_up += is_api
            is_down = not self._has_answered or self._given_up >= MOST_FAILURES
        if not is_down:
            return SourceError(msg)
        self._down = TryAgainError(
            f"{msg}. Check the network and the address (base_url, WANDB_BASE_URL), and "
            "refresh again later; --local-only reads local files alone"
        )
        return self._down

    def _fail(self, error: RunAssetsError) -> None:
        """Every further request would end the same way."""
        self._down = error
        raise error

    @property
    def failure(self) -> RunAssetsError | None:
        """Why nothing more is asked of this server."""
        return self._down


class _NoAuth:
    """Keeps ``requests`` from sending what netrc holds for a file's host."""

    def __call__(self, request: Any) -> Any:
        return request


def retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its forms.

    Source: RFC 9110, section 10.2.3.

    >>> retry_after("1.5"), retry_after("Wed, 21 Oct 2015 07:28:00 GMT")
    (1.5, 0.0)
    >>> retry_after("soon") is retry_after(None) is None
    True
    """
    if header is None:
        return None
    try:
        return max(float(header), 0.0)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _body(response: "requests.Response", deadline: float) -> bytes:
    """The whole body; a server that dribbles is no better than one that is silent."""
    import requests

    chunks = []
    try:
        for chunk in response.iter_content(_CHUNK_BYTES):
            chunks.append(chunk)
            if time.monotonic() > deadline:
                what = "the answer took too long"
                raise _Unusable(what)
    except requests.exceptions.RequestException as error:
        raise _Unusable(_network_reason(error)) from None
    return b"".join(chunks)


def _network_reason(error: Exception) -> str:
    """What went wrong, without the address: it may hold a signature."""
    import requests

    kinds = {
        requests.exceptions.Timeout: "no answer in time",
        requests.exceptions.SSLError: "its certificate is not trusted",
        requests.exceptions.ProxyError: "the proxy refused",
        requests.exceptions.ChunkedEncodingError: "the answer was cut off",
        requests.exceptions.ConnectionError: "no connection",
    }
    found = (text for kind, text in kinds.items() if isinstance(error, kind))
    return next(found, type(error).__name__)


def _not_json(body: bytes) -> str:
    start = body[:200].lstrip().lower()
    is_page = start.startswith((b"<!doctype", b"<html"))
    return "a web page instead of data" if is_page else "an answer that is no JSON"


def _messages(errors: Any) -> str:
    if not isinstance(errors, list):
        return ""
    texts = [str(one.get("message")) for one in errors if isinstance(one, dict)]
    return "; ".join(texts)[:500]


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _place(url: str) -> str:
    """An address without its query, where signatures are."""
    return urlsplit(url)._replace(query="", fragment="").geturl()
