"""A kind is one entry of the registry: what watches, lists, caches, reconciles and permits it follows, or fails here."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from modelward_api.resources import kinds
from modelward_api.resources.driftmonitor import Action
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.drift.actions import ACTIONS
from modelward_operator.domain.jobs.batch import score
from modelward_operator.domain.jobs.training import train
from modelward_operator.domain.rollout import advance
from modelward_operator.engine.kube.gateway import OURS
from modelward_operator.engine.kube.kinds import KINDS, MODEL, RECONCILED
from modelward_operator.engine.queue import Key
from modelward_operator.engine.reconcile.reconciler import Reconciler
from modelward_operator.engine.watch import events
from modelward_operator.engine.watch.resync import keys_of
from modelward_operator.manifests.settings import Settings

REPOSITORY = Path(__file__).parents[3]
DEFINED = {kind.name: kind.plural for kind in kinds.KINDS}
"""The kinds of the API: by kind, the plural."""
PEOPLES = [kind for kind in KINDS if not kind.ours]


def granted() -> dict[str, set[str]]:
    """By resource: the verbs that the chart's role of the operator has."""
    helpers = (REPOSITORY / "charts/modelward/templates/_helpers.tpl").read_text()
    rules = yaml.safe_load(helpers.partition('{{- define "modelward.rules" -}}')[2].partition("{{- end }}")[0])
    return {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}


def test_every_kind_of_the_api_is_in_the_registry_and_no_other():
    assert {kind.resource.kind: kind.resource.plural for kind in PEOPLES} == DEFINED


def test_every_kind_of_the_api_concerns_a_model_or_is_reconciled_by_itself():
    assert all(kind.concerns_model or kind.label for kind in PEOPLES)


def test_every_kind_of_key_has_its_reconciler():
    reconciler = Reconciler(None, None, None, Settings("s:1", "t:1"), advance, train, score, None)
    assert reconciler.by_kind.keys() == set(RECONCILED)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)
def test_the_operators_role_lets_it_watch_each_kind(kind):
    verbs = {"list", "watch"} | ({"get"} if not kind.ours else set())
    assert verbs <= granted()[kind.resource.plural]


@pytest.mark.parametrize("kind", PEOPLES, ids=lambda kind: kind.resource.kind)
def test_the_operators_role_lets_it_write_the_status_of_each_kind_of_the_api(kind):
    assert "update" in granted()[f"{kind.resource.plural}/status"]


@pytest.mark.parametrize("kind", [k for k in KINDS if k.label], ids=lambda kind: kind.resource.kind)
def test_the_operators_role_lets_it_own_what_it_makes_for_a_kind(kind):
    assert "update" in granted()[f"{kind.resource.plural}/finalizers"]


def test_events_are_told_of_each_kind_of_the_api():
    assert set(get_args(get_type_hints(Note)["kind"])) == set(DEFINED)


def test_of_what_the_operator_makes_only_its_own_is_watched():
    selected = events.settings().watching.label_selectors
    assert {selector.any_name: label for selector, label in selected.items()} == {
        kind.resource.plural: OURS for kind in KINDS if kind.ours
    }


@pytest.mark.parametrize("kind", [k for k in KINDS if k.label], ids=lambda kind: kind.resource.kind)
def test_what_is_made_for_an_object_leads_back_to_it(kind):
    made = {"metadata": {"namespace": "clinic", "name": "pod", "labels": {kind.label: "a"}}}
    pods = next(k.resource for k in KINDS if k.resource.kind == "Pod")
    assert list(keys_of(made, pods)) == [Key(kind.resource.kind, "clinic", "a")]
    own = {"metadata": {"namespace": "clinic", "name": "a"}, "spec": {"model": "m"}}
    model = [Key(MODEL, "clinic", "m")] if kind.concerns_model else []
    assert list(keys_of(own, kind.resource)) == [*model, Key(kind.resource.kind, "clinic", "a")]


def test_every_action_of_a_monitor_is_carried_out():
    assert ACTIONS.keys() == set(get_args(get_type_hints(Action)["do"]))
