"""The core: training curves predicted from configurations, and how far to trust them.

The classes of the model that began this (two variational autoencoders and a reward
predictor) need torch and are loaded when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from run_assets.curves.autoencoders import (
        AgentVAE,
        EnvironmentVAE,
        MetaAnalysisModel,
        RewardPredictor,
    )
    from run_assets.curves.trainer import MetaAnalysisTrainer, TrainingCurveDataset

_MODULES = {
    "AgentVAE": "autoencoders",
    "EnvironmentVAE": "autoencoders",
    "MetaAnalysisModel": "autoencoders",
    "RewardPredictor": "autoencoders",
    "MetaAnalysisTrainer": "trainer",
    "TrainingCurveDataset": "trainer",
}

__all__ = [
    "AgentVAE",
    "EnvironmentVAE",
    "MetaAnalysisModel",
    "MetaAnalysisTrainer",
    "RewardPredictor",
    "TrainingCurveDataset",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        module = import_module(f"run_assets.curves.{_MODULES[name]}")
        return getattr(module, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
