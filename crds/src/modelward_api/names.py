"""Names that several components share: labels, ports, paths, file names."""

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
"""Label of serving pods that require tokens of clients. Pods with the same value accept the same tokens."""
TRAINING_JOB = "modelward.io/trainingjob"
SCORE_BATCH = "modelward.io/scorebatch"
SQL_VARIABLE = "MODELWARD_SQL_"
"""Variable of a training pod with the address of a database: followed by the index of the source."""
PRIVATE_HOSTS_VARIABLE = "MODELWARD_PRIVATE_HOSTS"
"""Variable with the private hosts that the chart allows as https sources, separated by commas."""
FINALIZER = "modelward.io/serving"
"""Finalizer of Modelward 0.1. It is removed again, because nothing may wait for an operator that is gone."""
SPEC_OF_VERSION = "modelward.io/modelversion-spec"
"""Annotation of a Deployment with the ModelVersion's pod settings, by which pods are handed over after its deletion."""
UID_OF_VERSION = "modelward.io/modelversion-uid"
"""Annotation of a Deployment with the uid of its ModelVersion: a deleted one may have had the same name."""
FIELD_MANAGER = "modelward-operator"
SCALE_MANAGER = "modelward-operator-scale"
"""Field manager of a Deployment's replicas between Modelward's own and an autoscaler's."""
IN_FLIGHT_METRIC = "modelward_requests_in_flight"

HTTP_PORT = 8080
"""Open Inference Protocol over REST."""
GRPC_PORT = 9000
"""Open Inference Protocol over gRPC."""
CONTROL_PORT = 8090
"""Leases and evidence, for the operator only."""
PROGRESS_PORT = 8090
"""Progress of a training pod."""

CONTROL_KEYS = "modelward-control-keys"
"""ConfigMap with the operator's public keys, by which serving pods authenticate it."""
CONTROL_KEYS_FILE = "jwks.json"

EXCHANGE_PATH = "/v1/exchange"
DOCUMENTS_PATH = "/v1/bundle"
PROGRESS_PATH = "/v1/progress"

ROUTED_HEADER = "x-modelward-routed"
"""Header with the lease's proof, on requests from a champion to a challenger. A request with a valid proof is answered without
routing or counting; any other is treated like a client's."""
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
"""Optional: a bundle without it is served, and not explained."""
VALIDATION_FILE, VALIDATION_PAGE = "validation.json", "validation.html"
"""The report on the training data, for programs and for people."""
BUNDLE_FILES = frozenset(
    {
        MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE, REFERENCE_FILE, EVALUATION_FILE, PARITY_FILE, GOLDEN_FILE, LINEAGE_FILE,
        EXPLAINER_FILE, VALIDATION_FILE, VALIDATION_PAGE,
    }
)  # fmt: skip
"""The files that a bundle may have. A bundle with any other file is refused: a file that training adds is named here first."""

SCORE = "score"
"""The one output of a bundle's ONNX graph, FP32 [n, 1], P(positive); also the score's name in profiles."""
DECISION = "decision"
VERSION = "version"
"""Column of a batch's output with the version that scored the row."""
