"""What the server has, and whether it has what was sent; in the SDK's process.

The SDK repeats requests that failed. What it does not repeat is repeated here: answers
that are none, such as a proxy's page or half of a text.
"""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPException
from itertools import islice
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import wandb

from run_assets.own_runs import is_own_run

try:
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError
except ImportError:  # not part of the documented API
    WandbApiFailedError = wandb.Error

T = TypeVar("T")

_TIMEOUT_SECONDS = 60
_TRIES = 5
_PAUSE_SECONDS = 0.5
_LOOK_BACK = 50  # versions of an artifact to look through for a digest

# Parts of messages; an SDK error rarely has a status.
_GARBLED = ("invalid character", "unexpected EOF", "Unable to parse", "not kept:")
_BUSY = (
    "Timed out",
    "Retry-After",
    "did not respond in time",
    "deadline exceeded",
    "giving up",
)
_BUSY_STATUS = (408, 429, 500, 502, 503, 504)
_MISSING = ("not found", "Could not find")


class UnreachableError(Exception):
    """Nobody answers at the server's address."""


class RefusedRunError(Exception):
    """The server does not let this key begin a run there."""


class NotKeptError(Exception):
    """The server does not have what it took."""

    def __init__(self, what: str) -> None:
        super().__init__(f"not kept: {what}")


REFUSALS = (
    *(wandb.Error, WandbApiFailedError, UnreachableError, RefusedRunError),
    *(NotKeptError, OSError, ValueError, TypeError),
)
"""Everything that publishing may raise when the outside refuses."""


def kind_of(error: BaseException) -> str:
    """What an error means: as the parent's messages know it."""
    text, status = str(error), _status(error)
    if isinstance(error, UnreachableError):
        return "unreachable"
    if any(part in text for part in _GARBLED):
        return "garbled"
    if status in _BUSY_STATUS or any(part in text for part in _BUSY):
        return "busy"
    return _refusal(error, text, status)


def _refusal(error: BaseException, text: str, status: int | None) -> str:
    if isinstance(error, wandb.errors.AuthenticationError) or "API key" in text:
        return "key"
    if status == 401 or "error 401" in text or "not logged in" in text:
        return "key"
    # Whoever is logged in and refused a run or an artifact lacks permission for it.
    is_refused = isinstance(error, RefusedRunError) or status == 403
    return "forbidden" if is_refused or "error 403" in text else "failed"


def _status(error: BaseException) -> int | None:
    """HTTP status of an answer, where the SDK kept it."""
    for one in (error, error.__cause__, getattr(error, "exc", None)):
        response = getattr(one, "response", None)
        if status := getattr(response, "http_status", None):
            return int(status)
    return None


def _is_missing(error: BaseException) -> bool:
    return any(part in str(error) for part in _MISSING)


def insist(call: Callable[[], T]) -> T:
    """The answer of a call that may be repeated, in spite of answers that are none.

    So is what is not kept: it may not have arrived everywhere yet.
    """
    for _ in range(_TRIES - 1):
        try:
            return call()
        except REFUSALS as error:
            if kind_of(error) != "garbled":
                raise
            time.sleep(_PAUSE_SECONDS)
    return call()


def found(call: Callable[[], T]) -> T | None:
    """What a call finds; ``None`` where there is no such thing."""
    try:
        return insist(call)
    except (wandb.errors.CommError, ValueError) as error:
        if not _is_missing(error):
            raise
        return None


def log_in() -> Any:
    """The API, with a key that the server accepts.

    Raises:
        UnreachableError: There is no way to the server.
        UsageError: No key is configured; the SDK's own.
    """
    wandb.login(verify=False)
    url = str(wandb.setup().settings.base_url)
    _reach(url)
    timeout = int(float(os.environ.get("WANDB_HTTP_TIMEOUT") or _TIMEOUT_SECONDS))
    try:
        return insist(lambda: wandb.Api(timeout=timeout))
    except wandb.errors.AuthenticationError as error:  # so it calls any failure
        if kind_of(error) != "busy":
            raise
        msg = f"{urlsplit(url).netloc} does not answer"
        raise UnreachableError(msg) from error


def _reach(url: str) -> None:
    """Fail at once without a network, where the SDK would try again for minutes."""
    for _ in range(_TRIES - 1):
        if _failure(url) is None:
            return
        time.sleep(_PAUSE_SECONDS)
    if reason := _failure(url):
        host = urlsplit(url).netloc
        msg = f"{host} cannot be reached ({reason})"
        raise UnreachableError(msg)


def _failure(url: str) -> str | None:
    """Why no connection came about; any answer at all proves one."""
    if urlsplit(url).scheme not in ("http", "https"):
        return None
    try:
        with urlopen(Request(url, method="HEAD"), timeout=10):  # noqa: S310  # see above
            return None
    except HTTPError as error:
        error.close()
    except URLError as error:
        return str(error.reason) if isinstance(error.reason, OSError) else None
    except (OSError, HTTPException):
        return None  # connected, then silent or rude: the SDK's business
    return None


def existing(api: Any, name: str, metadata: Mapping[str, Any]) -> Any | None:
    """The run whose artifact is the newest version, if that has this content.

    Args:
        api: Of `log_in`.
        name: ``entity/project/artifact``.
        metadata: Of the version looked for; its ``input_digest`` decides.
    """
    newest = next(iter(_versions(api, "dataset", name)), None)
    if newest is None:
        return None
    if newest.metadata.get("input_digest") != metadata["input_digest"]:
        return None
    return insist(newest.logged_by)


def _versions(api: Any, kind: str, name: str) -> list[Any]:
    """The newest committed versions of an artifact, the last one first."""
    if not insist(lambda: api.artifact_collection_exists(name=name, type=kind)):
        return []
    found = insist(
        lambda: list(islice(api.artifacts(kind, name, per_page=_LOOK_BACK), _LOOK_BACK))
    )
    return [one for one in found if one.state == "COMMITTED"]


def discard(api: Any, run_path: str) -> None:
    """Delete a run of ours that was never finished, and what it logged."""
    api.flush()
    run = found(lambda: api.run(run_path))
    if run is None or not is_own_run(run.config):
        return
    for artifact in insist(lambda: list(run.logged_artifacts())):
        found(partial(artifact.delete, delete_aliases=True))
    found(run.delete)


def resolved(
    api: Any, given: Mapping[str, Any], entity: str, url: str | None
) -> Any | None:
    """An artifact that lies at the same entity of the same server, else nothing."""
    owner, project, _ = given["run_path"].split("/")
    if owner != entity or not _is_same_server(given["url"], url):
        return None
    name = f"{owner}/{project}/{given['name']}"
    if version := given["version"]:
        return found(lambda: api.artifact(f"{name}:{version}"))
    versions = _versions(api, given["type"], name) if given["digest"] else []
    return next((one for one in versions if one.digest == given["digest"]), None)


def _is_same_server(one: str | None, other: str | None) -> bool:
    """Where a run does not say its server, the one that is published to is asked."""
    return not one or not other or urlsplit(one).netloc == urlsplit(other).netloc
