"""Files of a source: one address, a folder, or a pattern; each as a stream of bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import from_url

from modelward_api.resources.data import Source
from modelward_api.resources.reasons import Reason
from modelward_api.store import (
    LOCAL,
    InvalidAddressError,
    client_options,
    is_inside,
    is_missing,
    resolve,
    resolve_data,
    shown,
    split,
    trouble,
)
from modelward_training.data.sources import web
from modelward_training.errors import InvalidInputError, StoreError

BLOCK = 4 * 1024 * 1024
MAX_FILES = 4096
"""Files of one source."""
_HIDDEN = (".", "_")
"""Files of tools that write folders, such as _SUCCESS."""


@dataclass(frozen=True)
class File:
    """One file."""

    address: str
    """Where a client finds it."""
    where: str
    """The file in messages."""
    field: str
    """Path of the address in the TrainingJob."""

    @property
    def path(self) -> Path | None:
        """Where the file is, if it is in the file system."""
        return Path(self.address.removeprefix(LOCAL)) if self.address.startswith(LOCAL) else None

    def blocks(self) -> Iterator[bytes]:
        """Read the file.

        Raises:
            InvalidInputError: MissingFile, InvalidAddress.
            StoreError: the store cannot be read now.
        """
        try:
            yield from _blocks(self.address)
        except InvalidAddressError as error:
            raise InvalidInputError(Reason.INVALID_ADDRESS, str(error), self.field) from None
        except StoreError:
            raise
        except (OSError, obstore.exceptions.BaseError) as error:
            raise _problem(error, self) from None


def find(source: Source, index: int, store: str | None) -> list[File]:
    """Return the files of a source, in the order of their names.

    Raises:
        InvalidInputError: InvalidAddress, MissingFile, TooLarge.
        StoreError: the store cannot be read now.
    """
    field, uri = f"spec.data.sources[{index}].uri", source.uri or ""
    where = shown(uri)
    try:
        address = resolve_data(uri, store)
        if not is_several(uri):
            return [File(address, where, field)]
        if address.startswith("https://"):
            message = (
                "a web server does not list its files: declare one source a file, without * and without / at the end"
            )
            raise InvalidInputError(Reason.INVALID_ADDRESS, message, field)
        found = sorted(_listed(address, store))
    except InvalidAddressError as error:
        raise InvalidInputError(Reason.INVALID_ADDRESS, str(error), field) from None
    except (OSError, obstore.exceptions.BaseError) as error:
        raise _problem(error, File(uri, where, field)) from None
    if not found:
        message = (
            f"no file at {where}: upload files, or correct the folder or pattern (* stands for any characters but /)"
        )
        raise InvalidInputError(Reason.MISSING_FILE, message, field)
    if len(found) > MAX_FILES:
        message = f"{where} has more than {MAX_FILES} files: name fewer with a pattern, or write larger files"
        raise InvalidInputError(Reason.TOO_LARGE, message, field)
    return [File(name, f"file {i} of {len(found)} at {where}", field) for i, name in enumerate(found, 1)]


def one(uri: str, field: str, store: str | None) -> File:
    """Return the file at an address of the store.

    Raises:
        InvalidInputError: InvalidAddress.
    """
    try:
        return File(resolve(uri, store), shown(uri), field)
    except InvalidAddressError as error:
        raise InvalidInputError(Reason.INVALID_ADDRESS, str(error), field) from None


def is_several(uri: str) -> bool:
    """Return whether an address is that of a folder or a pattern."""
    return uri.endswith("/") or "*" in uri


def pattern(address: str) -> re.Pattern[str]:
    """Return what matches the addresses below a folder, or those of a pattern, in which * does not stand for /."""
    if "*" not in address:
        return re.compile(re.escape(address.rstrip("/") + "/") + ".+", re.DOTALL)
    segments = (_segment(segment) for segment in address.split("/"))
    return re.compile("/".join(segments) + (".+" if address.endswith("/") else ""), re.DOTALL)


def _segment(segment: str) -> str:
    """Return the expression of a name with stars. Each text between two stars is taken where it comes first, for good."""
    first, *rest = segment.split("*")
    if not rest:
        return re.escape(first)
    *inner, last = rest
    atoms = "".join(f"(?>[^/]*?{re.escape(text)})" for text in inner if text)
    return f"{re.escape(first)}{atoms}[^/]*{re.escape(last)}"


def _listed(address: str, store: str | None) -> Iterator[str]:
    wanted, fixed = pattern(address), address.split("*", 1)[0]
    base = fixed.rpartition("/")[0]
    for name in _below(base, store):
        if wanted.fullmatch(name) and not any(part.startswith(_HIDDEN) for part in name[len(base) :].split("/")):
            if name.startswith(LOCAL) and not is_inside(name.removeprefix(LOCAL), store or ""):
                raise InvalidAddressError(
                    "a file leads out of the artifact store by a link: copy the file into the store"
                )
            yield name


def _below(base: str, store: str | None) -> Iterator[str]:
    """Return the addresses of all files below a folder."""
    if base.startswith(LOCAL):
        yield from (f"{LOCAL}{path}" for path in _walked(Path(base.removeprefix(LOCAL)), store or ""))
        return
    for batch in obstore.list(from_url(base, **client_options(base))):
        yield from (f"{base}/{found['path']}" for found in batch)


def _walked(top: Path, store: str) -> Iterator[Path]:
    """Return all files below a folder, also through links to folders of the store.

    Raises:
        InvalidAddressError: a folder is outside of the store.
    """
    for root, folders, names in os.walk(top, followlinks=True):
        folder = Path(root)
        if not is_inside(root, store):
            raise InvalidAddressError(
                "a folder leads out of the artifact store by a link: copy its files into the store"
            )
        if folder.resolve() in {parent.resolve() for parent in folder.parents if parent.is_relative_to(top)}:
            folders.clear()  # a link back to where it is in
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        yield from (folder / name for name in names if (folder / name).is_file())


def _blocks(address: str) -> Iterator[bytes]:
    if address.startswith("https://"):
        yield from web.blocks(address, BLOCK)
        return
    if address.startswith(LOCAL):
        with Path(address.removeprefix(LOCAL)).open("rb") as file:
            while block := file.read(BLOCK):
                yield block
        return
    folder, name = split(address)
    yield from map(bytes, obstore.get(from_url(folder, **client_options(folder)), name).stream(BLOCK))


def _problem(error: Exception, file: File) -> Exception:
    if is_missing(error):
        message = f"no file at {file.where}: upload it, or correct the address"
        return InvalidInputError(Reason.MISSING_FILE, message, file.field)
    problem = trouble(error, file.address)
    return StoreError(problem.reason, problem.sentence)
