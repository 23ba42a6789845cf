"""Bundles: unpack, verify and load them. A bundle is untrusted until verified, and never executed."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from modelward_api import names
from modelward_api.bundle.documents import (
    BundleDocuments,
    Evaluation,
    Explainer,
    Golden,
    Manifest,
    ParityReport,
    ReferenceProfile,
    Signature,
    UnverifiedBundleError,
    file_digest,
)
from modelward_api.resources.reasons import Reason

UNLISTED = frozenset({names.MANIFEST_FILE, "model.yaml"})
"""What a bundle may hold beside the files of its manifest: model.yaml makes it a BentoML model archive; we do not read it."""
MAX_FILE = 2 * 1024**3
DIGEST_MISMATCH = Reason.DIGEST_MISMATCH
"""Reason of a readable bundle that is not the requested one."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    digest: str
    graph: bytes
    signature: Signature
    reference: ReferenceProfile
    golden: Golden
    documents: BundleDocuments
    explainer: Explainer | None = None
    """None in bundles from before explanations existed."""


def unpack(content: bytes, digest: str) -> dict[str, bytes]:
    """Return the files of an archive, after verifying its digest.

    Raises:
        UnverifiedBundleError: it is not a bundle archive, or has another digest.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if member.isdir():
                    continue
                if not member.isfile() or path.is_absolute() or ".." in path.parts or member.size > MAX_FILE:
                    message = "the archive contains a link, a path outside the bundle, or a file over 2 GiB"
                    raise UnverifiedBundleError(message)
                file = archive.extractfile(member)
                files[str(path)] = file.read() if file else b""
    except tarfile.TarError as error:
        raise UnverifiedBundleError(f"it is not a bundle archive: {type(error).__name__}") from error
    verify(files, digest)
    return files


def verify(files: dict[str, bytes], digest: str) -> Manifest:
    """Verify every file and the digest; return the manifest.

    Raises:
        UnverifiedBundleError: a file or the digest is wrong.
    """
    if names.MANIFEST_FILE not in files:
        raise UnverifiedBundleError(f"{names.MANIFEST_FILE} is missing")
    try:
        manifest = Manifest.model_validate_json(files[names.MANIFEST_FILE])
    except ValidationError as error:
        raise UnverifiedBundleError(f"{names.MANIFEST_FILE} cannot be read") from error
    if manifest.digest != digest:
        raise UnverifiedBundleError(f"its digest is {manifest.digest}, expected {digest}", DIGEST_MISMATCH)
    present = set(files) - UNLISTED
    if extra := present - set(manifest.files):
        raise UnverifiedBundleError(f"{len(extra)} files are not listed in the manifest")
    if unknown := set(manifest.files) - names.BUNDLE_FILES:
        remedy = "upgrade Modelward, or train the model again with this release"
        raise UnverifiedBundleError(f"{len(unknown)} files are unknown to this release: {remedy}")
    for name, expected in manifest.files.items():
        if name not in files:
            raise UnverifiedBundleError(f"{_told(name)} is missing")
        if file_digest(files[name]) != expected:
            raise UnverifiedBundleError(f"{_told(name)} differs from the manifest", DIGEST_MISMATCH)
    return manifest


def _told(name: str) -> str:
    """Return a file's name for messages, if it is a known one: an unknown name is untrusted text."""
    return name if name in names.BUNDLE_FILES else "a file of its manifest"


def load(directory: Path, digest: str) -> Bundle:
    """Read and verify an unpacked bundle.

    Raises:
        UnverifiedBundleError: a file is missing, unlisted, unreadable or different.
    """
    files = {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
    verify(files, digest)
    try:
        signature = Signature.model_validate_json(files[names.SIGNATURE_FILE])
        reference = ReferenceProfile.model_validate_json(files[names.REFERENCE_FILE])
        documents = BundleDocuments(
            digest=digest,
            signature=signature,
            reference=reference,
            evaluation=Evaluation.model_validate_json(files[names.EVALUATION_FILE]),
            parity=ParityReport.model_validate_json(files[names.PARITY_FILE]),
        )
        golden = Golden.model_validate_json(files[names.GOLDEN_FILE])
        explainer = _explainer(files.get(names.EXPLAINER_FILE), signature)
        return Bundle(digest, files[names.MODEL_FILE], signature, reference, golden, documents, explainer)
    except KeyError as error:
        raise UnverifiedBundleError(f"{_told(str(error.args[0]))} is missing") from error
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        # Our own messages contain declared names and counts only; pydantic's may contain what was read.
        why = wrong["msg"] if wrong["type"] == "value_error" else wrong["type"]
        raise UnverifiedBundleError(f"the {error.title} cannot be read: {why}") from error


def _explainer(content: bytes | None, signature: Signature) -> Explainer | None:
    if content is None:
        return None
    explainer = Explainer.model_validate_json(content)
    if explainer.features != tuple(column.name for column in signature.inputs):
        raise UnverifiedBundleError(f"{names.EXPLAINER_FILE} explains other features than the signature's")
    return explainer
