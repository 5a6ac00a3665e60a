"""Which runs are held out together."""

from collections.abc import Iterator

import numpy as np

from run_assets.curves.examples import Floats, Ints, Names


def fold_numbers(groups: Names, folds: int, seed: int) -> Ints:
    """A fold for each run; runs of a group share theirs, and folds are of one size.

    Args:
        groups: Label of each run, shape ``(runs,)``.
        folds: How many; as many as there are groups where these are fewer.
        seed: Decides the order of the groups.

    Returns:
        Numbers from 0, shape ``(runs,)``.

    >>> fold_numbers(np.array(["a", "a", "b", "c"]), 2, seed=0).tolist()
    [0, 0, 1, 1]
    """
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    loads = np.zeros(min(folds, len(names)))
    fold_of = np.zeros(len(names), dtype=np.int64)
    for group in order:
        lightest = int(np.argmin(loads))
        fold_of[group] = lightest
        loads[lightest] += sizes[group]
    return fold_of[members]


def splits(numbers: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Positions of the training and of the held-out runs of each fold."""
    for fold in range(int(numbers.max()) + 1):
        yield np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)


def twin_labels(inputs: Floats) -> Names:
    """The same label for runs of the same configuration, such as its seeds."""
    _, labels = np.unique(np.round(inputs, 9), axis=0, return_inverse=True)
    return np.char.mod("%d", labels.ravel())
