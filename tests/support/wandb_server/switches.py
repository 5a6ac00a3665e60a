"""What nobody can know about W&B without an account: each doubt is a switch.

A reader of runs has to be right at every setting.
"""

from dataclasses import dataclass
from typing import Literal

NanEncoding = Literal["literal", "text", "null"]
TextEncoding = Literal["text", "null"]
Sampling = Literal["stride", "random", "first"]
TieOrder = Literal["created", "reversed", "hashed", "unstable"]
ThrottleBody = Literal["graphql", "json", "text", "html", "empty"]
ExportedObjects = Literal["struct", "json"]

FEATURES = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "MARK_RUN_FILES_UPLOADED",
    "FILESTREAM_GZIP",
)


@dataclass
class Switches:
    """The open questions; change an attribute at any time, also between requests.

    Attributes:
        nan_in_history: How the row pages spell NaN and infinities; ``literal`` is
            the bare `NaN` that the SDK sends.
        nan_in_sampled: The same for sampled history and live export rows, which are
            JSON themselves and so know no literal.
        nan_in_exports: In parquet: ``literal`` is a double, ``text`` turns the column
            into strings.
        nan_in_summary: The same for the summary.
        live_repeats_exported: Whether row pages also hold rows already exported.
        exported_share: Share of each run's rows, counted from its first row, that
            lie in parquet files, in [0, 1]; a run's own `exported_rows` wins.
        rows_per_export: Rows in one parquet file; None is one file for all.
        exported_objects: How parquet holds objects (tables, images, histograms).
        row_group_rows: Rows of a parquet row group.
        sampling: Which rows are left when more exist than samples were asked for.
        tie_order: The order of runs that are equal under the order asked for;
            ``unstable`` changes with every request.
        throttle_body: What stands in the body of a 429.
        retry_after_is_date: Whether Retry-After is an HTTP date, not seconds.
        timestamp_suffix: What follows the seconds of a time.
        features: Server features that the SDK may use.
        closed_entities: Entities in which the key may create or edit no run.
    """

    nan_in_history: NanEncoding = "literal"
    nan_in_sampled: TextEncoding = "text"
    nan_in_exports: NanEncoding = "literal"
    nan_in_summary: NanEncoding = "literal"
    live_repeats_exported: bool = False
    exported_share: float = 0.0
    rows_per_export: int | None = None
    exported_objects: ExportedObjects = "struct"
    row_group_rows: int = 5000
    sampling: Sampling = "stride"
    tie_order: TieOrder = "created"
    throttle_body: ThrottleBody = "graphql"
    retry_after_is_date: bool = False
    timestamp_suffix: Literal["", "Z"] = "Z"
    features: tuple[str, ...] = FEATURES
    closed_entities: tuple[str, ...] = ()
