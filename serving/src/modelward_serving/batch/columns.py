"""Columns of a file, converted for the model, with the rows that break a rule."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelward_api.resources.columns import BOOLEANS, Column
from modelward_api.resources.reasons import Reason
from modelward_serving.batch.errors import InvalidInputError
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.validation import rules

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


Values = np.ndarray | DictionaryArray
"""[n] of float32 (NaN for missing), or texts."""


def from_text(column: Column, array: pa.Array) -> tuple[Values, list[rules.Fault]]:
    """Convert a column that was read as text; strip it and apply the column's missing values."""
    coded = _coded(column, array, strip=True)
    if column.kind == "categorical":
        return _checked_texts(column, coded)
    raw, wrong = _parsed(column, coded.values)
    values, bad = _rounded(raw)[coded.indices], wrong[coded.indices]
    kind = [rules.Fault(fault.reason, fault.rule, fault.rows[coded.indices]) for fault in rules.of_kind(column, raw)]
    return values, [*_not_numbers(column, bad), *kind, *_faults(column, values)]


def from_numbers(column: Column, array: pa.Array) -> tuple[Values, list[rules.Fault]]:
    """Convert a column that a CSV reader parsed as numbers; 'nan' does not count as a number."""
    raw, gaps = _raw(array), _gaps(array)
    unnamed = np.isnan(raw) if gaps is None else np.isnan(raw) & ~gaps
    raw = _without_missing(column, raw)
    values = _rounded(raw)
    return values, [*_not_numbers(column, unnamed), *rules.of_kind(column, raw), *_faults(column, values)]


def from_typed(column: Column, array: pa.Array, told: str) -> tuple[Values, list[rules.Fault]]:
    """Convert a column of a typed file.

    Raises:
        InvalidInputError: WrongKind, if the types of the file and of the model differ.
    """
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if column.kind == "categorical":
        if not (_is_text(kind) or pa.types.is_null(kind)):
            raise _other_type(column, told, "text")
        return _checked_texts(column, _coded(column, array, strip=False))
    if pa.types.is_boolean(kind) and column.kind != "boolean":
        raise _other_type(column, told, "numbers")
    if not (_is_number(kind) or pa.types.is_null(kind)):
        raise _other_type(column, told, "numbers")
    raw = _without_missing(column, _raw(array))
    values = _rounded(raw)
    return values, [*rules.of_kind(column, raw), *_faults(column, values)]


def texts_for_missing(column: Column) -> tuple[str, ...]:
    """Return the column's missing values that are not numbers, such as nk."""
    return tuple(text for text in column.missing_values if _as_number(text) is None)


def _other_type(column: Column, told: str, wanted: str) -> InvalidInputError:
    message = f"column {column.name} of {told} must contain {wanted}. Convert it"
    return InvalidInputError(Reason.WRONG_KIND, message, "spec.input.uri")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _gaps(array: pa.Array) -> np.ndarray | None:
    return np.asarray(array.is_null()) if array.null_count else None


def _raw(array: pa.Array) -> np.ndarray:
    """Return float64, or float32 if the array is float32; NaN for null."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not (pa.types.is_float64(array.type) or pa.types.is_float32(array.type)):
        array = array.cast(pa.float64(), safe=False)
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _without_missing(column: Column, raw: np.ndarray) -> np.ndarray:
    """Replace the column's missing values by NaN."""
    codes = [number for text in column.missing_values if (number := _as_number(text)) is not None]
    if codes:
        raw = np.where(np.isin(raw, codes), np.nan, raw)
    return raw


def _rounded(raw: np.ndarray) -> np.ndarray:
    """Round to float32, as the model takes it."""
    with np.errstate(over="ignore"):  # what does not fit is infinite, and refused as such
        return raw.astype(np.float32)


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _coded(column: Column, array: pa.Array, *, strip: bool) -> DictionaryArray:
    if not pa.types.is_dictionary(array.type):
        array = array.cast(pa.string()).dictionary_encode()
    known = [text or "" for text in array.dictionary.cast(pa.string()).to_pylist()]
    texts = np.empty(len(known) + 1, dtype=object)
    texts[:-1] = [text.strip() for text in known] if strip else known
    texts[-1] = ""
    missing = frozenset(column.missing_values)
    texts[:-1] = ["" if text.strip() in missing else text for text in texts[:-1]]
    codes = array.indices
    return DictionaryArray(texts, np.asarray(codes.fill_null(len(known)) if codes.null_count else codes))


def _checked_texts(column: Column, coded: DictionaryArray) -> tuple[DictionaryArray, list[rules.Fault]]:
    lengths = np.array([len(text) for text in coded.values], dtype=np.int64)
    faults = [*rules.of_texts(column, lengths[coded.indices])]
    implausible = rules.implausible_texts(column, coded.values)[coded.indices]
    return coded, [*faults, *rules.of_plausibility(column, implausible)]


def _faults(column: Column, values: np.ndarray) -> Iterator[rules.Fault]:
    yield from rules.of_numbers(column, values)
    yield from rules.of_plausibility(column, rules.implausible_numbers(column, values))


def _parsed(column: Column, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parse texts as numbers; also return which texts are not numbers."""
    array = pa.array(texts, pa.string())
    if column.kind == "boolean":
        lowered = ["" if t == "" else str(BOOLEANS.get(t.lower(), t)) for t in texts]
        array = pa.array(lowered, pa.string())
    missing = np.asarray(pc.equal(array, ""))
    fits = np.asarray(pc.match_substring_regex(array, NUMBER))
    numbers = pc.replace_substring_regex(pc.if_else(pa.array(fits), array, None), r"^\+", "")
    raw = np.asarray(numbers.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return _without_missing(column, raw), ~fits & ~missing


def _not_numbers(column: Column, rows: np.ndarray) -> Iterator[rules.Fault]:
    if rows.any():
        yield rules.Fault(Reason.WRONG_KIND, rules.no_number(column), rows)
