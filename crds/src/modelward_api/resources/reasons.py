"""Every condition type and every reason that Modelward writes, each once, with its meaning.

Status conditions, Events, termination messages and error responses use these words and no others. They are stable: programs
compare them. ``make generate`` writes docs/reference/reasons.md from this module.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

ROLLOUT = "Rollout of a ModelVersion"
BUNDLE = "Bundle"
STORE = "Artifact store"
JOBS = "Jobs and pods"
CLUSTER = "Kubernetes API server"
DRIFT = "Drift monitoring"
TRAINING = "Training"
DATA = "Columns and values, in training, batches and requests"
BATCH = "Batch scoring"
REQUEST = "Inference request"
AUTHENTICATION = "Authentication of clients and of the operator"
CONTROL = "Lease of a champion pod"


class _Word(StrEnum):
    """A word with its meaning."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Attach the meaning to the word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member


class ConditionType(_Word):
    """What a condition of a status is about."""

    READY = "Ready", "The object does what its spec asks for (kstatus)."
    RECONCILING = "Reconciling", "The operator is still working towards the spec; absent unless True (kstatus)."
    STALLED = "Stalled", "Nothing progresses until a person acts; absent unless True (kstatus)."
    AVAILABLE = "Available", "At least one pod of the version is ready."
    ARTIFACT_VERIFIED = "ArtifactVerified", "The bundle has the digest that the spec names."
    PARITY_VERIFIED = (
        "ParityVerified",
        "The ONNX model gave the scores of the trained model on the test rows and on extreme values.",
    )
    ANALYSIS_PASSING = "AnalysisPassing", "The evidence so far: True passes, False shows harm, Unknown is undecided."
    ANALYSIS_CURRENT = (
        "AnalysisCurrent",
        "False while spec.rollout.analysis differs from the one that the comparison began with; absent otherwise.",
    )
    SUBGROUPS_DECLARED = (
        "SubgroupsDeclared",
        "False while spec.rollout.analysis asks for subgroups and the champion's bundle declares none; absent otherwise.",
    )
    PROMOTED = "Promoted", "The version is the champion."
    PAUSED = "Paused", "spec.rollout.paused holds the rollout."
    ROLLED_BACK = "RolledBack", "The version was rolled back."
    RETIRED = "Retired", "The version has no pods any more; it then has no condition Ready."
    TLS_READY = "TlsReady", "The version's pods serve https."
    LEASE_TAKEN = "LeaseTaken", "False while a pod refuses its lease; absent otherwise."
    RECORD_KEPT = (
        "RecordKept",
        "False for a day after the record of decisions or the quarantine was deleted, or counts could not be opened.",
    )
    CHAMPION_PRESENT = (
        "ChampionPresent",
        "False while the model's champion is a version whose ModelVersion was deleted; absent otherwise.",
    )
    APPLIED = "Applied", "False while the API server refuses a write for the version; absent otherwise."
    DRIFTING = "Drifting", "The monitor calls drift. Its reason is the monitor's state."
    SUSPENDED = "Suspended", "spec.suspend holds the job."
    COMPLETE = "Complete", "The job has succeeded."
    FAILED = "Failed", "The job has failed and is not tried again."


class FindingCode(_Word):
    """What the checks of training data find. ``spec.data.quality.forbid`` lists those that fail a job."""

    TARGET_COPY = "TargetCopy", "A feature is a copy of the label, or recodes it."
    KNOWN_AFTER_OUTCOME = "KnownAfterOutcome", "A feature is known only with the outcome, or after the time of its row."
    FUTURE_VALUE = "FutureValue", "A row's time is after the extraction, or after the start of the job."
    NEAR_PERFECT_FEATURE = "NearPerfectFeature", "One feature alone has an AUROC above 0.99."
    GROUP_IN_BOTH_PARTS = "GroupInBothParts", "A group, such as a patient, has rows in more than one part of the split."
    SUSPECTED_UNIT = "SuspectedUnit", "The values would be plausible in another unit than the declared one."
    DUPLICATE_ROW = "DuplicateRow", "Rows are equal in all declared columns."
    DUPLICATE_GROUP = "DuplicateGroup", "Rows equal those of another group: possibly one patient under two numbers."
    CONSTANT_FEATURE = "ConstantFeature", "A feature has one value."
    NEARLY_EMPTY = "NearlyEmpty", "A feature is missing in nearly all rows."
    BEYOND_RANGE = "BeyondRange", "Values are outside the declared range."
    ROWS_QUARANTINED = "RowsQuarantined", "Rows were set aside because they break a rule."
    CLASS_IMBALANCE = "ClassImbalance", "One class is rare."
    SITE_LABEL_DIFFERS = "SiteLabelDiffers", "The event rate of a site differs from that of the others."
    SITE_DIFFERS = "SiteDiffers", "A feature of a site is distributed differently from that of the others."


class Reason(StrEnum):
    """Why a condition has its status, why a job ended, or why a request was refused."""

    topic: str
    meaning: str

    def __new__(cls, word: str, topic: str, meaning: str) -> Self:
        """Attach topic and meaning to the word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.topic = topic
        member.meaning = meaning
        return member

    WAITING_FOR_TRAINING = "WaitingForTraining", ROLLOUT, "The TrainingJob has not made the bundle yet."
    WAITING_FOR_ROLLOUT = (
        "WaitingForRollout",
        ROLLOUT,
        "Another version is rolling out; a model rolls out one at a time.",
    )
    WAITING_FOR_CLEANUP = (
        "WaitingForCleanup",
        ROLLOUT,
        "What a deleted object of the same name left is being removed first.",
    )
    FETCHING = "Fetching", ROLLOUT, "Pods are fetching the bundle and checking its digest."
    STARTING = "Starting", ROLLOUT, "Pods are starting."
    PODS_CHANGING = "PodsChanging", ROLLOUT, "spec.serving was changed; pods with the new settings are not ready yet."
    ANALYSIS_CHANGED = (
        "AnalysisChanged",
        ROLLOUT,
        "spec.rollout.analysis was changed during the comparison; the change takes effect when the next one begins.",
    )
    NO_SUBGROUPS = (
        "NoSubgroups",
        ROLLOUT,
        "The spec of a ModelVersion or a DriftMonitor asks for subgroups, and the champion's bundle declares none.",
    )
    PODS_READY = "PodsReady", ROLLOUT, "At least one pod is ready."
    NO_POD_READY = "NoPodReady", ROLLOUT, "No pod is ready."
    SERVING = "Serving", ROLLOUT, "The version serves clients."
    SHADOWING = "Shadowing", ROLLOUT, "The version scores the champion's requests and its answers are not returned."
    CANARY_STARTED = "CanaryStarted", ROLLOUT, "The first canary step began."
    STEPPED_UP = "SteppedUp", ROLLOUT, "The next canary step began."
    PAUSED = "Paused", ROLLOUT, "spec.rollout.paused holds the rollout at its weight."
    INSUFFICIENT_EVIDENCE = "InsufficientEvidence", ROLLOUT, "Too few paired requests to promote or to roll back."
    HARM_BOUNDED = "HarmBounded", ROLLOUT, "Every signal's upper bound is below its margin; the version is promoted."
    HARM_SHOWN = "HarmShown", ROLLOUT, "A signal shows harm; the version is rolled back."
    SUBGROUP_HARM = "SubgroupHarm", ROLLOUT, "A declared subgroup shows harm; the version is rolled back."
    HARD_FAILURE = (
        "HardFailure",
        ROLLOUT,
        "A pod stopped using the version: invalid scores, or errors from the first requests.",
    )
    DIRECT = "Direct", ROLLOUT, "strategy: direct takes over without evidence."
    TAKING_OVER = "TakingOver", ROLLOUT, "The version is about to become the champion."
    PROMOTED = "Promoted", ROLLOUT, "The version became the champion."
    SUPERSEDED = "Superseded", ROLLOUT, "Another version took its place."
    TOOK_OVER_AGAIN = "TookOverAgain", ROLLOUT, "The previous champion serves again."
    RECALLED = "Recalled", ROLLOUT, "The champion was withdrawn; this previous version is started to serve again."
    WITHDRAWN = "Withdrawn", ROLLOUT, "spec.rollout.withdrawn took the version out of service."
    WITHDRAWAL_UNDER_WAY = (
        "WithdrawalUnderWay",
        ROLLOUT,
        "Withdrawn, and still serving until the previous version is ready.",
    )
    WITHDRAWAL_HELD = "WithdrawalHeld", ROLLOUT, "Withdrawn, and still serving because no other version can. Apply one."
    DELETION_HELD = "DeletionHeld", ROLLOUT, "Being deleted, and still serving because no other version can. Apply one."
    DELETED = "Deleted", ROLLOUT, "The version is being deleted."
    RETIRED = "Retired", ROLLOUT, "The version is not kept warm any more."
    RELEASED = "Released", ROLLOUT, "spec.rollout.release lifted the quarantine."
    DIGEST_QUARANTINED = (
        "DigestQuarantined",
        ROLLOUT,
        "This digest was rolled back before. Set spec.rollout.release to roll it out again.",
    )
    TLS_DIFFERS = (
        "TlsDiffers",
        ROLLOUT,
        "The version and the champion differ in spec.serving.tls. Use the same setting.",
    )
    AUTHENTICATION_DIFFERS = (
        "AuthenticationDiffers",
        ROLLOUT,
        "The version would refuse the champion's clients. Use the same spec.serving.authentication.",
    )
    TLS_SECRET_MISSING = "TlsSecretMissing", ROLLOUT, "The Secret of spec.serving.tls.secretName lacks a file."
    TLS_SECRET_UNUSABLE = (
        "TlsSecretUnusable",
        ROLLOUT,
        "The Secret of spec.serving.tls.secretName holds no usable certificate and key.",
    )
    NAME_TAKEN = "NameTaken", ROLLOUT, "An object of that name exists and belongs to somebody else."
    INVALID_SPEC = "InvalidSpec", ROLLOUT, "The operator or the job cannot read the spec."
    CHAMPION_UNREADABLE = (
        "ChampionUnreadable",
        ROLLOUT,
        "The champion's spec cannot be read, so nothing changes until it is corrected.",
    )
    RECORD_UNREADABLE = "RecordUnreadable", ROLLOUT, "The record of decisions cannot be read, so nothing is decided."
    RECORD_LOST = (
        "RecordLost",
        ROLLOUT,
        "The record of decisions or the quarantine was deleted, or counts in it cannot be opened.",
    )
    COMPARED = "Compared", ROLLOUT, "The ONNX model and the trained model were compared, also on extreme values."

    VERIFIED = "Verified", BUNDLE, "The bundle was fetched, and its digest is right."
    DIGEST_MATCHES = "DigestMatches", BUNDLE, "The bundle has the digest that spec.artifact.digest names."
    DIGEST_MISMATCH = "DigestMismatch", BUNDLE, "The bundle, or a file of it, has another digest."
    ARTIFACT_NOT_FOUND = "ArtifactNotFound", BUNDLE, "There is no bundle at the address."
    ARTIFACT_UNREADABLE = "ArtifactUnreadable", BUNDLE, "The file at the address is not a bundle, or is incomplete."
    ARTIFACT_AWAITED = "ArtifactAwaited", BUNDLE, "The chosen ModelVersion has no bundle yet."
    MODEL_MISMATCH = "ModelMismatch", BUNDLE, "The bundle or the TrainingJob is of another model than spec.model."
    VERSION_MISMATCH = (
        "VersionMismatch",
        BUNDLE,
        "The bundle or the TrainingJob is of another version than spec.version.",
    )
    MODEL_UNLOADABLE = "ModelUnloadable", BUNDLE, "ONNX Runtime cannot load or run the model."
    PARITY_FAILED = "ParityFailed", BUNDLE, "The ONNX model gives other scores than the trained model."
    TRAINING_JOB_FAILED = "TrainingJobFailed", BUNDLE, "The TrainingJob that should make the bundle failed."

    STORE_UNAVAILABLE = "StoreUnavailable", STORE, "The store cannot be used now; tried again."
    STORE_UNREACHABLE = (
        "StoreUnreachable",
        STORE,
        "The store does not answer: check address, proxies and NetworkPolicies.",
    )
    STORE_ACCESS_DENIED = (
        "StoreAccessDenied",
        STORE,
        "The store refuses the credentials, there are none, or the folder may not be read or written.",
    )
    STORE_CERTIFICATE_UNTRUSTED = (
        "StoreCertificateUntrusted",
        STORE,
        "The store's certificate is not trusted: set caBundle.",
    )
    STORE_AUTHORITIES_MISSING = (
        "StoreAuthoritiesMissing",
        STORE,
        "The ConfigMap or Secret of caBundle is missing or has no such key.",
    )
    STORE_FULL = "StoreFull", STORE, "The store has no space left."
    INVALID_ADDRESS = "InvalidAddress", STORE, "The address is not one that the job may use."
    SECRET_MISSING = (
        "SecretMissing",
        STORE,
        "A Secret that the object names is missing or has no such key; tried again.",
    )
    DATABASE_UNREACHABLE = (
        "DatabaseUnreachable",
        STORE,
        "The database does not answer: check address and NetworkPolicies; tried again.",
    )
    DATABASE_ACCESS_DENIED = (
        "DatabaseAccessDenied",
        STORE,
        "The database refuses the user or the password; tried again.",
    )
    QUERY_FAILED = "QueryFailed", STORE, "The database cannot run the query, or its result is not a table."
    QUERY_TIMED_OUT = "QueryTimedOut", STORE, "The query did not finish within its timeout."
    MISSING_FILE = "MissingFile", STORE, "There is no file at the address."

    TRAINING = "Training", JOBS, "The training pod is running."
    SCORING = "Scoring", JOBS, "Scoring pods are running."
    SUSPENDED = "Suspended", JOBS, "spec.suspend holds the job."
    ENDING = "Ending", JOBS, "The training pod ended with a bundle; the Job has not counted it yet."
    TRAINED = "Trained", JOBS, "Training succeeded and the bundle is in the store."
    SCORED = "Scored", JOBS, "The rows are scored."
    FAILED = "Failed", JOBS, "The job failed before its reason was recorded."
    TERMINATED = "Terminated", JOBS, "The pod was told to end; it is not the job's failure."
    OUTCOME_LOST = (
        "OutcomeLost",
        JOBS,
        "The pod was removed before its outcome was read. Delete the object and apply it again.",
    )
    MODEL_VERSION_REFUSED = "ModelVersionRefused", JOBS, "Training succeeded, and its ModelVersion was refused."
    JOB_FAILED = "JobFailed", JOBS, "The Kubernetes Job failed without a reason of its own."
    DEADLINE_EXCEEDED = "DeadlineExceeded", JOBS, "The deadline of the rollout, the job or the request passed."
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded", JOBS, "The Job's pods failed too often (Kubernetes)."
    CONTAINER_FAILED = "ContainerFailed", JOBS, "A container ended with an error and said nothing."
    OOM_KILLED = "OOMKilled", JOBS, "A container used more memory than its limit (Kubernetes)."
    DISRUPTED = "Disrupted", JOBS, "The cluster ended the pod."
    UNSCHEDULABLE = "Unschedulable", JOBS, "No node fits the pod (Kubernetes)."
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff", JOBS, "The image cannot be pulled; tried again (Kubernetes)."
    ERR_IMAGE_PULL = "ErrImagePull", JOBS, "The image cannot be pulled (Kubernetes)."
    INVALID_IMAGE_NAME = "InvalidImageName", JOBS, "The image's name is not valid (Kubernetes)."
    CREATE_CONTAINER_CONFIG_ERROR = (
        "CreateContainerConfigError",
        JOBS,
        "A ConfigMap or Secret of the container is missing (Kubernetes).",
    )
    CREATE_CONTAINER_ERROR = "CreateContainerError", JOBS, "The container cannot be created (Kubernetes)."
    INTERNAL_ERROR = "InternalError", JOBS, "An unexpected error; the message names its type and the line, and no data."

    INVALID = "Invalid", CLUSTER, "The API server refuses an object as not valid."
    FORBIDDEN = "Forbidden", CLUSTER, "A permission or an admission policy refuses an object."
    NOT_FOUND = "NotFound", CLUSTER, "What the object or the request refers to does not exist."
    NOT_ALLOWED = "NotAllowed", CLUSTER, "The API server does not allow the operation."
    CONFLICT = "Conflict", CLUSTER, "Somebody else changed the object; tried again."
    TOO_MANY_REQUESTS = "TooManyRequests", CLUSTER, "The API server limits the operator's requests; tried again."
    API_SERVER_UNREACHABLE = "ApiServerUnreachable", CLUSTER, "The API server does not answer; tried again."
    API_SERVER_ERROR = "ApiServerError", CLUSTER, "The API server failed; tried again."
    QUOTA_EXCEEDED = "QuotaExceeded", CLUSTER, "A ResourceQuota is used up. Request less, or raise it."
    OBJECT_REFUSED = "ObjectRefused", CLUSTER, "The API server refuses an object; its message says why."
    PODS_REFUSED = "PodsRefused", CLUSTER, "The Job's controller cannot create pods; its message says why."

    WATCHING = "Watching", DRIFT, "The monitor compares each window with the champion's reference."
    WAITING_FOR_COUNTS = "WaitingForCounts", DRIFT, "The champion's pods have not told their counts yet."
    MODEL_NOT_FOUND = "ModelNotFound", DRIFT, "There is no version of spec.model that serves, or none at all."
    FEATURE_NOT_FOUND = "FeatureNotFound", DRIFT, "A listed feature is not one of the model's; the others are watched."
    REFERENCE_TOO_SMALL = "ReferenceTooSmall", DRIFT, "The champion was trained on too few rows to tell a shift."
    DRIFT_DETECTED = "DriftDetected", DRIFT, "A feature or the score has drifted."
    DRIFT = "Drift", DRIFT, "A monitor's action rolled the version back."
    ROLLBACK = "Rollback", DRIFT, "A monitor's action asked for a rollback; the message says what came of it."
    UNKNOWN = "Unknown", DRIFT, "The monitor cannot tell yet."
    INSUFFICIENT_DATA = "InsufficientData", DRIFT, "The window holds too few rows."
    QUIET = "Quiet", DRIFT, "No drift is called."
    DRIFTING = "Drifting", DRIFT, "Drift is called."

    EMPTY_DATA = "EmptyData", TRAINING, "The sources hold no rows."
    UNREADABLE_FILE = "UnreadableFile", TRAINING, "A file is not readable in its declared format."
    NO_FEATURES = "NoFeatures", TRAINING, "No column has the role feature."
    ALL_MISSING = "AllMissing", TRAINING, "A column has no value in any row."
    CONSTANT = "Constant", TRAINING, "A feature has one value in all training rows."
    MISSING_LABEL = "MissingLabel", TRAINING, "Rows have no label."
    UNKNOWN_LABEL = "UnknownLabel", TRAINING, "The label has values beside the declared ones."
    ONE_CLASS = "OneClass", TRAINING, "All rows, or all of one part, have the same label."
    TOO_FEW_ROWS = "TooFewRows", TRAINING, "There are too few rows, or too few of one class."
    TOO_MANY_CATEGORIES = "TooManyCategories", TRAINING, "A column has too many different values for a category."
    TOO_MANY_STRATA = "TooManyStrata", TRAINING, "The declared subgroups make too many groups."
    INVALID_SUBGROUP = (
        "InvalidSubgroup",
        TRAINING,
        "A subgroup's column or cuts do not fit, a site column has no allowedValues, or a sensitive feature is not a subgroup.",
    )
    INVALID_TIME = "InvalidTime", TRAINING, "A time is not ISO 8601 or in a declared format, or out of range."
    MIXED_OFFSETS = "MixedOffsets", TRAINING, "Some times name an offset from UTC and others do not."
    NO_TIME_COLUMN = "NoTimeColumn", TRAINING, "A split by time, a horizon or maxAge needs role: time."
    EMPTY_SPLIT = "EmptySplit", TRAINING, "The split leaves one part without rows."
    INVALID_PARAMETER = "InvalidParameter", TRAINING, "The estimator does not take a parameter's value."
    UNKNOWN_PARAMETER = "UnknownParameter", TRAINING, "The estimator has no such parameter."
    INVALID_UNIT = "InvalidUnit", TRAINING, "A unit is not valid UCUM, or does not convert into the column's."
    AMBIGUOUS_TIME = (
        "AmbiguousTime",
        TRAINING,
        "A local time occurs twice or never, because clocks were set back or forward.",
    )
    UNKNOWN_SITE = "UnknownSite", TRAINING, "A site is not declared, or a declared one is not in the data."
    INVALID_MAPPING = (
        "InvalidMapping",
        TRAINING,
        "A mapping of values is not readable, or has two targets for one value.",
    )
    INVALID_RULE = "InvalidRule", TRAINING, "A rule or a cohort's condition is not an allowed SQL expression."
    RULE_BROKEN = "RuleBroken", TRAINING, "Too many rows break a rule over several columns."
    DUPLICATE_KEY = "DuplicateKey", TRAINING, "Too many rows have a value or key that must be different in every row."
    NOT_INCREASING = "NotIncreasing", TRAINING, "A column that must not decrease does, in too many rows."
    NO_ROWS_LEFT = "NoRowsLeft", TRAINING, "The cohort, the label's horizon or the rules leave no row."
    DATA_TOO_OLD = "DataTooOld", TRAINING, "The latest row is older than spec.data.quality.maxAge."
    FORBIDDEN_FINDING = "ForbiddenFinding", TRAINING, "The data have a finding that spec.data.quality.forbid lists."
    NO_SITE_COLUMN = "NoSiteColumn", TRAINING, "A split by site needs a column with role: site."
    NO_GROUP_COLUMN = "NoGroupColumn", TRAINING, "A split by group needs a column with role: group."

    UNKNOWN_COLUMN = "UnknownColumn", DATA, "A declared column is not in the data, or a named one is not declared."
    MISSING_COLUMN = "MissingColumn", DATA, "A file lacks a column that the model needs."
    DUPLICATE_COLUMN = (
        "DuplicateColumn",
        DATA,
        "A column is declared twice, a file has it twice, or its source declares a site that the file has as a column.",
    )
    WRONG_KIND = "WrongKind", DATA, "A value is not of the column's kind."
    MISSING_VALUE = "MissingValue", DATA, "A value of a column that is not nullable is missing."
    MISSING_VALUES = "MissingValues", DATA, "Values of a column that is not nullable are missing."
    OUT_OF_RANGE = "OutOfRange", DATA, "A value is outside the declared range or categories."
    UNKNOWN_CATEGORY = "UnknownCategory", DATA, "A value is not one of allowedValues."
    TOO_LARGE = "TooLarge", DATA, "A number, a request or an object is larger than the limit."

    CHOOSING_VERSION = "ChoosingVersion", BATCH, "The operator is choosing the version that scores."
    NO_CHAMPION = "NoChampion", BATCH, "The model has no champion. Promote a version, or set spec.version."
    VERSION_NOT_FOUND = "VersionNotFound", BATCH, "The model has no such version."
    VERSION_REFUSED = "VersionRefused", BATCH, "The version was rolled back, failed or is quarantined."
    INPUT_CHANGED = "InputChanged", BATCH, "The input files changed while they were scored."
    EMPTY_FILE = "EmptyFile", BATCH, "A file has no header."
    WRONG_FIELDS = "WrongFields", BATCH, "A line has another number of fields than the header."
    INVALID_ROWS = "InvalidRows", BATCH, "Rows cannot be scored, and spec.onInvalidRow is fail."
    INVALID_SCORE = "InvalidScore", BATCH, "The model gave a score that is not a probability."

    NOT_A_REQUEST = "NotARequest", REQUEST, "The message is not an inference request of the protocol."
    NOT_JSON = "NotJson", REQUEST, "The body is not valid JSON."
    NOT_HTTP = "NotHttp", REQUEST, "The request is not valid HTTP/1.1."
    WRONG_METHOD = "WrongMethod", REQUEST, "The path takes another HTTP method."
    HEAD_TOO_LARGE = "HeadTooLarge", REQUEST, "The request's headers are larger than the limit."
    UNKNOWN_EXPECTATION = "UnknownExpectation", REQUEST, "The Expect header is not 100-continue."
    UNSUPPORTED = "Unsupported", REQUEST, "The protocol's optional feature is not implemented."
    UNSUPPORTED_CONTENT = "UnsupportedContent", REQUEST, "The content type is not application/json."
    UNSUPPORTED_ENCODING = "UnsupportedEncoding", REQUEST, "The content encoding is not gzip, deflate or identity."
    UNSUPPORTED_PARAMETER = "UnsupportedParameter", REQUEST, "A parameter of the request is not supported."
    MISSING_INPUT = "MissingInput", REQUEST, "An input that the model needs is missing."
    UNKNOWN_INPUT = "UnknownInput", REQUEST, "The model has no such input."
    DUPLICATE_INPUT = "DuplicateInput", REQUEST, "An input is given twice."
    UNKNOWN_OUTPUT = "UnknownOutput", REQUEST, "The model has no such output."
    MISSING_DATA = "MissingData", REQUEST, "An input has no values."
    WRONG_DATATYPE = "WrongDatatype", REQUEST, "An input's datatype does not fit its column."
    WRONG_SHAPE = "WrongShape", REQUEST, "An input's shape does not fit the model or its values."
    WRONG_UNIT = "WrongUnit", REQUEST, "An input names a unit that does not convert into the model's."
    NO_ROWS = "NoRows", REQUEST, "The request has no rows."
    TOO_MANY_ROWS = "TooManyRows", REQUEST, "The request has too many rows."
    TOO_MANY_VALUES = "TooManyValues", REQUEST, "The request has too many values."
    TOO_MANY = "TooMany", REQUEST, "The call asks too often."
    NO_EXPLAINER = "NoExplainer", REQUEST, "The bundle has no explainer."
    TOO_SLOW = "TooSlow", REQUEST, "The request arrived too slowly."
    TOO_BUSY = "TooBusy", REQUEST, "The pod serves as many calls as it can: try again."
    BUSY = "Busy", REQUEST, "The pod has no room for the request: try again."

    NO_TOKEN = "NoToken", AUTHENTICATION, "The request has no bearer token."
    BAD_TOKEN = "BadToken", AUTHENTICATION, "The token cannot be verified."
    OUT_OF_TIME = "OutOfTime", AUTHENTICATION, "The token is expired or not yet valid."
    UNKNOWN_KEY = "UnknownKey", AUTHENTICATION, "The token is signed with a key that is not known."
    NO_KEYS = "NoKeys", AUTHENTICATION, "The issuer's keys are not known yet."
    WRONG_ISSUER = "WrongIssuer", AUTHENTICATION, "The token is from another issuer."
    WRONG_AUDIENCE = "WrongAudience", AUTHENTICATION, "The token is for another audience."
    WRONG_SUBJECT = "WrongSubject", AUTHENTICATION, "The token's subject may not use this model."
    UNSIGNED = "Unsigned", AUTHENTICATION, "A control request has no token of the operator."
    ANOTHER_POD = "AnotherPod", AUTHENTICATION, "A control token was signed for another pod."
    ANOTHER_REQUEST = "AnotherRequest", AUTHENTICATION, "A control token was signed for another request."
    REPEATED = "Repeated", AUTHENTICATION, "A control token was used before."

    STALE_EPOCH = "StaleEpoch", CONTROL, "The lease is older than one that the pod has seen."
    WRONG_MODEL = "WrongModel", CONTROL, "The lease is for another model."
    WRONG_DIGEST = "WrongDigest", CONTROL, "The lease is for another bundle."
    LEASE_REFUSED = "LeaseRefused", CONTROL, "A pod refuses its lease because it serves something else."
    SIGNATURE_REFUSED = "SignatureRefused", CONTROL, "A pod does not accept the operator's signature."
    INVALID_ANSWER = "InvalidAnswer", CONTROL, "The challenger gave an invalid score; the pod stopped using it."
    OPENING_ERRORS = (
        "OpeningErrors",
        CONTROL,
        "The challenger failed most of its first requests; the pod stopped using it.",
    )


STORE_TROUBLES = frozenset(
    {
        Reason.STORE_UNAVAILABLE,
        Reason.STORE_UNREACHABLE,
        Reason.STORE_ACCESS_DENIED,
        Reason.STORE_CERTIFICATE_UNTRUSTED,
        Reason.STORE_AUTHORITIES_MISSING,
    }
)
"""The store cannot be used now. Another try may succeed, once somebody has corrected what is wrong."""
UNFETCHABLE = frozenset(
    {
        Reason.DIGEST_MISMATCH,
        Reason.ARTIFACT_NOT_FOUND,
        Reason.ARTIFACT_UNREADABLE,
        Reason.MODEL_MISMATCH,
        Reason.VERSION_MISMATCH,
    }
)
"""The bundle cannot be had, however often it is fetched."""
UNSERVABLE = UNFETCHABLE | {Reason.PARITY_FAILED, Reason.MODEL_UNLOADABLE}
"""The bundle cannot be served, however often its pods are restarted."""
DATABASE_TROUBLES = frozenset({Reason.SECRET_MISSING, Reason.DATABASE_UNREACHABLE, Reason.DATABASE_ACCESS_DENIED})
"""The database of a source cannot be used now."""
RETRIED = STORE_TROUBLES | DATABASE_TROUBLES | {Reason.INTERNAL_ERROR, Reason.TERMINATED}
"""A pod of a Job failed for something that another try may correct."""
FETCHED = frozenset({Reason.VERIFIED}) | UNFETCHABLE | STORE_TROUBLES
"""How the fetch of a bundle can end."""
TLS_FAILURES = frozenset({Reason.TLS_SECRET_MISSING, Reason.TLS_SECRET_UNUSABLE})
"""A pod cannot serve https."""
