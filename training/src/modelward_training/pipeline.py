"""All steps in their order: from declared data to a verified bundle in the store."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime

from modelward_api import names
from modelward_api.bundle.data_report import DataReport
from modelward_api.bundle.documents import ReferenceProfile, Subgroup
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import DataFinding, TrainingJobSpec
from modelward_api.wire.exchange import MAX_FINDINGS, TrainingOutcome
from modelward_training.bundle import archive
from modelward_training.bundle.documents import TrainedModel, documents
from modelward_training.data import fitness, leakage, rules
from modelward_training.data.findings import Finding, require_allowed, warnings
from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import read
from modelward_training.data.split import Parts, split
from modelward_training.data.validate import Validated, validate, validate_variation
from modelward_training.errors import InvalidInputError, StoreError
from modelward_training.estimators import fitting
from modelward_training.evaluation.breakdown import breakdown, uncovered
from modelward_training.evaluation.metrics import evaluate
from modelward_training.evaluation.subgroups import declared_subgroups, members
from modelward_training.explain.explainer import explainer
from modelward_training.export.golden import golden_rows
from modelward_training.export.onnx import OnnxModel
from modelward_training.export.parity import compare
from modelward_training.progress import Progress
from modelward_training.reference.profile import MIN_STRATUM_ROWS, reference_profile
from modelward_training.reference.sites import site_differences
from modelward_training.report.page import page
from modelward_training.report.summary import Facts, summarise, worst_first


def run(name: str, spec: TrainingJobSpec, store: str | None, progress: Progress, facts: Facts) -> TrainingOutcome:
    """Train one version.

    Args:
        name: name of the TrainingJob.
        spec: what to train.
        store: where store:// addresses are, or None.
        progress: is told of every step.
        facts: takes what is learned about the data, also if the job fails.

    Raises:
        InvalidInputError: the spec or the data are wrong. The report is written all the same.
        StoreError: the store cannot be reached now.
    """
    started = time.monotonic()
    try:
        trained = train(name, spec, store, progress, facts, datetime.now(UTC))
    except InvalidInputError as error:
        with suppress(InvalidInputError, StoreError):  # the first error is the one to act on
            _publish(name, spec, _files(summarise(spec, facts, error)), store, facts)
        raise
    with progress.step("bundle"):
        report = _files(summarise(spec, facts))
        files = {names.MODEL_FILE: trained.graph, **report}
        manifest, content = archive.assemble(spec.model, spec.version, files, documents(trained))
        _publish(name, spec, report, store, facts)
        uri = archive.put(content, spec.output.uri, manifest, store)
    with progress.step("done"):
        return TrainingOutcome(
            succeeded=True,
            reason=Reason.TRAINED,
            message=f"{spec.model} {spec.version} from {len(trained.train)} rows",
            uri=uri,
            digest=manifest.digest,
            data_digest=trained.data_digest,
            train_rows=len(trained.train),
            test_rows=len(trained.test),
            metrics=trained.metrics,
            parity_max_abs_difference=trained.parity.max_abs_difference,
            warnings=tuple(warning[:200] for warning in trained.warnings[:8]),
            findings=worst(facts),
            report=facts.report,
            seconds=round(time.monotonic() - started, 2),
        )


def check(spec: TrainingJobSpec, store: str | None, facts: Facts) -> None:
    """Run every step up to the split, as a TrainingJob would.

    Raises:
        InvalidInputError: the spec or the data are wrong.
        StoreError: the store cannot be reached now.
    """
    prepare(spec, store, Progress(), facts, datetime.now(UTC))


def worst(facts: Facts) -> tuple[DataFinding, ...]:
    """Return the worst findings, as a status shows them."""
    return tuple(
        DataFinding(
            code=found.code, severity=found.severity, message=found.message[:256], field=found.field, site=found.site
        )
        for found in worst_first(facts.findings)[:MAX_FINDINGS]
    )


def _files(report: DataReport) -> dict[str, bytes]:
    """Return the report as the bundle and the store hold it: JSON, then the page."""
    return {names.VALIDATION_FILE: archive.as_json(report), names.VALIDATION_PAGE: page(report).encode()}


def _publish(name: str, spec: TrainingJobSpec, report: dict[str, bytes], store: str | None, facts: Facts) -> None:
    """Write the report's files to the store; the last one's address is the report's."""
    stem = f"{spec.output.uri.rstrip('/')}/{spec.model}/{spec.version}/{name}-"
    addresses = [archive.write(content, stem + file, store) for file, content in report.items()]
    facts.report = addresses[-1]


def prepare(spec: TrainingJobSpec, store: str | None, progress: Progress, facts: Facts, now: datetime) -> Parts:
    """Read, check and split the data.

    Raises:
        InvalidInputError: the spec or the data are wrong; facts hold what was found until then.
        StoreError: the store cannot be reached now.
    """
    with progress.step("load"):
        table = harmonise(spec.data, read(spec.data, store))
        facts.data_digest, facts.notes = table.digest, table.notes
    with progress.step("check"):
        validated = validate(spec, table, now, facts.count)
        facts.data, facts.findings = validated.data, list(validated.findings)
    with progress.step("split"):
        parts = split(spec.split, validated.data)
        facts.parts = parts.by_name
        facts.findings += _found(spec, validated, parts)
        require_allowed(facts.findings, spec.data.quality.forbid)
        validate_variation(spec, parts.training)
    return parts


def train(
    name: str, spec: TrainingJobSpec, store: str | None, progress: Progress, facts: Facts, now: datetime
) -> TrainedModel:
    """Run every step before the bundle."""
    seed = spec.split.seed
    subgroups = declared_subgroups(spec)
    parts = prepare(spec, store, progress, facts, now)
    training, test = parts.training, parts.test
    with progress.step("fit", f"{spec.estimator.algorithm} on {len(training)} rows"):
        unfitted = fitting.build(spec.estimator, training, seed, spec.features)
        fitted = fitting.fit(unfitted, spec.estimator, training)
    with progress.step("calibrate", spec.estimator.calibration):
        margins = fitting.cross_fit(fitted, spec.estimator, training, seed)
        model = fitting.calibrate(fitted, margins, spec.estimator, training, parts.calibration)
    with progress.step("evaluate", f"{len(test)} rows"):
        threshold, samples = spec.evaluation.operating_threshold, spec.evaluation.bootstrap
        evaluated = evaluate(test.label, model.predict(test), threshold, samples, seed, test.group)
        counts = breakdown(training, test)
    with progress.step("export"):
        graph = model.to_onnx(training.features)
        score = OnnxModel(graph)
        parity = compare(score, model, test)
        profile = reference_profile(training, model.calibrator(margins), members(subgroups, training))
        golden = golden_rows(score, training, profile)
        explanation, unexplained = explainer(score, model, training, test, profile)
    return TrainedModel(
        job=name,
        spec=spec,
        data_digest=facts.data_digest or "",
        train=training,
        test=test,
        model=model,
        graph=graph,
        metrics=evaluated.metrics,
        breakdown=counts,
        parity=parity,
        subgroups=subgroups,
        profile=profile,
        golden=golden,
        explainer=explanation,
        warnings=(
            *warnings(facts.findings, sum(facts.rows.values())),
            *evaluated.undefined,
            *unexplained,
            *_unwatched(subgroups, profile),
            *uncovered(counts),
        ),
    )


def _found(spec: TrainingJobSpec, validated: Validated, parts: Parts) -> tuple[Finding, ...]:
    """Return the findings of the steps between validation and the first fit."""
    data, where = validated.data, rules.paths(spec.data)
    return (
        *fitness.variety(data, where),
        *fitness.balance(data),
        *fitness.site_labels(data, validated.labels),
        *leakage.features(data, validated.labels, where, spec.split.seed),
        *leakage.both_parts(parts.by_name),
        *site_differences(data, where),
    )


def _unwatched(subgroups: tuple[Subgroup, ...], profile: ReferenceProfile) -> list[str]:
    strata = [stratum for subgroup in subgroups for stratum in subgroup.strata]
    return [
        f"{stratum}: fewer than {MIN_STRATUM_ROWS} training rows, so its drift is not monitored"
        for stratum in strata
        if stratum not in profile.strata
    ]
