"""One run into the lake: what a question needs and the lake does not have."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from run_assets.config import WandbApi
from run_assets.errors import NotFoundError, SourceError, UsageError
from run_assets.refresh import Selection, damaged, plan_refresh

if TYPE_CHECKING:
    from run_assets.lab import Lab
    from run_assets.refresh import Refreshed

Refresh = Callable[[Selection], "Refreshed"]
"""Refreshes the lab, and shows how far it has come."""


def find_at_sources(lab: "Lab", name: str, project: str | None) -> str | None:
    """The run path of a run that the sources have and the lake has not.

    Display names are known of servers alone: in a file they stand inside.

    Args:
        lab: The lab.
        name: Run path, run id or display name.
        project: Only this one, as ``project`` or ``entity/project``.

    Raises:
        UsageError: Several runs have this name, or it lies in a project that is not
            configured.
        AuthenticationError: A server wants a key.
    """
    _refuse_unconfigured(lab, name)
    selection = Selection(project=project)
    plan = plan_refresh(lab, now=datetime.now(UTC), selection=selection)
    plan.asked.close()
    paths = {
        one.run_path
        for one in plan.changes
        if name in (one.run_path, one.run_id) and one.reason != "deleted"
    }
    paths = paths or _named_on_servers(lab, name, project)
    if len(paths) > 1:
        listed = "\n".join(f"  {one}" for one in sorted(paths))
        msg = f"{name!r} names {len(paths)} runs; say which by its run path:\n{listed}"
        raise UsageError(msg)
    return next(iter(paths), None)


def fetch_runs(
    lab: "Lab", run_paths: Collection[str], refresh: Refresh, *, reread: bool
) -> None:
    """Read runs into the lake, under its lock, and rebuild what depends on them.

    Args:
        lab: The lab.
        run_paths: The runs.
        refresh: Refreshes the lab.
        reread: Read those that are stored again, too.

    Raises:
        SourceError: A run could not be read.
        NotFoundError: No source has a run that was to be read again.
        TryAgainError: Another refresh is writing.
    """
    chosen = frozenset(run_paths)
    done = refresh(Selection(run_paths=chosen, reread=reread))
    if lost := sorted(chosen - set(lab.lake.read("raw.runs")["run_path"])):
        known = [
            one for one in damaged(lab) if any(path in one.location for path in lost)
        ]
        said = "; ".join(f"{one.location}: {one.problem}" for one in known)
        msg = f"not read: {', '.join(lost)}{': ' if said else ''}{said}"
        raise SourceError(msg)
    if gone := sorted(chosen - {one.run_path for one in done.changes}):
        msg = (
            f"no source has {', '.join(gone)} any more; without --force-fetch it is "
            "read as it is stored"
        )
        raise NotFoundError(msg)


def _named_on_servers(lab: "Lab", name: str, project: str | None) -> set[str]:
    if not any(isinstance(one, WandbApi) for one in lab.config.sources):
        return set()
    from run_assets.sources.remote import list_remote

    listed = list_remote(lab.config, set(), project)
    return set(listed.filter(run_name=name)["run_path"])


def _refuse_unconfigured(lab: "Lab", name: str) -> None:
    """Say what to add for a run path of a project on a server that is no source."""
    servers = [one for one in lab.config.sources if isinstance(one, WandbApi)]
    if name.count("/") != 2 or not servers or len(servers) < len(lab.config.sources):
        return  # a local file may hold a run of any project
    path = name.rpartition("/")[0]
    if path not in {project for one in servers for project in one.projects}:
        msg = (
            f"run {name} is not in the lake and {path!r} is no project of the sources; "
            f"add it to run_assets.yaml: {{kind: wandb_api, projects: [{path}]}}"
        )
        raise NotFoundError(msg)
