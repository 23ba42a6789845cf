"""`python -m modelward_training`: the training container's command line."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelward_api import job_process
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_api.wire.exchange import INVALID_INPUT_EXIT_CODE, TrainingOutcome
from modelward_training import checking
from modelward_training.errors import InvalidInputError, StoreError
from modelward_training.progress import Progress

log = logging.getLogger("modelward.training")

STOPPED = TrainingOutcome(
    succeeded=False,
    reason=Reason.TERMINATED,
    message="Training was stopped before it finished (a deadline, a suspension, a deletion or a drained node); no bundle is used",
)
KILLED = "training was killed while it was running: if memory ran out, raise spec.resources.limits.memory"
MAX_TERMINATION_MESSAGE = 4096
"""Bytes of a termination message that Kubernetes keeps."""


def main(*, supervised: bool = False) -> int:
    """Parse the command line and run.

    Args:
        supervised: train in a child process, so that a signal stops it at once.
    """
    parser = argparse.ArgumentParser(
        prog="modelward_training", description="Trains one version of a model, or checks its data."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="train one version as a TrainingJob specifies; exits with 65 if the spec or the data are invalid",
        description="Reads, validates and splits the data, fits, calibrates and evaluates a model, exports it to ONNX, verifies "
        "parity with scikit-learn, and writes a bundle.",
    )
    run.add_argument(
        "--spec",
        type=Path,
        default=Path("/etc/modelward/trainingjob.json"),
        help="JSON file with name, namespace and spec (default: %(default)s)",
    )
    run.add_argument(
        "--termination-log",
        type=Path,
        default=Path("/dev/termination-log"),
        help="file for the outcome, as JSON (default: %(default)s)",
    )
    run.add_argument("--port", type=int, default=8090, help="port of GET /v1/progress (default: %(default)s)")
    run.add_argument(
        "--store",
        default=os.environ.get("MODELWARD_STORE"),
        help="address of the artifact store, for store:// (default: MODELWARD_STORE)",
    )
    description = (
        "Reads, harmonises, validates and splits the data as the Job would, prints the findings as a table, and writes "
        "validation.html and validation.json. The API server checks some rules of the spec that this command does not. Exits "
        "with 0 if the data are accepted, 65 if the spec or the data are invalid, and 1 if the store cannot be read."
    )
    checking.add_arguments(
        commands.add_parser("check", help="check the data of a TrainingJob without a cluster", description=description)
    )
    commands.add_parser("version", help="print the version")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    if options.command == "version":
        sys.stdout.write(version("modelward-training") + "\n")
        return 0
    if options.command == "check":
        return checking.check(options)
    if not supervised:
        return _run(options)
    return job_process.run(
        lambda: _run(options),
        lambda: _report(options, STOPPED),
        lambda: log.error(KILLED),
    )


def _run(options: argparse.Namespace) -> int:
    with job_process.silence():
        outcome, code = _train(options)
    _report(options, outcome)
    return code


def _report(options: argparse.Namespace, outcome: TrainingOutcome) -> None:
    text = _shortened(outcome)
    try:
        options.termination_log.write_text(text)
    except OSError:
        log.warning("the outcome could not be written to %s", options.termination_log)
    log.info("%s: %s", outcome.reason, outcome.message)


def _train(options: argparse.Namespace) -> tuple[TrainingOutcome, int]:
    try:
        document = json.loads(options.spec.read_text())
        spec = TrainingJobSpec.model_validate(document["spec"])
        progress = Progress()
        progress.serve(options.port)
        return _run_pipeline(document["name"], spec, options.store, progress)
    except ValidationError as error:
        return _invalid_spec(error), INVALID_INPUT_EXIT_CODE
    except StoreError as error:
        return TrainingOutcome(succeeded=False, reason=error.reason, message=str(error)), 1
    except BaseException as error:  # also a panic of a native library, which is not an Exception
        reason = Reason.STORE_UNAVAILABLE if isinstance(error, OSError) else Reason.INTERNAL_ERROR
        return TrainingOutcome(succeeded=False, reason=reason, message=job_process.where(error)), 1


def _run_pipeline(
    name: str, spec: TrainingJobSpec, store: str | None, progress: Progress
) -> tuple[TrainingOutcome, int]:
    from modelward_training import pipeline  # its libraries take seconds to import: answer progress requests first
    from modelward_training.report.summary import Facts

    facts = Facts()
    try:
        return pipeline.run(name, spec, store, progress, facts), 0
    except InvalidInputError as error:
        outcome = TrainingOutcome(
            succeeded=False,
            reason=error.reason,
            message=error.message,
            field=error.field,
            data_digest=facts.data_digest,
            findings=pipeline.worst(facts),
            report=facts.report,
        )
        return outcome, INVALID_INPUT_EXIT_CODE


def _invalid_spec(error: ValidationError) -> TrainingOutcome:
    problem = error.errors(include_input=False, include_url=False)[0]
    field = "spec" + job_process.path_of(problem["loc"], _fields(TrainingJobSpec.model_json_schema(by_alias=True)))
    # The text of our own validators may repeat the value.
    message = "the value is not valid" if problem["type"] in ("value_error", "assertion_error") else str(problem["msg"])
    return TrainingOutcome(succeeded=False, reason=Reason.INVALID_SPEC, message=message, field=field)


def _fields(schema: dict[str, Any]) -> frozenset[str]:
    definitions = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for definition in definitions for name in definition.get("properties", {}))


def _shortened(outcome: TrainingOutcome) -> str:
    text = json.dumps(outcome.to_json())
    if len(text.encode()) <= MAX_TERMINATION_MESSAGE:
        return text
    short = {"warnings": (), "findings": (), "message": outcome.message[:500]}
    return json.dumps(outcome.model_copy(update=short).to_json())


if __name__ == "__main__":
    job_process.keep_silent_of_errors()
    sys.exit(main(supervised=True))
