"""Documents of a bundle. A bundle is a directory of data with one digest, and holds no code and no pickle.

The digest is the SHA-256 of the manifest's canonical JSON, and the manifest lists the SHA-256 of every other file, so the
digest does not depend on how the directory is packed.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelward_api.base import Digest, Document, Fraction, Name, SemVer
from modelward_api.resources.columns import Column, UnitConversion
from modelward_api.resources.features import Derived
from modelward_api.resources.reasons import Reason

MAX_STRATA = 32
"""Maximum number of strata over all subgroups of a model. Every pod has counters for each."""


class Manifest(Document):
    """The files of a bundle and their digests."""

    format: Literal[1] = 1
    model: Name
    version: SemVer
    files: dict[str, Digest]

    def canonical(self) -> bytes:
        """Return the bytes that are hashed: sorted keys, no spaces."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """The bundle's digest, ``sha256:`` and 64 hex digits."""
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()


class Subgroup(Document):
    """A division of patients by one input of the model, into groups that are counted separately.

    A categorical column has one stratum a category, any other one between two cuts: stratum i holds
    cuts[i-1] <= x < cuts[i], compared as FP32. What is missing, implausible or not declared is in none of them.
    """

    column: str
    strata: tuple[str, ...]
    """Their names, such as sex=female or 40<=age<65, made of declared values and never of a request's."""
    categories: tuple[str, ...] = ()
    cuts: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _names_each(self) -> Self:
        if len(self.strata) != (len(self.categories) or len(self.cuts) + 1):
            raise ValueError(
                f"subgroup {self.column}: must have one stratum for each category, or for each piece between cuts"
            )
        if list(self.cuts) != sorted(set(self.cuts)):
            raise ValueError(f"subgroup {self.column}: cuts must increase")
        return self


class Signature(Document):
    """Inputs and output of the model.

    The ONNX graph has one input per feature column, [n, 1]: FP32 for numeric, integer and boolean columns (missing is NaN,
    true is 1.0), string for categorical ones (missing is the empty string). Its one output is ``score``, FP32 [n, 1],
    the calibrated probability of the positive class.
    """

    model: Name
    version: SemVer
    inputs: tuple[Column, ...]
    label: str
    positive: str
    operating_threshold: Fraction
    """A row is called positive when score >= operating_threshold."""
    subgroups: tuple[Subgroup, ...] = ()
    """Absent in bundles from before subgroups existed."""
    units: dict[str, tuple[UnitConversion, ...]] = {}
    """By column: the other units that requests may use, and how they convert into the column's."""

    @property
    def strata(self) -> tuple[str, ...]:
        """The names of all subgroups' strata."""
        return tuple(name for subgroup in self.subgroups for name in subgroup.strata)

    @model_validator(mode="after")
    def _tells_its_subgroups(self) -> Self:
        columns = {column.name: column for column in self.inputs}
        for subgroup in self.subgroups:
            column = columns.get(subgroup.column)
            if column is None or (column.kind == "categorical") != bool(subgroup.categories):
                raise ValueError(
                    f"subgroup {subgroup.column}: must be an input of the model, and of the kind of its strata"
                )
        if len(set(self.strata)) < len(self.strata):
            raise ValueError("strata must have different names")
        if len(self.strata) > MAX_STRATA:
            raise ValueError(
                f"subgroups must not have more than {MAX_STRATA} strata together, and have {len(self.strata)}"
            )
        return self


class FeatureReference(Document):
    """The frozen bins of one feature (or of the score) and how many reference rows fell into each.

    Cells, in this order: the bins, then ``missing``, ``out_of_range``, ``other``. A numeric feature with k interior edges
    has k + 1 bins: bin i holds edges[i-1] <= x < edges[i]. A categorical feature has one bin per category, and ``other``
    counts categories that are not among them. ``out_of_range`` counts numeric values beyond the declared range; such a
    value is counted there and in no bin.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    counts: tuple[int, ...]

    @property
    def bins(self) -> int:
        """Number of cells that are bins. Three more cells follow them."""
        return len(self.edges) + 1 if self.kind == "numeric" else len(self.categories)

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of all cells, in the order of ``counts``. Edges are bin limits, never a patient's value alone."""
        if self.kind == "categorical":
            names = self.categories
        else:
            limits = ("-inf", *(f"{e:g}" for e in self.edges), "inf")
            names = tuple(f"[{a}, {b})" for a, b in pairwise(limits))
        return (*names, "missing", "out_of_range", "other")


class ReferenceProfile(Document):
    """Training data as counts, which drift is measured against."""

    rows: int
    features: tuple[FeatureReference, ...]
    score: FeatureReference
    strata: dict[str, dict[str, tuple[int, ...]]] = {}
    """By stratum of the subgroups, then by feature, ``score`` included: its rows in the same cells as above."""

    def of_stratum(self, stratum: str, feature: str) -> FeatureReference | None:
        """Return the reference of a feature, or of the score, in one stratum, named such as ``age[sex=female]``."""
        whole = next((known for known in (*self.features, self.score) if known.name == feature), None)
        counts = self.strata.get(stratum, {}).get(feature)
        if whole is None or counts is None:
            return None
        return whole.model_copy(update={"name": f"{feature}[{stratum}]", "counts": counts})


class Metric(Document):
    """An estimate on the test set with its bootstrap interval."""

    name: Annotated[str, Field(description="Name of the metric, such as auroc.", max_length=64)]
    estimate: Annotated[float, Field(description="Value on the test rows.")]
    lower: Annotated[float | None, Field(description="Lower end of the 95% interval.")] = None
    upper: Annotated[float | None, Field(description="Upper end of the 95% interval.")] = None


class GroupCount(Document):
    """Rows of one site or subgroup. Absent counts are withheld: they, or their difference from a total, are from 1 to 10."""

    column: str
    value: str
    train_rows: int | None = None
    test_rows: int | None = None
    test_events: int | None = None


class Evaluation(Document):
    """Metrics on the test rows, which training did not use."""

    train_rows: int
    test_rows: int
    test_events: int
    metrics: tuple[Metric, ...]
    confidence: float = 0.95
    warnings: tuple[str, ...] = ()
    breakdown: tuple[GroupCount, ...] | None = None
    """By the columns with the role site or subgroup; absent if there are none."""


class ParityReport(Document):
    """Comparison of the ONNX graph with scikit-learn on the test rows and on rows made to tell them apart."""

    rows: int
    max_abs_difference: float
    tolerance: float
    passed: bool
    opset: int


class Golden(Document):
    """Synthetic rows, drawn from bin limits and categories and never from patients, with the scores that they must have."""

    inputs: dict[str, tuple[float | str | None, ...]]
    scores: tuple[float, ...]
    tolerance: float = 1e-5


class LinearPart(Document):
    """What a derived feature of one column adds: its outputs times the weights, or times ``undefined`` where it has none."""

    feature: Derived
    weights: tuple[float, ...]
    undefined: float = 0.0
    """What is imputed for an undefined result, such as the logarithm of -1."""


class LinearTerm(Document):
    """A column's contribution to the margin of a linear model, minus its mean over the training rows.

    A number x adds weight (x - centre) + offset and its parts, and a missing number adds ``missing``; all include imputation and
    scaling. A category adds its value in ``categories``, where the empty text means missing. An unknown category adds ``other``.
    """

    weight: float = 0.0
    centre: float = 0.0
    offset: float = 0.0
    parts: tuple[LinearPart, ...] = ()
    missing: float = 0.0
    categories: dict[str, float] = {}
    other: float = 0.0


class LinearExplainer(Document):
    """Margin = base + the sum of the terms, one a feature."""

    method: Literal["linear"] = "linear"
    base: float
    terms: tuple[LinearTerm, ...]


class TreeExplainer(Document):
    """All trees of a model in one list of nodes, which split by the columns of a request, not by encoded features.

    A node sends a number x left when x <= threshold, a missing one when ``missing_left`` (so imputation is in it); a category
    goes left when it is not ``categories[column][category]``. A leaf has left = right = -1. Children stand after their parent.
    """

    method: Literal["tree"] = "tree"
    offset: float
    """The margin before the first tree. The leaves' values include the learning rate."""
    categories: tuple[tuple[str, ...], ...]
    """By feature; empty for a number. The empty text is the missing category."""
    left: tuple[int, ...]
    right: tuple[int, ...]
    column: tuple[int, ...]
    """Index of the feature; -1 in a leaf."""
    threshold: tuple[float, ...]
    category: tuple[int, ...]
    """Index into the column's categories; -1 in a leaf and where a number is split."""
    missing_left: tuple[bool, ...]
    value: tuple[float, ...]
    """Of a leaf, on the margin's scale; 0 elsewhere."""
    cover: tuple[float, ...]
    """Weight of the training rows that came through the node."""

    @model_validator(mode="after")
    def _is_made_of_trees(self) -> Self:
        nodes = len(self.left)
        lists = (self.right, self.column, self.threshold, self.category, self.missing_left, self.value, self.cover)
        if any(len(values) != nodes for values in lists):
            raise ValueError("the lists of a node's properties differ in length")
        children = [child for pair in zip(self.left, self.right, strict=True) for child in pair if pair != (-1, -1)]
        forward = all(
            node < min(pair) and max(pair) < nodes
            for node, pair in enumerate(zip(self.left, self.right, strict=True))
            if pair != (-1, -1)
        )
        if not forward or len(set(children)) != len(children):
            raise ValueError("a node's children do not stand after it, or belong to two nodes")
        if not all(cover > 0 for cover in self.cover):
            raise ValueError("a node that no training row came through")
        return self


class SampledExplainer(Document):
    """Any model, through its graph: permutations over synthetic rows, which stand for 'not known'."""

    method: Literal["sampled"] = "sampled"
    background: dict[str, tuple[float | str | None, ...]]
    """By feature: values drawn from the reference profile's limits and categories, never patients' rows."""
    seed: int = 0


class ScoreLink(Document):
    """The calibration of the margin m: the score is expit(slope m + intercept), or interpolated between knots."""

    kind: Literal["logistic", "piecewise"] = "logistic"
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


class ExplainerReport(Document):
    """base + sum(contributions), passed through the link, against the ONNX score on the test rows."""

    rows: int
    max_abs_difference: float
    tolerance: float


class Explainer(Document):
    """The data that an explanation needs besides the graph: exact for linear models and trees, sampled for others.

    Contributions are on the margin's scale, log-odds before calibration (a sampled explainer's margin is the log-odds of the
    calibrated score), one a feature of the signature, in its order.
    """

    features: tuple[str, ...]
    link: ScoreLink
    model: Annotated[LinearExplainer | TreeExplainer | SampledExplainer, Field(discriminator="method")]
    report: ExplainerReport | None = None


class Lineage(Document):
    """Origin of the model."""

    training_job: str | None = None
    data_digest: Digest
    sources: tuple[str, ...]
    algorithm: str
    params: dict[str, object]
    seed: int
    packages: dict[str, str]


class BundleDocuments(Document):
    """Documents of its verified bundle that a serving pod sends to the operator."""

    digest: Digest
    signature: Signature
    reference: ReferenceProfile
    evaluation: Evaluation
    parity: ParityReport


class UnverifiedBundleError(ValueError):
    """A bundle that cannot be read, or is not the one that was asked for."""

    def __init__(self, message: str, reason: Reason = Reason.ARTIFACT_UNREADABLE) -> None:
        super().__init__(message)
        self.reason = reason


def file_digest(content: bytes) -> str:
    """Return the digest of one file's content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
