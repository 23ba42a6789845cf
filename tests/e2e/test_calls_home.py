"""The images that the cluster runs, in a network that leads nowhere: nothing is sent that nobody asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster import images
from tests.support.cluster.layout import cache_directory
from tests.support.enclosure import Heard, enclosed


@pytest.fixture(scope="module")
def heard() -> Iterator[dict[str, Heard]]:
    """What each image tried to send, all watched at once: its own files, its own environment, its own user."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        waiting = {}
        for name in images.NAMES:
            root = folder / f"{name}-root"
            environment = images.unpack(name, cache_directory(os.environ), root)
            waiting[name] = stack.enter_context(enclosed(name, folder / name, (root, environment)))
        yield {name: wait() for name, wait in waiting.items()}


@pytest.mark.parametrize("image", images.NAMES)
def test_an_image_sends_nothing_that_nobody_asked_for_and_keeps_nothing_to_be_sent_later(heard, image):
    assert heard[image] == Heard(sent=(), kept=())
