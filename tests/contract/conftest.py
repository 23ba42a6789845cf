"""One API server for all contract tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.control_plane import ControlPlane, api_server, define


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the CRDs."""
    directory = tmp_path_factory.mktemp("control-plane")
    with api_server(directory) as plane:
        define(plane, directory / "api.log")
        yield plane
