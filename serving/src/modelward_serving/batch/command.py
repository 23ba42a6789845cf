"""The batch command: score one shard and write the outcome to the termination log."""

from __future__ import annotations

import argparse
import logging

from modelward_api import job_process
from modelward_api.bundle.documents import UnverifiedBundleError
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import INVALID_INPUT_EXIT_CODE, BatchOutcome
from modelward_serving.batch import score
from modelward_serving.batch.errors import InvalidInputError, UnreachableError
from modelward_serving.model import bundle
from modelward_serving.model.predictor import Predictor
from modelward_serving.model.session import UnservableError
from modelward_serving.termination import tell

log = logging.getLogger("modelward.batch")

MAX_MESSAGE = 1024
"""Characters of a message: Kubernetes keeps 4096 bytes of a termination message."""


def run(options: argparse.Namespace) -> int:
    """Score a shard; return 0 if it is scored, 65 if the input is invalid, 1 if a retry may help."""
    with job_process.silence():
        outcome, code = _scored(options)
    _tell(options, outcome)
    return code


def _tell(options: argparse.Namespace, outcome: BatchOutcome) -> None:
    outcome = outcome.model_copy(update={"message": outcome.message[:MAX_MESSAGE], "shard": options.shard})
    tell(options.termination_log, outcome.to_json())
    rate = f", {outcome.rows / outcome.seconds:.0f} rows/s" if outcome.succeeded and outcome.seconds else ""
    log.info("shard %d: %s: %s%s", outcome.shard, outcome.reason, outcome.message, rate)


def _scored(options: argparse.Namespace) -> tuple[BatchOutcome, int]:
    task = score.Task(
        input=options.input,
        format=options.format,
        output=options.output,
        shard=options.shard,
        shards=options.shards,
        keep=tuple(options.keep),
        on_invalid_row=options.on_invalid_row,
        store=options.store,
    )
    try:
        return score.run(task, Predictor(bundle.load(options.bundle, options.digest), by_stratum=False)), 0
    except InvalidInputError as error:
        return _failed(error.reason, error.message, error.field), INVALID_INPUT_EXIT_CODE
    except (UnverifiedBundleError, UnservableError) as error:
        return _failed(error.reason, str(error)), INVALID_INPUT_EXIT_CODE
    except UnreachableError as error:
        return _failed(error.reason, str(error)), 1
    except BaseException as error:  # a panic of a native library, too, which is no Exception
        return _failed(Reason.INTERNAL_ERROR, job_process.where(error)), 1


def _failed(reason: str, message: str, field: str | None = None) -> BatchOutcome:
    return BatchOutcome(succeeded=False, reason=reason, message=message, field=field)
