"""``publish``: what leaves the lab, without a refresh."""

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from run_assets.cli.output import emit
from run_assets.cli.session import EVERYWHERE, Session, session
from run_assets.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from run_assets.lab import Lab
    from run_assets.publish.wandb import PublishedRun


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("publish", epilog=EVERYWHERE)(publish)


def publish(
    context: typer.Context,
    *,
    mode: Annotated[
        Literal["offline", "online"] | None,
        typer.Option(help="Instead of publish.wandb.mode."),
    ] = None,
) -> None:
    """Publish to W&B what is built now, and print where it is."""
    from run_assets.publish.results import publish_results
    from run_assets.store.lock import lake_lock

    given = session(context)
    given.ignore_project()
    configured = given.lab()
    lab = given.lab({"publish.wandb.mode": mode} if mode else None)
    with lake_lock(lab.config.data_path):
        refreshed_at = _refreshed_at(given, configured)
        _announce(given, lab)
        with given.progress(lab, "publishing"):
            published = publish_results(lab, refreshed_at.date())
    if published is None:
        msg = (
            "publishing is disabled, nothing was published; unset DISABLE_WANDB, and "
            "set publish.wandb.mode or give --mode offline or --mode online"
        )
        raise UsageError(msg)
    _tell(given, published)


def _refreshed_at(given: Session, lab: "Lab") -> datetime:
    """When the lab was last refreshed, in UTC."""
    from run_assets.refresh import is_built, read_stamp

    stamp: dict[str, Any] = read_stamp(lab) or {}
    if "refreshed_at" not in stamp:
        msg = f"{lab.config.root} has not been refreshed; run `run-assets refresh`"
        raise NotFoundError(msg)
    if not is_built(lab):
        given.note(
            "code, config or files differ since the last refresh; what it built is "
            "published"
        )
    return datetime.fromisoformat(stamp["refreshed_at"]).astimezone(UTC)


def _announce(given: Session, lab: "Lab") -> None:
    target = lab.config.publish.wandb
    if target.mode == "online":
        where = f"{target.entity or 'your default entity'}/{target.project}"
        given.note(f"publishing online to {where}; a slow server may take minutes")


def _tell(given: Session, published: "PublishedRun") -> None:
    if not published.is_new:
        given.note("nothing has changed since the last publication; it is at")
    elif published.mode == "online":
        used = f", which uses {published.inputs} artifacts" if published.inputs else ""
        given.note(f"published {published.run_path}{used}")
    else:
        folder = shlex.quote(str(published.folder))
        given.note(f"published offline; `wandb sync {folder}` uploads it")
    emit(published.url or str(published.folder))
