"""W&B runs as partitioned parquet, a DuckDB file, statistics and a report."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from run_assets.lab import Lab, open  # noqa: A004  # run_assets.open reads well

__all__ = ["Lab", "__version__", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the Python door when it is used: the command line starts faster without."""
    if name in ("Lab", "open"):
        from run_assets import lab

        return getattr(lab, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
