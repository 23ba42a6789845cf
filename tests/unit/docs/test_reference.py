"""The field reference is generated from the models, and complete."""

from __future__ import annotations

import pytest

from modelward_api.generate.reference import pages
from modelward_api.generate.schema import KINDS, definition
from tests.unit.docs.pages import DOCS

REFERENCE = DOCS / "reference"


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_committed_page_is_what_the_models_say(name):
    assert (REFERENCE / name).read_text() == pages()[name], "run `make generate`"


def test_the_reference_has_one_page_a_kind_and_one_of_pod_settings():
    kinds = [definition(kind)["spec"]["names"]["singular"] for kind in KINDS]
    assert sorted(pages()) == sorted(["pod.md", *(f"{kind}.md" for kind in kinds)])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_field_of_the_spec_and_the_status_is_on_the_page(kind):
    crd = definition(kind)["spec"]
    text = (REFERENCE / f"{crd['names']['singular']}.md").read_text()
    for part in ("spec", "status"):
        for field in crd["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]["properties"]:
            assert f"| `{part}.{field}` |" in text
