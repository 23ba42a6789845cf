"""All steps, in their order: from declared data to a verified bundle in the store."""

from __future__ import annotations

import platform
import time
from importlib.metadata import version

from modelward_api import names
from modelward_api.base import Document
from modelward_api.bundle.documents import (
    Evaluation,
    Explainer,
    Lineage,
    Metric,
    ParityReport,
    ReferenceProfile,
    Signature,
    Subgroup,
)
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_api.store import shown
from modelward_api.wire.exchange import TrainingOutcome
from modelward_training import bundle, export
from modelward_training.data.sources import load
from modelward_training.data.split import divide
from modelward_training.data.validate import Dataset, check, check_variation
from modelward_training.estimators import families
from modelward_training.evaluation.metrics import evaluate
from modelward_training.evaluation.subgroups import declared
from modelward_training.explain import explainer
from modelward_training.profile import FEWEST_OF_A_STRATUM, golden_rows, reference_profile
from modelward_training.progress import Progress

PACKAGES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "polars", "numpy", "modelward-training")


def run(name: str, spec: TrainingJobSpec, store: str | None, progress: Progress) -> TrainingOutcome:
    """Train one version.

    Args:
        name: the TrainingJob's.
        spec: what to train.
        store: where store:// addresses are, or None.
        progress: told of every step.

    Raises:
        InvalidInputError: the spec or the data are wrong.
        StoreError: the store cannot be reached now.
    """
    started, seed = time.monotonic(), spec.split.seed
    subgroups = declared(spec)
    with progress.step("load"):
        loaded = load(spec.data, store)
    with progress.step("check", f"{loaded.frame.height} rows"):
        data = check(spec, loaded.frame)
    with progress.step("split"):
        train, test = divide(spec.split, data)
        check_variation(spec, train)
    with progress.step("fit", f"{spec.estimator.algorithm} on {len(train)} rows"):
        pipeline = families.build(spec.estimator, train, seed)
        pipeline = families.fit(pipeline, spec.estimator, train)
    with progress.step("calibrate", spec.estimator.calibration):
        unseen = families.cross_fitted(pipeline, spec.estimator, train, seed)
        fitted = families.Model(pipeline, families.calibrate(unseen, spec.estimator, train))
    with progress.step("evaluate", f"{len(test)} rows"):
        score, threshold = fitted.predict(test), spec.evaluation.operating_threshold
        evaluated = evaluate(test.label, score, threshold, spec.evaluation.bootstrap, seed, test.group)
        metrics = evaluated.metrics
    with progress.step("export"):
        graph = export.export(fitted, train)
        parity = export.compare(graph, fitted, test)
        profile = reference_profile(train, fitted.calibrator(unseen), subgroups)
        explained, unexplained = explainer(graph, fitted, train, test, profile)
    with progress.step("bundle"):
        lineage = _lineage(name, spec, loaded.digest, fitted)
        warnings = (*evaluated.undefined, *unexplained, *_too_small(subgroups, profile), *data.warnings)
        content = _documents(
            spec, subgroups, train, test, graph, metrics, parity, lineage, profile, explained, warnings
        )
        manifest, archive = bundle.assemble(spec.model, spec.version, graph, content)
        uri = bundle.put(archive, spec.output.uri, manifest, store)
    with progress.step("done"):
        return TrainingOutcome(
            succeeded=True,
            reason=Reason.TRAINED,
            message=f"{spec.model} {spec.version} from {len(train)} rows",
            uri=uri,
            digest=manifest.digest,
            data_digest=loaded.digest,
            train_rows=len(train),
            test_rows=len(test),
            metrics=metrics,
            parity_max_abs_difference=parity.max_abs_difference,
            warnings=tuple(warning[:200] for warning in warnings[:8]),
            seconds=round(time.monotonic() - started, 2),
        )


def _documents(
    spec: TrainingJobSpec,
    subgroups: tuple[Subgroup, ...],
    train: Dataset,
    test: Dataset,
    graph: bytes,
    metrics: tuple[Metric, ...],
    parity: ParityReport,
    lineage: Lineage,
    profile: ReferenceProfile,
    explained: Explainer | None,
    warnings: tuple[str, ...],
) -> dict[str, Document]:
    signature = Signature(
        model=spec.model,
        version=spec.version,
        inputs=train.features,
        label=spec.data.label.column,
        positive=spec.data.label.positive,
        operating_threshold=spec.evaluation.operating_threshold,
        subgroups=subgroups,
    )
    evaluation = Evaluation(
        train_rows=len(train),
        test_rows=len(test),
        test_events=int(test.label.sum()),
        metrics=metrics,
        warnings=warnings,
    )
    optional = {} if explained is None else {names.EXPLAINER_FILE: explained}
    return optional | {
        names.SIGNATURE_FILE: signature,
        names.REFERENCE_FILE: profile,
        names.EVALUATION_FILE: evaluation,
        names.PARITY_FILE: parity,
        names.GOLDEN_FILE: golden_rows(graph, train, profile),
        names.LINEAGE_FILE: lineage,
    }


def _too_small(subgroups: tuple[Subgroup, ...], profile: ReferenceProfile) -> list[str]:
    strata = [stratum for subgroup in subgroups for stratum in subgroup.strata]
    return [
        f"{stratum}: fewer than {FEWEST_OF_A_STRATUM} training rows, so its drift is not watched"
        for stratum in strata
        if stratum not in profile.strata
    ]


def _lineage(name: str, spec: TrainingJobSpec, data_digest: str, fitted: families.Model) -> Lineage:
    return Lineage(
        training_job=name,
        data_digest=data_digest,
        sources=tuple(shown(source.uri) for source in spec.data.sources),
        algorithm=spec.estimator.algorithm,
        params={key: str(value) for key, value in sorted(fitted.pipeline[-1].get_params().items())},
        seed=spec.split.seed,
        packages={"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
    )
