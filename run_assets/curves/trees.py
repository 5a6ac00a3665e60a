"""Extremely randomized trees on functional components.

Source: Geurts, Ernst and Wehenkel 2006, "Extremely randomized trees". scikit-learn
grows the trees; they are kept and followed as arrays, so that predicting needs no
scikit-learn and storing needs no pickle.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from run_assets.curves.components import Components, fit_components
from run_assets.curves.examples import Examples, Floats, Forecast, filled
from run_assets.curves.members import SMALLEST_SD, Arrays, scatter
from run_assets.curves.settings import Model

TREES = 80
COMPONENTS = 8
_LEAF = 2
_MANY_RUNS = 200
_FEATURES = 0.6


@dataclass(frozen=True)
class Forest:
    """Trees as one array of nodes each; the nodes of all trees lie behind each other.

    Attributes:
        roots: First node of each tree, shape ``(trees,)``.
        left: Node to go to where the feature is at most the threshold; itself in a
            leaf, shape ``(nodes,)``.
        right: Node to go to otherwise; itself in a leaf.
        feature: Column that is asked; 0 in a leaf.
        threshold: As float64.
        values: Component scores, shape ``(nodes, components)``.
    """

    roots: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: Floats
    values: NDArray[np.float32]

    def leaves(self, inputs: Floats) -> NDArray[np.int32]:
        """The leaf of each row in each tree, shape ``(rows, trees)``."""
        # As scikit-learn does: thresholds are compared with 32-bit inputs.
        asked = inputs.astype(np.float32)
        node = np.tile(self.roots, (len(inputs), 1))
        rows = np.arange(len(inputs))[:, None]
        while True:
            is_left = asked[rows, self.feature[node]] <= self.threshold[node]
            below = np.where(is_left, self.left[node], self.right[node])
            if np.array_equal(below, node):
                return node
            node = below


@dataclass(frozen=True)
class ExtraTrees:
    """A forest whose leaves hold component scores of curves."""

    forest: Forest
    components: Components
    noise: Floats

    def predict(self, examples: Examples) -> Forecast:
        """Mean over the trees; how far they disagree, above what they leave unsaid."""
        trees = self.forest.values[self.forest.leaves(examples.inputs)]
        mean = trees.mean(axis=1, dtype=np.float64)
        gaps = (trees - mean[:, None]).astype(np.float64)
        basis = self.components.basis
        spread = np.einsum("rtc,rtd->rcd", gaps, gaps) / trees.shape[1]
        squares = np.einsum("cp,rcd,dp->rp", basis, spread, basis, optimize=True)
        sd = np.sqrt(np.maximum(squares, 0) + self.noise**2)
        return Forecast(self.components.curves(mean), np.maximum(sd, SMALLEST_SD))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """The nodes and the components."""
        return {**vars(self.forest), **vars(self.components), "noise": self.noise}, {}


def fit_extra_trees(examples: Examples, _settings: Model, seed: int) -> ExtraTrees:
    """Grow the trees on the component scores of the curves."""
    from sklearn.ensemble import ExtraTreesRegressor

    curves = filled(examples.targets)
    components = fit_components(curves, COMPONENTS)
    grown = ExtraTreesRegressor(
        TREES,
        min_samples_leaf=_LEAF if len(examples) > _MANY_RUNS else 1,
        max_features=_FEATURES,
        random_state=seed,
        n_jobs=-1,
    )
    scores = components.scores(curves)
    grown.fit(examples.inputs, scores)
    forest = _forest([one.tree_ for one in grown.estimators_])
    missed = curves - components.curves(scores)
    return ExtraTrees(forest, components, scatter(missed))


def restore_extra_trees(arrays: Arrays, _more: dict[str, Any]) -> ExtraTrees:
    """From what ``state`` gave."""
    forest = Forest(**{name: arrays[name] for name in Forest.__dataclass_fields__})
    parts = {name: arrays[name] for name in Components.__dataclass_fields__}
    return ExtraTrees(forest, Components(**parts), arrays["noise"])


def _forest(trees: list[Any]) -> Forest:
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])]).astype(np.int32)
    own = [np.arange(tree.node_count) for tree in trees]
    pairs = list(zip(trees, own, roots, strict=True))

    def child(name: str) -> NDArray[np.int32]:
        return np.concatenate(
            [
                np.where(getattr(tree, name) < 0, at, getattr(tree, name)) + root
                for tree, at, root in pairs
            ]
        ).astype(np.int32)

    return Forest(
        roots=roots,
        left=child("children_left"),
        right=child("children_right"),
        feature=np.concatenate([np.maximum(t.feature, 0) for t in trees]).astype(
            np.int32
        ),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        values=np.concatenate(
            [tree.value.reshape(tree.node_count, -1) for tree in trees]
        ).astype(np.float32),
    )
