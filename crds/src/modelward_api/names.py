"""Names that more than one component must agree on: labels, ports, paths, file names."""

from __future__ import annotations

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "modelward"
COMPONENT = "app.kubernetes.io/component"
MODEL = "modelward.io/model"
MODEL_VERSION = "modelward.io/modelversion"
"""Label with the name of the ModelVersion object; a model's Service selects pods by it."""
DIGEST = "modelward.io/digest"
"""Label with the first 16 hex digits of the bundle's digest."""
SCHEME = "modelward.io/scheme"
"""Label of serving pods that speak TLS: https."""
CALLERS = "modelward.io/callers"
"""Label of serving pods that ask callers for tokens: pods with the same value take the same."""
TRAINING_JOB = "modelward.io/trainingjob"
SCORE_BATCH = "modelward.io/scorebatch"
FINALIZER = "modelward.io/serving"
"""Put on ModelVersions by Modelward 0.1 and taken off again: nothing may wait for an operator that is gone."""
SPEC_OF_VERSION = "modelward.io/modelversion-spec"
"""Annotation of a Deployment: what the ModelVersion's spec says of pods, by which they are handed over when it is deleted."""
UID_OF_VERSION = "modelward.io/modelversion-uid"
"""Annotation of a Deployment: for which ModelVersion it was made last; a deleted one may have had the same name."""
FIELD_MANAGER = "modelward-operator"
SCALE_MANAGER = "modelward-operator-scale"
"""Owns a Deployment's replicas from when we let go of them until an autoscaler first changes them."""
IN_FLIGHT_METRIC = "modelward_requests_in_flight"

HTTP_PORT = 8080
"""Open Inference Protocol over REST."""
GRPC_PORT = 9000
"""Open Inference Protocol over gRPC."""
CONTROL_PORT = 8090
"""Leases and evidence: for the operator only."""
PROGRESS_PORT = 8090
"""Where a training pod tells how far it is."""

CONTROL_KEYS = "modelward-control-keys"
"""The ConfigMap with the public keys by which serving pods know the operator."""
CONTROL_KEYS_FILE = "jwks.json"

EXCHANGE_PATH = "/v1/exchange"
DOCUMENTS_PATH = "/v1/bundle"
PROGRESS_PATH = "/v1/progress"

ROUTED_HEADER = "x-modelward-routed"
"""Set by a champion on what it sends to a challenger: its lease's proof. A request with one that holds is answered alone, never
routed on, and not counted; without, it is like any other."""
ARM_HEADER = "x-modelward-arm"
MODEL_HEADER = "x-modelward-model"
VERSION_HEADER = "x-modelward-version"
DIGEST_HEADER = "x-modelward-digest"

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"
REFERENCE_FILE = "reference.json"
EVALUATION_FILE = "evaluation.json"
PARITY_FILE = "parity.json"
GOLDEN_FILE = "golden.json"
LINEAGE_FILE = "lineage.json"
EXPLAINER_FILE = "explainer.json"
BUNDLE_FILES = frozenset(
    {
        MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE, REFERENCE_FILE, EVALUATION_FILE, PARITY_FILE, GOLDEN_FILE, LINEAGE_FILE,
        EXPLAINER_FILE,
    }
)  # fmt: skip
"""Optional: a bundle without it is served, and not explained."""

SCORE = "score"
"""The one output of a bundle's ONNX graph, FP32 [n, 1], P(positive); also the score's name in profiles."""
DECISION = "decision"
VERSION = "version"
"""The column of a batch's scores that says which version gave them."""
