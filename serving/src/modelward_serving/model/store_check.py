"""A check of the artifact store: a small file is written and deleted. The chart's Job runs it at each installation."""

from __future__ import annotations

import contextlib
import sys

import obstore
from obstore.store import LocalStore, from_url

from modelward_api.resources.reasons import Reason
from modelward_api.store import Trouble, client_options, is_full, is_missing, shown, trouble

FILE, CONTENT = ".modelward-store-check", b"Modelward can write here."


def run(store: str) -> int:
    """Print whether the store can be used; return the exit status."""
    found = check(store)
    sys.stdout.write(f"{found.reason}: {found.sentence}\n" if found else f"{shown(store)} can be written\n")
    return 0 if found is None else 1


def check(store: str) -> Trouble | None:
    """Return why the store cannot be written, if it cannot."""
    try:
        place = LocalStore.from_url(store) if store.startswith("file://") else from_url(store, **client_options(store))
        obstore.put(place, FILE, CONTENT)
    except (OSError, obstore.exceptions.BaseError) as error:
        return _told(error, store)
    with contextlib.suppress(OSError, obstore.exceptions.BaseError):  # the next check writes the same file
        obstore.delete(place, FILE)
    return None


def _told(error: Exception, store: str) -> Trouble:
    if is_full(error):
        return Trouble(Reason.STORE_FULL, f"{shown(store)}: no space left: free space")
    if is_missing(error):
        return Trouble(Reason.STORE_UNAVAILABLE, f"{shown(store)}: there is no such bucket or folder: create it")
    return trouble(error, store)
