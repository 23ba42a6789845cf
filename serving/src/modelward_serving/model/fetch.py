"""The init container: fetches a bundle, checks its digest, unpacks it. The only one that sees the store."""

from __future__ import annotations

import logging
from pathlib import Path

import obstore
from obstore.store import from_url
from pydantic import ValidationError

from modelward_api import job_process, names
from modelward_api.bundle.documents import Signature, UnverifiedBundleError
from modelward_api.store import TROUBLES, InvalidAddressError, patient, resolve, shown, split, trouble
from modelward_api.wire.exchange import INVALID_INPUT_EXIT_CODE, FetchOutcome
from modelward_serving.model.bundle import unpack
from modelward_serving.termination import tell

log = logging.getLogger("modelward.fetch")


def fetch(
    uri: str, digest: str, into: Path, store: str | None, model: str | None = None, version: str | None = None
) -> FetchOutcome:
    """Fetch, verify, unpack; says what came of it and raises nothing. The bundle must be of that model and version, if given."""
    told = shown(uri)
    try:
        folder, name = split(resolve(uri, store))
        content = bytes(obstore.get(from_url(folder, **patient(folder)), name).bytes())
        files = unpack(content, digest)
    except InvalidAddressError as error:
        return FetchOutcome(verified=False, reason="ArtifactNotFound", message=f"spec.artifact.uri: {error}")
    except UnverifiedBundleError as error:
        reason = (
            "DigestMismatch" if "digest is" in str(error) or "is not the file" in str(error) else "ArtifactUnreadable"
        )
        return FetchOutcome(
            verified=False, reason=reason, message=f"The bundle at {told} is not what was asked for: {error}"
        )
    except (OSError, obstore.exceptions.BaseError) as error:
        missing = (
            isinstance(error, FileNotFoundError) or "not found" in str(error).lower() or "No such file" in str(error)
        )
        if missing:
            message = f"spec.artifact.uri: there is nothing at {told}: upload the bundle, or correct the address"
            return FetchOutcome(verified=False, reason="ArtifactNotFound", message=message)
        found = trouble(error, uri)
        document = {"verified": False, "reason": found.reason, "message": f"{found.sentence}; it is tried again"}
        return FetchOutcome.model_validate(document)
    if (mismatch := _mismatch(files, model, version)) is not None:
        return mismatch
    for path, data in files.items():
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return FetchOutcome(verified=True, reason="Verified", message=f"{len(files)} files", digest=digest)


def _mismatch(files: dict[str, bytes], model: str | None, version: str | None) -> FetchOutcome | None:
    """Why the bundle is another one than the object asks for, though its digest is right."""
    try:
        signature = Signature.model_validate_json(files.get(names.SIGNATURE_FILE, b""))
    except ValidationError:
        if model is None and version is None:
            return None
        message = "The bundle's signature cannot be read: train it again with this release of Modelward"
        return FetchOutcome(verified=False, reason="ArtifactUnreadable", message=message)
    for reason, field, wanted, found in (
        ("ModelMismatch", "model", model, signature.model),
        ("VersionMismatch", "version", version, signature.version),
    ):
        if wanted is not None and wanted != found:
            message = (
                f"The bundle is of {field} '{found}', spec.{field} is '{wanted}': "
                f"correct spec.{field}, or name the bundle of {field} '{wanted}'"
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
    """Fetch and leave the outcome in the termination log; 0 when verified, 1 when another try may help, else 65."""
    try:
        outcome = fetch(uri, digest, into, store, model, version)
    except Exception as error:  # its text may hold anything of the bundle
        message = f"The bundle could not be fetched ({job_process.where(error)})"
        outcome = FetchOutcome(verified=False, reason="StoreUnavailable", message=message)
    log.info("%s: %s", outcome.reason, outcome.message)
    tell(termination_log, outcome.to_json())
    if outcome.verified:
        return 0
    return 1 if outcome.reason in TROUBLES else INVALID_INPUT_EXIT_CODE
