"""The output of one shard: shard-NNNNN.parquet, then shard-NNNNN.json, which marks the shard as done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from modelward_api.base import Digest, Document, SemVer
from modelward_api.names import DECISION, SCORE, VERSION
from modelward_api.resources.reasons import Reason
from modelward_api.small_counts import MIN_SHOWN_COUNT
from modelward_api.wire.exchange import ProfileCounts
from modelward_serving.batch.errors import InvalidInputError
from modelward_serving.batch.store import Output


class Refused(Document):
    """Rows that were not scored, for one reason."""

    column: str
    reason: str
    rows: int | None
    """None if fewer than MIN_SHOWN_COUNT."""


class ShardResult(Document):
    """The result of one shard."""

    shard: int
    task: Digest
    """SHA-256 over the bundle, the input files and every setting that shapes the output."""
    model: str
    version: SemVer
    digest: Digest
    rows: int
    scored: int
    """The least, if it is not exact."""
    invalid: int | None
    """None where few rows are invalid, or few are not."""
    refused: tuple[Refused, ...] = ()
    profile: dict[str, tuple[int | None, ...]] = {}
    """Scored rows per cell of the reference profile, by feature and score; None if fewer than MIN_SHOWN_COUNT."""
    seconds: float


def name(shard: int, ending: str) -> str:
    """Return the name of a shard's file."""
    return f"shard-{shard:05d}.{ending}"


def finished(output: Output, shard: int, task: str) -> ShardResult | None:
    """Return the earlier result of the same task, if it is complete."""
    content = output.get(name(shard, "json"))
    if content is None or not output.has(name(shard, "parquet")):
        return None
    try:
        found = ShardResult.model_validate_json(content)
    except ValidationError:
        return None
    return found if (found.shard, found.task) == (shard, task) else None


def refused(reasons: Counter[tuple[str, str]]) -> tuple[Refused, ...]:
    """Return the counts by reason, with small counts suppressed."""
    return tuple(
        Refused(column=column, reason=reason, rows=count if count >= MIN_SHOWN_COUNT else None)
        for (column, reason), count in sorted(reasons.items())
    )


def suppressed(counts: ProfileCounts) -> dict[str, tuple[int | None, ...]]:
    """Return the counts per cell, with small counts suppressed."""
    return {feature: _suppressed(cells) for feature, cells in counts.features.items()}


def _suppressed(cells: Sequence[int]) -> tuple[int | None, ...]:
    """Hide small cells, and a second one if only one is small: the total is known, so it would reveal a single hidden cell."""
    hidden = {i for i, cell in enumerate(cells) if 0 < cell < MIN_SHOWN_COUNT}
    if len(hidden) == 1 and (others := [i for i, cell in enumerate(cells) if cell >= MIN_SHOWN_COUNT]):
        hidden.add(min(others, key=lambda i: cells[i]))
    return tuple(None if i in hidden else cell for i, cell in enumerate(cells))


class Scores:
    """Writer of one shard's Parquet file."""

    def __init__(self, path: Path, keep: Sequence[str], version: str) -> None:
        self._path, self._keep, self._version = path, keep, version
        self._writer: pq.ParquetWriter | None = None

    def write(self, kept: Sequence[pa.Array], scores: pa.Array, decisions: pa.Array) -> None:
        """Write rows."""
        codes = pa.array(np.zeros(len(scores), dtype=np.int8))
        version = pa.DictionaryArray.from_arrays(codes, pa.array([self._version]))
        table = pa.table([*kept, scores, decisions, version], names=[*self._keep, SCORE, DECISION, VERSION])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd", use_dictionary=[VERSION])
        if table.num_rows:
            self._writer.write_table(_alike(table, self._writer.schema))

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()


def _alike(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast the kept columns to their types in the first file."""
    try:
        return table if table.schema.equals(schema) else table.cast(schema)
    except (pa.ArrowException, ValueError):
        odd = next(f.name for f in schema if table.schema.field(f.name).type != f.type)
        message = f"column {odd} has different types in different files. Convert it, or remove it from spec.keepColumns"
        raise InvalidInputError(Reason.WRONG_KIND, message, "spec.keepColumns") from None


def canonical(document: Document) -> bytes:
    """Return the result as it is stored."""
    return json.dumps(document.to_json(), sort_keys=True, indent=1).encode()
