"""Turns an HTTP request into a reply; knows no sockets and no faults."""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.exports import byte_range
from tests.support.wandb_server.file_stream import receive
from tests.support.wandb_server.graphql import (
    GraphQLRefusalError,
    execute,
    operation_name,
)
from tests.support.wandb_server.operations.root import root
from tests.support.wandb_server.requests import Request

BINARY = "application/octet-stream"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """An HTTP request whose body has been read and unpacked.

    Attributes:
        parts: Segments of the path, unquoted.
        headers: By lower-case name.
        operation: What counts and faults know it by.
        variables: GraphQL variables, empty for anything else.
    """

    method: str
    path: str
    parts: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes
    operation: str
    query: str = ""
    variables: dict[str, object] = field(default_factory=dict)

    @property
    def request(self) -> Request:
        """The entry for the log."""
        size = len(self.body)
        return Request(self.operation, self.path, size, self.variables)


def call(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Read the method, path and body of a request."""
    path = urlsplit(target).path
    parts = tuple(unquote(part) for part in path.strip("/").split("/"))
    if parts[0] != "graphql":
        kind = "file_stream" if parts[-1] == "file_stream" else parts[0]
        return Call(method, path, parts, headers, body, f"{method} {kind}")
    sent = json.loads(body)
    query, variables = sent["query"], sent.get("variables") or {}
    name = operation_name(query)
    return Call(method, path, parts, headers, body, name, query, variables)


def answer(backend: Backend, asked: Call, api_key: str) -> Reply:
    """Carry out a request.

    Addresses of files are unguessable on W&B and need no key; the rest does.
    """
    is_api = asked.parts[0] == "graphql" or asked.parts[-1] == "file_stream"
    if is_api and _sent_key(asked.headers) != api_key:
        return json_reply({"errors": [{"message": "user is not logged in"}]}, 401)
    if asked.parts[0] == "graphql":
        return _graphql(backend, asked)
    if asked.parts[-1] == "file_stream":
        return _file_stream(backend, asked)
    route = ROUTES.get(asked.parts[0])
    return route(backend, asked) if route else not_found(asked.path)


def json_reply(content: object, status: int = 200) -> Reply:
    """A reply of JSON."""
    return Reply(status, json.dumps(content).encode())


def not_found(what: str) -> Reply:
    """Status 404."""
    return json_reply({"error": f"{what} not found"}, 404)


def _sent_key(headers: Mapping[str, str]) -> str | None:
    """The password of basic authentication, as which the SDK sends the key."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return credentials or None
    return b64decode(credentials).decode().partition(":")[2]


def _graphql(backend: Backend, asked: Call) -> Reply:
    try:
        with backend.store.lock:
            data = execute(
                asked.query,
                asked.variables,
                root(backend),
                backend.requests.add_unknown,
            )
            return json_reply({"data": data})
    except GraphQLRefusalError as error:
        content = {"errors": [{"message": str(error)}], "data": None}
        return json_reply(content, error.status)


def _file_stream(backend: Backend, asked: Call) -> Reply:
    _, entity, project, name, _ = asked.parts
    with backend.store.lock:
        run = backend.store.runs.get((entity, project, name))
        if run is None:
            return not_found(f"run {name}")
        receive(backend, run, json.loads(asked.body))
    return json_reply({"exitcode": None, "limits": {}})


def _file(backend: Backend, asked: Call) -> Reply:
    entity, project, name, *path = asked.parts[1:]
    with backend.store.lock:
        run = backend.store.runs.get((entity, project, name))
    if run is None:
        return not_found(f"run {name}")
    return _stored(run.files, "/".join(path), asked)


def _blob(backend: Backend, asked: Call) -> Reply:
    return _stored(backend.store.blobs, "/".join(asked.parts[1:]), asked)


def _stored(contents: dict[str, bytes], name: str, asked: Call) -> Reply:
    if asked.method == "PUT":
        contents[name] = asked.body
        return Reply(200)
    return _download(contents[name], asked) if name in contents else not_found(name)


def _export(backend: Backend, asked: Call) -> Reply:
    entity, project, name, file_name = asked.parts[1:]
    with backend.store.lock:
        run = backend.store.runs.get((entity, project, name))
        if run is None:
            return not_found(f"run {name}")
        content = backend.export(run, file_name)
    return _download(content, asked)


def _download(content: bytes, asked: Call) -> Reply:
    ends = byte_range(asked.headers.get("range"), len(content))
    accepts = {"Accept-Ranges": "bytes"}
    if ends is None:
        return Reply(200, content, BINARY, accepts)
    first, last = ends
    span = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
    return Reply(206, content[first : last + 1], BINARY, {**accepts, **span})


ROUTES: Mapping[str, Callable[[Backend, Call], Reply]] = {
    "blobs": _blob,
    "exports": _export,
    "files": _file,
}
