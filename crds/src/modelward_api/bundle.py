"""What a bundle holds. A bundle is a directory of data with one digest: no code and no pickle travels in it.

The digest is the SHA-256 of the manifest's canonical JSON, and the manifest lists the SHA-256 of every other file, so the
digest does not depend on how the directory is packed.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Digest, Document, Fraction, Name, SemVer
from modelward_api.columns import Column

FORMAT = 1


class Manifest(Document):
    """The files of a bundle and their digests."""

    format: Literal[1] = 1
    model: Name
    version: SemVer
    files: dict[str, Digest]

    def canonical(self) -> bytes:
        """The bytes that the digest is taken of: sorted keys, no spaces."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """The bundle's digest, ``sha256:`` and 64 hex digits."""
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()


class Signature(Document):
    """What the model takes and gives.

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
        """How many cells are bins; three more follow them."""
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
    """What the training data looked like, as counts; what drift is measured against."""

    rows: int
    features: tuple[FeatureReference, ...]
    score: FeatureReference


class Metric(Document):
    """An estimate on the test set with its bootstrap interval."""

    name: Annotated[str, Field(description="The metric, such as auroc.", max_length=64)]
    estimate: Annotated[float, Field(description="Its value on the test rows.")]
    lower: Annotated[float | None, Field(description="Lower end of its interval.")] = None
    upper: Annotated[float | None, Field(description="Upper end of its interval.")] = None


class Evaluation(Document):
    """How good the model was on the test rows, which it never saw."""

    train_rows: int
    test_rows: int
    test_events: int
    metrics: tuple[Metric, ...]
    confidence: float = 0.95
    warnings: tuple[str, ...] = ()


class ParityReport(Document):
    """The ONNX graph against scikit-learn on the whole test set."""

    rows: int
    max_abs_difference: float
    tolerance: float
    passed: bool
    opset: int


class Golden(Document):
    """Synthetic rows (drawn from bin midpoints and categories, never patients) with the scores they must give."""

    inputs: dict[str, tuple[float | str | None, ...]]
    scores: tuple[float, ...]
    tolerance: float = 1e-5


class Lineage(Document):
    """Where the model comes from."""

    training_job: str | None = None
    data_digest: Digest
    sources: tuple[str, ...]
    algorithm: str
    params: dict[str, object]
    seed: int
    packages: dict[str, str]


class BundleDocuments(Document):
    """What a serving pod tells the operator about its verified bundle."""

    digest: Digest
    signature: Signature
    reference: ReferenceProfile
    evaluation: Evaluation
    parity: ParityReport


class UnverifiedBundleError(ValueError):
    """A file of the bundle is missing, unlisted, or differs from the manifest."""


def file_digest(content: bytes) -> str:
    """The digest of one file's content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
