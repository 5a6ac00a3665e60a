"""What every operation works with: the store, the switches, the clock, the address."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from tests.support.wandb_server.connections import timestamp
from tests.support.wandb_server.exports import export_bytes
from tests.support.wandb_server.faults import Faults
from tests.support.wandb_server.requests import RequestLog
from tests.support.wandb_server.storage import Run, Store
from tests.support.wandb_server.switches import Switches


def whole_seconds_now() -> datetime:
    """The time as W&B shows it, so that runs of one second really tie."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Backend:
    """The server without its socket."""

    base_url: str = ""
    store: Store = field(default_factory=Store)
    switches: Switches = field(default_factory=Switches)
    faults: Faults = field(default_factory=Faults)
    requests: RequestLog = field(default_factory=RequestLog)
    now: Callable[[], datetime] = whole_seconds_now
    _exports: dict[tuple[object, ...], bytes] = field(default_factory=dict)

    def shown(self, when: datetime) -> str:
        """A time as the API writes it."""
        return timestamp(when, self.switches.timestamp_suffix)

    def url(self, *parts: str) -> str:
        """An address on this server."""
        path = "/".join(quote(part, safe="/") for part in parts)
        return f"{self.base_url}/{path}"

    def exported_rows(self, run: Run) -> int:
        """How many lines, from the first, lie in parquet exports."""
        lines = len(run.history)
        if run.exported_rows is not None:
            return min(run.exported_rows, lines)
        return int(lines * self.switches.exported_share)

    def export_names(self, run: Run) -> list[str]:
        """Names of the export files of a run, in the order of their steps."""
        filed = [f"filed-{index}.parquet" for index in range(len(run.filed.paths))]
        built = [f"{lines.start}-{lines.stop}.parquet" for lines in self._parts(run)]
        return filed + built

    def prepare(self, run: Run) -> None:
        """Compute now what a request would otherwise wait for."""
        run.history.key_statistics()
        for lines in self._parts(run):
            self._built(run, lines)

    def _parts(self, run: Run) -> list[slice]:
        exported = self.exported_rows(run)
        size = self.switches.rows_per_export or exported or 1
        starts = range(0, exported, size)
        return [slice(start, min(start + size, exported)) for start in starts]

    def export(self, run: Run, name: str) -> bytes:
        """The export file of this name."""
        first, _, last = name.removesuffix(".parquet").partition("-")
        if first == "filed":
            return run.filed.paths[int(last)].read_bytes()
        return self._built(run, slice(int(first), int(last)))

    def _built(self, run: Run, lines: slice) -> bytes:
        """Built once for its lines and the switches that it depends on."""
        switches = self.switches
        identity = (
            *run.key,
            lines.start,
            lines.stop,
            run.history.rewrites,
            switches.nan_in_exports,
            switches.exported_objects,
            switches.row_group_rows,
        )
        if identity not in self._exports:
            self._exports[identity] = export_bytes(run.history.lines[lines], switches)
        return self._exports[identity]
