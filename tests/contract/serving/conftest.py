"""Servers for the contract tests of serving."""

from __future__ import annotations

import pytest

from tests.support.servers import launching


@pytest.fixture
def launch(tmp_path):
    with launching(tmp_path) as start:
        yield start
