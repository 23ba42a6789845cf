"""Parameters of a response, common to REST and gRPC."""

from __future__ import annotations

from modelward_serving.protocol.prediction import ServedPrediction
from modelward_serving.validation.request import ValidatedRows


def parameters(rows: ValidatedRows, given: ServedPrediction) -> dict[str, str]:
    """Return the parameters of a response: strings, as the protocol requires."""
    values = {"arm": given.arm, "digest": given.digest}
    if rows.flagged:
        values["out_of_range"] = ",".join(rows.flagged)
    if rows.abstained:
        values["abstained"] = ",".join(map(str, rows.abstained))
        values["abstained_because"] = "; ".join(rows.reasons)
    return values
