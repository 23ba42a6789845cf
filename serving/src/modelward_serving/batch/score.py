"""Score one shard: read files, score rows, write the result."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from modelward_api import small_counts
from modelward_api.names import SCORE
from modelward_api.resources.reasons import Reason
from modelward_api.resources.scorebatch import OnInvalidRow
from modelward_api.wire.exchange import BatchOutcome
from modelward_serving.batch import delimited, parquet, result
from modelward_serving.batch.chunk import ROWS, Chunk, Wanted
from modelward_serving.batch.errors import InvalidInputError
from modelward_serving.batch.store import Input, Output, find
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.model.predictor import Predictor

log = logging.getLogger("modelward.batch")

READERS = {"csv": delimited.chunks, "parquet": parquet.chunks}
MALFORMED = ("", Reason.WRONG_FIELDS)


@dataclass(frozen=True, slots=True)
class Task:
    """The input, output and model of a batch."""

    input: str
    format: str
    output: str
    shard: int = 0
    shards: int = 1
    keep: tuple[str, ...] = ()
    on_invalid_row: OnInvalidRow = "null"
    store: str | None = None
    rows: int = ROWS
    """Rows per chunk."""

    def digest(self, given: Input, bundle: str) -> str:
        """Return the digest of everything that determines the result."""
        parts = [bundle, given.digest, self.format, self.shards, self.keep, self.on_invalid_row]
        return "sha256:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(slots=True)
class Tally:
    """Counts of rows so far."""

    rows: int = 0
    scored: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)


def run(task: Task, predictor: Predictor) -> BatchOutcome:
    """Score a shard, unless its result exists.

    Raises:
        InvalidInputError: the input is not what the model takes.
        UnreachableError: a store does not answer.
    """
    given = find(task.input, task.format, task.output, task.store)
    output = Output(task.output, task.store)
    digest = task.digest(given, predictor.bundle.digest)
    if (before := result.finished(output, task.shard, digest)) is not None:
        log.info("shard %d is already scored", task.shard)
        return _outcome(before, given)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / result.name(task.shard, "parquet")
        tally = _score(task, predictor, given, file)
        output.put(result.name(task.shard, "parquet"), file)
    made = result.ShardResult(
        shard=task.shard,
        task=digest,
        model=predictor.model,
        version=predictor.version,
        digest=predictor.bundle.digest,
        rows=tally.rows,
        scored=small_counts.least(tally.scored, tally.rows),
        invalid=tally.rows - tally.scored if small_counts.is_shown(tally.scored, tally.rows) else None,
        refused=result.refused(tally.reasons),
        profile=result.suppressed(predictor.profile.read()),
        seconds=round(time.monotonic() - started, 3),
    )
    output.put(result.name(task.shard, "json"), result.canonical(made))
    return _outcome(made, given)


def _outcome(made: result.ShardResult, given: Input) -> BatchOutcome:
    return BatchOutcome(
        succeeded=True,
        reason=Reason.SCORED,
        message=f"{'at least ' if made.invalid is None else ''}{made.scored} of {made.rows} rows scored",
        shard=made.shard,
        input_digest=given.digest,
        rows=made.rows,
        scored=made.scored,
        invalid=made.invalid,
        seconds=made.seconds,
    )


def _score(task: Task, predictor: Predictor, given: Input, file: Path) -> Tally:
    wanted = Wanted(predictor.bundle.signature.inputs, task.keep, task.on_invalid_row == "skip", task.rows)
    scores, tally = result.Scores(file, task.keep, predictor.version), Tally()
    for chunk in READERS[task.format](given, wanted, task.shard, task.shards):
        found = score(chunk, predictor)
        tally.rows += chunk.rows + chunk.malformed
        tally.scored += int(np.count_nonzero(chunk.valid))
        tally.reasons.update(chunk.reasons)
        tally.reasons[MALFORMED] += chunk.malformed
        if chunk.reasons and task.on_invalid_row == "fail":
            raise _invalid_rows(chunk)
        scores.write(*_written(task, predictor, chunk, found))
    scores.close()
    tally.reasons += Counter()  # drops what was never seen
    return tally


def score(chunk: Chunk, predictor: Predictor) -> np.ndarray:
    """Return the scores of a chunk, [rows] of float32; invalid rows get 0, and an invalid score makes its row invalid."""
    scores = np.zeros(chunk.rows, dtype=np.float32)
    if not chunk.valid.any():
        return scores
    numbers, texts = _arranged(chunk, predictor)
    plain = [values.plain() for values in texts]
    scores[chunk.valid] = found = predictor.session.score(predictor.validator.clipped(numbers), plain)
    proper = (found >= 0) & (found <= 1)  # false for NaN, too
    if not proper.all():
        rows = np.zeros(chunk.rows, dtype=bool)
        rows[chunk.valid] = ~proper
        chunk.refuse(SCORE, Reason.INVALID_SCORE, rows)
        (numbers, texts), found = _arranged(chunk, predictor), found[proper]
    predictor.profile.count(numbers, texts, found)
    return scores


def _arranged(chunk: Chunk, predictor: Predictor) -> tuple[np.ndarray, list[DictionaryArray]]:
    """Return the valid rows as the session takes them: [n, features] of float32, and texts by column."""
    columns, checker = chunk.scorable(), predictor.validator
    numbers = np.array([columns[column.name] for column in checker.numeric], dtype=np.float32)
    by_column = numbers.reshape(len(checker.numeric), int(np.count_nonzero(chunk.valid)))
    return by_column.T, [cast(DictionaryArray, columns[column.name]) for column in checker.categorical]


def _written(
    task: Task, predictor: Predictor, chunk: Chunk, scores: np.ndarray
) -> tuple[list[pa.Array], pa.Array, pa.Array]:
    valid, decisions = chunk.valid, predictor.decide(scores)
    if valid.all():
        return chunk.kept, pa.array(scores), pa.array(decisions)
    if task.on_invalid_row == "skip":
        rows = pa.array(valid)
        return [array.filter(rows) for array in chunk.kept], pa.array(scores[valid]), pa.array(decisions[valid])
    return chunk.kept, pa.array(scores, mask=~valid), pa.array(decisions, mask=~valid)


def _invalid_rows(chunk: Chunk) -> InvalidInputError:
    violations = "; ".join(f"{column}: {reason}" for column, reason in sorted(chunk.reasons))
    message = f"rows cannot be scored ({violations}). Correct them, or set spec.onInvalidRow to null or skip"
    return InvalidInputError(Reason.INVALID_ROWS, message, "spec.input.uri")
