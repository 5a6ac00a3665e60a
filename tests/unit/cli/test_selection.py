import polars as pl
import pytest

from run_assets.cli.selection import check_project, resolve_run
from run_assets.errors import NotFoundError, UsageError


def runs(*rows: tuple[str, str | None]) -> pl.LazyFrame:
    """Run path and display name of each run."""
    parts = [path.split("/") for path, _ in rows]
    return pl.LazyFrame(
        {
            "run_path": [path for path, _ in rows],
            "entity": [one[0] for one in parts],
            "project": [one[1] for one in parts],
            "run_id": [one[2] for one in parts],
            "run_name": [name for _, name in rows],
            "run_state": ["finished"] * len(rows),
        },
        schema_overrides={"run_name": pl.String},
    )


RUNS = runs(
    ("lab/maze/r1", "brave-sun"), ("lab/maze/r2", "twin"), ("lab/nav/r1", "twin")
)


@pytest.mark.parametrize(
    ("name", "project", "path"),
    [
        ("lab/nav/r1", None, "lab/nav/r1"),
        ("r2", None, "lab/maze/r2"),
        ("brave-sun", None, "lab/maze/r1"),
        ("r1", "nav", "lab/nav/r1"),
        ("twin", "lab/maze", "lab/maze/r2"),
    ],
)
def test_a_run_is_named_by_path_id_or_display_name(
    name: str, project: str | None, path: str
) -> None:
    assert resolve_run(RUNS, name, project) == path


@pytest.mark.parametrize("name", ["r1", "twin"])
def test_an_ambiguous_name_lists_its_candidates(name: str) -> None:
    with pytest.raises(UsageError, match="names 2 runs") as error:
        resolve_run(RUNS, name)
    assert "lab/nav/r1" in str(error.value)


def test_a_name_that_is_another_runs_id_is_ambiguous() -> None:
    both = runs(("lab/maze/a", "x"), ("lab/maze/b", "a"))
    with pytest.raises(UsageError, match="names 2 runs"):
        resolve_run(both, "a")


def test_many_candidates_are_counted() -> None:
    many = runs(*((f"lab/p{i}/r", "same") for i in range(30)))
    with pytest.raises(UsageError, match="10 more"):
        resolve_run(many, "same")


def test_an_unknown_run_gets_a_suggestion() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'brave-sun'"):
        resolve_run(RUNS, "brave-sum")


def test_nothing_close_points_to_the_list() -> None:
    with pytest.raises(NotFoundError, match="runs list") as error:
        resolve_run(RUNS, "zzzzzz", "maze")
    assert "did you mean" not in str(error.value)
    assert "in project 'maze'" in str(error.value)


@pytest.mark.parametrize("project", ["maze", "lab/maze"])
def test_a_project_may_leave_out_its_entity(project: str) -> None:
    check_project(project, [("lab", "maze")])


@pytest.mark.parametrize(
    ("project", "meant"), [("maize", "maze"), ("lab/maize", "lab/maze")]
)
def test_an_unknown_project_gets_a_suggestion(project: str, meant: str) -> None:
    with pytest.raises(NotFoundError, match=f"did you mean '{meant}'"):
        check_project(project, [("lab", "maze")])
