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
from modelward_training.errors import InvalidInputError, StoreError
from modelward_training.progress import Progress

log = logging.getLogger("modelward.training")

STOPPED = TrainingOutcome(
    succeeded=False,
    reason=Reason.TERMINATED,
    message="Training was stopped before it ended (a deadline, a suspension, a deletion or a drained node); no bundle is used",
)
KILLED = "training was killed while it ran: if memory ran out, raise spec.resources.limits.memory"
LONGEST = 4096
"""Bytes that Kubernetes keeps of a termination message."""


def main(*, supervised: bool = False) -> int:
    """Parse the command line and run.

    Args:
        supervised: train in a child process, so that a signal ends it at once.
    """
    parser = argparse.ArgumentParser(prog="modelward_training", description="Trains one version of a model.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="train as a TrainingJob says; exits with 65 when its input is wrong",
        description="Loads, checks, splits, fits, calibrates, evaluates, exports ONNX, proves parity, and writes a bundle.",
    )
    run.add_argument(
        "--spec", type=Path, default=Path("/etc/modelward/trainingjob.json"), help="name, namespace and spec"
    )
    run.add_argument(
        "--termination-log", type=Path, default=Path("/dev/termination-log"), help="where the outcome goes"
    )
    run.add_argument("--port", type=int, default=8090, help="GET /v1/progress (default: %(default)s)")
    run.add_argument("--store", default=os.environ.get("MODELWARD_STORE"), help="where store:// is (MODELWARD_STORE)")
    commands.add_parser("version", help="print the version")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    if options.command == "version":
        sys.stdout.write(version("modelward-training") + "\n")
        return 0
    if not supervised:
        return _run(options)
    return job_process.run(
        lambda: _run(options),
        lambda: _tell(options, STOPPED),
        lambda: log.error(KILLED),
    )


def _run(options: argparse.Namespace) -> int:
    with job_process.silence():
        outcome, code = _train(options)
    _tell(options, outcome)
    return code


def _tell(options: argparse.Namespace, outcome: TrainingOutcome) -> None:
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
        from modelward_training import pipeline  # heavy: after the progress is there to be asked

        return pipeline.run(document["name"], spec, options.store, progress), 0
    except InvalidInputError as error:
        return TrainingOutcome(succeeded=False, reason=error.reason, message=error.message, field=error.field), (
            INVALID_INPUT_EXIT_CODE
        )
    except ValidationError as error:
        return _invalid_spec(error), INVALID_INPUT_EXIT_CODE
    except StoreError as error:
        return TrainingOutcome(succeeded=False, reason=error.reason, message=str(error)), 1
    except BaseException as error:  # a panic of a native library, too, which is no Exception
        reason = Reason.STORE_UNAVAILABLE if isinstance(error, OSError) else Reason.INTERNAL_ERROR
        return TrainingOutcome(succeeded=False, reason=reason, message=job_process.where(error)), 1


def _invalid_spec(error: ValidationError) -> TrainingOutcome:
    problem = error.errors(include_input=False, include_url=False)[0]
    field = "spec" + job_process.path_of(problem["loc"], _fields(TrainingJobSpec.model_json_schema(by_alias=True)))
    # A validator of our own may repeat what it was given.
    message = "it is not valid" if problem["type"] in ("value_error", "assertion_error") else str(problem["msg"])
    return TrainingOutcome(succeeded=False, reason=Reason.INVALID_SPEC, message=message, field=field)


def _fields(schema: dict[str, Any]) -> frozenset[str]:
    definitions = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for definition in definitions for name in definition.get("properties", {}))


def _shortened(outcome: TrainingOutcome) -> str:
    text = json.dumps(outcome.to_json())
    if len(text.encode()) <= LONGEST:
        return text
    return json.dumps(outcome.model_copy(update={"warnings": (), "message": outcome.message[:500]}).to_json())


if __name__ == "__main__":
    job_process.keep_silent_of_errors()
    sys.exit(main(supervised=True))
