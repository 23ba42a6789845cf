"""The files of a batch: find, read and write them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import obstore
from obstore.store import LocalStore, from_url

from modelward_api.resources.reasons import Reason
from modelward_api.store import (
    LOCAL,
    InvalidAddressError,
    client_options,
    is_full,
    is_inside,
    is_missing,
    resolve,
    shown,
    split,
    trouble,
)
from modelward_serving.batch.errors import InvalidInputError, UnreachableError

FIELD = {"input": "spec.input.uri", "output": "spec.output.uri"}


@dataclass(frozen=True, slots=True)
class File:
    """One file of the input."""

    store: Any
    path: str
    size: int
    tag: str
    told: str = "the input"
    """The file's name in messages: the declared address and its position, because a file name may contain an identifier."""

    def open(self) -> Reader:
        """Open the file for random access."""
        return Reader(self)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from start to end."""
        with reachable(self.told, "input"):
            return bytes(obstore.get_range(self.store, self.path, start=start, end=end)) if end > start else b""


class Reader(io.RawIOBase):
    """An input file as a Python file object. Each read is one request to the store, so read large blocks."""

    def __init__(self, file: File) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: any position can be read."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, size: int | None = -1) -> bytes:
        """Return that many bytes; by default, the rest."""
        end = self._file.size if size is None or size < 0 else min(self._position + size, self._file.size)
        content = self._file.read(self._position, end)
        self._position += len(content)
        return content


@dataclass(frozen=True, slots=True)
class Input:
    """The files, sorted by name."""

    files: tuple[File, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the names, sizes and tags of the files."""
        parts = [(file.path, file.size, file.tag) for file in self.files]
        return "sha256:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def reachable(uri: str, which: str) -> Iterator[None]:
    """Map store errors: distinguish a missing file from an unreachable store.

    Raises:
        InvalidInputError: MissingFile, StoreFull.
        UnreachableError: the store does not answer; a retry may help.
    """
    uri = shown(uri)
    try:
        yield
    except (OSError, obstore.exceptions.BaseError, ValueError) as error:
        if is_full(error):
            message = f"no space left at {uri}. Free space, then delete this ScoreBatch and apply it again"
            raise InvalidInputError(Reason.STORE_FULL, message, FIELD[which]) from None
        if is_missing(error):
            message = f"nothing found at {uri}. Upload it, or correct the address"
            raise InvalidInputError(Reason.MISSING_FILE, message, FIELD[which]) from None
        if isinstance(error, ValueError):
            raise InvalidInputError(
                Reason.INVALID_ADDRESS, f"{uri} is not a valid address of a store", FIELD[which]
            ) from None
        raise _unreachable(error, uri) from None


def _unreachable(error: Exception, uri: str) -> UnreachableError:
    found = trouble(error, uri)
    return UnreachableError(found.sentence, found.reason)


def _address(uri: str, store: str | None, which: str) -> str:
    try:
        return resolve(uri, store).rstrip("/")
    except InvalidAddressError as error:
        raise InvalidInputError(Reason.INVALID_ADDRESS, str(error), FIELD[which]) from None


def find(uri: str, form: str, output: str, store: str | None) -> Input:
    """Return the files at an address: the file, the matches of a pattern, or the files of a folder; never the batch's own output.

    Raises:
        InvalidInputError: MissingFile, InvalidAddress.
        UnreachableError: the store does not answer.
    """
    address, target = _address(uri, store, "input"), _address(output, store, "output")
    folder, name = split(address)
    if target in (address, folder if "*" in name else None):
        raise InvalidInputError(Reason.INVALID_ADDRESS, "must be another folder than the input's", FIELD["output"])
    with reachable(uri, "input"):
        if "*" in name:
            found = [f for f in _below(folder, target) if fnmatchcase(f.path, name)]
        else:
            found = _single(folder, name) or [f for f in _below(address, target) if f.path.endswith(f".{form}")]
    if not found:
        message = f"no .{form} file found at {shown(uri)}. Upload it, or correct the address"
        raise InvalidInputError(Reason.MISSING_FILE, message, FIELD["input"])
    found.sort(key=lambda file: file.path)
    many = len(found) > 1 or "*" in name
    places = [f"file {i} of {len(found)} (by name) at {shown(uri)}" for i in range(1, len(found) + 1)]
    return Input(tuple(replace(f, told=p if many else shown(uri)) for f, p in zip(found, places, strict=True)))


def _single(folder: str, name: str) -> list[File]:
    store = from_url(folder, **client_options(folder))
    try:
        return [_file(store, obstore.head(store, name))]
    except FileNotFoundError:
        return []


def _below(folder: str, target: str) -> list[File]:
    """Return the files of a folder, without hidden files and the output's."""
    store = from_url(folder, **client_options(folder))
    inside = target.removeprefix(f"{folder}/") + "/" if target.startswith(f"{folder}/") else None
    metas = [meta for chunk in obstore.list(store) for meta in chunk]
    visible = [m for m in metas if not any(part.startswith((".", "_")) for part in m["path"].split("/"))]
    # Links that lead out of the folder are not read.
    safe = [
        m
        for m in visible
        if not folder.startswith(LOCAL) or is_inside(f"{folder.removeprefix(LOCAL)}/{m['path']}", folder)
    ]
    return [_file(store, m) for m in safe if inside is None or not m["path"].startswith(inside)]


def _file(store: Any, meta: Any) -> File:
    return File(store, meta["path"], meta["size"], meta["e_tag"] or meta["last_modified"].isoformat())


class Output:
    """The output folder. Files appear in it atomically."""

    def __init__(self, uri: str, store: str | None) -> None:
        self.uri = uri
        address = _address(uri, store, "output")
        with reachable(uri, "output"):
            is_local = address.startswith("file://")
            self._store = (
                LocalStore.from_url(address, mkdir=True) if is_local else from_url(address, **client_options(address))
            )

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file atomically: under a temporary name first, or as one upload."""
        with reachable(self.uri, "output"):
            obstore.put(self._store, name, content)

    def get(self, name: str) -> bytes | None:
        """Return a file, or None if it does not exist."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        except obstore.exceptions.BaseError as error:
            raise _unreachable(error, self.uri) from None

    def has(self, name: str) -> bool:
        """Return whether a file exists."""
        try:
            return bool(obstore.head(self._store, name))
        except FileNotFoundError:
            return False
        except obstore.exceptions.BaseError as error:
            raise _unreachable(error, self.uri) from None
