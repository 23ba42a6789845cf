"""No component sends anything that nobody has asked it for, and neither keeps what it would send later."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

from modelward_api import telemetry
from tests.support.cluster.layout import REPOSITORY
from tests.support.enclosure import COMPONENTS, Heard, enclosed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> dict[str, Heard]:
    """What each component tried to send, all watched at once, until ONNX Runtime as it is shipped has called home."""
    folder = tmp_path_factory.mktemp("enclosures")
    with ExitStack() as stack:
        waiting = {name: stack.enter_context(enclosed(name, folder / name)) for name in COMPONENTS}
        return {name: wait() for name, wait in waiting.items()}


def test_the_enclosure_hears_what_onnx_runtime_sends_when_it_is_let(heard):
    assert any("events.data.microsoft.com" in told for told in heard["bare"].sent), heard["bare"]
    assert heard["bare"].kept


@pytest.mark.parametrize("component", ["serving", "training", "operator"])
def test_a_component_sends_nothing_that_nobody_asked_for(heard, component):
    assert heard[component].sent == ()


@pytest.mark.parametrize("component", ["serving", "training", "operator"])
def test_a_component_keeps_nothing_to_be_sent_later(heard, component):
    assert heard[component].kept == ()


@pytest.mark.parametrize("image", ["serving", "training", "operator"])
def test_an_image_turns_it_off_for_whatever_is_started_in_it(image):
    last = (REPOSITORY / image / "Dockerfile").read_text().rpartition("FROM ")[2]
    said = dict(pair.split("=", 1) for line in re.findall("^ENV (.*)$", last, re.M) for pair in line.split())
    assert telemetry.VARIABLES.items() <= said.items()
