"""A lab: one configuration, its lake and what was built from it. The Python door."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from run_assets.config import Config, adopt_environment, load_config

if TYPE_CHECKING:
    import polars as pl

    from run_assets.refresh import Plan, Refreshed
    from run_assets.store.lake import Lake


Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much; 0 where nobody knows."""


def _no_progress(_what: str, _done: int, _of: int) -> None: ...


class Lab:
    """Access to the tables of a lab from a notebook or a script.

    Attributes:
        config: What ``run_assets.yaml``, the environment and flags say.
        progress: Told how far long work has come.
        asks_all: The refresh under way asks every source about every run.
        plan: What the refresh under way is to read, if that has been asked already.

    Example:
        ``lab = run_assets.open("."); lab.table("marts.runs").collect()``
    """

    def __init__(self, config: Config, progress: Progress | None = None) -> None:
        self.config = config
        self.progress = progress or _no_progress
        self.asks_all = True
        self.plan: Plan | None = None

    @cached_property
    def lake(self) -> "Lake":
        """The parquet files."""
        from run_assets.store.lake import Lake

        return Lake(self.config.data_path / "lake")

    @property
    def warehouse(self) -> Path:
        """The published DuckDB file."""
        return self.config.data_path / "warehouse.duckdb"

    @property
    def reports(self) -> Path:
        """The folder of reports, with ``latest`` in it."""
        return self.config.data_path / "reports"

    @property
    def curve_model(self) -> Path:
        """The folder of the model that predicts training curves."""
        return self.config.data_path / "models" / "curves"

    def table(self, name: str) -> "pl.LazyFrame":
        """A table by its address, as a lazy frame.

        Raises:
            NotFoundError: No table has this name.
        """
        from run_assets.contracts.tables import table

        if table(name).layout in ("view", "none"):
            return self.sql(f"select * from {table(name).name}").lazy()
        return self.lake.scan(name)

    def sql(self, text: str, **limits: Any) -> "pl.DataFrame":
        """The answer of the published DuckDB file; read-only and locked down.

        Raises:
            UsageError: The text is not one valid query.
            NotFoundError: Nothing has been published yet.
        """
        from run_assets.store.query import query

        return query(self.lake, text, **limits)

    def training_curves(self) -> "pl.DataFrame":
        """Ended runs with a curve: a column a feature, and ``training_curve``.

        Raises:
            UsageError: No curves are configured.
        """
        from run_assets.assets.curves import learning_tables, settings_of
        from run_assets.curves.dataset import has_curve, training_frame

        settings = settings_of(self)
        ended, _ = learning_tables(self, settings)
        return training_frame(ended.rows(has_curve(ended, settings)))

    def refresh(self, **options: Any) -> "Refreshed":
        """Read what changed and rebuild what depends on it; see ``refresh``."""
        from run_assets.refresh import refresh

        return refresh(self, **options)


def open(  # noqa: A001  # run_assets.open reads well
    path: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> Lab:
    """The lab of a config file or folder; searched for where ``path`` is ``None``.

    Args:
        path: The file or its folder.
        flags: Dotted keys that win over the file and the environment.

    Raises:
        NotFoundError: There is no ``run_assets.yaml``.
        UsageError: It has a mistake.
    """
    config = load_config(path, flags)
    adopt_environment(config.root)
    return Lab(config)
