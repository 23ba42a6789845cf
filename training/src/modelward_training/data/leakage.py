"""Leakage: features that know the outcome, and patients on both sides of a split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

from modelward_api.resources.reasons import FindingCode
from modelward_training.data.dataset import Dataset
from modelward_training.data.findings import Finding

NEAR_PERFECT = 0.99
MAX_CLASS_ROWS = 25_000
"""Rows of each class that features are looked at on: enough to tell .99 from .98, however rare the class is."""
MIN_AUROC_ROWS = 10
"""Rows of each class behind an AUROC: with fewer, one that is near perfect happens by chance."""


def features(data: Dataset, labels: np.ndarray, where: Mapping[str, str], seed: int) -> list[Finding]:
    """Look for the target, its copies, and features that predict it nearly perfectly alone.

    Args:
        data: the rows.
        labels: [n], the code of each row's label as it is declared.
        where: path in the TrainingJob by column.
        seed: of the rows that are looked at, where there are many.
    """
    draw = np.random.default_rng(seed)
    of_class = [np.flatnonzero(data.label == value) for value in (0, 1)]
    rows = np.sort(
        np.concatenate(
            [c if len(c) <= MAX_CLASS_ROWS else draw.choice(c, MAX_CLASS_ROWS, replace=False) for c in of_class]
        )
    )
    sample, found = data.take(rows), labels[rows]
    findings = []
    for column in data.features:
        field, name = where[column.name], column.name
        codes, is_missing = _codes(sample, name)
        copies = [_is_copy(codes, target) for target in (found, sample.label)]
        if any(copies) or _is_copy(is_missing, sample.label):
            how = "is a copy of the label, possibly recoded" if any(copies) else "is present for one class only"
            message = f"feature {name} {how}: set role: ignore"
            findings.append(Finding(FindingCode.TARGET_COPY, "error", message, field, name, rows=len(data)))
            continue
        auroc = max(_auroc(sample, name, codes), _strength(is_missing.astype(float), sample.label))
        if auroc > NEAR_PERFECT:
            message = (
                f"{name} alone separates the classes perfectly (AUROC 1.0): is it known before the outcome?"
                if auroc == 1
                else f"{name} alone nearly separates the classes (AUROC above {NEAR_PERFECT}): is it known before the outcome?"
            )
            findings.append(Finding(FindingCode.NEAR_PERFECT_FEATURE, "warning", message, field, name))
    return findings


def both_parts(parts: Mapping[str, Dataset]) -> list[Finding]:
    """Tell of patients with rows in more than one part of a split.

    Args:
        parts: by name, training, calibration and test.
    """
    groups = [part.group for part in parts.values() if part.group is not None]
    if not groups:
        return []
    seen, counts = np.unique(np.concatenate([np.unique(group) for group in groups]), return_counts=True)
    shared = seen[counts > 1]
    if not len(shared):
        return []
    rows = sum(int(np.isin(group, shared).sum()) for group in groups)
    message = "groups have rows in more than one part of the split, which flatters the evaluation: set spec.split.method: group"
    return [Finding(FindingCode.GROUP_IN_BOTH_PARTS, "warning", message, "spec.split.method", rows=rows)]


def auroc(score: np.ndarray, label: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half (Mann and Whitney 1947); .5 without both classes."""
    events = int(label.sum())
    others = len(label) - events
    if events == 0 or others == 0:
        return 0.5
    return float((rankdata(score)[label == 1].sum() - events * (events + 1) / 2) / (events * others))


def _codes(data: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a feature as codes, equal for missing ones, and which are missing, [n] each."""
    values = data.columns[name]
    if values.dtype == object:
        names, codes = data.coded(name)
        return codes, names[codes] == ""
    missing = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
    codes = np.unique(np.where(missing, np.zeros(1, values.dtype), values), return_inverse=True)[1]
    return np.where(missing, -1, codes), missing


def _is_copy(codes: np.ndarray, target: np.ndarray) -> bool:
    """Whether codes are a one-to-one function of the target, whatever they are called."""
    values = np.unique(target)
    firsts = [codes[np.argmax(target == value)] for value in values]
    if len(set(firsts)) < len(values):
        return False
    return bool((codes == np.array(firsts)[np.searchsorted(values, target)]).all())


def _auroc(data: Dataset, name: str, codes: np.ndarray) -> float:
    """How well a feature alone tells the classes apart, whichever way round: of its present numbers, or of its categories."""
    values = data.columns[name]
    if values.dtype != object:
        present = codes >= 0
        numbers = values.astype(np.int64) if values.dtype.kind == "M" else values
        return _strength(numbers[present], data.label[present])
    halves = np.random.default_rng(0).random(len(codes)) < 0.5
    found = []
    for half in (halves, ~halves):  # rates of one half predict the other: its own would know the labels
        rows = np.bincount(codes[~half], minlength=codes.max() + 1)
        events = np.bincount(codes[~half], weights=data.label[~half], minlength=codes.max() + 1)
        rates = (events + data.label.mean()) / (rows + 1)
        found.append(_strength(rates[codes[half]], data.label[half]))
    return min(found)


def _strength(score: np.ndarray, label: np.ndarray) -> float:
    if min(int(label.sum()), len(label) - int(label.sum())) < MIN_AUROC_ROWS:
        return 0.5
    area = auroc(score, label)
    return max(area, 1 - area)
