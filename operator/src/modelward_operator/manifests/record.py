"""The model's record as a ConfigMap: quarantine and decisions for people to read, counts compressed."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from pydantic import ValidationError

from modelward_api import names
from modelward_operator.domain.core.record import Ledger, ModelRecord
from modelward_operator.manifests.pod import Manifest

RECORD, DECISIONS, LEDGER = "record.json", "decisions.json", "ledger"


def record_name(model: str) -> str:
    """The ConfigMap's name."""
    return f"{model}-modelward"


def config_map(namespace: str, model: str, record: ModelRecord) -> Manifest:
    """The record to write. Deterministic: the same record gives the same bytes."""
    quarantined: dict[str, Any] = {"quarantined": [entry.to_json() for entry in record.quarantined]}
    if record.marked:
        quarantined["marked"] = list(record.marked)
    decisions = {"decisions": [entry.to_json() for entry in record.decisions]}
    ledger = json.dumps(record.ledger.to_json(), sort_keys=True, separators=(",", ":")).encode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": record_name(model),
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.MODEL: model},
        },
        "data": {RECORD: _readable(quarantined), DECISIONS: _readable(decisions)},
        "binaryData": {LEDGER: base64.b64encode(gzip.compress(ledger, mtime=0)).decode()},
    }


def read(manifest: dict[str, Any] | None) -> ModelRecord:
    """The record in that ConfigMap; empty when there is none.

    Raises:
        ValueError: somebody has edited it into something that is no record.
    """
    if manifest is None:
        return ModelRecord()
    try:
        data = manifest.get("data", {})
        written = ModelRecord.model_validate_json(data.get(RECORD) or "{}")
        decided = ModelRecord.model_validate_json(data.get(DECISIONS) or "{}")
        packed = manifest.get("binaryData", {}).get(LEDGER)
        ledger = Ledger.model_validate_json(gzip.decompress(base64.b64decode(packed))) if packed else Ledger()
        return ModelRecord(
            quarantined=written.quarantined, marked=written.marked, decisions=decided.decisions, ledger=ledger
        )
    except (ValidationError, OSError, EOFError, ValueError) as error:
        name = manifest.get("metadata", {}).get("name")
        raise ValueError(
            f"ConfigMap {name} does not hold a record: restore it, or delete it: quarantined digests are then restored "
            "from their ControllerRevisions"
        ) from error


def _readable(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True)
