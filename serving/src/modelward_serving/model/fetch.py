"""The init container: fetch, verify and unpack a bundle. Only this container can access the store."""

from __future__ import annotations

import logging
from pathlib import Path

import obstore
from obstore.store import from_url
from pydantic import ValidationError

from modelward_api import job_process, names
from modelward_api.bundle.documents import Signature, UnverifiedBundleError
from modelward_api.resources.reasons import STORE_TROUBLES, Reason
from modelward_api.store import InvalidAddressError, client_options, is_missing, resolve, shown, split, trouble
from modelward_api.wire.exchange import INVALID_INPUT_EXIT_CODE, FetchOutcome
from modelward_serving.model.bundle import unpack
from modelward_serving.termination import tell

log = logging.getLogger("modelward.fetch")


def fetch(
    uri: str, digest: str, into: Path, store: str | None, model: str | None = None, version: str | None = None
) -> FetchOutcome:
    """Fetch, verify and unpack a bundle of the given model and version, if any; never raise."""
    shown_uri = shown(uri)
    try:
        folder, name = split(resolve(uri, store))
        content = bytes(obstore.get(from_url(folder, **client_options(folder)), name).bytes())
        files = unpack(content, digest)
    except InvalidAddressError as error:
        return FetchOutcome(verified=False, reason=Reason.ARTIFACT_NOT_FOUND, message=f"spec.artifact.uri: {error}")
    except UnverifiedBundleError as error:
        message = f"The bundle at {shown_uri} cannot be used: {error}"
        return FetchOutcome.model_validate({"verified": False, "reason": error.reason, "message": message})
    except (OSError, obstore.exceptions.BaseError) as error:
        if is_missing(error):
            message = f"spec.artifact.uri: nothing found at {shown_uri}. Upload the bundle, or correct the address"
            return FetchOutcome(verified=False, reason=Reason.ARTIFACT_NOT_FOUND, message=message)
        found = trouble(error, uri)
        return FetchOutcome(verified=False, reason=found.reason, message=found.sentence)
    if (mismatch := _mismatch(files, model, version)) is not None:
        return mismatch
    for path, data in files.items():
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return FetchOutcome(verified=True, reason=Reason.VERIFIED, message=f"{len(files)} files", digest=digest)


def _mismatch(files: dict[str, bytes], model: str | None, version: str | None) -> FetchOutcome | None:
    """Return the outcome of a bundle whose model or version is not the requested one."""
    try:
        signature = Signature.model_validate_json(files.get(names.SIGNATURE_FILE, b""))
    except ValidationError:
        if model is None and version is None:
            return None
        message = "The bundle's signature cannot be read. Train the model again with this release of Modelward"
        return FetchOutcome(verified=False, reason=Reason.ARTIFACT_UNREADABLE, message=message)
    for reason, field, wanted, found in (
        (Reason.MODEL_MISMATCH, "model", model, signature.model),
        (Reason.VERSION_MISMATCH, "version", version, signature.version),
    ):
        if wanted is not None and wanted != found:
            message = (
                f"The bundle has {field} '{found}', but spec.{field} is '{wanted}'. "
                f"Correct spec.{field}, or set spec.artifact to the bundle of {field} '{wanted}'"
            )
            return FetchOutcome(verified=False, reason=reason, message=message)
    return None


def run(
    uri: str,
    digest: str,
    into: Path,
    store: str | None,
    termination_log: Path,
    model: str | None = None,
    version: str | None = None,
) -> int:
    """Fetch and write the outcome to the termination log; return 0 if verified, 1 if a retry may help, else 65."""
    try:
        outcome = fetch(uri, digest, into, store, model, version)
    except Exception as error:  # its text may contain anything of the bundle
        message = f"The bundle could not be fetched ({job_process.where(error)})"
        outcome = FetchOutcome(verified=False, reason=Reason.STORE_UNAVAILABLE, message=message)
    log.info("%s: %s", outcome.reason, outcome.message)
    tell(termination_log, outcome.to_json())
    if outcome.verified:
        return 0
    return 1 if outcome.reason in STORE_TROUBLES else INVALID_INPUT_EXIT_CODE
