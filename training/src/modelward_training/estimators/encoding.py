"""How columns become numbers in front of an estimator: derived features, imputation, categories' codes, scaling.

The encoder is fitted as one of scikit-learn's, and writes itself as ONNX. Every part of it does both, side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler, TargetEncoder

from modelward_api.bundle import curves
from modelward_api.resources.columns import BOOLEANS, Column
from modelward_api.resources.features import Derived, Features, Preparation
from modelward_api.resources.reasons import Reason
from modelward_training.data.dataset import Dataset
from modelward_training.data.rows import Rows, Texts
from modelward_training.errors import InvalidInputError
from modelward_training.estimators.folds import folds
from modelward_training.estimators.graph import Graph
from modelward_training.estimators.transformations import (
    TRANSFORMATIONS,
    Interaction,
    Transformation,
    undefined_to_nan,
)

CHUNK = 1 << 16
"""Rows that are encoded at a time: what is computed between is small beside the result."""
MAX_INTERACTIONS = 1024
"""Products of one interaction."""
STRATEGIES = {"median": "median", "mean": "mean", "most-frequent": "most_frequent"}


def encoder(data: Dataset, *, scale: bool, features: Features | None = None, seed: int = 0) -> Encoder:
    """An unfitted encoder of the features: by default the median for missing numbers, one-hot codes for categories."""
    return Encoder(data.features, Features() if features is None else features, scale, seed)


def missing_row(data: Dataset) -> Rows:
    """One row in which every feature is missing."""
    numbers = sum(column.kind != "categorical" for column in data.features)
    texts = [Texts(np.zeros(1, dtype=np.int32), ("",))] * (len(data.features) - numbers)
    return Rows(np.full((1, numbers), np.nan, dtype=np.float32), tuple(texts))


@dataclass(frozen=True)
class Output:
    """What one column of an encoder's output stands for."""

    columns: tuple[int, ...]
    """Indices of the features that it is computed from."""
    kind: Literal["number", "category", "missing", "codes", "derived"]
    """number: the column itself. category: indicator of one category. missing: indicator. codes: any other number that the
    column's categories stand for. derived: of ``derived``."""
    category: int = -1
    """Index among the feature's categories, for kind category."""
    derived: Derived | None = None
    part: int = 0
    """Which of the derived feature's outputs it is."""
    fill: float = 0.0
    """What replaces a missing or undefined number."""


@dataclass(frozen=True)
class _Given:
    """What the parts of an encoder take in NumPy."""

    rows: Rows
    completed: np.ndarray
    """Numbers and point-wise derived features without missing values, [n, k]."""


@dataclass(frozen=True)
class _Tensors:
    """The same in ONNX, by names of tensors."""

    numbers: str
    completed: str
    codes: dict[int, str]
    """By index of a categorical feature."""


class _Part(Protocol):
    """Some columns of the output."""

    outputs: list[Output]
    is_scaled: bool

    def evaluate(self, given: _Given) -> np.ndarray: ...

    def nodes(self, graph: Graph, given: _Tensors) -> str: ...


class Encoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Turns rows into [n, k]: float64 and standardised if ``scale``, otherwise float32."""

    def __init__(self, columns: tuple[Column, ...], features: Features, scale: bool, seed: int = 0) -> None:
        self.columns = columns
        self.features = features
        self.scale = scale
        self.seed = seed

    def fit(self, rows: Rows, label: np.ndarray | None = None, group: np.ndarray | None = None) -> Encoder:
        """Learn from rows."""
        self.fit_transform(rows, label, group)
        return self

    def fit_transform(self, rows: Rows, label: np.ndarray | None = None, group: np.ndarray | None = None) -> np.ndarray:
        """Learn from rows and return them encoded, the target's codes of each row by rows of other folds.

        Raises:
            InvalidInputError: UnknownColumn, UnknownCategory, WrongKind, TooLarge.
        """
        layout = _Layout(self.columns, self.features)
        self.values_ = _Values.fitted(layout, rows)
        self.tables_ = {index: _table(layout, index, rows, label) for index in layout.categorical}
        self.parts_ = _parts(layout, self.values_, self.tables_)
        self.outputs_ = tuple(output for part in self.parts_ for output in part.outputs)
        encoded = self._encoded(rows)
        self._encode_out_of_fold(layout, rows, label, group, encoded)
        self.mean_, self.deviation_ = np.zeros(len(self.outputs_)), np.ones(len(self.outputs_))
        if self.scale:
            self._learn_scale(encoded)
        return self._scaled(encoded)

    def transform(self, rows: Rows) -> np.ndarray:
        """Return rows encoded."""
        return self._scaled(self._encoded(rows))

    def categories(self, index: int) -> tuple[str, ...]:
        """The categories of a feature, the missing one first; empty for a number."""
        return self.tables_[index].categories if index in self.tables_ else ()

    def edges(self) -> dict[int, list[float]]:
        """By index of a number: where a feature derived from it jumps, bends or ends, and what is imputed."""
        found: dict[int, list[float]] = {}
        for output in self.outputs_:
            if output.kind == "number":
                found.setdefault(output.columns[0], []).append(output.fill)
            if (one := output.derived) is not None and output.part == 0:
                ends = {"log": [-1.0], "power": [0.0], "clip": list(curves.limits_of(one))}.get(one.type, [])
                for index in output.columns if one.type != "interaction" else ():
                    found.setdefault(index, []).extend([*ends, *one.edges])
        return found

    def codes(self, index: int) -> np.ndarray:
        """What a categorical feature's categories, and last an unknown one, are encoded as alone, [categories + 1, outputs]."""
        own = [part for part in self.parts_ if isinstance(part, _Table) and part.index == index]
        count = len(self.categories(index)) + 1
        return np.concatenate([np.empty((count, 0)), *(part.codes for part in own)], axis=1)

    def counts(self, index: int, rows: Rows) -> np.ndarray:
        """How many rows have each of a feature's categories, and last any other text."""
        table = self.tables_[index]
        positions = _positions(rows.texts[table.place], table.categories)[rows.texts[table.place].codes]
        return np.bincount(positions, minlength=len(table.categories) + 1)

    def fill(self, index: int) -> float:
        """What replaces a missing number."""
        return next(output.fill for output in self.values_.outputs if output.columns == (index,))

    def to_onnx(self, graph: Graph) -> str:
        """Append the nodes and return the name of the result before scaling, FP32 [n, k]."""
        names = [column.name for column in self.columns]
        layout = _Layout(self.columns, self.features)
        numbers = graph.join([names[index] for index in layout.numeric]) if layout.numeric else ""
        completed = self.values_.nodes(graph, numbers) if self.values_.outputs else ""
        codes = {index: table.code_nodes(graph, names[index]) for index, table in self.tables_.items()}
        given = _Tensors(numbers, completed, codes)
        return graph.join([part.nodes(graph, given) for part in self.parts_])

    def _encoded(self, rows: Rows) -> np.ndarray:
        encoded = np.empty((len(rows), len(self.outputs_)), dtype=np.float64 if self.scale else np.float32)
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            given = _Given(chunk, self.values_.evaluate(chunk))
            begin = 0
            for part in self.parts_:
                end = begin + len(part.outputs)
                encoded[start : start + CHUNK, begin:end] = part.evaluate(given)
                begin = end
        return encoded

    def _encode_out_of_fold(
        self, layout: _Layout, rows: Rows, label: np.ndarray | None, group: np.ndarray | None, encoded: np.ndarray
    ) -> None:
        """Replace the target's codes by those that the other folds give."""
        places = {i: output.columns[0] for i, output in enumerate(self.outputs_) if output.kind == "codes"}
        places = {i: index for i, index in places.items() if layout.preparation(index).encoding == "target"}
        if not places or label is None:
            return
        texts = Rows(np.empty((len(rows), 0), dtype=np.float32), rows.texts)
        for train, held_out in folds(label, group, self.seed):
            learned, unseen = texts[train], texts[held_out]
            for i, index in places.items():
                table = _table(layout, index, learned, label[train])
                encoded[held_out, i] = table.evaluate(_Given(unseen, np.empty(0)))[:, 0]

    def _learn_scale(self, encoded: np.ndarray) -> None:
        scaler = StandardScaler()
        for start in range(0, len(encoded), CHUNK):
            scaler.partial_fit(encoded[start : start + CHUNK])
        scaled = np.concatenate([np.full(len(part.outputs), part.is_scaled) for part in self.parts_])
        self.mean_ = np.where(scaled, scaler.mean_, 0.0)
        self.deviation_ = np.where(scaled, scaler.scale_, 1.0)

    def _scaled(self, encoded: np.ndarray) -> np.ndarray:
        if self.scale:
            encoded -= self.mean_
            encoded /= self.deviation_
        return encoded


class _Layout:
    """What a TrainingJob declares, by index of the feature.

    Raises:
        InvalidInputError: UnknownColumn, WrongKind: the rules of the API say more, but only where there is an API server.
    """

    def __init__(self, columns: tuple[Column, ...], features: Features) -> None:
        _check_names(columns, features)
        self.columns = columns
        self.numeric = [i for i, column in enumerate(columns) if column.kind != "categorical"]
        self.categorical = [i for i, column in enumerate(columns) if column.kind == "categorical"]
        self.index = {column.name: i for i, column in enumerate(columns)}
        self.kept = {i for i, column in enumerate(columns) if column.name not in features.omit}
        self.derived = features.derived
        self._prepared = {one.column: one for one in features.preparation}
        self._fields = {one.column: f"spec.features.preparation[{i}]" for i, one in enumerate(features.preparation)}

    def preparation(self, index: int) -> Preparation:
        """How a feature is prepared."""
        name = self.columns[index].name
        return self._prepared.get(name) or Preparation(column=name)

    def field(self, index: int) -> str:
        """Path of its preparation in the TrainingJob."""
        return self._fields.get(self.columns[index].name, "spec.features.preparation")

    def derived_field(self, derived: Derived) -> str:
        """Path of a derived feature in the TrainingJob."""
        return f"spec.features.derived[{self.derived.index(derived)}]"

    def sources(self, derived: Derived) -> tuple[int, ...]:
        """Indices of a derived feature's columns, the same twice if it has one."""
        indices = tuple(self.index[name] for name in derived.columns)
        return (*indices, indices[-1])[:2]

    def of_type(self, kind: str) -> tuple[Derived, ...]:
        """The derived features of one type, in order."""
        return tuple(one for one in self.derived if one.type == kind)

    def place(self, index: int) -> int:
        """Place of a feature among the columns of its sort."""
        return (self.numeric if index in self.numeric else self.categorical).index(index)


def _check_names(columns: tuple[Column, ...], features: Features) -> None:
    kinds = {column.name: column.kind for column in columns}
    named = [
        *((f"preparation[{i}].column", (one.column,)) for i, one in enumerate(features.preparation)),
        *((f"derived[{i}].columns", one.columns) for i, one in enumerate(features.derived)),
        *((f"omit[{i}]", (name,)) for i, name in enumerate(features.omit)),
    ]
    for where, names in named:
        if not kinds.keys() >= set(names):
            message = "every column of spec.features must be declared in spec.data.columns with role: feature"
            raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, f"spec.features.{where}")
    for i, one in enumerate(features.derived):
        if one.type != "interaction" and "categorical" in {kinds[name] for name in one.columns}:
            message = f"{one.name} must be derived from numbers, because only an interaction takes a categorical column"
            raise InvalidInputError(Reason.WRONG_KIND, message, f"spec.features.derived[{i}].columns")


class _Pointwise:
    """The derived features of one point-wise type and where their columns are among the numbers."""

    def __init__(self, layout: _Layout, transformation: Transformation) -> None:
        self.transformation = transformation
        sources = [layout.sources(one) for one in transformation.declared]
        self.first = [layout.place(a) for a, _ in sources]
        self.second = [layout.place(b) for _, b in sources]

    def evaluate(self, numbers: np.ndarray) -> np.ndarray:
        return self.transformation.evaluate(numbers[:, self.first], numbers[:, self.second])

    def nodes(self, graph: Graph, numbers: str) -> str:
        first = graph.select(numbers, self.first)
        second = first if self.second == self.first else graph.select(numbers, self.second)
        return self.transformation.nodes(graph, first, second)


class _Values:
    """Numbers and point-wise derived features, completed."""

    def __init__(self, layout: _Layout) -> None:
        self._width = len(layout.numeric)
        self._pointwise = [
            _Pointwise(layout, kind(declared))
            for kind in TRANSFORMATIONS.values()
            if not kind.is_expansion and (declared := layout.of_type(kind.type))
        ]
        self.fill = np.empty(0, dtype=np.float32)
        self.outputs: list[Output] = []

    @classmethod
    def fitted(cls, layout: _Layout, rows: Rows) -> _Values:
        """Learn what replaces missing values."""
        values = cls(layout)
        declared = [one for part in values._pointwise for one in part.transformation.declared]
        fills = [_fill(layout, index, rows.numbers[:, place]) for place, index in enumerate(layout.numeric)]
        for part in values._pointwise:
            derived = part.evaluate(rows.numbers)
            fills += [_learned("median", derived[:, i]) for i in range(derived.shape[1])]
        values.fill = np.array(fills, dtype=np.float32)
        known = [float(fill) for fill in values.fill]
        numbers = [Output((index,), "number", fill=known[place]) for place, index in enumerate(layout.numeric)]
        values.outputs = numbers + [
            Output(_distinct(layout.sources(one)), "derived", derived=one, fill=fill)
            for one, fill in zip(declared, known[len(numbers) :], strict=True)
        ]
        return values

    def evaluate(self, rows: Rows) -> np.ndarray:
        """Return float32 [n, numbers and derived features]."""
        joined = [rows.numbers, *(part.evaluate(rows.numbers) for part in self._pointwise)]
        raw = np.concatenate(joined, axis=1) if self._pointwise else rows.numbers
        return np.where(np.isnan(raw), self.fill, raw)

    def nodes(self, graph: Graph, numbers: str) -> str:
        """Append the same as ONNX nodes."""
        raw = numbers
        if self._pointwise:
            derived = graph.join([part.nodes(graph, numbers) for part in self._pointwise])
            raw = graph.join([numbers, undefined_to_nan(graph, derived)])
        fill = [float(value) for value in self.fill]
        return graph.ml("Imputer", raw, imputed_value_floats=fill, replaced_value_float=float("nan"))


class _Selected:
    """The completed values that the estimator sees."""

    is_scaled = True

    def __init__(self, layout: _Layout, values: _Values) -> None:
        is_seen = [one.kind == "derived" or one.columns[0] in layout.kept for one in values.outputs]
        self._places = [place for place, seen in enumerate(is_seen) if seen]
        self._all = all(is_seen)
        self.outputs = [values.outputs[place] for place in self._places]

    def evaluate(self, given: _Given) -> np.ndarray:
        completed: np.ndarray = given.completed[:, self._places]
        return completed

    def nodes(self, graph: Graph, given: _Tensors) -> str:
        return given.completed if self._all else graph.select(given.completed, self._places)


class _Missing:
    """Indicators of missing numbers."""

    is_scaled = False

    def __init__(self, layout: _Layout, indices: list[int]) -> None:
        self._places = [layout.place(index) for index in indices]
        self.outputs = [Output((index,), "missing") for index in indices]

    def evaluate(self, given: _Given) -> np.ndarray:
        is_missing: np.ndarray = np.isnan(given.rows.numbers[:, self._places])
        return is_missing

    def nodes(self, graph: Graph, given: _Tensors) -> str:
        return graph.float(graph.add("IsNaN", graph.select(given.numbers, self._places)))


@dataclass
class _Table:
    """The codes of one categorical column: a row of numbers for each category, and the last for any other text."""

    index: int
    place: int
    categories: tuple[str, ...]
    codes: np.ndarray
    """Float32 [categories + 1, k]."""
    outputs: list[Output]
    is_scaled: bool

    def evaluate(self, given: _Given) -> np.ndarray:
        texts = given.rows.texts[self.place]
        codes: np.ndarray = self.codes[_positions(texts, self.categories)[texts.codes]]
        return codes

    def code_nodes(self, graph: Graph, column: str) -> str:
        """Append the lookup of a text's row in the table, int64 [n, 1]."""
        return graph.ml(
            "LabelEncoder",
            column,
            keys_strings=list(self.categories),
            values_int64s=list(range(len(self.categories))),
            default_int64=len(self.categories),
        )

    def nodes(self, graph: Graph, given: _Tensors) -> str:
        picked = graph.add("Gather", graph.constant(self.codes), given.codes[self.index])
        return graph.add("Squeeze", picked, graph.constant(np.array([1], dtype=np.int64)))

    def indicators(self) -> _Table:
        """The same column as one-hot codes without rare categories together, for products."""
        return _one_hot(self.index, self.place, self.categories, range(len(self.categories)))

    def missing(self) -> _Table:
        """The same column as the indicator of a missing value."""
        codes = np.zeros((len(self.categories) + 1, 1), dtype=np.float32)
        codes[self.categories.index("")] = 1
        return _Table(self.index, self.place, self.categories, codes, [Output((self.index,), "category", 0)], False)


class _Expansion:
    """The derived features of one type that takes completed values."""

    def __init__(self, layout: _Layout, transformation: Transformation) -> None:
        self._transformation = transformation
        self._places = [layout.place(layout.sources(one)[0]) for one in transformation.declared]
        self.is_scaled = transformation.type == "spline"
        self.outputs = [
            Output(_distinct(layout.sources(one)), "derived", derived=one, part=part)
            for one, width in zip(transformation.declared, transformation.widths, strict=True)
            for part in range(width)
        ]

    def evaluate(self, given: _Given) -> np.ndarray:
        completed = given.completed[:, self._places]
        return self._transformation.evaluate(completed, completed)

    def nodes(self, graph: Graph, given: _Tensors) -> str:
        completed = graph.select(given.completed, self._places)
        return self._transformation.nodes(graph, completed, completed)


class _Products:
    """One interaction."""

    is_scaled = True

    def __init__(self, layout: _Layout, declared: Derived, tables: dict[int, _Table]) -> None:
        self._interaction = Interaction((declared,))
        self._sides: list[_Table | int] = []
        width = 1
        for index in layout.sources(declared):
            if index in tables:
                self._sides.append(tables[index].indicators())
                width *= len(tables[index].categories)
            else:
                self._sides.append(layout.place(index))
        if width > MAX_INTERACTIONS:
            message = (
                f"the interaction {declared.name} has more than {MAX_INTERACTIONS} products of categories: choose columns with "
                "fewer categories"
            )
            raise InvalidInputError(Reason.TOO_LARGE, message, layout.derived_field(declared))
        self.outputs = [
            Output(_distinct(layout.sources(declared)), "derived", derived=declared, part=part) for part in range(width)
        ]

    def evaluate(self, given: _Given) -> np.ndarray:
        first, second = (
            given.completed[:, [side]] if isinstance(side, int) else side.evaluate(given) for side in self._sides
        )
        return self._interaction.evaluate(first, second)

    def nodes(self, graph: Graph, given: _Tensors) -> str:
        first, second = (
            graph.select(given.completed, [side]) if isinstance(side, int) else side.nodes(graph, given)
            for side in self._sides
        )
        return self._interaction.nodes(graph, first, second)


def _parts(layout: _Layout, values: _Values, tables: dict[int, _Table]) -> list[_Part]:
    """The parts of the output, in order."""
    missing = [i for i in layout.numeric if layout.preparation(i).indicator]
    parts: list[_Part] = [
        _Selected(layout, values),
        _Missing(layout, missing),
        *(table for index, table in tables.items() if index in layout.kept),
        *(table.missing() for index, table in tables.items() if layout.preparation(index).indicator),
        *(
            _Expansion(layout, kind(declared))
            for kind in TRANSFORMATIONS.values()
            if kind.is_expansion and kind is not Interaction and (declared := layout.of_type(kind.type))
        ),
        *(_Products(layout, one, tables) for one in layout.of_type(Interaction.type)),
    ]
    return [part for part in parts if part.outputs]


def _table(layout: _Layout, index: int, rows: Rows, label: np.ndarray | None) -> _Table:
    """Learn the codes of a categorical column."""
    column, preparation = layout.columns[index], layout.preparation(index)
    place = layout.place(index)
    texts = rows.texts[place]
    declared = column.allowed_values or preparation.order or texts.vocabulary
    categories = ("", *(category for category in declared if category))
    positions = _positions(texts, categories)[texts.codes]
    counts = np.bincount(positions, minlength=len(categories) + 1)
    if preparation.encoding == "ordinal":
        return _ordinal(layout, index, categories, counts)
    stands_for = _stand_in(layout, index, categories, counts)
    if preparation.encoding == "target" and label is not None:
        positions = np.where(positions == 0, stands_for, positions)
        return _target(index, place, categories, stands_for, positions, label)
    groups = list(range(len(categories)))
    is_rare = (counts[:-1] < preparation.min_rows) & (np.arange(len(categories)) > 0)
    kept = [group for group in groups if not is_rare[group] and (group > 0 or stands_for == 0)]
    rare = len(kept)
    coded = [rare if is_rare[group] else kept.index(group) if group in kept else -1 for group in groups]
    coded[0] = coded[stands_for]
    return _one_hot(index, place, categories, coded, rare=bool(is_rare.any()), named=kept)


def _one_hot(
    index: int,
    place: int,
    categories: tuple[str, ...],
    coded: Iterable[int],
    rare: bool = False,
    named: list[int] | None = None,
) -> _Table:
    """Indicators: ``coded`` says which one each category has; ``named`` which category each indicator is alone for."""
    alone = list(range(len(categories))) if named is None else named
    width = len(alone) + rare
    codes = np.zeros((len(categories) + 1, width), dtype=np.float32)
    for category, code in enumerate(coded):
        codes[category, code] = 1
    if rare:
        codes[-1, -1] = 1
    outputs = [Output((index,), "category", category=category) for category in alone]
    if rare:
        outputs.append(Output((index,), "codes"))
    if named is not None and 0 not in named:  # an indicator is also that of the missing value
        outputs = [Output((index,), "codes") for _ in outputs]
    return _Table(index, place, categories, codes, outputs, False)


def _ordinal(layout: _Layout, index: int, categories: tuple[str, ...], counts: np.ndarray) -> _Table:
    """Places in order; a missing or unknown category has the imputed one."""
    preparation = layout.preparation(index)
    if counts[-1] or set(categories) - {"", *preparation.order}:
        message = f"column {layout.columns[index].name} has categories that are not in order: list every category"
        raise InvalidInputError(Reason.UNKNOWN_CATEGORY, message, f"{layout.field(index)}.order")
    places = np.array([0.0, *(preparation.order.index(category) for category in categories[1:])])
    present = counts[1:-1]
    if preparation.impute in ("constant", "most-frequent"):
        missing = places[_stand_in(layout, index, categories, counts)]
    else:
        missing = _learned(preparation.impute or "median", np.repeat(places[1:], present))
    codes = np.array([[missing], *([place] for place in places[1:]), [missing]], dtype=np.float32)
    return _Table(index, layout.place(index), categories, codes, [Output((index,), "codes")], True)


def _target(
    index: int, place: int, categories: tuple[str, ...], stands_for: int, positions: np.ndarray, label: np.ndarray
) -> _Table:
    """Event rates, shrunken towards the overall one as far as their variance says (empirical Bayes, by scikit-learn)."""
    target = TargetEncoder(categories=[np.arange(len(categories) + 1)], target_type="continuous")
    target.fit(positions.reshape(-1, 1), label.astype(np.float64))
    rates = np.asarray(target.encodings_[0], dtype=np.float64)
    rates[~np.isin(np.arange(len(rates)), positions)] = target.target_mean_
    rates[0] = rates[stands_for]
    codes = rates.astype(np.float32).reshape(-1, 1)
    return _Table(index, place, categories, codes, [Output((index,), "codes")], True)


def _stand_in(layout: _Layout, index: int, categories: tuple[str, ...], counts: np.ndarray) -> int:
    """The position of the category that a missing one counts as; 0 is the missing one itself."""
    preparation = layout.preparation(index)
    if preparation.impute == "constant":
        if preparation.fill not in categories[1:]:
            message = f"column {preparation.column} has no row with the category in fill: choose one that it has"
            raise InvalidInputError(Reason.UNKNOWN_CATEGORY, message, f"{layout.field(index)}.fill")
        return categories.index(preparation.fill)
    if preparation.impute == "most-frequent" and counts[1:-1].any():
        return 1 + int(np.argmax(counts[1:-1]))
    return 0


def _positions(texts: Texts, categories: tuple[str, ...]) -> np.ndarray:
    """For each text of the vocabulary its position among the categories; len(categories) if it is none of them."""
    known = {category: position for position, category in enumerate(categories)}
    return np.array([known.get(text, len(known)) for text in texts.vocabulary], dtype=np.int64)


def _fill(layout: _Layout, index: int, values: np.ndarray) -> float:
    preparation = layout.preparation(index)
    if preparation.impute != "constant":
        return _learned(preparation.impute or "median", values)
    text = preparation.fill or ""
    with suppress(ValueError):
        number = BOOLEANS[text] if text in BOOLEANS and layout.columns[index].kind == "boolean" else float(text)
        if abs(number) <= curves.MAX:
            return number
    message = f"the fill of column {preparation.column} must be a number that float32 can hold, such as 98.6"
    raise InvalidInputError(Reason.WRONG_KIND, message, f"{layout.field(index)}.fill")


def _learned(strategy: str, values: np.ndarray) -> float:
    """The median, mean or mode of the present values; 0 if there are none."""
    present = values[~np.isnan(values)].astype(np.float64)
    if not len(present):
        return 0.0
    return float(SimpleImputer(strategy=STRATEGIES[strategy]).fit(present.reshape(-1, 1)).statistics_[0])


def _distinct(indices: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(indices))
