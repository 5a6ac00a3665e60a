"""The mark that tells our own W&B runs from experiments."""

from collections.abc import Mapping
from typing import Any

KEY = "run_assets"
MARK = {KEY: True}
"""In the config of every run that is published here."""


def is_own_run(config: Mapping[str, Any]) -> bool:
    """The run was published by run-assets: it is a result, never an experiment.

    Args:
        config: A run's config as it was logged, without W&B's ``{"value": …}``.

    >>> is_own_run({"run_assets": True, "lr": 0.1}), is_own_run({"run_assets": 1})
    (True, False)
    """
    return config.get(KEY) is True
