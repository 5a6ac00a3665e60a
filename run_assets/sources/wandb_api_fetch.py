"""From the network to disk: all of one run, or what is new of it, in a folder.

Nothing is decoded here but what decides what to ask next, so that many runs can be
fetched at once in little memory. A folder gets its final name when it is complete:
what a killed refresh had fetched need not be asked for again.
"""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from run_assets.digests import digest_of
from run_assets.errors import NotFoundError, SourceError
from run_assets.sources.wandb_api_client import WandbClient
from run_assets.sources.wandb_api_listing import ListedRun
from run_assets.sources.wandb_api_queries import (
    EVENTS,
    EXPORTS,
    HISTORY_PAGE,
    INPUT_ARTIFACTS,
    OUTPUT_ARTIFACTS,
    RUN_DETAIL,
    WHOLE_HISTORY,
)
from run_assets.sources.wandb_api_rows import (
    Decoder,
    ExportSpan,
    export_span,
    export_values,
    joined_spans,
    json_row,
    json_rows,
    row_digest,
    type_counts,
)

LARGEST_WINDOW = 2**53
"""Upper end of a window that has none: servers may keep steps in doubles."""
PAGE_VALUES = 500_000
"""About how many values one page of rows may hold."""
MOST_PAGE_ROWS = 10_000
LEAST_PAGE_ROWS = 100
FIRST_PAGE_ROWS = 1_000
"""Rows that are asked for before it is known how wide they are."""
MOST_ROWS_AT_ONCE = 100_000
"""Rows that the last resort, a page without a window, may ask for."""
EVENTS_AT_FIRST = 5_000
ARTIFACTS_PER_PAGE = 100
FILES_PER_ARTIFACT = 1_000

_COMPLETE = "fetched.json"
_ROWS = "rows.jsonl"


class KnownHistory(NamedTuple):
    """What the lake holds of a run's history.

    Attributes:
        rows: Logged rows, with or without values.
        last_step: The greatest step.
        last_row: ``row_digest`` of its values: a run that was rewound and went on has
            other ones.
    """

    rows: int
    last_step: int
    last_row: str


@dataclass
class Fetched:
    """A run on disk.

    Attributes:
        folder: Where its files lie.
        is_continued: The rows come after those that the lake holds.
        rows: History rows in it, or in it and the lake.
        export_rows: Rows that came as parquet exports.
        exports: Names of the export files, in the order of their steps.
        is_mixed: Rows and exports overlap; for each step the row counts.
        events: JSON texts of the system metrics.
        promised_events: How many of them the server counts.
        counts: See ``type_counts``.
        artifacts: Nodes, by direction.
        metadata: What the SDK found out about the machine.
    """

    folder: Path
    is_continued: bool = False
    rows: int = 0
    export_rows: int = 0
    exports: list[str] = field(default_factory=list)
    is_mixed: bool = False
    events: list[str] = field(default_factory=list)
    promised_events: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    artifacts: dict[str, list[Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def export_paths(self) -> list[Path]:
        """The export files."""
        return [self.folder / name for name in self.exports]

    def lines(self) -> Iterator[str]:
        """The rows that came as JSON, in the order of their steps."""
        file = self.folder / _ROWS
        if file.exists():
            with file.open(encoding="utf-8") as lines:
                yield from lines

    def save(self) -> None:
        """Write everything but the rows beside them."""
        told = {name: one for name, one in vars(self).items() if name != "folder"}
        text = json.dumps(told)
        (self.folder / _COMPLETE).write_text(text, encoding="utf-8")


def fetched(folder: Path) -> Fetched | None:
    """What an earlier ``fetch_run`` left; ``None`` where it did not come to its end."""
    try:
        told = json.loads((folder / _COMPLETE).read_text(encoding="utf-8"))
        return Fetched(folder, **told)
    except (OSError, ValueError, TypeError):
        return None


def fetch_folder(root: Path, listed: ListedRun, known: KnownHistory | None) -> Path:
    """Where a run is fetched to: another place for each state of the run."""
    return root / digest_of(listed.base_url, listed.run_path, listed.digest, known)


def fetch_run(
    client: WandbClient,
    listed: ListedRun,
    known: KnownHistory | None,
    folder: Path,
    *,
    is_still: bool = False,
) -> Fetched:
    """Fetch a run, or what is new of it, into a folder.

    Args:
        client: Asks the server.
        listed: The run.
        known: What the lake holds; ``None`` to fetch everything.
        folder: See ``fetch_folder``; it may be there already.
        is_still: Neither its heartbeat nor its number of rows has moved since: only
            what people edit has changed.

    Raises:
        NotFoundError: The run is gone.
        SourceError: The server sent fewer rows than it counts, by every route.
    """
    if (found := fetched(folder)) is not None:
        return found
    started = time.monotonic()
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        _Fetch(client, listed, Fetched(part)).run(known, is_still=is_still)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except OSError as error:
        msg = f"{part} cannot be written: {error}; make room and refresh again"
        raise SourceError(msg) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    client.traffic.run_seconds[listed.run_path] = time.monotonic() - started
    result = fetched(folder)
    if result is None:
        msg = f"{folder} vanished while it was in use; refresh again"
        raise SourceError(msg)
    return result


class _Fetch:
    """One run on its way."""

    def __init__(self, client: WandbClient, listed: ListedRun, into: Fetched) -> None:
        self.client = client
        self.listed = listed
        self.into = into
        self.address = {
            "entity": listed.entity,
            "project": listed.project,
            "run": listed.run_id,
        }
        self.promised = 0
        self.last_step = -1
        self.page_rows = FIRST_PAGE_ROWS

    def run(self, known: KnownHistory | None, *, is_still: bool) -> None:
        expected = self.listed.row_count - (known.rows - 1 if known else 0)
        with_rows = 0 < expected <= FIRST_PAGE_ROWS and not is_still
        detail = self._detail(known.last_step if known else 0, with_rows=with_rows)
        self._take_counts(detail)
        rows = detail.get("history") if with_rows else None
        if known and is_still and self.promised == known.rows:
            self.into.is_continued, self.into.rows = True, known.rows
        elif known is None or not self._continue(known, rows):
            self._whole(detail["parquetHistory"]["parquetUrls"], known, rows)
        self._take_events(detail)
        self._take_metadata(detail)
        self._take_artifacts(detail)
        self.into.save()

    def _ask(self, name: str, document: str, **more: Any) -> dict[str, Any]:
        answer = self.client.query(name, document, {**self.address, **more})
        run = (answer.get("project") or {}).get("run")
        if not run:
            msg = f"{self.listed.url} is gone: it was deleted since it was listed"
            raise NotFoundError(msg)
        found: dict[str, Any] = run
        return found

    def _detail(self, first: int, *, with_rows: bool) -> dict[str, Any]:
        return self._ask(
            "RunDetail",
            RUN_DETAIL,
            minStep=first,
            maxStep=LARGEST_WINDOW,
            pageSize=2 * FIRST_PAGE_ROWS,  # it may grow while we ask
            withRows=with_rows,
            events=EVENTS_AT_FIRST,
            artifacts=ARTIFACTS_PER_PAGE,
            files=FILES_PER_ARTIFACT,
        )

    def _take_counts(self, detail: Mapping[str, Any]) -> None:
        keys = detail.get("historyKeys")
        keys = json.loads(keys) if isinstance(keys, str) else keys or {}
        self.promised = int(detail.get("historyLineCount") or 0)
        last_step = keys.get("lastStep")
        self.last_step = -1 if last_step is None else int(last_step)
        self.into.counts = type_counts(keys)
        width = max(1, len(self.into.counts))
        rows = max(LEAST_PAGE_ROWS, PAGE_VALUES // width)
        self.page_rows = min(rows, MOST_PAGE_ROWS)

    # History.

    def _continue(self, known: KnownHistory, rows: Sequence[str] | None) -> bool:
        """Take the rows after those that are known, if the last of them is the same."""
        if self.promised < known.rows or self.last_step < known.last_step:
            return False
        pages = iter([rows] if rows is not None else self._pages(known.last_step))
        first = next(pages, ())
        if not first or not self._is_same(first[0], known):
            return False
        new = known.rows + self._write_rows([first[1:]], known.last_step)
        new += self._write_rows(pages, known.last_step)
        if new < self.promised:
            (self.into.folder / _ROWS).unlink(missing_ok=True)
            return False
        self.into.is_continued, self.into.rows = True, new
        return True

    def _is_same(self, line: str, known: KnownHistory) -> bool:
        rows = json_rows([line], Decoder(self.into.counts))
        is_same_step = rows.steps == [known.last_step]
        return (
            is_same_step and row_digest(rows.history, known.last_step) == known.last_row
        )

    def _whole(
        self,
        urls: Sequence[str],
        known: KnownHistory | None,
        rows: Sequence[str] | None,
    ) -> None:
        """All rows: exports, then what is not in them yet, then whatever else helps."""
        span = self._exports(urls)
        first = span.last_step + 1
        live = 0
        if known is None and rows is not None:
            live = self._write_rows([rows], span.last_step)
        elif span.rows < self.promised:
            live = self._write_rows(self._pages(first), span.last_step)
        self.into.rows, self.into.export_rows = span.rows + live, span.rows
        self.into.is_mixed = not span.is_ordered
        if self._is_short() or self._lacks_values(live):
            self._try_other_routes()
        if self._is_short():
            msg = (
                f"{self.listed.url}: the server counts {self.promised} history rows "
                f"and sent {self.into.rows}, by export and by pages; the run is left "
                "as it is stored, the next refresh tries again"
            )
            raise SourceError(msg)

    def _is_short(self) -> bool:
        return self.into.rows < self.promised

    def _exports(self, urls: Sequence[str]) -> ExportSpan:
        """Download the exports; none where one of them cannot be had whole."""
        for _ in range(2):
            names = [f"export-{number}.parquet" for number in range(len(urls))]
            paths = [self.into.folder / name for name in names]
            try:
                for url, path in zip(urls, paths, strict=True):
                    self.client.download(url, path, "GET export")
                found = [(export_span(path), path.name) for path in paths]
                found.sort(key=lambda one: one[0].last_step)
                self.into.exports = [name for _, name in found]
                return joined_spans(span for span, _ in found)
            except NotFoundError:
                run = self._ask("RunParquetHistory", EXPORTS)
                urls = run["parquetHistory"]["parquetUrls"]
            except SourceError:
                if self.client.failure:
                    raise
        self.into.exports = []
        return ExportSpan(0, -1, is_ordered=True)

    def _pages(self, first: int, *, is_exact: bool = False) -> Iterator[list[str]]:
        """Rows from a step on, page by page, in the order of their steps.

        A page is a window of steps, and a server asked for fewer rows than a window
        holds leaves some out. A window no wider than a page cannot hold more rows than
        a page has; a wider one is trusted if it comes back less than half full. So
        windows follow the density of the rows: five rows on a way of 1e8 steps do not
        cost 100,000 requests.
        """
        trusted = 0 if is_exact else self.page_rows // 2
        low, end = first, self.last_step + 1
        steps_per_row = max(1, (end - low) // max(self.promised, 1))
        width = self.page_rows if steps_per_row == 1 else trusted * steps_per_row // 2
        while low < end:
            width = max(width, self.page_rows)
            high = min(low + width, end)
            rows = self._page(low, high)
            if high - low > self.page_rows and len(rows) > trusted:
                width = (high - low) // 2
                continue
            if rows:
                yield rows
            low = high
            if len(rows) <= trusted // 2:
                width *= 2

    def _page(self, low: int, high: int) -> list[str]:
        run = self._ask(
            "HistoryPage",
            HISTORY_PAGE,
            minStep=low,
            maxStep=high,
            pageSize=self.page_rows,
        )
        return list(run.get("history") or ())

    def _write_rows(self, pages: Iterable[Sequence[str]], after: int) -> int:
        """Append rows with a step of their own beyond another one; how many."""
        count = 0
        with (self.into.folder / _ROWS).open("a", encoding="utf-8") as file:
            for line in (line for page in pages for line in page):
                _, step = json_row(line)
                if step > after:
                    file.write(line.replace("\n", " ") + "\n")
                    count, after = count + 1, step
        return count

    def _lacks_values(self, live: int) -> bool:
        """The exports hold fewer numbers of a metric than the server counts.

        So it is where a server writes NaN as null.
        """
        if not self.into.exports:
            return False
        found = export_values(self.into.export_paths)
        return any(
            found[key] + live < counts.get("number", 0)
            for key, counts in self.into.counts.items()
            if key in found
        )

    def _try_other_routes(self) -> None:
        """Every row by exact windows, then without a window; kept if they are more."""
        exports = self.into.exports
        before = self.into.rows
        routes = [lambda: self._pages(0, is_exact=True), self._unwindowed]
        for route in routes:
            rows = self.into.folder / _ROWS
            kept = rows.with_suffix(".kept")
            if rows.exists():
                rows.rename(kept)
            count = self._write_rows(route(), -1)
            if count >= max(self.promised, before):
                kept.unlink(missing_ok=True)
                self.into.rows, self.into.export_rows = count, 0
                self.into.exports, self.into.is_mixed = [], False
                for name in exports:
                    (self.into.folder / name).unlink(missing_ok=True)
                return
            rows.unlink(missing_ok=True)
            if kept.exists():
                kept.rename(rows)

    def _unwindowed(self) -> Iterator[list[str]]:
        """As many rows as there are, at once: nothing is left out then."""
        if 0 < self.promised <= MOST_ROWS_AT_ONCE:
            run = self._ask("RunFullHistory", WHOLE_HISTORY, samples=self.promised)
            lines = run.get("history") or ()
            yield sorted(lines, key=lambda line: json_row(line)[1])

    # Everything else.

    def _take_events(self, detail: Mapping[str, Any]) -> None:
        promised = int(detail.get("eventsLineCount") or 0)
        events = detail.get("events") or []
        if promised > EVENTS_AT_FIRST:
            run = self._ask("RunEvents", EVENTS, events=promised)
            events = run.get("events") or []
        self.into.events, self.into.promised_events = list(events), promised

    def _take_metadata(self, detail: Mapping[str, Any]) -> None:
        files = [one["node"] for one in (detail.get("files") or {}).get("edges") or ()]
        path = self.into.folder / "metadata.json"
        for file in files:
            try:
                self.client.download(file["directUrl"], path, "GET metadata")
                found = json.loads(path.read_text(encoding="utf-8"))
            except (NotFoundError, ValueError):
                continue  # it tells of the machine only
            self.into.metadata = found if isinstance(found, dict) else {}

    def _take_artifacts(self, detail: Mapping[str, Any]) -> None:
        self.into.artifacts = {
            "logged": self._artifacts(
                detail.get("outputArtifacts"), "RunOutputArtifacts", OUTPUT_ARTIFACTS
            ),
            "used": self._artifacts(
                detail.get("inputArtifacts"), "RunInputArtifacts", INPUT_ARTIFACTS
            ),
        }

    def _artifacts(self, page: Any, name: str, document: str) -> list[Any]:
        found: list[Any] = []
        while page:
            found += [edge["node"] for edge in page["edges"] if edge.get("node")]
            info = page["pageInfo"]
            if not (info["hasNextPage"] and info["endCursor"]):
                break
            run = self._ask(
                name,
                document,
                cursor=info["endCursor"],
                artifacts=ARTIFACTS_PER_PAGE,
                files=FILES_PER_ARTIFACT,
            )
            page = run["found"]
        return found
