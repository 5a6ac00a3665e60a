"""Where a run is stored: project slug x UTC day, fixed when the run is first seen."""

import re
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import NamedTuple

_PLAIN = re.compile(r"[a-z0-9][a-z0-9-]*(?:[._][a-z0-9-]+)*")


class Partition(NamedTuple):
    """A project and a day.

    Attributes:
        project_slug: ``project_slug`` of the run's project.
        day: UTC day of the run's creation.
    """

    project_slug: str
    day: date

    @property
    def key(self) -> str:
        """Dagster's key: the dimensions in alphabetical order.

        >>> Partition("lab--maze", date(2026, 1, 2)).key
        '2026-01-02|lab--maze'
        """
        return f"{self.day.isoformat()}|{self.project_slug}"


def parse_key(key: str) -> Partition:
    """The partition of a Dagster key.

    >>> parse_key("2026-01-02|lab--maze").project_slug
    'lab--maze'
    """
    day, _, slug = key.partition("|")
    return Partition(slug, date.fromisoformat(day))


def project_slug(entity: str, project: str) -> str:
    """A name for folders and partitions that no other project has.

    Plain lower-case names stay readable; any other name ends with a digest of the
    exact one, so that names which differ in case, spaces or slashes never meet.

    >>> project_slug("metta-research", "metta")
    'metta-research--metta'
    >>> project_slug("Lab", "../x")
    'lab--x-97ee89ab'
    """
    plain = all(
        _PLAIN.fullmatch(name) and "--" not in name and len(name) <= 60
        for name in (entity, project)
    )
    if plain:
        return f"{entity}--{project}"
    digest = sha256(f"{entity}/{project}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_readable(entity)}--{_readable(project)}-{digest[:8]}"


def _readable(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "x"


def run_day(created_at: datetime, *, first_day: date, today: date) -> date:
    """The UTC day of creation, within what Dagster has partitions for.

    >>> run_day(
    ...     datetime(2019, 5, 1, tzinfo=UTC),
    ...     first_day=date(2020, 1, 1), today=date(2026, 1, 1),
    ... )
    datetime.date(2020, 1, 1)
    """
    return min(max(created_at.astimezone(UTC).date(), first_day), today)
