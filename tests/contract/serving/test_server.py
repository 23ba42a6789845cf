"""Two real servers on loopback: a champion that routes, and a challenger that may misbehave."""

from __future__ import annotations

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support import bundles
from tests.support.servers import AGE, MARK, wait_for


def test_the_protocol_is_spoken(launch):
    server = launch(as_users_do=True)
    answer = server.ask()
    outputs = {o["name"]: o for o in answer.json()["outputs"]}
    assert outputs["score"]["data"] == [pytest.approx(0.6225, abs=1e-3)]
    assert outputs["decision"] == {"name": "decision", "shape": [1, 1], "datatype": "BOOL", "data": [True]}
    assert answer.headers["x-modelward-arm"] == "champion"
    base = f"http://127.0.0.1:{server.port}"
    assert httpx.get(f"{base}/v2/models/mortality").json()["versions"] == ["1.0.0"]
    assert httpx.get(f"{base}/v2/models/mortality/ready").status_code == 200
    assert "modelward_requests_total" in httpx.get(f"{base}/metrics").text
    assert "BentoML" in httpx.get(f"{base}/", timeout=30).text, "every other path is BentoML's"
    predicted = httpx.post(f"{base}/predict", json={"inputs": {"age": [55], "sex": ["f"]}}, timeout=30).json()
    assert predicted["decision"] == [True]


def test_an_explanation_says_what_each_column_added(launch):
    server = launch(explainer=bundles.explains())
    for path in ("models/mortality", "models/mortality/versions/1.0.0"):
        answer = server.explain([70.0, None], path=path, id="7")
        document = answer.json()
        contributions, score = document["outputs"]
        assert (contributions["shape"], contributions["datatype"]) == ([2, 2], "FP32")
        assert contributions["data"] == pytest.approx([2.0, 0.0, 0.0, 0.0])
        told = contributions["parameters"]
        assert (told["features"], told["base"], told["method"]) == (["age", "sex"], 0.0, "linear")
        assert (told["scale"], told["stage"], told["slope"]) == ("log-odds", "before-calibration", 1.0)
        assert score["data"] == pytest.approx([0.8808, 0.5], abs=1e-3)
        assert document["parameters"] == {"arm": "champion", "digest": server.digest}
        assert (document["model_name"], document["model_version"], document["id"]) == ("mortality", "1.0.0", "7")
        assert answer.headers["x-modelward-digest"] == server.digest


def test_an_explanation_is_the_pods_own_and_counts_for_nothing(launch):
    champion, challenger = launch(explainer=bundles.explains()), launch("2.0.0", explainer=bundles.explains())
    champion.exchange(champion.lease_to(challenger, 100))
    assert champion.explain([70.0]).json()["model_version"] == "1.0.0"
    told = champion.exchange(keep=True, profile=True)
    assert (told.requests, told.evidence[0].counts.pairs if told.evidence else 0, told.profile.rows) == (0, 0, 0)
    metrics = httpx.get(f"http://127.0.0.1:{champion.port}/metrics").text
    assert 'modelward_explanations_total{code="200"} 1.0' in metrics


def test_what_is_not_explained_is_refused_with_a_reason(launch):
    old, server = launch(), launch("2.0.0", explainer=bundles.explains())
    refused = old.explain([70.0])
    assert (refused.status_code, refused.json()["reason"]) == (404, "NoExplainer")
    assert old.ask().status_code == 200
    many = server.explain([70.0] * 257)
    assert (many.status_code, many.json()["reason"]) == (422, "TooManyRows")
    assert "256" in many.json()["error"]
    assert server.explain([70.0] * 256).status_code == 200
    assert server.explain([MARK]).status_code == 422
    url = f"http://127.0.0.1:{server.port}/v2/models"
    assert httpx.post(f"{url}/another/explain", json={}).status_code == 404
    for wrong in ("explain", "infer"):
        answer = httpx.get(f"{url}/mortality/{wrong}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_an_explainer_of_another_model_explains_nothing(launch):
    server = launch(explainer=bundles.explains(weight=0.2))
    refused = server.explain([AGE], sex=MARK)
    assert (refused.status_code, refused.json()["reason"]) == (500, "InternalError")
    assert server.ask().status_code == 200
    assert str(AGE)[:6] not in refused.text + server.log.read_text()
    assert MARK not in refused.text + server.log.read_text()


def test_all_callers_get_the_challengers_answer_at_weight_100(launch):
    champion, challenger = launch(), launch("2.0.0", shift=-9.0)
    assert champion.exchange(champion.lease_to(challenger, 100)).refused is None
    answer = champion.ask()
    assert answer.headers["x-modelward-version"] == "2.0.0"
    assert answer.headers["x-modelward-digest"] == challenger.digest
    counts = champion.evidence().counts
    assert (counts.pairs, counts.answered, counts.flips, counts.fallbacks) == (1, 1, 1, 0)


def test_a_challenger_that_is_gone_costs_no_request(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100))
    challenger.process.kill()
    challenger.process.wait()
    for _ in range(15):
        answer = champion.ask()
        assert (answer.status_code, answer.headers["x-modelward-version"]) == (200, "1.0.0")
    evidence = champion.evidence()
    assert evidence.tripped == "OpeningErrors"
    assert evidence.counts.fallbacks == evidence.counts.errors_challenger == 11


def test_a_frozen_challenger_costs_at_most_its_deadline(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100, deadline=200.0))
    challenger.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    answer = champion.ask()
    assert time.monotonic() - started < 1.5
    challenger.process.send_signal(signal.SIGCONT)
    assert answer.headers["x-modelward-version"] == "1.0.0"
    assert champion.evidence().counts.late_challenger == 1


def test_requests_behind_one_that_waits_for_the_challenger_are_answered_in_their_order(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100))
    inputs = [
        {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [55]},
        {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["f"]},
    ]

    def request(number):
        body = json.dumps({"id": str(number), "inputs": inputs})
        head = f"POST /v2/models/mortality/infer HTTP/1.1\r\nhost: m\r\ncontent-length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    with socket.create_connection(("127.0.0.1", champion.port)) as connection, connection.makefile("rb") as answers:
        for _ in range(2):  # the second time behind one that was answered so
            connection.sendall(b"".join(map(request, range(4))))
            assert [next_answer(answers)["id"] for _ in range(4)] == ["0", "1", "2", "3"]
    assert champion.evidence().counts.answered == 8


def next_answer(answers):
    assert answers.readline().split()[1] == b"200"
    lines = iter(answers.readline, b"\r\n")
    headers = {name.lower(): value for name, _, value in (line.strip().partition(b": ") for line in lines)}
    return json.loads(answers.read(int(headers[b"content-length"])))


def test_a_caller_that_leaves_while_the_challenger_is_asked_leaves_a_pair_and_no_trace(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100, deadline=5000.0))
    challenger.process.send_signal(signal.SIGSTOP)
    with pytest.raises(httpx.ReadTimeout):
        champion.ask(patience=0.5)
    challenger.process.send_signal(signal.SIGCONT)
    wait_for(lambda: champion.evidence().counts.compared == 1)
    assert champion.ask().headers["x-modelward-version"] == "2.0.0"
    assert "Traceback" not in champion.log.read_text()


def test_requests_under_way_are_told(launch):
    def under_way():
        text = httpx.get(f"http://127.0.0.1:{champion.port}/metrics").text
        return float(
            next(line for line in text.splitlines() if line.startswith("modelward_requests_in_flight")).split()[1]
        )

    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100, deadline=1000.0))
    challenger.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor() as callers:
        asked = [callers.submit(champion.ask) for _ in range(3)]
        wait_for(lambda: under_way() == 3)
        assert {answer.result().status_code for answer in asked} == {200}
    challenger.process.send_signal(signal.SIGCONT)
    assert champion.ask(age="none").status_code == 422
    assert under_way() == 0


def test_one_answer_that_is_none_ends_it_at_once(launch):
    champion, challenger = launch(), launch("2.0.0", broken=True)
    champion.exchange(champion.lease_to(challenger, 100))
    assert champion.ask(age=95).headers["x-modelward-version"] == "1.0.0"
    assert champion.ask(age=55).headers["x-modelward-version"] == "1.0.0"
    evidence = champion.evidence()
    assert (evidence.tripped, evidence.counts.invalid, evidence.counts.pairs) == ("InvalidAnswer", 1, 1)


def test_an_expired_lease_leaves_the_champion_alone(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100, ttl=0.3))
    wait_for(lambda: champion.ask().headers["x-modelward-version"] == "1.0.0")


def test_mirrored_requests_are_pairs_and_their_callers_get_the_champions_answer(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 0, mirror=1.0))
    assert {champion.ask().headers["x-modelward-version"] for _ in range(10)} == {"1.0.0"}
    wait_for(lambda: champion.evidence().counts.pairs == 10)
    assert champion.evidence().counts.answered == 0


def test_a_challenger_that_scores_higher_is_counted_where_the_scores_part(launch):
    champion, challenger = launch(), launch("2.0.0", shift=-4.0)
    champion.exchange(champion.lease_to(challenger, 100))
    champion.ask(age=50)
    counts = champion.evidence().counts
    assert counts.higher_challenger == (0, 0, 0, 0, 0, 1, 1, 0, 0), "0.5 and 0.73"
    assert not any(counts.higher_champion)


def test_an_encounter_stays_with_its_arm(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 50, sticky="X-Encounter-Id"))
    for encounter in map(str, range(12)):
        assert len({champion.ask(**{"X-Encounter-Id": encounter}).headers["x-modelward-arm"] for _ in range(4)}) == 1


def test_profiles_count_what_was_served(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100))
    for age in (30, 50, 70, None):
        champion.ask(age=age)
    profile = champion.exchange(keep=True, profile=True).profile
    assert (profile.rows, profile.features["age"]) == (4, (1, 1, 1, 1, 0, 0))


def test_a_stale_operator_is_refused(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 10), epoch=5)
    assert champion.exchange(None, epoch=4).refused == "StaleEpoch"


def test_marked_values_are_nowhere(launch):
    champion, challenger = launch(explainer=bundles.explains()), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 50, mirror=1.0))
    texts = [champion.ask(age=AGE, sex=MARK).text, champion.ask(age=MARK).text, champion.ask(sex=AGE).text]
    texts += [
        champion.explain([AGE], sex=MARK).text,
        champion.explain([MARK]).text,
        champion.explain([MARK] * 300).text,
    ]
    url = f"http://127.0.0.1:{champion.port}"
    texts.append(httpx.post(f"{url}/v2/models/mortality/infer", content=json.dumps({MARK: AGE})).text)
    texts.append(httpx.post(f"{url}/predict", json={"inputs": {"age": [MARK], MARK: [AGE]}}).text)
    texts.append(httpx.get(f"{url}/metrics").text)
    texts.append(champion.exchange(keep=True, profile=True).model_dump_json())
    texts += [champion.log.read_text(), challenger.log.read_text()]
    for text in texts:
        assert MARK not in text
        assert str(AGE)[:6] not in text


def test_on_sigterm_it_answers_on_and_asks_callers_to_connect_anew(launch):
    server = launch(as_users_do=True)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 503)
    answer = server.ask()
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert server.process.wait(timeout=15) == 0


def test_both_strata_of_a_subgroup_are_counted_apart_and_told_in_the_exchange(launch):
    subgroups = (bundles.BY_SEX, bundles.BY_AGE)
    champion, challenger = launch(subgroups=subgroups), launch("2.0.0", shift=-9.0, subgroups=subgroups)
    champion.exchange(champion.lease_to(challenger, 100))
    for age, sex in ((70.0, "f"), (95.0, "f"), (30.0, "m"), (70.0, MARK)):
        assert champion.ask(age=age, sex=sex).status_code == 200
    told = champion.exchange(keep=True, profile=True)
    paired = {name: (c.pairs, c.flips) for name, c in told.evidence[0].strata.items()}
    assert paired == {"sex=f": (2, 1), "sex=m": (1, 0), "age<40": (1, 0), "40<=age<65": (0, 0), "age>=65": (3, 2)}
    assert told.evidence[0].counts.pairs == 4
    rows = {name: sum(cells["score"]) for name, cells in told.profile.strata.items()}
    assert rows == {name: pairs for name, (pairs, _) in paired.items()}
    assert told.profile.strata["sex=f"]["age"] == (0, 0, 2, 0, 0, 0)
    assert MARK not in told.model_dump_json() + champion.log.read_text()
