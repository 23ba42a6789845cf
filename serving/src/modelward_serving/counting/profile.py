"""Histograms of served rows, in the bins of the reference profile. No value is kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from modelward_api.bundle.documents import FeatureReference, ReferenceProfile
from modelward_api.wire.exchange import ProfileCounts
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.counting.subgroups import Strata

MAX_AT_ONCE = 255
"""Rows compared at once: the number that reaches a cut must fit a byte."""


class NumberCounter:
    """Counts of several numeric features, each in the order of FeatureReference.counts, by slot (see Strata).

    The limits of a feature's range and the edges of its bins are cuts, which divide the numbers into pieces. With one cut at 40,
    the values 35 and 55 give::

        cut        reached by
        (any)      2   \\
                        > 2 - 1 = 1 value in the piece below 40
        40         1   <
                        > 1 - 0 = 1 value in the piece from 40
        (none)     0   /

    While serving, only the number of values that reach each cut is counted. A piece's count is the difference of its two cuts,
    and a table maps pieces to cells. A value that reaches no cut is below the range, or missing.
    """

    def __init__(self, references: list[FeatureReference], slots: int = 1) -> None:
        cuts = [_cuts(reference) for reference in references]
        width = max(map(len, cuts), default=1)
        self._cuts = np.full((width, len(references)), np.inf, dtype=np.float32)
        self._table = np.zeros((width + 1, len(references)), dtype=np.intp)
        sizes = [reference.bins + 3 for reference in references]
        starts = np.cumsum([0, *sizes]).tolist()
        for row, (reference, found) in enumerate(zip(references, cuts, strict=True)):
            self._cuts[: len(found), row] = found
            cells = [starts[row] + cell for cell in _cells_of_pieces(reference, found)]
            self._table[:, row] = cells + cells[-1:] * (width - len(found))
        self._missing_cells = np.array([s + r.bins for s, r in zip(starts, references, strict=False)], dtype=np.intp)
        self._size = starts[-1]
        self._slices = {r.name: slice(s, s + n) for r, s, n in zip(references, starts, sizes, strict=False)}
        self._rows = [0] * slots
        self._reached = np.zeros((slots, *self._cuts.shape), dtype=np.int64)
        self._lately = list(np.zeros((slots, *self._cuts.shape), dtype=np.uint8))
        """By slot: counts of single rows, before they are added to _reached. Adding bytes takes a third of the time."""
        self._single_rows = [0] * slots
        self._missing = np.zeros((slots, len(references)), dtype=np.int64)

    def count_row(self, row: np.ndarray, slots: Sequence[int]) -> None:
        """Count one row, [features] of float32, NaN for missing, in its slots."""
        reached = (self._cuts <= row).view(np.uint8)
        for slot in slots:
            if self._single_rows[slot] == MAX_AT_ONCE:
                self._settle(slot)
            self._single_rows[slot] += 1
            lately = self._lately[slot]
            np.add(lately, reached, lately)
        if np.count_nonzero(reached[0]) < len(row):
            missing = np.isnan(row)
            for slot in slots:
                self._missing[slot] += missing

    def count(self, values: np.ndarray, places: Sequence[np.ndarray]) -> None:
        """Count [rows, features] of float32, NaN for missing; ``places`` are the rows' slots, [rows] by subgroup."""
        for start in range(0, values.shape[0], MAX_AT_ONCE):
            part = np.ascontiguousarray(values[start : start + MAX_AT_ONCE])
            reaching = (self._cuts <= part[:, None, :]).view(np.uint8)
            missing = np.isnan(part) if np.count_nonzero(reaching[:, 0]) < part.size else None
            for slots in places:
                self._count(reaching, missing, slots[start : start + MAX_AT_ONCE])

    def _count(self, reaching: np.ndarray, missing: np.ndarray | None, slots: np.ndarray) -> None:
        """Count [rows, cuts, features], at most MAX_AT_ONCE rows, for one subgroup."""
        if len(self._rows) == 1:
            self._add(0, reaching, missing)
            return
        for slot in np.unique(slots):
            rows = np.flatnonzero(slots == slot)
            self._add(slot, reaching[rows], missing[rows] if missing is not None else None)

    def _add(self, slot: int, reaching: np.ndarray, missing: np.ndarray | None) -> None:
        cells = self._reached[slot]
        np.add(cells, np.add.reduce(reaching, axis=0, dtype=np.uint8), out=cells)
        self._rows[slot] += len(reaching)
        if missing is not None:
            self._missing[slot] += missing.sum(axis=0)

    def _settle(self, slot: int) -> None:
        """Add the single rows to the others."""
        self._reached[slot] += self._lately[slot]
        self._lately[slot][:] = 0
        self._rows[slot] += self._single_rows[slot]
        self._single_rows[slot] = 0

    def read(self) -> list[dict[str, tuple[int, ...]]]:
        """Return the counts by slot and feature."""
        slots, _, features = self._reached.shape
        for slot in range(slots):
            self._settle(slot)
        first = np.broadcast_to(np.array(self._rows)[:, None, None], (slots, 1, features))
        at_least = np.concatenate([first, self._reached, np.zeros((slots, 1, features), np.int64)], axis=1)
        pieces = at_least[:, :-1] - at_least[:, 1:]
        pieces[:, 0] -= self._missing
        cells = np.zeros((slots, self._size), dtype=np.int64)
        for own, found, missing in zip(cells, pieces, self._missing, strict=True):
            np.add.at(own, self._table, found)
            own[self._missing_cells] += missing
        return [{name: tuple(own[where].tolist()) for name, where in self._slices.items()} for own in cells]


class CellCounter:
    """Counts of one column, in the order of FeatureReference.counts, by slot (see Strata)."""

    def __init__(self, reference: FeatureReference, slots: int) -> None:
        self._cells = np.zeros((slots, reference.bins + 3), dtype=np.int64)
        self._of_single_rows = [[0] * (reference.bins + 3) for _ in range(slots)]

    def _count_cell(self, cell: int, slots: Sequence[int]) -> None:
        for slot in slots:
            self._of_single_rows[slot][cell] += 1

    def _count_cells(self, cells: np.ndarray, places: Sequence[np.ndarray]) -> None:
        slots, size = self._cells.shape
        for own in places:
            found = np.bincount(cells if slots == 1 else own * size + cells, minlength=slots * size)
            self._cells += found.reshape(slots, size)

    def read(self) -> list[tuple[int, ...]]:
        """Return the counts by slot."""
        cells = self._cells + np.array(self._of_single_rows, dtype=np.int64)
        return [tuple(own) for own in cells.tolist()]


class TextCounter(CellCounter):
    """Counts of one categorical feature."""

    def __init__(self, reference: FeatureReference, slots: int = 1) -> None:
        super().__init__(reference, slots)
        self._other = reference.bins + 2
        self._where = {category: i for i, category in enumerate(reference.categories)}
        self._where.setdefault("", reference.bins)

    def count_row(self, text: str, slots: Sequence[int]) -> None:
        """Count a row's text, '' for missing, in the row's slots."""
        self._count_cell(self._where.get(text, self._other), slots)

    def count(self, values: np.ndarray | DictionaryArray, places: Sequence[np.ndarray]) -> None:
        """Count [n, 1] or [n] texts, '' for missing; ``places`` are the rows' slots, [n] by subgroup."""
        texts = values.values if isinstance(values, DictionaryArray) else values.reshape(-1)
        cells = np.array([self._where.get(text, self._other) for text in texts], dtype=np.intp)
        self._count_cells(cells[values.indices] if isinstance(values, DictionaryArray) else cells, places)


class ScoreCounter(CellCounter):
    """Counts of the score."""

    def __init__(self, reference: FeatureReference, slots: int = 1) -> None:
        super().__init__(reference, slots)
        self._cuts = _cuts(reference)
        self._missing = len(self._cuts) + 1
        """Index of the cell of missing scores in the table."""
        self._table = np.array([*_cells_of_pieces(reference, self._cuts), reference.bins], dtype=np.intp)
        self._listed = self._cuts.tolist(), self._table.tolist()

    def count_row(self, score: float, slots: Sequence[int]) -> None:
        """Count a row's score, NaN for missing, in the row's slots."""
        cuts, table = self._listed
        self._count_cell(table[bisect_right(cuts, score) if score == score else self._missing], slots)

    def count(self, scores: np.ndarray, places: Sequence[np.ndarray]) -> None:
        """Count [n] of float32, NaN for missing; ``places`` are the rows' slots, [n] by subgroup."""
        pieces = self._cuts.searchsorted(scores, "right")
        missing = np.isnan(scores)
        if np.count_nonzero(missing):
            pieces[missing] = self._missing
        self._count_cells(self._table[pieces], places)


class ProfileCounter:
    """Counts of all features and the score, over all rows and by stratum."""

    def __init__(self, reference: ReferenceProfile, numeric: list[str], categorical: list[str], strata: Strata) -> None:
        features = {feature.name: feature for feature in reference.features}
        slots = len(strata.slots)
        self._strata = strata
        self._numbers = NumberCounter([features[name] for name in numeric], slots)
        self._texts = {name: TextCounter(features[name], slots) for name in categorical}
        self._score = ScoreCounter(reference.score, slots)
        self._columns = {**self._texts, reference.score.name: self._score}
        self._rows = 0

    def count(self, numbers: np.ndarray, texts: Sequence[np.ndarray | DictionaryArray], scores: np.ndarray) -> None:
        """Count rows of a request or a batch, before clipping: [n, features], texts by column, scores [n]."""
        self._rows += len(scores)
        if len(scores) == 1:
            slots = self._strata.of_row(numbers, texts)
            self._numbers.count_row(numbers[0], slots)
            for counter, values in zip(self._texts.values(), texts, strict=True):
                counter.count_row(values.item(0), slots)
            self._score.count_row(scores.item(), slots)
            return
        places = self._strata.of_rows(numbers, texts, len(scores))
        self._numbers.count(numbers, places)
        for counter, values in zip(self._texts.values(), texts, strict=True):
            counter.count(values, places)
        self._score.count(scores, places)

    def read(self) -> ProfileCounts:
        """Return all counts since the start."""
        columns = {name: counter.read() for name, counter in self._columns.items()}
        by_slot = [
            {**numbers, **{name: cells[slot] for name, cells in columns.items()}}
            for slot, numbers in enumerate(self._numbers.read())
        ]
        whole = [by_slot[slot] for slot in self._strata.whole]
        return ProfileCounts(
            rows=self._rows,
            features={name: tuple(map(sum, zip(*(own[name] for own in whole), strict=True))) for name in by_slot[0]},
            strata={name: own for name, own in zip(self._strata.slots, by_slot, strict=True) if name is not None},
        )


def _cuts(reference: FeatureReference) -> np.ndarray:
    low = np.float32(-np.inf if reference.minimum is None else reference.minimum)
    above = np.nextafter(np.float32(np.inf if reference.maximum is None else reference.maximum), np.float32(np.inf))
    return np.sort(np.array([low, *reference.edges, above], dtype=np.float32))


def _cells_of_pieces(reference: FeatureReference, cuts: np.ndarray) -> list[int]:
    """Return the cell of each piece, by its first value."""
    low = -np.inf if reference.minimum is None else np.float32(reference.minimum)
    high = np.inf if reference.maximum is None else np.float32(reference.maximum)
    edges = np.array(reference.edges, dtype=np.float32)
    cells = [reference.bins + 1]
    for value in cuts:
        within = low <= value <= high
        cells.append(int(np.searchsorted(edges, value, side="right")) if within else reference.bins + 1)
    return cells
