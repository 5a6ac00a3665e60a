"""Trees on functional components of curves: extremely randomized, and boosted.

Source: Geurts, Ernst and Wehenkel 2006, "Extremely randomized trees"; Friedman 2002,
"Stochastic gradient boosting". scikit-learn grows the trees; they are kept and followed
as arrays, so that predicting needs no scikit-learn and storing needs no pickle.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
BOOSTED_COMPONENTS = 5
_ROUNDS = 80
_RATE = 0.1
_DEPTH = 4
_SHARE = 0.5


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


@dataclass(frozen=True)
class BoostedTrees:
    """For each component a sum of small trees, each fitted to what the others left.

    Attributes:
        forest: The trees of the first component, then those of the next, as many each;
            their values hold the learning rate already.
        first: What the sums start from, shape ``(components,)``.
        components: What the sums are scores of.
        sd: Scatter that is left, shape ``(points,)``.
    """

    forest: Forest
    first: Floats
    components: Components
    sd: Floats

    def predict(self, examples: Examples) -> Forecast:
        """The sums, as curves."""
        told = self.forest.values[self.forest.leaves(examples.inputs), 0]
        shape = (len(examples), len(self.first), told.shape[1] // len(self.first))
        parts = told.reshape(shape)
        scores = self.first + parts.sum(axis=2, dtype=np.float64)
        mean = self.components.curves(scores)
        return Forecast(mean, np.tile(self.sd, (len(mean), 1)))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """The nodes and the components."""
        own = {"first": self.first, "sd": self.sd}
        return {**vars(self.forest), **vars(self.components), **own}, {}


def fit_boosted_trees(examples: Examples, _settings: Model, seed: int) -> BoostedTrees:
    """Boost each component by itself, on half of the runs and columns at a time."""
    from sklearn.ensemble import GradientBoostingRegressor

    curves = filled(examples.targets)
    components = fit_components(curves, BOOSTED_COMPONENTS)
    scores = components.scores(curves)
    first = scores.mean(axis=0)

    def boosted(place: int) -> list[Any]:
        grown = GradientBoostingRegressor(
            n_estimators=_ROUNDS,
            learning_rate=_RATE,
            max_depth=_DEPTH,
            min_samples_leaf=max(min(10, len(examples) // 20), 1),
            subsample=_SHARE,
            max_features=_SHARE,
            init="zero",
            random_state=seed + place,
        )
        grown.fit(examples.inputs, scores[:, place] - first[place])
        return [one.tree_ for one in grown.estimators_[:, 0]]

    with ThreadPoolExecutor() as pool:  # trees grow without the interpreter's lock
        trees = [tree for one in pool.map(boosted, range(len(first))) for tree in one]
    forest = _forest(trees)
    forest = replace(forest, values=forest.values * np.float32(_RATE))
    fitted = BoostedTrees(forest, first, components, np.ones(curves.shape[1]))
    left = examples.targets - fitted.predict(examples).mean
    return replace(fitted, sd=scatter(left))


def restore_boosted_trees(arrays: Arrays, _more: dict[str, Any]) -> BoostedTrees:
    """From what ``state`` gave."""
    forest = Forest(**{name: arrays[name] for name in Forest.__dataclass_fields__})
    parts = {name: arrays[name] for name in Components.__dataclass_fields__}
    return BoostedTrees(forest, arrays["first"], Components(**parts), arrays["sd"])


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
