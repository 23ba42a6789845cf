"""The archive: the bundle's files with one digest, packed reproducibly and written to the store."""

from __future__ import annotations

import io
import json
import tarfile

import obstore
from obstore.store import LocalStore, from_url

from modelward_api import names
from modelward_api.base import Document
from modelward_api.bundle.documents import Manifest, file_digest
from modelward_api.resources.reasons import Reason
from modelward_api.store import InvalidAddressError, client_options, is_full, resolve, shown, split, trouble
from modelward_training.errors import InvalidInputError, StoreError

BENTO_MODEL = """\
name: {model}
version: {version}
module: modelward_serving
labels: {{}}
options: {{}}
metadata: {{}}
context:
  framework_name: onnx
  framework_versions: {{}}
  bentoml_version: 1.4.0
  python_version: '3.11'
signatures: {{}}
api_version: v1
creation_time: '1970-01-01T00:00:00+00:00'
"""
"""Lets `bentoml models import` read the archive. Modelward never reads it, and the digest does not cover it."""


def assemble(
    model: str, version: str, files: dict[str, bytes], documents: dict[str, Document]
) -> tuple[Manifest, bytes]:
    """Return the manifest and the archive: the same bytes for the same content."""
    files = files | {name: as_json(document) for name, document in documents.items()}
    manifest = Manifest(model=model, version=version, files={n: file_digest(c) for n, c in sorted(files.items())})
    files[names.MANIFEST_FILE] = manifest.canonical()
    files["model.yaml"] = BENTO_MODEL.format(model=model, version=version).encode()
    return manifest, _packed(files)


def as_json(document: Document) -> bytes:
    """Return a document as it stands in a bundle."""
    return json.dumps(document.to_json(), sort_keys=True, indent=1).encode()


def put(content: bytes, output: str, manifest: Manifest, store: str | None) -> str:
    """Write the archive; returns its address, with the scheme of ``output``. Raises as :func:`write` does."""
    name = manifest.digest.removeprefix("sha256:")[:16] + ".bentomodel"
    return write(content, f"{output.rstrip('/')}/{manifest.model}/{manifest.version}/{name}", store)


def write(content: bytes, uri: str, store: str | None) -> str:
    """Write a file below ``spec.output.uri``; returns its address.

    Raises:
        InvalidInputError: InvalidAddress, StoreFull.
        StoreError: the store cannot be written now.
    """
    try:
        folder, file = split(resolve(uri, store))
    except InvalidAddressError as error:
        raise InvalidInputError(Reason.INVALID_ADDRESS, str(error), "spec.output.uri") from None
    try:
        target = (
            LocalStore.from_url(folder, mkdir=True)
            if folder.startswith("file://")
            else from_url(folder, **client_options(folder))
        )
        obstore.put(target, file, content)
    except (OSError, obstore.exceptions.BaseError) as error:
        if is_full(error):
            message = f"no space left at {shown(uri)}: free space, then delete this TrainingJob and apply it again"
            raise InvalidInputError(Reason.STORE_FULL, message, "spec.output.uri") from None
        problem = trouble(error, uri)
        raise StoreError(problem.reason, problem.sentence) from None
    return uri


def _packed(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o644, 0
            archive.addfile(member, io.BytesIO(content))
    return output.getvalue()
