"""W&B runs as partitioned parquet, a DuckDB file, statistics and a report."""

from run_assets.lab import Lab, open  # noqa: A004  # run_assets.open reads well

__all__ = ["Lab", "__version__", "open"]
__version__ = "0.1.0"
