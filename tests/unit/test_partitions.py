import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_assets.partitions import Partition, parse_key, project_slug, run_day

FIRST, TODAY = date(2020, 1, 1), date(2026, 1, 2)
NAMES = st.text(min_size=0, max_size=80)


@given(NAMES, NAMES)
def test_a_slug_is_one_harmless_folder_name(entity: str, project: str) -> None:
    slug = project_slug(entity, project)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", slug)
    assert ".." not in slug
    assert len(slug) <= 122


@given(NAMES, NAMES, NAMES, NAMES)
def test_no_two_projects_share_a_slug(a: str, b: str, c: str, d: str) -> None:
    if "/" not in a + b + c + d and (a, b) != (c, d):
        assert project_slug(a, b) != project_slug(c, d)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("lab", "Maze"), ("lab", "maze")),
        (("lab", "ma ze"), ("lab", "ma-ze")),
        (("a--b", "c"), ("a", "b--c")),
        (("lab", "x."), ("lab", "x")),
        (("lab", "\ud800"), ("lab", "\ud801")),
        (("LAB", "x"), ("lab", "X")),
    ],
)
def test_names_that_look_alike_stay_apart(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    slugs = {project_slug(*one), project_slug(*other)}
    assert len({slug.casefold() for slug in slugs}) == 2


def test_a_plain_name_stays_readable() -> None:
    assert project_slug("metta-research", "v1.2_x") == "metta-research--v1.2_x"


@given(st.dates(), NAMES, NAMES)
def test_a_key_names_its_partition(day: date, entity: str, project: str) -> None:
    partition = Partition(project_slug(entity, project), day)
    assert parse_key(partition.key) == partition


@pytest.mark.parametrize(
    ("created_at", "day"),
    [
        (datetime(2026, 1, 1, 23, 59, tzinfo=UTC), date(2026, 1, 1)),
        (
            datetime(2026, 1, 1, 23, tzinfo=timezone(timedelta(hours=-5))),
            date(2026, 1, 2),
        ),
        (datetime(1970, 1, 1, tzinfo=UTC), FIRST),
        (datetime(2999, 1, 1, tzinfo=UTC), TODAY),
    ],
)
def test_a_day_is_utc_and_within_what_dagster_knows(
    created_at: datetime, day: date
) -> None:
    assert run_day(created_at, first_day=FIRST, today=TODAY) == day
