"""The server as tests see it: an address, an environment, and everything to turn."""

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.faults import Faults
from tests.support.wandb_server.handler import LoopbackServer
from tests.support.wandb_server.operations.viewer import ENTITY
from tests.support.wandb_server.requests import RequestLog
from tests.support.wandb_server.storage import Run, Store
from tests.support.wandb_server.switches import Switches

API_KEY = "loopback" + "0" * 32
"""The one key that the server accepts; the SDK insists on 40 characters."""


class WandbServer:
    """A running server; `wandb_server` makes one.

    Attributes:
        url: The address for WANDB_BASE_URL.
        settings: The environment variables that lead the SDK here, and only here.
        store: All runs, artifacts and files.
        switches: What cannot be known about the real server.
        faults: What goes wrong.
        requests: What was asked.
    """

    def __init__(self, folder: Path, port: int = 0, seed: int = 0) -> None:
        self._backend = Backend(faults=Faults(seed))
        self._http = LoopbackServer(port, self._backend, API_KEY)
        self.url = self._backend.base_url = f"http://127.0.0.1:{self._http.server_port}"
        self.settings = _settings(self.url, folder)
        # The default half second between looks at the stop flag is paid by every test.
        serve = {"poll_interval": 0.02}
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs=serve, daemon=True
        )
        self._thread.start()

    @property
    def store(self) -> Store:
        return self._backend.store

    @property
    def switches(self) -> Switches:
        return self._backend.switches

    @property
    def faults(self) -> Faults:
        return self._backend.faults

    @property
    def requests(self) -> RequestLog:
        return self._backend.requests

    @property
    def environment(self) -> dict[str, str]:
        """A whole environment for a subprocess, without other W&B settings."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WANDB_", "XDG_"))
        }
        return {**inherited, **self.settings}

    def add_run(
        self,
        path: str,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        created_at: datetime | None = None,
        config: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> Run:
        """Store a run without the SDK: thousands in seconds.

        Args:
            path: ``entity/project/run_id``.
            rows: Logged rows; one without `_step` has its position as step.
            created_at: Default now; also the heartbeat unless given.
            config: Plain values, wrapped here as the SDK wraps them.
            attributes: Any other attribute of `Run`; the state is finished and the
                summary the last row unless given; `filed=filed_history(paths)`
                serves parquet files made elsewhere.
        """
        entity, project, name = path.split("/")
        created = created_at or self._backend.now()
        attributes.setdefault("display_name", name)
        attributes.setdefault("heartbeat_at", created)
        attributes.setdefault("state", "finished")
        wrapped = {key: {"value": value} for key, value in (config or {}).items()}
        run = Run(
            entity, project, name, created_at=created, config=wrapped, **attributes
        )
        append_rows(run, rows)
        return self.store.add_run(run)

    def prepare(self) -> None:
        """Build all exports and counts now, so that a clock started later is fair."""
        with self.store.lock:
            for run in self.store.runs.values():
                self._backend.prepare(run)

    def close(self) -> None:
        """Stop listening and wake every request that hangs."""
        self._http.is_closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def append_rows(run: Run, rows: Iterable[Mapping[str, Any]]) -> None:
    """Log further rows to a run; its summary becomes the union of them."""
    first = run.last_step + 1
    for step, row in enumerate(rows, start=first):
        whole = {"_step": step, "_timestamp": 1.7e9 + step, "_runtime": step, **row}
        run.history.write(len(run.history), [json.dumps(whole)])
        run.summary.update(whole)


def _settings(url: str, folder: Path) -> dict[str, str]:
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    places = ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
    return {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": API_KEY,
        "WANDB_ENTITY": ENTITY,
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "HOME": str(home),
        **{name: str(home) for name in places},
    }


@contextmanager
def wandb_server(
    folder: Path | None = None, *, port: int = 0, seed: int = 0
) -> Iterator[WandbServer]:
    """A server on a loopback port, free unless given, until the block ends.

    Args:
        folder: Where the SDK's home lies; a temporary one unless given.
        port: Port to listen on; 0 takes a free one.
        seed: Decides which calls a fault with a rate strikes.
    """
    own = folder or Path(tempfile.mkdtemp(prefix="wandb-server-"))
    server = WandbServer(own, port, seed)
    try:
        yield server
    finally:
        server.close()
        if folder is None:
            shutil.rmtree(own, ignore_errors=True)
