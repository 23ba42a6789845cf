"""Bootstrap samples of rows, and of patients where a patient has several rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def resampled(rows: int, group: np.ndarray | None, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the row indices of each bootstrap sample: groups are drawn with replacement, each with all its rows.

    The rows of one patient are not independent; patients are (Field and Welsh 2007, the cluster bootstrap).

    Args:
        rows: how many rows there are.
        group: [rows], the group of each; None: each row is its own group.
        samples: how many samples to draw; each has as many groups as there are.
        seed: seed of the draws.
    """
    draw = np.random.default_rng(seed)
    _, group_of_row = np.unique(np.arange(rows) if group is None else group, return_inverse=True)
    by_group = np.argsort(group_of_row, kind="stable")
    sizes = np.bincount(group_of_row)
    first = np.cumsum(sizes) - sizes
    for _ in range(samples):
        drawn = draw.integers(0, len(sizes), len(sizes))
        within = np.arange(sizes[drawn].sum()) - np.repeat(np.cumsum(sizes[drawn]) - sizes[drawn], sizes[drawn])
        yield by_group[np.repeat(first[drawn], sizes[drawn]) + within]
