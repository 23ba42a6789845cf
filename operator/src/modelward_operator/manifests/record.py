"""The model's record as a ConfigMap: quarantine and decisions for people to read, counts compressed and sealed."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from modelward_api import names
from modelward_operator.domain.core import sealing
from modelward_operator.domain.core.packing import unpacked
from modelward_operator.domain.core.record import Ledger, ModelRecord
from modelward_operator.domain.core.sealing import SealingKey
from modelward_operator.manifests.pod import Manifest

RECORD, DECISIONS, LEDGER = "record.json", "decisions.json", "ledger"
MAX_LEDGER = 16 * 1024 * 1024
"""Bytes of an unpacked ledger. A ConfigMap has 1 MiB, from which gzip makes a thousand times as much."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The content of the ConfigMap."""

    record: ModelRecord
    sealed: bool = True
    """Whether only the operator can read the counts in it. If not, it must be written again."""
    lost: str | None = None
    """Why its counts cannot be read, if they cannot."""


def record_name(model: str) -> str:
    """The ConfigMap's name."""
    return f"{model}-modelward"


def config_map(namespace: str, model: str, record: ModelRecord, key: SealingKey) -> Manifest:
    """The record to write. Deterministic: the same record gives the same bytes."""
    quarantined: dict[str, Any] = {"quarantined": [entry.to_json() for entry in record.quarantined]}
    if record.marked:
        quarantined["marked"] = list(record.marked)
    decisions = {"decisions": [entry.to_json() for entry in record.decisions]}
    ledger = json.dumps(record.ledger.to_json(), sort_keys=True, separators=(",", ":")).encode()
    sealed = sealing.seal(key, namespace, model, gzip.compress(ledger, mtime=0))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": record_name(model),
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.MODEL: model},
        },
        "data": {RECORD: _readable(quarantined), DECISIONS: _readable(decisions)},
        "binaryData": {LEDGER: base64.b64encode(sealed).decode()},
    }


def read(manifest: dict[str, Any] | None, namespace: str, model: str, key: SealingKey | None) -> Kept:
    """The record in that ConfigMap; empty when there is none.

    Counts that cannot be opened are lost, and no reason to stop: quarantine and decisions are there.

    Args:
        manifest: The ConfigMap.
        namespace: Whose record it is; so is ``model``.
        model: See above.
        key: What counts are sealed with; None leaves them out.

    Raises:
        ValueError: somebody has edited it into something that is no record.
    """
    if manifest is None:
        return Kept(ModelRecord())
    try:
        data = manifest.get("data", {})
        written = ModelRecord.model_validate_json(data.get(RECORD) or "{}")
        decided = ModelRecord.model_validate_json(data.get(DECISIONS) or "{}")
    except (ValidationError, ValueError) as error:
        name = manifest.get("metadata", {}).get("name")
        raise ValueError(
            f"ConfigMap {name} does not hold a record: restore it, or delete it: quarantined digests are then restored "
            "from their ControllerRevisions"
        ) from error
    record = ModelRecord(quarantined=written.quarantined, marked=written.marked, decisions=decided.decisions)
    packed = manifest.get("binaryData", {}).get(LEDGER)
    return Kept(record) if key is None or not packed else _with_ledger(record, packed, namespace, model, key)


def _with_ledger(record: ModelRecord, packed: str, namespace: str, model: str, key: SealingKey) -> Kept:
    where = f"The counts in ConfigMap {record_name(model)}"
    anew = "Evidence starts anew from what living pods have counted; quarantine and decisions are kept"
    try:
        written = base64.b64decode(packed, validate=True)
        sealed = sealing.is_sealed(written)
        if not sealed and not key.reads_plain:
            raise sealing.BrokenSealError
        plain = sealing.unseal(key, namespace, model, written) if sealed else written
        ledger = Ledger.model_validate_json(unpacked(plain, MAX_LEDGER))
    except sealing.OtherKeyError:
        lost = f"{where} are sealed with a key that is no longer in the operator's Secret. {anew}"
        return Kept(record, sealed=False, lost=lost)
    except (sealing.BrokenSealError, ValueError):
        lost = f"{where} cannot be opened: they were changed, or copied from another model or namespace. {anew}"
        return Kept(record, sealed=False, lost=lost)
    return Kept(record.model_copy(update={"ledger": ledger}), sealed=sealed)


def _readable(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True)
