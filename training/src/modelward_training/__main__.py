"""`python -m modelward_training`: the training container's command line."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from modelward_api.trainingjob import TrainingJobSpec
from modelward_api.wire import INVALID_INPUT_EXIT_CODE, TrainingOutcome
from modelward_training.errors import InvalidInputError, StoreError
from modelward_training.progress import Progress

log = logging.getLogger("modelward.training")

LONGEST = 4096
"""Bytes that Kubernetes keeps of a termination message."""


def main() -> int:
    """Parse the command line and run."""
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
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    outcome, code = _train(options)
    text = _shortened(outcome)
    try:
        options.termination_log.write_text(text)
    except OSError:
        log.warning("the outcome could not be written to %s", options.termination_log)
    log.info("%s: %s", outcome.reason, outcome.message)
    return code


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
        problem = error.errors(include_input=False, include_url=False)[0]
        field = "spec" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem["loc"])
        outcome = TrainingOutcome(succeeded=False, reason="InvalidSpec", message=str(problem["msg"]), field=field)
        return outcome, INVALID_INPUT_EXIT_CODE
    except StoreError as error:
        return TrainingOutcome(succeeded=False, reason=error.reason, message=str(error)), 1
    except OSError as error:
        return TrainingOutcome(succeeded=False, reason="StoreUnavailable", message=str(error)), 1
    except Exception as error:
        # A library's message may hold values of the data: only its type and our line are told.
        frame = next(
            (f for f in reversed(traceback.extract_tb(error.__traceback__)) if "modelward_training" in f.filename), None
        )
        where = f" at {Path(frame.filename).name}:{frame.lineno}" if frame else ""
        return TrainingOutcome(succeeded=False, reason="InternalError", message=f"{type(error).__name__}{where}"), 1


def _shortened(outcome: TrainingOutcome) -> str:
    text = json.dumps(outcome.to_json())
    if len(text.encode()) <= LONGEST:
        return text
    return json.dumps(outcome.model_copy(update={"warnings": (), "message": outcome.message[:500]}).to_json())


if __name__ == "__main__":
    sys.exit(main())
