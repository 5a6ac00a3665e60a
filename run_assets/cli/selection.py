"""Which run and which project a word of the command line means."""

from difflib import get_close_matches
from typing import TYPE_CHECKING

from run_assets.errors import NotFoundError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

_CANDIDATES = 20


def collected(frame: "pl.LazyFrame") -> "pl.DataFrame":
    """The rows of a table of the lake.

    Raises:
        SourceError: A file is damaged.
    """
    from run_assets.store.lake import collected as rows_of

    return rows_of(frame)


def in_project(project: str) -> "pl.Expr":
    """The run belongs to a project, named ``project`` or ``entity/project``."""
    import polars as pl

    full = pl.concat_str(pl.col("entity"), pl.lit("/"), pl.col("project"))
    return (full == project) | (pl.col("project") == project)


def check_project(project: str, known: "Iterable[tuple[str, str]]") -> None:
    """Refuse a project that no run belongs to.

    Args:
        project: ``project`` or ``entity/project``.
        known: Entity and project of each project.

    Raises:
        NotFoundError: With the nearest name.
    """
    names = {f"{entity}/{name}" for entity, name in known}
    short = {name.partition("/")[2] for name in names}
    if project not in names | short:
        candidates = names if "/" in project else short
        msg = f"no run of project {project!r}{did_you_mean(project, candidates)}"
        raise NotFoundError(msg)


def resolve_run(runs: "pl.LazyFrame", name: str, project: str | None = None) -> str:
    """The run path of a run named by path, id or display name.

    Args:
        runs: ``marts.runs``.
        name: A run path is exact; an id and a display name may belong to several.
        project: Look only there.

    Raises:
        NotFoundError: No run has this name; similar ones are listed.
        UsageError: Several have; they are listed.
    """
    import polars as pl

    frame = runs if project is None else runs.filter(in_project(project))
    known = collected(frame.select("run_path", "run_id", "run_name", "run_state"))
    if name in known["run_path"]:
        return name
    is_named = (pl.col("run_id") == name) | (pl.col("run_name") == name)
    found = known.filter(is_named).sort("run_path")
    if found.height == 1:
        return str(found["run_path"].item())
    if found.height > 1:
        raise UsageError(_ambiguous(name, found))
    names = known.select("run_path", "run_id", "run_name").rows()
    candidates = {one for row in names for one in row if one}
    where = f" in project {project!r}" if project else ""
    close = get_close_matches(name, candidates, n=3)
    hint = f"; did you mean {' or '.join(map(repr, close))}" if close else ""
    msg = f"no run {name!r}{where}{hint}. `run-assets runs list` shows all"
    raise NotFoundError(msg)


def _ambiguous(name: str, found: "pl.DataFrame") -> str:
    rows = found.select("run_path", "run_name", "run_state").head(_CANDIDATES).rows()
    lines = [f"  {path}  {title or ''}  {state}" for path, title, state in rows]
    if found.height > _CANDIDATES:
        lines.append(f"  … {found.height - _CANDIDATES} more")
    head = f"{name!r} names {found.height} runs; say which by its run path:"
    return "\n".join([head, *lines])
