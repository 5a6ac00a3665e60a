"""``run-assets curves``: train, judge and use the model of training curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from run_assets.cli.output import FormatOption, write
from run_assets.cli.session import EVERYWHERE, Session, session

if TYPE_CHECKING:
    import polars as pl

    from run_assets.lab import Lab

app = typer.Typer(no_args_is_help=True)
_EnvironmentOption = Annotated[str | None, typer.Option(help="Only this environment.")]
_POINTS_SHOWN = 11


@app.command("train", epilog=EVERYWHERE)
def train(context: typer.Context, *, output_format: FormatOption = "table") -> None:
    """Train the model, judge it, and rebuild what it is used for."""
    from run_assets.cli.training import note_members, train_model

    given = session(context)
    given.ignore_project()
    lab = given.lab()
    note_members(given, lab)
    with given.progress(lab, "training"):
        train_model(lab)
    write(_headline(_table(lab, "curves.evaluation")), output_format)


@app.command("evaluate", epilog=EVERYWHERE)
def evaluate(
    context: typer.Context,
    *,
    environment: Annotated[
        str, typer.Option(help="One environment, or * for all runs.")
    ] = "*",
    output_format: FormatOption = "table",
) -> None:
    """Show how good forecasts of held-out runs are, beside every baseline."""
    given = session(context)
    given.ignore_project()
    lab = given.lab()
    _need_model(lab)
    rows = _table(lab, "curves.evaluation").filter(environment=environment)
    _note_empty(given, rows, f"no held-out run of environment {environment!r}")
    write(rows.drop("environment", "confidence"), output_format)


@app.command("predict", epilog=EVERYWHERE)
def predict(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Argument(help="A run: its configuration and curve so far.")
    ] = None,
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="FEATURE=VALUE, instead of the run's; repeatable."),
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Forget what the run has logged.")
    ] = False,
    output_format: FormatOption = "table",
) -> None:
    """Predict the curve of a run, or of a configuration, with intervals."""
    from run_assets.cli.curve_questions import asked_table, predicted

    given = session(context)
    lab = given.lab()
    model = _need_model(lab)
    table = asked_table(lab, model, run, settings or [], given.project)
    rows = predicted(lab, model, table, is_blank=from_start or run is None)
    if output_format == "table":
        last = rows.height - 1
        shown = [round(last * at / (_POINTS_SHOWN - 1)) for at in range(_POINTS_SHOWN)]
        rows = rows[sorted(set(shown))]
    write(rows, output_format)


@app.command("watch", epilog=EVERYWHERE)
def watch(context: typer.Context, *, output_format: FormatOption = "table") -> None:
    """Show how running runs will end, and whether they beat the best."""
    import polars as pl

    given = session(context)
    lab = given.lab()
    _need_model(lab)
    rows = _table(lab, "curves.outlooks")
    if given.project is not None:
        project = pl.col("run_path").str.split("/").list.slice(0, 2).list.join("/")
        name = given.project if "/" in given.project else None
        short = pl.col("run_path").str.split("/").list.get(1)
        rows = rows.filter(project == name if name else short == given.project)
    _note_empty(given, rows, "no run is running; `run-assets refresh` looks again")
    order = ["probability_improvement", "run_path"]
    write(
        rows.sort(order, descending=[True, False], nulls_last=True).drop("confidence"),
        output_format,
    )


@app.command("suggest", epilog=EVERYWHERE)
def suggest(
    context: typer.Context,
    *,
    environment: _EnvironmentOption = None,
    count: Annotated[int | None, typer.Option(min=1, max=200)] = None,
    max_budget: Annotated[
        float | None, typer.Option(help="No configuration with a larger budget.")
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Show configurations worth trying next, by expected improvement."""
    from run_assets.cli.curve_questions import suggested

    given = session(context)
    given.ignore_project()
    lab = given.lab()
    model = _need_model(lab)
    if count is None and max_budget is None:
        rows = _table(lab, "curves.suggestions")
    else:
        rows = suggested(lab, model, count, max_budget)
    rows = _of_environment(rows, environment)
    _note_empty(given, rows, "nothing to suggest: no candidate within the budget")
    write(rows, output_format)


@app.command("curriculum", epilog=EVERYWHERE)
def curriculum(
    context: typer.Context, *, output_format: FormatOption = "table"
) -> None:
    """Show environments in the order in which to train on them."""
    _show(context, "curves.curriculum", "position", output_format)


@app.command("difficulty", epilog=EVERYWHERE)
def difficulty(
    context: typer.Context, *, output_format: FormatOption = "table"
) -> None:
    """Show how hard each environment is, and what makes it so."""
    _show(context, "curves.difficulty", "rank", output_format)


@app.command("explain", epilog=EVERYWHERE)
def explain(
    context: typer.Context,
    *,
    latents: Annotated[
        bool, typer.Option("--latents", help="What each latent goes with.")
    ] = False,
    output_format: FormatOption = "table",
) -> None:
    """Show what predicted final rewards depend on."""
    name = "curves.latent_correlations" if latents else "curves.importances"
    given = session(context)
    given.ignore_project()
    lab = given.lab()
    _need_model(lab)
    rows = _table(lab, name)
    _note_empty(given, rows, "the model was trained without the variational member")
    column = "correlation" if latents else "importance"
    write(rows.sort(rows[column].abs(), descending=True), output_format)


@app.command("demo", epilog=EVERYWHERE)
def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where the demo lives.")] = Path(),
    *,
    environments: Annotated[int, typer.Option(min=6, max=200)] = 12,
    agents: Annotated[int, typer.Option(min=2, max=100, help="In each.")] = 8,
    output_format: FormatOption = "table",
) -> None:
    """Collect, train, predict: many small worlds, a model, its forecasts."""
    from run_assets.cli.training import run_curve_demo

    given = session(context)
    given.ignore_project()
    lab = run_curve_demo(given, folder.absolute(), environments, agents)
    write(_headline(_table(lab, "curves.evaluation")), output_format)


def _show(context: typer.Context, name: str, order: str, form: Any) -> None:
    given = session(context)
    given.ignore_project()
    lab = given.lab()
    _need_model(lab)
    write(_table(lab, name).sort(order), form)


def _need_model(lab: "Lab") -> Any:
    """The trained model.

    Raises:
        UsageError: No curves are configured.
        NotFoundError: No model was trained yet.
    """
    from run_assets.cli.curve_questions import current_model

    return current_model(lab)


def _table(lab: "Lab", name: str) -> "pl.DataFrame":
    from run_assets.cli.selection import collected

    return collected(lab.table(name))


def _headline(rows: "pl.DataFrame") -> "pl.DataFrame":
    """All runs by configuration alone: the stack, its members, and without each."""
    import polars as pl

    whole = rows.filter(pl.col("environment") == "*", pl.col("observed_fraction") == 0)
    return whole.select(
        "situation",
        "model",
        "n_runs",
        "r_squared",
        "crps",
        "rank_correlation",
        "coverage_rate",
        "weight",
    ).sort("situation", "crps")


def _of_environment(rows: "pl.DataFrame", environment: str | None) -> "pl.DataFrame":
    from run_assets.errors import NotFoundError, did_you_mean

    if environment is None:
        return rows
    known = rows["environment"].unique().to_list()
    if environment not in known:
        msg = f"no environment {environment!r}{did_you_mean(environment, known)}"
        raise NotFoundError(msg)
    return rows.filter(environment=environment)


def _note_empty(given: Session, rows: "pl.DataFrame", text: str) -> None:
    if rows.is_empty():
        given.note(text)
