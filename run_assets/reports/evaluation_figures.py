"""All pictures of an evaluation."""

from collections.abc import Callable, Mapping

from run_assets.reports.evaluation_content import EvaluationContent
from run_assets.reports.evaluation_models import (
    efficiency_scatter,
    learning_curves,
    model_comparison,
    pass_at_k,
)
from run_assets.reports.evaluation_tasks import (
    difficulty,
    reward_distribution,
    success_classes,
    task_heatmap,
)
from run_assets.reports.figure import Figure

EVALUATION_PLOTS: Mapping[str, Callable[[EvaluationContent], Figure | None]] = {
    "model_comparison": model_comparison,
    "pass_at_k": pass_at_k,
    "reward_distribution": reward_distribution,
    "efficiency_scatter": efficiency_scatter,
    "learning_curves": learning_curves,
    "task_heatmap": task_heatmap,
    "success_classes": success_classes,
    "task_difficulty": difficulty,
}
"""By kind, in the order in which a report shows them."""


def evaluation_figures(content: EvaluationContent) -> dict[str, Figure]:
    """All pictures of an evaluation by name; those without data are left out."""
    found = [plot(content) for plot in EVALUATION_PLOTS.values()]
    return {one.name: one for one in found if one is not None}
