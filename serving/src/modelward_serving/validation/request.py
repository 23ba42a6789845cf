"""Validation of requests: names, datatypes, shapes, units, missing values, plausible ranges, categories.

Most requests are valid and are checked all at once. Invalid ones are checked again tensor by tensor, to name the field.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from modelward_api.bundle.documents import Signature
from modelward_api.names import DECISION, SCORE
from modelward_api.resources.columns import Column
from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.limits import MAX_ROWS
from modelward_serving.protocol.tensors import (
    DTYPES,
    FLOATS,
    LIMITS,
    BinaryTensor,
    BooleanTensor,
    InferenceRequest,
    NumberTensor,
    RequestedOutput,
    Tensor,
    binary_numbers,
    binary_texts,
)
from modelward_serving.validation import rules

NUMBERS: frozenset[type] = frozenset({float, int, type(None)})
"""Types of JSON values in a numeric column."""
BOOLEANS: frozenset[type] = NUMBERS | {bool}
"""Types of JSON values in a boolean column."""
SHARED = "shared memory is not supported; send the values in the request"
UNSUPPORTED = {
    "classification": "is not supported",
    "shared_memory_region": SHARED,
    "shared_memory_byte_size": SHARED,
    "shared_memory_offset": SHARED,
}
ENCODED = "is not supported; omit it, and send texts unencoded"
PLAIN_CONTENT = frozenset({None, "np", "str", "pd", "pd_json"})
"""Values of content_type by which MLServer's clients mean unencoded data."""
MAX_ORDERS = 64


class Output(msgspec.Struct, frozen=True):
    """One output of the response."""

    name: str
    binary: bool = False


class ValidatedRows(msgspec.Struct):
    """A validated request: rows as received, and as the model sees them."""

    count: int
    seen: np.ndarray
    """[rows, numeric columns] of float32, NaN for missing, before clipping; these are counted."""
    numbers: np.ndarray
    """The same after clipping; these are scored."""
    texts: list[np.ndarray]
    """One [rows, 1] of object per categorical column, '' for missing."""
    outputs: tuple[Output, ...]
    id: str | None = None
    flagged: tuple[str, ...] = ()
    """Columns with an implausible value in any row."""
    abstained: tuple[int, ...] = ()
    """Rows without a score."""
    reasons: tuple[str, ...] = ()
    """Reasons for abstaining, by column."""


NO_ROWS = ValidatedRows(0, np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), [], ())
"""Placeholder before a request is validated."""


class RequestValidator:
    """Validates requests against one signature."""

    def __init__(self, signature: Signature) -> None:
        self.columns = {column.name: column for column in signature.inputs}
        self.numeric = [c for c in signature.inputs if c.kind != "categorical"]
        self.categorical = [c for c in signature.inputs if c.kind == "categorical"]
        self._conversions = {name: {other.unit: other for other in others} for name, others in signature.units.items()}
        self._demanded_of: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._orders: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
        limits = np.array([rules.limits(c) for c in self.numeric], dtype=np.float32).reshape(-1, 2)
        self._low, self._high = limits[:, 0].reshape(1, -1), limits[:, 1].reshape(1, -1)  # the same shapes are faster
        largest = np.finfo(np.float32).max
        self._least, self._most = np.maximum(self._low, -largest), np.minimum(self._high, largest)
        self._whole = np.array([c.kind in ("integer", "boolean") for c in self.numeric], dtype=bool)
        self._boolean = [c.kind == "boolean" for c in self.numeric]
        self._demands = bool(self._whole.any())
        """Whether any column requires whole numbers; most models have none and skip the check."""
        self._clipped = np.array([c.out_of_range == "clip" for c in self.numeric], dtype=bool)
        self._allowed = [frozenset(c.allowed_values) | {""} for c in self.categorical]

    def rows(self, request: InferenceRequest, *, all_outputs: bool = False) -> ValidatedRows:
        """Validate a request.

        Raises:
            RefusedError: 422, naming the field that breaks a rule.
        """
        inputs: list[Any] = request.inputs
        if len(inputs) == 1 and inputs[0].name not in self.columns and self._is_packed(inputs[0]):
            numbers, texts = self._packed_at_once(inputs[0]), []
            is_plausible = numbers is not None and self._are_plausible(numbers)
            if numbers is None or not is_plausible:
                numbers = self._packed(inputs[0])
        else:
            has_parameters = any(tensor.parameters for tensor in inputs)
            at_numbers, at_texts = self._order(inputs, has_parameters)
            count = _count(inputs[0])
            if has_parameters:
                inputs = [self._converted(tensor, f"inputs[{i}]") for i, tensor in enumerate(inputs)]
            numbers = self._read_at_once(inputs, at_numbers, count)
            is_plausible = numbers is not None and self._are_plausible(numbers)
            if numbers is None or not is_plausible:
                numbers = self._one_by_one(inputs, at_numbers, count)
            texts = [
                _text(c, inputs[i], f"inputs[{i}]", count) for c, i in zip(self.categorical, at_texts, strict=True)
            ]
        outputs = BOTH if all_outputs else _outputs(request)
        rows = ValidatedRows(len(numbers), numbers, numbers, texts, outputs, request.id)
        if self.categorical or not is_plausible:
            self._against_limits(rows, inputs)
        return rows

    def _are_plausible(self, numbers: np.ndarray) -> bool:
        """Return whether no value is missing, infinite or outside its column's range."""
        plausible: np.ndarray = (numbers >= self._least) & (numbers <= self._most)
        are_plausible: bool = np.count_nonzero(plausible) == plausible.size
        return are_plausible

    def _order(self, inputs: list[Tensor], has_parameters: bool) -> tuple[list[int], list[int]]:
        """Return the indices of the numeric and the categorical columns in the request."""
        names = tuple([tensor.name for tensor in inputs])
        known = self._orders.get(names)
        if known is not None and not has_parameters:
            return known
        where: dict[str, int] = {}
        for index, tensor in enumerate(inputs):
            column = self.columns.get(tensor.name)
            if column is None:
                rule = f"no such input; the model has {', '.join(self.columns)}"
                raise RefusedError(422, Reason.UNKNOWN_INPUT, f"inputs[{index}].name", rule)
            if column.name in where:
                raise RefusedError(
                    422, Reason.DUPLICATE_INPUT, f"inputs[{index}].name", f"{column.name} is given twice"
                )
            where[column.name] = index
            _check_unsupported(tensor.parameters, f"inputs[{index}]")
        if missing := [name for name in self.columns if name not in where]:
            raise RefusedError(422, Reason.MISSING_INPUT, "inputs", f"must have {', '.join(missing)}")
        found = [where[c.name] for c in self.numeric], [where[c.name] for c in self.categorical]
        if len(self._orders) < MAX_ORDERS:
            self._orders[names] = found
        return found

    def _converted(self, tensor: Tensor, where: str) -> Tensor:
        """Return an input in its column's unit."""
        unit, column = (tensor.parameters or {}).get("unit"), self.columns[tensor.name]
        if unit is None or unit == column.unit:
            return tensor
        others = self._conversions.get(column.name, {})
        way = others.get(unit) if isinstance(unit, str) else None
        if way is None:
            raise RefusedError(422, Reason.WRONG_UNIT, f"{where}.parameters.unit", _units(column, list(others)))
        raw = _numbers(tensor, where, column.name, column.kind, booleans=False)
        found = raw * way.factor + way.offset
        if column.kind == "integer":
            found = np.where(np.isclose(found, np.round(found), rtol=0, atol=WHOLE), np.round(found), found)
        return NumberTensor(tensor.name, tensor.shape, "FP64", found)

    def _read_at_once(self, inputs: list[Tensor], at: list[int], count: int) -> np.ndarray | None:
        """Read all numeric columns at once; None if any needs a closer look."""
        flat: list[Any] = []
        shapes, is_typed = ([count, 1], [count]), self._demands
        for is_boolean, index in zip(self._boolean, at, strict=True):
            tensor = inputs[index]
            if isinstance(tensor, BooleanTensor) and not is_boolean:
                return None
            data = _listed(tensor) if isinstance(tensor, BinaryTensor) else tensor.data
            if data is None or len(data) != count or tensor.shape not in shapes:
                return None
            if tensor.datatype not in FLOATS:
                if tensor.datatype not in LIMITS or (tensor.datatype == "BOOL" and not is_boolean):
                    return None
                is_typed = True
            flat += data
        if is_typed:
            return self._typed_at_once(flat, [inputs[index].datatype for index in at], count)
        found = _floats(flat)
        return None if found is None else np.ascontiguousarray(found.reshape(len(at), count).T)

    def _typed_at_once(self, flat: list[Any], datatypes: list[str], count: int) -> np.ndarray | None:
        """Read numbers with a required kind or datatype, which is checked before rounding."""
        try:
            found = np.frombuffer(array("d", flat)).reshape(len(datatypes), count)
        except (TypeError, OverflowError):
            return None
        least, most, whole = self._demanded(tuple(datatypes))
        if not ((found >= least) & (found <= most)).all() or (found[whole] != np.round(found[whole])).any():
            return None
        return np.ascontiguousarray(found.T, dtype=np.float32)

    def _demanded(self, datatypes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return minimum and maximum [columns, 1], and which [columns] must be whole, by datatype and kind."""
        known = self._demanded_of.get(datatypes)
        if known is None:
            largest = float(np.finfo(np.float32).max)
            limits = [LIMITS.get(name, (-largest, largest)) for name in datatypes]
            limits = [(0.0, 1.0) if c.kind == "boolean" else two for c, two in zip(self.numeric, limits, strict=True)]
            both = np.array(limits).reshape(-1, 2)
            whole = self._whole | np.array([name in LIMITS and name != "FP16" for name in datatypes], dtype=bool)
            known = both[:, :1], both[:, 1:], whole
            if len(self._demanded_of) < MAX_ORDERS:
                self._demanded_of[datatypes] = known
        return known

    def _one_by_one(self, inputs: list[Tensor], at: list[int], count: int) -> np.ndarray:
        numbers = np.empty((count, len(at)), dtype=np.float32)
        for place, (column, index) in enumerate(zip(self.numeric, at, strict=True)):
            where, tensor = f"inputs[{index}]", inputs[index]
            _check_shape(tensor, where, count)
            raw = _numbers(tensor, where, column.name, column.kind, booleans=column.kind == "boolean")
            if len(raw) != count:
                raise RefusedError(
                    422, Reason.WRONG_SHAPE, f"{where}.data", f"must have {count} values, as the shape says"
                )
            _refuse(rules.of_kind(column, raw), where)
            found = _rounded(raw)
            _refuse(rules.of_numbers(column, found), where)
            numbers[:, place] = found
        return numbers

    def _is_packed(self, tensor: Tensor) -> bool:
        return len(tensor.shape) == 2 and tensor.shape[1] == len(self.columns) and not self.categorical

    def _packed_at_once(self, tensor: Tensor) -> np.ndarray | None:
        """Read one packed tensor at once; None if it needs a closer look."""
        count, width = tensor.shape
        is_typed = self._demands or tensor.datatype not in FLOATS
        if tensor.parameters or is_typed or isinstance(tensor, BooleanTensor) or not 1 <= count <= MAX_ROWS:
            return None
        if isinstance(tensor, NumberTensor):
            found: np.ndarray | None = tensor.numbers
        else:
            found = _singles(tensor) if isinstance(tensor, BinaryTensor) else _floats(tensor.data or [])
        if found is None or len(found) != count * width:
            return None
        if found.dtype != np.float32:
            with np.errstate(over="ignore"):
                found = found.astype(np.float32)
        return found.reshape(count, width)

    def _packed(self, tensor: Tensor) -> np.ndarray:
        """Read one [rows, columns] tensor with the columns in the signature's order."""
        _check_unsupported(tensor.parameters, "inputs[0]")
        if (tensor.parameters or {}).get("unit") is not None:
            rule = "a packed tensor has no one unit: send the model's units, or one input for each column"
            raise RefusedError(422, Reason.WRONG_UNIT, "inputs[0].parameters.unit", rule)
        count, width = _count(tensor), len(self.numeric)
        self._refuse_packed_booleans(tensor, width)
        raw = _numbers(tensor, "inputs[0]", "a packed tensor", "numeric", booleans=True)
        if len(raw) != count * width:
            raise RefusedError(
                422, Reason.WRONG_SHAPE, "inputs[0].data", f"must have {count * width} values, as the shape says"
            )
        if self._demands:
            for column, values in zip(self.numeric, raw.reshape(count, width).T, strict=True):
                _refuse(rules.of_kind(column, values), f"inputs[0] ({column.name})")
        numbers = _rounded(raw).reshape(count, width)
        if not np.isfinite(numbers).all():
            for column, values in zip(self.numeric, numbers.T, strict=True):
                _refuse(rules.of_numbers(column, values), f"inputs[0] ({column.name})")
        return numbers

    def _refuse_packed_booleans(self, tensor: Tensor, width: int) -> None:
        """Refuse true and false where a packed row has a numeric or integer column."""
        for place, column in enumerate(self.numeric):
            if column.kind == "boolean":
                continue
            where = f"inputs[0] ({column.name})"
            if tensor.datatype == "BOOL":
                raise _wrong_datatype("inputs[0]", column.name, column.kind)
            if isinstance(tensor, BooleanTensor):
                _refuse_others(_flat(tensor, "inputs[0]")[place::width], NUMBERS, where, column.name, column.kind)

    def _against_limits(self, rows: ValidatedRows, inputs: list[Tensor]) -> None:
        """Apply the columns' policies to implausible numbers and undeclared categories."""
        outside: list[tuple[Column, np.ndarray]] = []
        beyond = (rows.numbers < self._low) | (rows.numbers > self._high)
        if beyond.any():
            outside += [(c, which) for c, which in zip(self.numeric, beyond.T, strict=True) if which.any()]
            rows.numbers = self.clipped(rows.seen)
        for column, allowed, values in zip(self.categorical, self._allowed, rows.texts, strict=True):
            if len(allowed) > 1 and not allowed.issuperset(values[:, 0]):
                outside.append((column, rules.implausible_texts(column, values[:, 0])))
        if outside:
            _apply_policies(rows, outside, {tensor.name: index for index, tensor in enumerate(inputs)})

    def clipped(self, numbers: np.ndarray) -> np.ndarray:
        """Clip [rows, numeric columns] to plausible values, in columns that ask for it."""
        if not self._clipped.any():
            return numbers
        return np.where(self._clipped, np.clip(numbers, self._low, self._high), numbers)


WHOLE = 1e-9
"""A converted value this close to a whole number is whole: published factors are rounded."""


def _singles(tensor: BinaryTensor) -> np.ndarray | None:
    """Return the numbers of an FP32 tensor, flat; None if it is not one."""
    if tensor.datatype != "FP32" or len(tensor.content) % 4:
        return None
    return np.frombuffer(tensor.content, dtype="<f4")


def _listed(tensor: BinaryTensor) -> list[float] | None:
    found = _singles(tensor)
    return None if found is None else found.tolist()


def _floats(values: list[Any]) -> np.ndarray | None:
    """Return numbers as float32, flat; None if any is not a number."""
    try:
        return np.frombuffer(array("f", values), dtype=np.float32)
    except (TypeError, OverflowError):
        return None


def _apply_policies(rows: ValidatedRows, outside: list[tuple[Column, np.ndarray]], where: dict[str, int]) -> None:
    abstained = np.zeros(rows.count, dtype=bool)
    reasons = []
    for column, which in outside:
        if column.out_of_range == "reject":
            field = f"inputs[{where.get(column.name, 0)}].data"
            raise RefusedError(422, Reason.OUT_OF_RANGE, field, f"{column.name} must be {rules.plausible(column)}")
        if column.out_of_range == "abstain":
            abstained |= which
            reasons.append(f"{column.name} is not {rules.plausible(column)}")
    rows.flagged = tuple(column.name for column, _ in outside)
    rows.abstained, rows.reasons = tuple(np.flatnonzero(abstained).tolist()), tuple(reasons)


def _count(tensor: Tensor) -> int:
    count = tensor.shape[0] if tensor.shape else 0
    if count < 1:
        raise RefusedError(422, Reason.NO_ROWS, "inputs[0].shape", "must have at least one row")
    if count > MAX_ROWS:
        raise RefusedError(422, Reason.TOO_MANY_ROWS, "inputs[0].shape", f"a request may have at most {MAX_ROWS} rows")
    return count


def _check_shape(tensor: Tensor, where: str, count: int) -> None:
    if tensor.shape not in ([count], [count, 1]):
        rule = f"must be [{count}, 1] or [{count}], as for the first input"
        raise RefusedError(422, Reason.WRONG_SHAPE, f"{where}.shape", rule)


def _check_unsupported(parameters: dict[str, Any] | None, where: str) -> None:
    if not parameters:
        return
    for name, rule in UNSUPPORTED.items():
        if name in parameters:
            raise RefusedError(422, Reason.UNSUPPORTED_PARAMETER, f"{where}.parameters.{name}", rule)
    kind = parameters.get("content_type")
    if not isinstance(kind, str | None) or kind not in PLAIN_CONTENT:
        raise RefusedError(422, Reason.UNSUPPORTED_PARAMETER, f"{where}.parameters.content_type", ENCODED)


def _units(column: Column, others: list[str]) -> str:
    if column.unit is None:
        return f"{column.name} has no unit"
    return f"{column.name} must be in {column.unit}" + (f", or in one of {', '.join(others)}" if others else "")


def _refuse(faults: Iterator[rules.Fault], where: str) -> None:
    """Refuse the whole request for one invalid row."""
    for fault in faults:
        raise RefusedError(422, fault.reason, f"{where}.data", fault.rule)


def _numbers(tensor: Tensor, where: str, name: str, kind: str, *, booleans: bool) -> np.ndarray:
    """Return the numbers of one tensor, flat and not yet rounded."""
    if tensor.datatype not in DTYPES or (tensor.datatype == "BOOL" and not booleans):
        raise _wrong_datatype(where, name, kind)
    if isinstance(tensor, BinaryTensor):
        found = binary_numbers(tensor, where)
    elif isinstance(tensor, NumberTensor):
        found = tensor.numbers
    else:
        values = _flat(tensor, where)
        _refuse_others(values, BOOLEANS if booleans else NUMBERS, where, name, kind)
        found = _listed_numbers(values, where)
    _check_datatype(tensor.datatype, found, where)
    return found


def _wrong_datatype(where: str, name: str, kind: str) -> RefusedError:
    rule = f"{name} is {kind}: use a numeric datatype such as FP32"
    return RefusedError(422, Reason.WRONG_DATATYPE, f"{where}.datatype", rule)


def _refuse_others(values: list[Any], types: frozenset[type], where: str, name: str, kind: str) -> None:
    """Refuse values of other types."""
    if not types.issuperset(map(type, values)):
        raise RefusedError(
            422, Reason.WRONG_KIND, f"{where}.data", f"{name} is {kind}: must be numbers, or null if missing"
        )


def _listed_numbers(values: list[Any], where: str) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)
    except (OverflowError, ValueError) as error:
        raise RefusedError(422, Reason.WRONG_KIND, f"{where}.data", "must be numbers that fit FP32") from error


def _check_datatype(datatype: str, values: np.ndarray, where: str) -> None:
    """Refuse values that the tensor's datatype cannot hold: either the number or the datatype is a mistake."""
    if datatype not in LIMITS:
        return
    least, most = LIMITS[datatype]
    wrong = (values < least) | (values > most)
    if datatype != "FP16":
        wrong |= ~rules.is_whole(values)
    if wrong.any():
        kind = "a number" if datatype == "FP16" else "a whole number"
        rule = f"{datatype} holds {kind} from {least:.0f} to {most:.0f}"
        raise RefusedError(422, Reason.WRONG_DATATYPE, f"{where}.data", rule)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round to float32. A number that does not fit becomes infinite, and is refused later."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def _flat(tensor: Tensor, where: str) -> list[Any]:
    if tensor.data is None:
        raise RefusedError(422, Reason.MISSING_DATA, f"{where}.data", "must have the values, or set binary_data_size")
    values: list[Any] = tensor.data
    if values and isinstance(values[0], list):
        width = len(values[0])
        if len(values) != tensor.shape[0] or any(not isinstance(row, list) or len(row) != width for row in values):
            raise RefusedError(
                422, Reason.WRONG_SHAPE, f"{where}.data", "must be a flat list, or rows as the shape says"
            )
        values = list(chain.from_iterable(values))
    return values


def _text(column: Column, tensor: Tensor, where: str, count: int) -> np.ndarray:
    _check_shape(tensor, where, count)
    if tensor.datatype != "BYTES":
        raise RefusedError(
            422, Reason.WRONG_DATATYPE, f"{where}.datatype", f"{column.name} is categorical: must be BYTES"
        )
    values = binary_texts(tensor.content, where) if isinstance(tensor, BinaryTensor) else _flat(tensor, where)
    if len(values) != count:
        raise RefusedError(422, Reason.WRONG_SHAPE, f"{where}.data", f"must have {count} values, as the shape says")
    lengths = [0 if v is None else len(v) if isinstance(v, str) else rules.NO_TEXT for v in values]
    _refuse(rules.of_texts(column, np.array(lengths, dtype=np.int64)), where)
    found = np.empty((count, 1), dtype=object)
    found[:, 0] = ["" if v is None else v for v in values]
    return found


BOTH = (Output(SCORE), Output(DECISION))
BOTH_BINARY = (Output(SCORE, binary=True), Output(DECISION, binary=True))


def _outputs(request: InferenceRequest) -> tuple[Output, ...]:
    binary = bool((request.parameters or {}).get("binary_data_output"))
    if not request.outputs:
        return BOTH_BINARY if binary else BOTH
    return tuple(_requested(request.outputs, binary))


def _requested(outputs: list[RequestedOutput], binary: bool) -> Iterator[Output]:
    for index, output in enumerate(outputs):
        if output.name not in (SCORE, DECISION):
            rule = f"no such output; the model has {SCORE} and {DECISION}"
            raise RefusedError(422, Reason.UNKNOWN_OUTPUT, f"outputs[{index}].name", rule)
        _check_unsupported(output.parameters, f"outputs[{index}]")
        yield Output(output.name, bool((output.parameters or {}).get("binary_data", binary)))
