"""The CRDs on a real API server: admission, defaults and refusals."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from modelward_api.resources.kinds import KINDS
from modelward_api.resources.modelversion import ModelVersionSpec
from tests.support.cluster.layout import REPOSITORY
from tests.support.objects import training
from tests.unit.operator.manifests.golden import OWN_PODS

DIGEST = "sha256:" + "a" * 64


def version(**spec):
    body = {"model": "m", "version": "1.0.0", "artifact": {"uri": "store://x", "digest": DIGEST}, **spec}
    return {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": "m-1", "namespace": "default"},
        "spec": {k: v for k, v in body.items() if v is not None},
    }


def named(document, name):
    document["metadata"]["name"] = name
    return document


def column(**fields):
    """A training whose third column, a numeric one, is changed; absent is None."""

    def change(spec):
        changed = {**spec["data"]["columns"][2], **fields}
        spec["data"]["columns"][2] = {k: v for k, v in changed.items() if v is not None}

    return training(change)


def splitting(more=None, **split):
    """A training with another split and, if given, one more column."""

    def change(spec):
        spec["split"] = split
        spec["data"]["columns"] += [{"name": "more", **more}] if more else []

    return training(change)


def settings(**template):
    return training(lambda spec: spec["promote"].update(template=template))


def monitor(**spec):
    return {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "DriftMonitor",
        "metadata": {"name": "m", "namespace": "default"},
        "spec": {"model": "m", **spec},
    }


def batch(**spec):
    body = {"model": "m", "input": {"uri": "store://in"}, "output": {"uri": "store://out"}, **spec}
    return {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "ScoreBatch",
        "metadata": {"name": "m-scores", "namespace": "default"},
        "spec": body,
    }


def drop_label(spec):
    spec["data"]["label"]["column"] = "nobody"


def other_algorithm(spec):
    spec["estimator"]["algorithm"] = "crystal-ball"


def by_time(spec):
    spec["split"] = {"method": "time"}
    spec["data"]["columns"] = [c for c in spec["data"]["columns"] if c.get("role") != "time"]


def timestamp_feature(spec):
    spec["data"]["columns"][2]["kind"] = "timestamp"


def twice(spec):
    spec["data"]["columns"].append(dict(spec["data"]["columns"][2]))


def positive_elsewhere(spec):
    spec["data"]["label"]["positive"] = "DEAD"


def second_label(spec):
    spec["data"]["columns"][3]["role"] = "label"


def start_by_chance(spec):
    spec["split"] = {"method": "random", "testFrom": "86"}


def nameless(spec):
    spec["promote"].pop("name")
    spec["version"] = "2.0.0-rc.1.with-a-long-tail-of-words"


def subgroups(*declared, allowed=None):
    """A training with these subgroups; ``allowed`` are the categories of sex."""

    def change(spec):
        spec["evaluation"]["subgroups"] = list(declared)
        sex = next(c for c in spec["data"]["columns"] if c["name"] == "sex")
        sex["allowedValues"] = ["m", "f"] if allowed is None else allowed

    return training(change)


def features(**declared):
    """A training with these features, and with a second number."""

    def change(spec):
        spec["data"]["columns"].append({"name": "creatinine", "kind": "numeric", "nullable": True})
        spec["features"] = declared

    return training(change)


def prepare(name, **fields):
    return features(preparation=[{"column": name, **fields}])


def derive(kind, *columns, **fields):
    return features(derived=[{"name": "d", "type": kind, "columns": columns, **fields}])


STEPS = {"steps": [{"weight": 50}, {"weight": 10}]}
TWICE = {"steps": [{"weight": 50}, {"weight": 50}]}
GREEDY = {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}}
CERTAIN_PODS = {
    "a label that Services select by": (
        {"metadata": {"labels": {"modelward.io/model": "x"}}},
        "metadata.labels: keys must have the form [prefix/]name",
    ),
    "a component's label": (
        {"metadata": {"labels": {"app.kubernetes.io/component": "x"}}},
        "metadata.labels: keys must have the form [prefix/]name",
    ),
    "an annotation of ours": (
        {"metadata": {"annotations": {"modelward.io/x": "y"}}},
        "metadata.annotations: keys must have the form [prefix/]name",
    ),
    "a variable of ours": ({"env": [{"name": "MODELWARD_STORE", "value": "x"}]}, "env: MODELWARD_*"),
    "a variable that loads code": ({"env": [{"name": "PYTHONPATH", "value": "/bundle"}]}, "env: MODELWARD_*"),
    "a variable said twice": ({"env": [{"name": "A", "value": "x"}, {"name": "A", "value": "y"}]}, "Duplicate"),
    "a variable from two places": (
        {"env": [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        "env: set at most one of value and valueFrom",
    ),
    "authorities from nowhere": ({"caBundle": {}}, "caBundle: set exactly one of configMap and secret"),
    "an unknown effect of a taint": ({"tolerations": [{"effect": "Sometimes"}]}, "tolerations[0].effect"),
    "root": ({"securityContext": {"runAsUser": 0}}, "securityContext.runAsUser"),
    "a node label that is none": (
        {"nodeSelector": {"not a key": "x"}},
        "nodeSelector: keys must have the form [prefix/]name",
    ),
    "more for the fetch than its limit": (
        {"fetchResources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
        "fetchResources: a request must not be greater",
    ),
}
DURATIONS = ("99999999999999999d", "10000d", "9999999999s", "1s1d")
QUERY = {"uriSecretRef": {"name": "registry", "key": "uri"}, "query": "SELECT 1"}


def source(**changes):
    """A TrainingJob whose first source is changed; None removes a field."""

    def change(spec):
        first = spec["data"]["sources"][0]
        first.update(changes)
        spec["data"]["sources"][0] = {key: value for key, value in first.items() if value is not None}

    return training(change)


REFUSED = {
    **{f"{what} (ModelVersion)": (version(serving={"pod": pod}), said) for what, (pod, said) in CERTAIN_PODS.items()},
    **{f"{what} (ScoreBatch)": (batch(pod=pod), said) for what, (pod, said) in CERTAIN_PODS.items()},
    **{
        f"{what} (TrainingJob)": (training(lambda spec, pod=pod: spec.update(pod=pod)), said)
        for what, (pod, said) in CERTAIN_PODS.items()
    },
    **{f"a batch of {long}": (batch(activeDeadline=long), "spec.activeDeadline: Invalid value") for long in DURATIONS},
    **{
        f"{name} of {long}": (version(rollout={name: long}), f"spec.rollout.{name}: Invalid value")
        for long in DURATIONS
        for name in ("keepWarm", "deadline")
    },
    "a request that takes for ever": (version(serving={"requestTimeout": DURATIONS[0]}), "at most 9999d"),
    "a step that never ends": (
        version(rollout={"steps": [{"weight": 5, "pause": DURATIONS[0]}]}),
        "spec.rollout.steps[0].pause",
    ),
    "a training that never ends": (training(lambda spec: spec.update(activeDeadline=DURATIONS[0])), "at most 9999d"),
    "a monitor that never looks": (monitor(interval=DURATIONS[0]), "at most 9999d"),
    "an action once in an age": (monitor(actions=[{"do": "alert", "cooldown": DURATIONS[0]}]), "at most 9999d"),
    "neither artifact nor trainingJobRef": (
        version(artifact=None),
        "spec: set exactly one of artifact and trainingJobRef",
    ),
    "both artifact and trainingJobRef": (
        version(trainingJobRef={"name": "t"}),
        "spec: set exactly one of artifact and trainingJobRef",
    ),
    "a version that is no SemVer": (version(version="one"), "spec.version"),
    "a digest that is none": (version(artifact={"uri": "store://x", "digest": "md5:1"}), "spec.artifact.digest"),
    "an address of an unknown scheme": (version(artifact={"uri": "ftp://x", "digest": DIGEST}), "spec.artifact.uri"),
    "a model name that no Service could have": (version(model="My_Model"), "spec.model"),
    "weights that fall": (version(rollout=STEPS), "weights must increase"),
    "a weight beyond 100": (version(rollout={"steps": [{"weight": 101}]}), "spec.rollout.steps[0].weight"),
    "an unknown strategy": (version(rollout={"strategy": "hope"}), "spec.rollout.strategy"),
    "a duration without a unit": (version(rollout={"keepWarm": "10"}), "spec.rollout.keepWarm"),
    "a margin of zero": (version(rollout={"analysis": {"errorMargin": 0}}), "spec.rollout.analysis.errorMargin"),
    "two steps of one weight": (version(rollout=TWICE), "two steps must not have the same weight"),
    "an objective of no time": (
        version(rollout={"analysis": {"latencyObjective": "0s"}}),
        "spec.rollout.analysis.latencyObjective: must be greater than zero, for example 500ms",
    ),
    "a deadline of no time": (
        version(rollout={"deadline": "10ms"}),
        "spec.rollout.deadline: must be at least 1s, for example 30s",
    ),
    "memory in no quantity": (
        version(serving={"resources": {"requests": {"memory": "lots"}}}),
        "spec.serving.resources.requests.memory",
    ),
    "more reserved than allowed": (version(serving=GREEDY), "a request must not be greater than its limit"),
    "a name too long for what is derived from it": (named(version(), "m" * 41), "metadata.name: must be at most 40"),
    "a name that no label could have": (
        named(version(), "m.1"),
        "metadata.name: must be at most 40 lower-case letters",
    ),
    "counting by encounters that nothing tells apart": (
        version(serving={"countBy": "encounter"}),
        "spec.serving.countBy: encounter needs stickyHeader",
    ),
    "both replicas and autoscaling": (
        version(serving={"replicas": 2, "autoscaling": {"maxReplicas": 3}}),
        "spec.serving: set either replicas or autoscaling",
    ),
    "a minimum above the maximum": (
        version(serving={"autoscaling": {"minReplicas": 4, "maxReplicas": 3}}),
        "minReplicas must not be greater than maxReplicas",
    ),
    "autoscaling without a maximum": (version(serving={"autoscaling": {}}), "spec.serving.autoscaling.maxReplicas"),
    "a Secret that no Secret could be": (
        version(serving={"tls": {"secretName": "My Secret"}}),
        "spec.serving.tls.secretName",
    ),
    "clients known by hope": (
        version(serving={"tls": {"secretName": "s", "clientAuthentication": "maybe"}}),
        "spec.serving.tls.clientAuthentication",
    ),
    "keys from two places": (
        version(
            serving={
                "authentication": {
                    "issuer": "i",
                    "audiences": ["a"],
                    "jwksUrl": "https://issuer/keys",
                    "jwksConfigMap": "keys",
                }
            }
        ),
        "spec.serving.authentication: set exactly one of jwksUrl and jwksConfigMap",
    ),
    "tokens for nobody": (
        version(serving={"authentication": {"issuer": "i", "audiences": [], "jwksConfigMap": "keys"}}),
        "spec.serving.authentication.audiences",
    ),
    "no replicas": (version(serving={"replicas": 0}), "spec.serving.replicas"),
    "a label that is not declared": (training(drop_label), "spec.data.label.column"),
    "an unknown algorithm": (training(other_algorithm), "spec.estimator.algorithm"),
    "a split by a time that is not there": (training(by_time), "spec.split.method"),
    "a timestamp as a feature": (training(timestamp_feature), "a timestamp cannot be a feature"),
    "a time that would sort as text": (
        training(
            lambda spec: spec["data"]["columns"][2].update(kind="categorical", role="time", unit=None, range=None)
        ),
        "sort as text",
    ),
    "a timestamp as the label": (
        training(lambda spec: spec["data"]["columns"].append({"name": "died", "kind": "timestamp", "role": "label"})),
        "a timestamp cannot be the label",
    ),
    "a column twice": (
        training(lambda spec: spec["data"]["columns"].append(dict(spec["data"]["columns"][2]))),
        "spec.data.columns",
    ),
    "data from the web without TLS": (source(uri="http://host/x.csv"), "spec.data.sources[0].uri"),
    "data from the web as somebody": (source(uri="https://me:secret@host/x.csv"), "spec.data.sources[0].uri"),
    "a source of two places": (source(sql=QUERY, format="sql"), "set exactly one of uri and sql"),
    "a source of no place": (source(uri=None), "set exactly one of uri and sql"),
    "a query that is a CSV file": (source(uri=None, sql=QUERY), "format: sql needs sql"),
    "a file that is a query": (source(format="sql"), "format: sql needs sql"),
    "two meanings of a comma": (
        source(dialect={"decimal": ",", "thousands": ","}),
        "spec.data.sources[0].dialect.thousands",
    ),
    "a quote that separates": (source(dialect={"separator": "'", "quote": "'"}), "spec.data.sources[0].dialect.quote"),
    "a separator that is no mark": (source(dialect={"separator": "§"}), "spec.data.sources[0].dialect.separator"),
    "a site without a column": (source(site="north"), "needs a column with role: site"),
    "censored categories": (
        column(kind="categorical", range=None, unit=None, censored="half"),
        "censored and qualifier need kind: numeric or integer",
    ),
    "a query that might hold a secret": (
        training(lambda spec: spec["data"]["sources"][0].update(uri="s3://bucket/x.csv?token=x")),
        "spec.data.sources[0].uri",
    ),
    "a bundle from the web": (
        version(artifact={"uri": "http://169.254.169.254/x", "digest": "sha256:" + "1" * 64}),
        "spec.artifact.uri",
    ),
    "a batch from the web": (batch(input={"uri": "https://host/x.csv"}), "spec.input.uri"),
    "a positive value that the label never has": (training(positive_elsewhere), "spec.data.label.positive"),
    "two labels": (training(second_label), "only one column may have role: label"),
    "a range that is empty": (column(range={"minimum": 2, "maximum": 1}), "spec.data.columns[2].range.minimum"),
    "a range of categories": (column(kind="categorical", unit=None), "spec.data.columns[2].range"),
    "a unit of categories": (column(kind="categorical", range=None), "spec.data.columns[2].unit"),
    "categories of a number": (column(allowedValues=["1"]), "spec.data.columns[2].allowedValues"),
    "a policy for what is out of no range": (column(range=None, outOfRange="clip"), "spec.data.columns[2].outOfRange"),
    "clipped categories": (
        column(kind="categorical", range=None, unit=None, allowedValues=["a"], outOfRange="clip"),
        "spec.data.columns[2].outOfRange",
    ),
    "an unknown kind": (column(kind="tensor"), "spec.data.columns[2].kind"),
    "an unknown role": (column(role="oracle"), "spec.data.columns[2].role"),
    "a feature named as the output": (column(name="score"), "a feature must not be named score"),
    "a first test time in a split by chance": (training(start_by_chance), "spec.split.testFrom"),
    "a split by site without sites": (splitting(method="site"), "spec.split.testSites: must list"),
    "sites of a split by chance": (splitting(method="random", testSites=["a"]), "spec.split.testSites: must list"),
    "a split by site without a column of sites": (
        splitting(method="site", testSites=["a"]),
        "spec.split.testSites: needs a column with role: site",
    ),
    "a split by a site that is not declared": (
        splitting({"role": "site", "kind": "categorical", "allowedValues": ["b"]}, method="site", testSites=["a"]),
        "spec.split.testSites: needs a column with role: site",
    ),
    "a split by groups without groups": (splitting(method="group"), "spec.split.method: group needs"),
    "parts that leave nothing": (
        splitting(method="random", testFraction=0.5, calibrationFraction=0.5),
        "spec.split.calibrationFraction: testFraction and",
    ),
    "a horizon without timestamps": (
        training(lambda spec: spec["data"]["label"].update(horizon="30d")),
        "spec.data.label.horizon: needs",
    ),
    "an age without timestamps": (
        training(lambda spec: spec["data"].update(quality={"maxAge": "30d"})),
        "spec.data.quality.maxAge: needs",
    ),
    "a key of a column that is not there": (
        training(lambda spec: spec["data"].update(quality={"key": ["ghost"]})),
        "spec.data.quality.key: must name",
    ),
    "a category that increases": (
        column(kind="categorical", range=None, unit=None, outOfRange=None, increasing=True),
        "increasing needs kind",
    ),
    "a time of knowing without times": (column(availableAt="admitted"), "spec.data.columns[].availableAt: a name"),
    "a version that makes no name": (training(nameless), "spec.promote.name: must be set"),
    "weights that fall in a template": (settings(rollout=STEPS), "spec.promote.template.rollout.steps"),
    "more reserved than allowed in a template": (
        settings(serving=GREEDY),
        "spec.promote.template.serving.resources: a request",
    ),
    "a training without time": (
        training(lambda spec: spec.update(activeDeadline="0s")),
        "spec.activeDeadline: must be at least 1s",
    ),
    "a subgroup by a column that is no feature": (
        subgroups({"column": "yronset", "cuts": [86]}),
        "spec.evaluation.subgroups[].column: must be declared in spec.data.columns with role: feature",
    ),
    "a subgroup by a number without cuts": (
        subgroups({"column": "age"}),
        "spec.evaluation.subgroups[].cuts: must be set for a numeric or integer column",
    ),
    "a subgroup by a category with cuts": (
        subgroups({"column": "sex", "cuts": [1]}),
        "spec.evaluation.subgroups[].cuts: must be set for a numeric or integer column",
    ),
    "a subgroup by categories that nobody has named": (
        subgroups({"column": "sex"}, allowed=[]),
        "spec.evaluation.subgroups[].column: a categorical column must have allowedValues",
    ),
    "cuts that fall": (
        subgroups({"column": "age", "cuts": [65, 40]}),
        "spec.evaluation.subgroups[].cuts: must increase",
    ),
    "one cut twice": (
        subgroups({"column": "age", "cuts": [40, 40]}),
        "spec.evaluation.subgroups[].cuts: must increase",
    ),
    "subgroups by one column twice": (subgroups({"column": "sex"}, {"column": "sex"}), "Duplicate"),
    "more subgroups than are counted": (
        subgroups({"column": "age", "cuts": [50]}, {"column": "sex"}, allowed=["m", "f", *map(str, range(29))]),
        "spec.evaluation.subgroups: must not have more than 32 groups",
    ),
    "a monitor that looks all the time": (monitor(interval="0s"), "spec.interval: must be at least 1s"),
    "a feature watched twice": (monitor(features=["age", "age"]), "Duplicate"),
    "a column declared twice": (training(twice), "Duplicate"),
    "a monitor with an alpha of one": (monitor(tests={"alpha": 1}), "spec.tests.alpha"),
    "a monitor with an unknown action": (monitor(actions=[{"do": "pray"}]), "spec.actions[0].do"),
    "an unknown field": (version(rolout={}), "rolout"),
    "rows in the clear over the network": (batch(input={"uri": "http://x/y.csv"}), "spec.input.uri"),
    "an output that cannot be written": (batch(output={"uri": "https://x/y"}), "spec.output.uri"),
    "a kept column named as an output": (
        batch(keepColumns=["id", "score"]),
        "spec.keepColumns: must not contain score, decision or version",
    ),
    "a column kept twice": (batch(keepColumns=["id", "id"]), "Duplicate"),
    "a preparation of no feature": (prepare("outcome"), "spec.features.preparation[].column: must be declared"),
    "a preparation twice": (features(preparation=[{"column": "age"}] * 2), "Duplicate"),
    "an order of numbers": (
        prepare("age", encoding="ordinal", order=["1"]),
        "spec.features.preparation[].encoding: ordinal and target need a column with kind: categorical",
    ),
    "rare numbers": (prepare("age", minRows=5), "spec.features.preparation[].minRows: needs a column"),
    "rare places": (
        prepare("sex", minRows=5, encoding="target"),
        "spec.features.preparation[].minRows: needs encoding",
    ),
    "the mean of categories": (prepare("sex", impute="mean"), "spec.features.preparation[].impute: median and mean"),
    "a fill without constant": (
        prepare("age", impute="mean", fill="1"),
        "spec.features.preparation[].fill: must be set with impute: constant",
    ),
    "constant without a fill": (
        prepare("age", impute="constant"),
        "spec.features.preparation[].fill: must be set with impute: constant",
    ),
    "an order without ordinal": (
        prepare("sex", order=["f", "m"]),
        "spec.features.preparation[].order: must be set with encoding: ordinal",
    ),
    "ordinal without an order": (
        prepare("sex", encoding="ordinal"),
        "spec.features.preparation[].order: must be set with encoding: ordinal",
    ),
    "a place twice": (
        prepare("sex", encoding="ordinal", order=["f", "m", "f"]),
        "Duplicate",
    ),
    "a ratio to nothing": (derive("ratio", "age", "nobody"), "spec.features.derived[].columns: must be declared"),
    "a ratio of one column": (derive("ratio", "age"), "spec.features.derived[].columns: must be two for ratio"),
    "a logarithm of two columns": (derive("log", "age", "creatinine"), "spec.features.derived[].columns: must be two"),
    "a column over itself": (derive("ratio", "age", "age"), "spec.features.derived[].columns: must be two different"),
    "a logarithm of categories": (derive("log", "sex"), "spec.features.derived[].columns: must not be categorical"),
    "an interaction of numbers": (
        derive("interaction", "age", "creatinine"),
        "spec.features.derived[].type: interaction needs a categorical column",
    ),
    "a power of nothing": (derive("power", "age"), "spec.features.derived[].exponent: must be set for type: power"),
    "an exponent of a logarithm": (
        derive("log", "age", exponent=2),
        "spec.features.derived[].exponent: must be set for type: power",
    ),
    "a clip without limits": (derive("clip", "age"), "spec.features.derived[]: minimum, maximum or both must be set"),
    "limits of a logarithm": (derive("log", "age", minimum=1), "spec.features.derived[]: minimum, maximum or both"),
    "limits the wrong way round": (
        derive("clip", "age", minimum=9, maximum=1),
        "spec.features.derived[].minimum: must be less than maximum",
    ),
    "bins without edges": (derive("bins", "age"), "spec.features.derived[].edges: must be at least 1"),
    "a spline with two knots": (
        derive("spline", "age", edges=[1, 2]),
        "spec.features.derived[].edges: must be at least 1",
    ),
    "edges of a logarithm": (derive("log", "age", edges=[1]), "spec.features.derived[].edges: must be at least 1"),
    "edges that fall": (derive("bins", "age", edges=[2, 1]), "spec.features.derived[].edges: must increase"),
    "an edge twice": (derive("bins", "age", edges=[1, 1]), "spec.features.derived[].edges: must increase"),
    "a derived feature called as a column": (
        features(derived=[{"name": "sex", "type": "log", "columns": ["age"]}]),
        "spec.features.derived[].name: must not be the name of a column",
    ),
    "a derived feature twice": (
        features(derived=[{"name": "d", "type": "log", "columns": ["age"]}] * 2),
        "Duplicate",
    ),
    "an omitted column without use": (features(omit=["age"]), "spec.features.omit: must be columns that a derived"),
    "more shards than there may be": (batch(shards=1001), "spec.shards"),
    "an unknown fate of invalid rows": (batch(onInvalidRow="guess"), "spec.onInvalidRow"),
    "a batch without time": (batch(activeDeadline="0s"), "spec.activeDeadline: must be at least 1s"),
}


@pytest.fixture
def api(control_plane):
    return control_plane.api


MERGE = {"content-type": "application/merge-patch+json"}
STRICTLY = {"dryRun": "All", "fieldValidation": "Strict"}


def objects(document, name=""):
    """Where the objects of a kind are, or one of them."""
    [plural] = [known.plural for known in KINDS if known.name == document["kind"]]
    return f"/apis/{document['apiVersion']}/namespaces/default/{plural}{name and '/'}{name}"


@contextmanager
def kept(api, document):
    """Its path, while there is such an object."""
    name = document["metadata"]["name"]
    answer = api.post(objects(document), json=document)
    assert answer.status_code == 201, answer.text
    yield objects(document, name)
    assert api.delete(objects(document, name)).status_code == 200


def refusal(api, path, spec):
    """Why a change of the spec is refused."""
    answer = api.patch(path, json={"spec": spec}, headers=MERGE)
    assert answer.status_code == 422, answer.text
    return answer.json()["message"]


@pytest.mark.parametrize(("document", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_the_api_server_refuses(api, document, said):
    answer = api.post(objects(document), json=document, params={"fieldValidation": "Strict"})
    assert answer.status_code in (400, 422)
    assert said in answer.json()["message"]


@pytest.fixture
def created(api):
    with kept(api, version()) as path:
        yield path


CHANGES = {
    "model": {"model": "other"},
    "version": {"version": "2.0.0"},
    "artifact": {"artifact": {"uri": "store://y"}},
    "trainingJobRef": {"artifact": None, "trainingJobRef": {"name": "t"}},
}


@pytest.mark.parametrize(("field", "change"), CHANGES.items(), ids=CHANGES.keys())
def test_what_defines_a_version_cannot_be_changed(api, created, field, change):
    said = refusal(api, created, change)
    assert f"spec.{field} is immutable; apply a new ModelVersion instead" in said
    assert f"spec.{field}: Invalid value" in said


def test_a_source_cannot_be_added_to_a_version(api, created):
    assert "spec.trainingJobRef is immutable" in refusal(api, created, {"trainingJobRef": {"name": "t"}})


def test_how_a_version_is_rolled_out_can_be_changed(api, created):
    answer = api.patch(created, json={"spec": {"rollout": {"paused": True}}}, headers=MERGE)
    assert answer.json()["spec"]["rollout"]["paused"] is True


def test_defaults_are_filled_in(api, created):
    spec = api.get(created).json()["spec"]
    assert spec["rollout"]["strategy"] == "canary"
    assert [step["weight"] for step in spec["rollout"]["steps"]] == [5, 20, 50]
    assert spec["rollout"]["analysis"]["alpha"] == 0.05
    assert spec["serving"]["replicas"] == 1


def test_as_many_subgroups_are_accepted_as_are_counted(api):
    document = subgroups({"column": "age", "cuts": [50]}, {"column": "sex"}, allowed=["m", "f", *map(str, range(28))])
    assert api.post(objects(document), json=document, params=STRICTLY).status_code == 201


def test_a_split_by_declared_sites_in_three_parts_is_accepted(control_plane):
    site = {"role": "site", "kind": "categorical", "allowedValues": ["a", "b"]}
    document = splitting(site, method="site", testSites=["b"], calibrationFraction=0.2)
    control_plane.kubectl("create", "--dry-run=server", "--validate=strict", "--filename", "-", document=document)


def test_features_of_all_types_are_accepted(control_plane):
    kinds = {
        "ratio": ({}, "age", "creatinine"),
        "interaction": ({}, "sex", "age"),
        "log": ({}, "age"),
        "power": ({"exponent": -0.5}, "age"),
        "clip": ({"maximum": 90}, "age"),
        "bins": ({"edges": [40, 65]}, "age"),
        "spline": ({"edges": [40, 60, 80]}, "age"),
    }
    document = features(
        derived=[{"name": f"d.{kind}", "type": kind, "columns": of, **f} for kind, (f, *of) in kinds.items()],
        preparation=[
            {"column": "creatinine", "impute": "constant", "fill": "1.1", "indicator": True},
            {"column": "sex", "encoding": "ordinal", "order": ["f", "m"]},
        ],
        omit=["age"],
    )
    control_plane.kubectl("create", "--dry-run=server", "--validate=strict", "--filename", "-", document=document)


@pytest.mark.parametrize("number", ["2", 2])
def test_a_quantity_may_be_a_number_as_in_a_pod(api, number):
    document = version(serving={"resources": {"requests": {"cpu": number}, "limits": {"cpu": 2}}})
    assert api.post(objects(document), json=document, params=STRICTLY).status_code == 201
    assert ModelVersionSpec.model_validate(document["spec"]).serving.resources.requests == {"cpu": "2"}


def test_a_training_may_be_suspended_and_nothing_else(api):
    with kept(api, training()) as path:
        assert api.patch(path, json={"spec": {"suspend": True}}, headers=MERGE).status_code == 200
        for field, value in (("version", "9.0.0"), ("backoffLimit", 5), ("split", {"seed": 7}), ("promote", None)):
            assert f"spec.{field} is immutable" in refusal(api, path, {field: value})


def test_a_batch_may_be_suspended_or_widened_and_nothing_else(api):
    changes = {
        "version": "9.0.0",
        "shards": 5,
        "input": {"format": "csv"},
        "keepColumns": ["id"],
        "onInvalidRow": "skip",
    }
    with kept(api, batch()) as path:
        widened = {"spec": {"suspend": True, "parallelism": 9}}
        assert api.patch(path, json=widened, headers=MERGE).status_code == 200
        for field, value in changes.items():
            assert f"spec.{field} is immutable" in refusal(api, path, {field: value})


@pytest.mark.parametrize("file", sorted((REPOSITORY / "examples/mortality").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_examples_are_accepted_as_they_are(control_plane, file):
    control_plane.kubectl("create", "--dry-run=server", "--validate=strict", "--filename", str(file))


EXPLAINED = {
    "mv.spec.rollout": (
        "How the version takes over from the champion.",
        "Pauses the rollout at its current weight. Rollbacks still happen.",
    ),
    "mv.spec.rollout.steps.weight": ("Percentage of requests whose client gets the new version's prediction.",),
    "tj.spec.data.columns.role": ("Only features enter the model",),
    "sb.spec.version": ("Default: the champion at the time that the Job is created",),
    "mv.status.decided.time": ("Time of the decision.",),
    "dm.spec.tests.minimumEffect": ("No alarm below this population stability index",),
}


@pytest.mark.parametrize(("path", "sentences"), EXPLAINED.items(), ids=EXPLAINED.keys())
def test_explain_reads_like_documentation(control_plane, path, sentences):
    text = " ".join(control_plane.kubectl("explain", path).stdout.split())
    for sentence in sentences:
        assert sentence in text


COLUMNS = {
    "mv": "NAME MODEL VERSION PHASE WEIGHT VERDICT READY WARNING AGE",
    "tj": "NAME MODEL VERSION PHASE STEP AUROC AGE",
    "dm": "NAME MODEL STATE WORST FEATURE EVIDENCE AGE",
    "sb": "NAME MODEL VERSION PHASE ROWS AGE",
}


@pytest.mark.parametrize(("short", "columns"), COLUMNS.items(), ids=COLUMNS.keys())
def test_printer_columns_show_what_people_look_for(control_plane, api, short, columns):
    document = {"mv": version, "tj": training, "dm": monitor, "sb": batch}[short]()
    status = {"phase": "Failed", "message": "Look here"} if short != "dm" else {"message": "Look here"}
    name = document["metadata"]["name"]
    with kept(api, document) as path:
        assert api.patch(f"{path}/status", json={"status": status}, headers=MERGE).status_code == 200
        header, row = control_plane.kubectl("get", short, name).stdout.splitlines()
        assert " ".join(header.split()) == columns
        assert document["spec"]["model"] in row
        assert "Look here" in control_plane.kubectl("get", short, name, "--output=wide").stdout
        assert name in control_plane.kubectl("get", "modelward").stdout


def test_a_condition_stands_once_for_its_type(api, created):
    condition = {"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    twice = {"status": {"conditions": [condition, condition]}}
    assert "Duplicate value" in api.patch(f"{created}/status", json=twice, headers=MERGE).json()["message"]


@pytest.mark.parametrize("duration", ["250ms", "90s", "1h30m", "7d", "0.5h", "9999d", "1d2h3m4s5ms", "2592000s"])
def test_a_duration_as_people_write_it_is_accepted(api, duration):
    document = version(rollout={"keepWarm": duration})
    answer = api.post(objects(document), json=document, params={"dryRun": "All"})
    assert answer.status_code == 201, answer.text


def test_everything_that_can_be_set_of_a_pod_is_accepted(api):
    for document in (
        version(serving={"pod": OWN_PODS}),
        batch(pod=OWN_PODS),
        training(lambda spec: spec.update(pod=OWN_PODS)),
    ):
        answer = api.post(objects(document), json=document, params=STRICTLY)
        assert answer.status_code == 201, answer.text
