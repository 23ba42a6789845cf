"""Reconciles against a real API server: decisions are given, or the real ones; pods answer over real HTTP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_api import API_VERSION, names
from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.wire.exchange import PairedCounts, PairedEvidence, ProfileCounts
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.evidence import ledger
from modelward_operator.domain.rollout.decision import Decision, LeaseOrder
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import GatewayError
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.queue import Key
from modelward_operator.engine.watch.resync import look
from modelward_operator.manifests import record as records
from modelward_operator.manifests.pod import owner
from modelward_operator.manifests.service import service
from modelward_operator.manifests.serving import deployment, short
from tests.support import builders
from tests.support.builders import digest
from tests.support.harness import MODEL, SETTINGS, CrashError, Watched, monitor, operator_harness
from tests.support.objects import training

RECORD = records.record_name(MODEL)
OTHER = {"uri": "store://models/other", "digest": digest("7")}


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


def status(phase: str) -> ModelVersionStatus:
    return ModelVersionStatus.model_validate({"phase": phase})


async def without_record(harness) -> None:
    path = f"/api/v1/namespaces/{harness.namespace}/configmaps/{RECORD}"
    await harness.request("DELETE", path, absent_is_none=True)


def quarantine(letter: str) -> Quarantine:
    return Quarantine(digest=digest(letter), version="1.0.0", reason="Flips", message="m", time="2026-01-01T00:00:00Z")


class Script:
    """Decisions as the test wants them; remembers what was observed."""

    def __init__(self, **fields):
        self.decision = Decision(statuses={}, record=ModelRecord(), workloads={}, serve=None)
        self.change(**fields)
        self.seen = []

    def change(self, **fields):
        self.decision = replace(self.decision, **fields)

    def __call__(self, observation, now):
        self.seen.append(observation)
        return self.decision


async def champion(harness, name="v1", **spec):
    """A version that answers, as the operator itself brings it there."""
    await harness.version(name, **spec)
    operate = harness.reconciler()
    await operate(harness.key)
    pod = await harness.pod(name)
    for _ in range(3):
        await operate(harness.key)
    assert (await harness.status(name))["phase"] == "Champion"
    harness.gateway.writes()
    return operate, pod


async def test_a_decision_is_carried_out_in_the_documented_order(harness):
    for name in ("v1", "v2", "v3"):
        await harness.version(name)
    await harness.pod("v1")
    await harness.pod("v2")
    script = Script(
        statuses={"v1": status("Champion"), "v2": status("Canary")},
        record=ModelRecord(quarantined=(quarantine("9"),)),
        workloads={"v1": 1, "v2": 1, "v3": 1},
        serve="v1",
        leases=(LeaseOrder("v1", "v2", 50), LeaseOrder("v2", None)),
    )
    operate = harness.reconciler(script)
    await operate(harness.key)
    harness.gateway.writes()
    harness.gateway.journal.clear()
    script.change(
        statuses={"v2": status("Champion"), "v1": status("Standby")},
        record=ModelRecord(quarantined=(quarantine("8"), quarantine("9"))),
        workloads={"v1": 1, "v2": 2},
        serve="v2",
        leases=(LeaseOrder("v1", "v2", 100), LeaseOrder("v2", None)),
        drop_finalizers=frozenset({"v1"}),
        notes=(Note("ModelVersion", "v2", "Normal", "Promoted", "m"),),
    )
    await operate(harness.key)
    journal = [entry for entry in harness.gateway.journal if not entry.endswith("none")]
    assert [_short(entry) for entry in journal] == [
        "POST controllerrevisions",
        "PATCH configmaps mortality-modelward",
        "PATCH deployments v2",
        "PATCH poddisruptionbudgets v2",
        "PATCH services mortality",
        "PUT modelversions v2/status",
        "PUT modelversions v1/status",
        "lease v1 100",
        "DELETE deployments v3",
        "POST events",
    ]


def _short(entry: str) -> str:
    """Without the numbers of pods."""
    words = entry.split()
    return f"lease {words[1].split('-')[0]} {words[2]}" if words[0] == "lease" else entry


@pytest.mark.parametrize(
    "order",
    [LeaseOrder("v1", None), LeaseOrder("v1", "v2", 5), LeaseOrder("v1", "v3", 5)],
    ids=["ends", "lowers", "goes to another challenger"],
)
async def test_a_lease_that_takes_callers_away_is_told_before_anything_is_written(harness, order):
    for name in ("v1", "v2", "v3"):
        await harness.version(name)
    await harness.pod("v1")
    script = Script(leases=(LeaseOrder("v1", "v2", 50),))
    operate = harness.reconciler(script)
    await operate(harness.key)
    harness.gateway.journal.clear()
    script.change(leases=(order,), statuses={"v2": status("RolledBack")})
    await operate(harness.key)
    first = harness.gateway.journal[0]
    assert first.startswith("lease"), harness.gateway.journal
    assert float(first.split()[2].replace("none", "0")) < 50


async def test_a_second_reconcile_writes_nothing(harness):
    operate, _ = await champion(harness, serving={"replicas": 1})
    for _ in range(3):
        await operate(harness.key)
    assert harness.gateway.writes() == []


async def test_a_steady_reconcile_is_eight_readings(harness):
    operate, _ = await champion(harness)
    before = harness.gateway.reads
    await operate(harness.key)
    assert harness.gateway.reads - before == 8
    assert harness.gateway.writes() == []


async def test_a_new_operator_takes_over_without_changing_anything(harness):
    await champion(harness)
    states = [await harness.get(api.DEPLOYMENTS, "v1"), await harness.get(api.SERVICES, MODEL)]
    await harness.reconciler(epoch=2)(harness.key)
    after = [await harness.get(api.DEPLOYMENTS, "v1"), await harness.get(api.SERVICES, MODEL)]
    assert [m["metadata"]["resourceVersion"] for m in after] == [m["metadata"]["resourceVersion"] for m in states]


async def test_a_deployment_that_somebody_changed_is_mended_and_a_deleted_service_comes_back(harness):
    operate, _ = await champion(harness)
    await harness.gateway.patch(api.DEPLOYMENTS, harness.namespace, "v1", {"spec": {"replicas": 0}})
    found = await harness.get(api.SERVICES, MODEL)
    await harness.gateway.delete(api.SERVICES, harness.namespace, MODEL, found["metadata"]["uid"])
    await operate(harness.key)
    assert (await harness.get(api.DEPLOYMENTS, "v1"))["spec"]["replicas"] == 1
    assert (await harness.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v1"


async def test_a_foreign_service_is_not_touched_and_the_version_says_whose_it_is(harness):
    spec = {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}
    annotations = {"meta.helm.sh/release-name": "billing"}
    made = await harness.create(api.SERVICES, MODEL, spec, metadata={"annotations": annotations})
    await harness.version("v1")
    operate = harness.reconciler()
    for _ in range(3):
        await operate(harness.key)
    assert (await harness.get(api.SERVICES, MODEL))["metadata"]["resourceVersion"] == made["metadata"][
        "resourceVersion"
    ]
    stalled = await harness.condition("v1", "Stalled")
    assert stalled["reason"] == "NameTaken"
    assert (
        stalled["message"] == f"Service {MODEL} exists and is part of Helm release billing: choose another spec.model"
    )


async def test_a_foreign_deployment_is_not_touched_and_the_version_says_so(harness):
    labels = {"app": "theirs"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = await harness.create(api.DEPLOYMENTS, "v1", {"selector": {"matchLabels": labels}, "template": template})
    await harness.version("v1")
    operate = harness.reconciler()
    for _ in range(3):
        await operate(harness.key)
    found = await harness.get(api.DEPLOYMENTS, "v1")
    assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert (await harness.condition("v1", "Stalled"))["reason"] == "NameTaken"


async def test_a_version_named_like_the_operators_deployment_is_told_whose_it_is_and_not_to_delete_it(harness):
    labels = {"app.kubernetes.io/part-of": "modelward", "app.kubernetes.io/component": "operator", "app": "o"}
    template = {"metadata": {"labels": {"app": "o"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"app": "o"}}, "template": template}
    await harness.create(api.DEPLOYMENTS, "v1", spec, metadata={"labels": labels})
    await harness.version("v1")
    await harness.reconciler()(harness.key)
    message = (await harness.condition("v1", "Stalled"))["message"]
    assert "part of Modelward itself (its operator)" in message
    assert "under another name" in message
    assert "delete" not in message


async def test_a_foreign_record_is_not_touched_holds_everything_and_says_so_once(harness):
    made = await harness.create(api.CONFIG_MAPS, RECORD, None, data={"theirs": "yes"})
    await harness.version("v1")
    operate = harness.reconciler()
    await operate(harness.key)
    stalled = await harness.condition("v1", "Stalled")
    assert stalled["reason"] == "NameTaken"
    assert RECORD in stalled["message"]
    assert "POST events" in harness.gateway.writes()
    await operate(harness.key)
    assert harness.gateway.writes() == []
    assert (await harness.get(api.CONFIG_MAPS, RECORD))["metadata"] == made["metadata"]
    assert await harness.get(api.DEPLOYMENTS, "v1") is None


async def test_a_record_that_somebody_broke_holds_the_model_until_it_is_mended(harness):
    operate, _ = await champion(harness)
    labels = {names.MANAGED_BY: names.MANAGER, names.MODEL: MODEL}
    await without_record(harness)
    made = await harness.create(api.CONFIG_MAPS, RECORD, None, data={"record.json": "{"}, metadata={"labels": labels})
    await operate(harness.key)
    assert (await harness.condition("v1", "Stalled"))["reason"] == "RecordUnreadable"
    assert (await harness.status("v1"))["phase"] == "Champion"
    await harness.gateway.delete(api.CONFIG_MAPS, harness.namespace, RECORD, made["metadata"]["uid"])
    await operate(harness.key)
    assert await harness.condition("v1", "Stalled") == {}
    assert (await harness.condition("v1", "Ready"))["status"] == "True"


async def test_versions_can_be_deleted_whatever_stands_where_the_record_shall_be(harness):
    operate, _ = await champion(harness)
    await without_record(harness)
    await harness.create(api.CONFIG_MAPS, RECORD, None, data={"theirs": "yes"})
    await harness.gateway.delete(
        api.MODEL_VERSIONS, harness.namespace, "v1", (await harness.get(api.MODEL_VERSIONS, "v1"))["metadata"]["uid"]
    )
    await operate(harness.key)
    assert await harness.get(api.MODEL_VERSIONS, "v1") is None
    assert (await harness.get(api.CONFIG_MAPS, RECORD))["data"] == {"theirs": "yes"}


async def test_a_version_that_somebody_changes_meanwhile_is_looked_at_again(harness):
    manifest = await harness.version("v1")
    script = Script(statuses={"v1": status("Pending")})

    def meddle(observation, now):
        harness.plane.kubectl("label", "mv", "v1", "touched=yes", "--namespace", harness.namespace, "--overwrite")
        return script(observation, now)

    delay = await harness.reconciler(meddle)(harness.key)
    assert delay is not None
    assert delay < 1
    assert (await harness.get(api.MODEL_VERSIONS, manifest["metadata"]["name"]))["status"] == {"observedGeneration": -1}
    await harness.reconciler(script)(harness.key)
    assert (await harness.status("v1"))["phase"] == "Pending"


async def test_events_are_written_on_transitions_about_the_right_object(harness):
    operate, _ = await champion(harness)
    events = await harness.gateway.list(api.EVENTS, harness.namespace)
    uid = (await harness.get(api.MODEL_VERSIONS, "v1"))["metadata"]["uid"]
    assert {event["involvedObject"]["uid"] for event in events} == {uid}
    assert "Promoted" in {event["reason"] for event in events}
    await operate(harness.key)
    assert len(await harness.gateway.list(api.EVENTS, harness.namespace)) == len(events)


class WithoutEvents(Watched):
    """As where the operator may not write Events."""

    async def create(self, resource, manifest):
        if resource is api.EVENTS:
            raise GatewayError(403, "forbidden")
        return await super().create(resource, manifest)


async def test_an_event_that_cannot_be_written_holds_nothing_up(harness):
    gateway = await WithoutEvents.connect(str(harness.plane.kubeconfig))
    await harness.version("v1")
    operate = harness.reconciler(gateway=gateway)
    assert await operate(harness.key) is not None
    assert (await harness.status("v1"))["phase"] == "Verifying"
    await gateway.close()


async def test_counts_alone_are_written_now_and_then_and_at_once_with_a_change_of_phase(harness):
    await harness.version("v1")
    pod = await harness.pod("v1")
    script = Script(statuses={"v1": status("Champion")})

    def count(pairs):
        pod.count("v2", pairs=pairs)
        totals = ledger.merge(ModelRecord().ledger, ())
        key = ledger.instance_key(digest("1"), "i")
        paired = {digest("2"): {key: PairedCounts(pairs=pairs)}}
        script.change(record=ModelRecord(ledger=totals.model_copy(update={"paired": paired})))

    operate = harness.reconciler(script)
    count(1)
    await operate(harness.key)
    assert "POST configmaps" in harness.gateway.writes()
    for pairs in (2, 3, 4):
        count(pairs)
        await operate(harness.key)
    assert harness.gateway.writes() == []
    count(5)
    script.change(statuses={"v1": status("Standby")})
    await operate(harness.key)
    writes = harness.gateway.writes()
    assert writes.index(f"PATCH configmaps {RECORD}") < writes.index("PUT modelversions v1/status")


async def test_counts_of_the_pods_reach_the_decision_and_outlive_the_operator(harness):
    await harness.version("v1")
    await harness.version("v2")
    await harness.say(api.MODEL_VERSIONS, "v1", {"phase": "Champion"})
    pod = await harness.pod("v1")
    pod.count("v2", pairs=40, flips=2)

    def remember(observation, now):
        return Decision({}, observation.record, {}, None)

    await harness.reconciler(remember)(harness.key)
    pod.evidence = ()  # the pod is another instance now, with no counts
    script = Script()
    await harness.reconciler(script, epoch=2)(harness.key)
    record = script.seen[0].record
    assert ledger.paired_totals(record.ledger, digest("2"), digest("1")) == PairedCounts(pairs=40, flips=2)


async def test_harm_in_one_subgroup_is_written_where_people_read_it_without_small_numbers(harness):
    operate, pod = await champion(harness)
    await harness.version("v2")
    for _ in range(2):
        await operate(harness.key)
        await harness.pod("v2")
    await operate(harness.key)
    assert (await harness.status("v2"))["phase"] == "Canary"
    women = PairedCounts(pairs=400, compared=400, errors_challenger=60)
    strata = {
        "sex=f": women,
        "sex=m": PairedCounts(pairs=3600, compared=3600, errors_champion=60),
        "sex=x": PairedCounts(pairs=7, compared=7),
    }
    whole = sum(strata.values(), PairedCounts())
    pod.evidence = (PairedEvidence(challenger=digest("2"), counts=whole, strata=strata),)
    await operate(harness.key)
    told = await harness.status("v2")
    assert (told["phase"], told["history"][-1]["reason"]) == ("RolledBack", "SubgroupHarm")
    assert told["message"].startswith("Harm in sex=f: 15% more errors than the champion on about 400 paired requests")
    assert [(s["stratum"], s["state"], s["pairs"]) for s in told["subgroups"]] == [
        ("sex=f", "Harm", "about 400"),
        ("sex=m", "Bounded", "about 3600"),
        ("sex=x", "TooSmall", "<11"),
    ]


async def test_a_digest_that_somebody_edits_out_of_the_record_is_known_from_its_second_place(harness):
    await harness.version("v1")
    script = Script(record=ModelRecord(quarantined=(quarantine("1"),)))
    operate = harness.reconciler(script)
    await operate(harness.key)
    await harness.gateway.patch(api.CONFIG_MAPS, harness.namespace, RECORD, {"data": {"record.json": "{}"}})
    await operate(harness.key)
    assert script.seen[-1].record.quarantined == (quarantine("1"),)


async def test_a_window_that_was_judged_is_not_judged_again_after_a_failure(harness):
    """The record with the new window is written; then something fails: the next decision starts from the new window."""
    await harness.version("v1")
    window = ProfileCounts(rows=100)
    record = ModelRecord().model_copy(
        update={"ledger": ModelRecord().ledger.model_copy(update={"windows": {"watch": window}})}
    )
    script = Script(record=record, statuses={"v1": status("Champion")})
    operate = harness.reconciler(script)
    harness.gateway.crash = lambda _: "before" if harness.gateway.journal else None
    with pytest.raises(CrashError):
        await operate(harness.key)
    harness.gateway.crash = lambda _: None
    await operate(harness.key)
    assert script.seen[-1].record.ledger.windows == {"watch": window}


async def test_the_last_version_takes_deployment_and_service_with_it(harness):
    operate, _ = await champion(harness)
    delete(harness, "v1")
    await operate(harness.key)
    for resource, name in ((api.DEPLOYMENTS, "v1"), (api.SERVICES, MODEL), (api.MODEL_VERSIONS, "v1")):
        assert await harness.get(resource, name) is None
    assert await operate(harness.key) is None


async def test_a_service_whose_versions_are_gone_is_found_and_removed(harness):
    await harness.gateway.apply(api.SERVICES, service(harness.namespace, MODEL, "v1"))
    assert harness.key in set().union(*await look(harness.gateway, WatchCache(), harness.namespace))
    await harness.reconciler()(harness.key)
    assert await harness.get(api.SERVICES, MODEL) is None


async def test_versions_leave_a_namespace_that_is_being_deleted(harness):
    operate, _ = await champion(harness)
    operate.model.memories[harness.key].record = ModelRecord(quarantined=(quarantine("9"),))
    labels = {names.MANAGED_BY: names.MANAGER, names.MODEL: MODEL}
    data = {"record.json": ModelRecord(quarantined=(quarantine("9"),)).model_dump_json(by_alias=True)}
    await without_record(harness)
    made = await harness.create(api.CONFIG_MAPS, RECORD, None, data=data, metadata={"labels": labels})
    await operate(harness.key)
    harness.plane.kubectl("delete", "namespace", harness.namespace, "--wait=false")
    harness.plane.kubectl("delete", "mv", "v1", "--namespace", harness.namespace, "--wait=false")
    await harness.gateway.delete(api.CONFIG_MAPS, harness.namespace, RECORD, made["metadata"]["uid"])
    await operate(harness.key)
    assert await harness.get(api.MODEL_VERSIONS, "v1") is None


def delete(harness, name):
    """As people do, who wait for its end: nothing waits for an operator that may be gone."""
    harness.plane.kubectl("delete", "mv", name, "--namespace", harness.namespace, "--timeout=5s")


async def test_callers_keep_the_pods_of_a_champion_that_is_deleted_while_the_operator_is_gone(harness):
    await champion(harness)
    await harness.version("v2")
    delete(harness, "v1")
    assert "ownerReferences" not in (await harness.get(api.DEPLOYMENTS, "v1"))["metadata"]
    back = harness.reconciler()
    await back(harness.key)
    assert await harness.get(api.DEPLOYMENTS, "v1") is not None
    assert (await harness.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v1"
    assert (await harness.status("v2"))["phase"] == "Verifying"


async def test_people_see_that_the_champion_was_deleted_while_no_version_can_replace_it(harness):
    operate, _ = await champion(harness)
    await harness.version("v2")
    await harness.say_phase("v2", "Failed")
    delete(harness, "v1")
    for _ in range(3):
        await operate(harness.key)
    assert (await harness.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v1"
    listed = harness.plane.kubectl("get", "mv", "v2", "--namespace", harness.namespace)
    assert "DeletionHeld" in listed.stdout
    events = [e for e in await harness.gateway.list(api.EVENTS, harness.namespace) if e["reason"] == "DeletionHeld"]
    assert [(e["involvedObject"]["name"], e["type"]) for e in events] == [("v2", "Warning")]
    assert "v1 was deleted, and its pods keep serving traffic" in events[0]["message"]
    await harness.version("v1")
    for _ in range(2):
        await operate(harness.key)
    assert await harness.condition("v2", "ChampionPresent") == {}


async def test_a_standby_takes_over_from_a_champion_that_is_deleted_before_its_pods_go(harness):
    operate, _ = await champion(harness)
    await harness.version("v2", rollout={"strategy": "direct"})
    await operate(harness.key)
    await harness.pod("v2")
    for _ in range(4):
        await operate(harness.key)
    assert [(await harness.status(name))["phase"] for name in ("v1", "v2")] == ["Standby", "Champion"]
    delete(harness, "v2")
    harness.gateway.journal.clear()
    for _ in range(3):
        await operate(harness.key)
    done = [entry for entry in harness.gateway.journal if entry.split()[1] in ("services", "deployments")]
    assert [entry for entry in done if "services" in entry or "DELETE" in entry] == [
        f"PATCH services {MODEL}",
        "DELETE deployments v2",
    ]
    assert (await harness.status("v1"))["phase"] == "Champion"


async def test_a_version_applied_anew_with_the_same_bundle_takes_its_pods_over(harness):
    operate, _ = await champion(harness)
    before = (await harness.get(api.DEPLOYMENTS, "v1"))["metadata"]["uid"]
    delete(harness, "v1")
    await harness.version("v1")
    for _ in range(2):
        await operate(harness.key)
    assert (await harness.status("v1"))["phase"] == "Champion"
    after = (await harness.get(api.DEPLOYMENTS, "v1"))["metadata"]
    assert after["uid"] == before
    assert (
        after["annotations"][names.UID_OF_VERSION] == (await harness.get(api.MODEL_VERSIONS, "v1"))["metadata"]["uid"]
    )


async def test_a_version_applied_anew_with_another_bundle_waits_until_the_pods_of_the_one_before_are_gone(harness):
    operate, _ = await champion(harness)
    delete(harness, "v1")
    await harness.version("v1", artifact=OTHER)
    await operate(harness.key)
    conditions = {c["type"]: c["reason"] for c in (await harness.status("v1"))["conditions"]}
    assert conditions == {"Ready": "WaitingForCleanup", "Reconciling": "WaitingForCleanup"}
    for _ in range(2):
        await operate(harness.key)
    template = (await harness.get(api.DEPLOYMENTS, "v1"))["spec"]["template"]
    assert template["metadata"]["labels"][names.DIGEST] == short(digest("7"))
    assert (await harness.status("v1"))["phase"] == "Verifying"


async def test_the_finalizer_and_the_owner_of_an_earlier_release_go_and_the_pods_stay(harness):
    await champion(harness)
    uid = (await harness.get(api.MODEL_VERSIONS, "v1"))["metadata"]["uid"]
    held = {"metadata": {"finalizers": [names.FINALIZER]}}
    await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", held)
    owned = await harness.get(api.DEPLOYMENTS, "v1")
    wanted = deployment(
        harness.namespace, "v1", uid, builders.version("v1").spec, builders.version("v1").artifact, 1, SETTINGS
    )
    wanted["metadata"]["ownerReferences"] = [owner("ModelVersion", API_VERSION, "v1", uid)]
    await harness.gateway.apply(api.DEPLOYMENTS, wanted)
    back = harness.reconciler()
    for _ in range(3):
        await back(harness.key)
    after = (await harness.get(api.DEPLOYMENTS, "v1"))["metadata"]
    assert (after["uid"], after.get("ownerReferences")) == (owned["metadata"]["uid"], None)
    assert "finalizers" not in (await harness.get(api.MODEL_VERSIONS, "v1"))["metadata"]
    assert (await harness.status("v1"))["phase"] == "Champion"


async def test_pods_of_another_bundle_are_not_the_versions(harness):
    await harness.version("v1", artifact={"uri": "store://models/v1", "digest": digest("7")})
    await harness.pod("v1")
    script = Script()
    await harness.reconciler(script)(harness.key)
    assert script.seen[0].versions[0].pods == ()


class Lenient(Watched):
    """As if the schema had let something through: one field of every DriftMonitor, ModelVersion and TrainingJob."""

    async def list(self, resource, namespace, selector="", fields=""):
        return [_spoilt(resource, m) for m in await super().list(resource, namespace, selector, fields)]

    async def get(self, resource, namespace, name):
        found = await super().get(resource, namespace, name)
        return None if found is None else _spoilt(resource, found)


def _spoilt(resource, manifest):
    change = {"DriftMonitor": {"interval": "soon"}, "ModelVersion": {"version": "one"}, "TrainingJob": {"version": "1"}}
    if resource.kind not in change:
        return manifest
    return {**manifest, "spec": {**manifest["spec"], **change[resource.kind]}}


async def test_specs_that_only_the_models_refuse_are_said_in_a_condition_and_not_tried_again(harness):
    await harness.version("v1")
    await harness.gateway.create(api.DRIFT_MONITORS, monitor("watch", harness.namespace))
    gateway = await Lenient.connect(str(harness.plane.kubeconfig))
    operate = harness.reconciler(gateway=gateway)
    await operate(harness.key)
    for resource, name, field in ((api.MODEL_VERSIONS, "v1", "version"), (api.DRIFT_MONITORS, "watch", "interval")):
        stalled = await harness.condition(name, "Stalled", resource)
        assert stalled["reason"] == "InvalidSpec"
        assert f"spec.{field}" in stalled["message"]
    await operate(harness.key)
    gateway.writes()
    await operate(harness.key)
    assert gateway.writes() == []
    await gateway.close()


async def test_an_unreadable_training_is_said_in_a_condition_and_not_tried_again(harness):
    job = training()
    await harness.create(api.TRAINING_JOBS, "t", job["spec"])
    gateway = await Lenient.connect(str(harness.plane.kubeconfig))
    operate = harness.reconciler(gateway=gateway)
    assert await operate(Key("TrainingJob", harness.namespace, "t")) is None
    assert (await harness.condition("t", "Stalled", api.TRAINING_JOBS))["reason"] == "InvalidSpec"
    gateway.writes()
    assert await operate(Key("TrainingJob", harness.namespace, "t")) is None
    assert gateway.writes() == []
    await gateway.close()
