"""Every fault, as clients that know nothing of it see it."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from emulated import Client, running, write_tiny
from hypothesis import given
from hypothesis import strategies as st

from deploy.emulator.faults import FAULTS, OPERATIONS, THROTTLED, Fault, FaultPlan
from deploy.emulator.quirks import ASSUMED, LLAMA_3B

pytestmark = pytest.mark.filterwarnings("ignore:Unexpected keyword arguments .'model_type'")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An emulator without a model of the tests."""
    with running(tmp_path_factory.mktemp("state")) as client:
        yield client


@pytest.fixture
def client(server: Client, request: pytest.FixtureRequest) -> Client:
    """A fresh account of it, with no fault planned."""
    requests.delete(f"{server.url}/emulator/faults", timeout=9)
    return Client(server.url, f"a{zlib.crc32(request.node.nodeid.encode()):08x}")


def asked(fault: str) -> dict[str, dict[str, str]]:
    return {"headers": {"X-Emulator-Fault": fault}}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("429-3036", 429, 3036), ("429-3040", 429, 3040), ("429-rate", 429, THROTTLED), ("500", 500, ASSUMED)],
)
def test_a_refusal_comes_in_the_envelope(client, fault, status, code):
    reply = client.run({"prompt": "x"}, **asked(fault))

    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (status, code)
    assert reply.headers.get("retry-after") == ("1" if fault == "429-rate" else None)


def test_refusals_reach_the_binding_as_it_reads_them(client):
    headers = {"mf-url": "https://workers-binding.ai/run?version=3", "mf-header-cf-consn-model-id": LLAMA_3B}
    client.plan("429-3040")
    requests.get(f"{client.url}/?MF-Binding=AI", timeout=9)
    planned = requests.post(client.url, json={"inputs": {"prompt": "x"}}, headers=headers, timeout=9)
    headers["mf-header-x-emulator-fault"] = "429-3036"
    asked_for = requests.post(client.url, json={"inputs": {"prompt": "x"}}, headers=headers, timeout=9)

    assert (planned.status_code, planned.json()["internalCode"]) == (429, 3040)
    assert (asked_for.status_code, asked_for.json()["internalCode"]) == (429, 3036)


def test_a_gateways_page_is_html(client):
    reply = client.ask("GET", "finetunes", **asked("html"))

    assert reply.status_code == 502 and reply.headers["content-type"].startswith("text/html")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        reply.json()


def test_a_hanging_request_ends_when_the_client_has_enough(client):
    started = time.perf_counter()
    with pytest.raises(requests.exceptions.ReadTimeout):
        client.http.get(f"{client.api}/accounts/x/ai/finetunes", timeout=0.2, **asked("hang"))
    assert time.perf_counter() - started < 2
    with pytest.raises(requests.exceptions.ConnectionError):
        client.ask("GET", "finetunes", **asked("hang 0.1"))


def test_a_reset_before_the_work_leaves_nothing(client):
    with pytest.raises(requests.exceptions.ConnectionError, match="reset by peer"):
        client.ask("POST", "finetunes", json={"model": LLAMA_3B, "name": "x"}, **asked("reset"))

    assert client.ask("GET", "finetunes").json()["result"] == []


def test_a_lost_reply_leaves_its_work_done(client):
    """What a client that retries a creation has to expect."""
    with pytest.raises(requests.exceptions.ConnectionError, match="reset by peer"):
        client.ask("POST", "finetunes", json={"model": LLAMA_3B, "name": "x"}, **asked("lost"))

    assert [found["name"] for found in client.ask("GET", "finetunes").json()["result"]] == ["x"]


def test_a_slow_body_is_whole_in_the_end(client):
    client.create("x")
    started = time.perf_counter()
    body = client.ask("GET", "finetunes", **asked("slow 0.3")).json()

    assert body["result"][0]["name"] == "x" and time.perf_counter() - started >= 0.25


def test_truncated_json_arrives_without_an_error_of_the_transport(client):
    reply = client.ask("GET", "models/search", **asked("truncated"))

    assert reply.status_code == 200 and reply.text.startswith('{"result"')
    with pytest.raises(requests.exceptions.JSONDecodeError):
        reply.json()


def test_a_cut_body_breaks_off(client):
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        client.ask("GET", "models/search", **asked("cut"))
    assert client.ask("GET", "models/search").status_code == 200


def test_a_silent_base_reply_looks_like_a_good_one(tmp_path):
    base, adapter = write_tiny(tmp_path)
    with running(tmp_path / "state", base) as client:
        client.upload(adapter, "tune")
        client.plan("base-reply", on="run", times=2)
        got = [client.run({"prompt": "call mom", "raw": True, "lora": "tune"}).json() for _ in range(3)]

        assert got[0] == got[1] and got[0]["success"] is True
        assert got[0]["result"]["response"] == client.reply("call mom") != got[2]["result"]["response"]
        slow = client.run({"prompt": "call mom", "raw": True, "lora": "tune"}, **asked("slow 0.1")).json()
        assert slow["result"]["response"] == got[2]["result"]["response"]


def test_planned_faults_hit_their_operation_after_and_as_often_as_asked(client):
    client.plan("500", on="list", after=1, times=2)
    client.plan("html", on="create")
    statuses = [client.ask("GET", "finetunes").status_code for _ in range(4)]

    assert statuses == [200, 500, 500, 200]
    assert requests.get(f"{client.url}/emulator/faults", timeout=9).json()["faults"] == [
        {"fault": "html", "on": "create", "times": 1, "after": 0, "seconds": 0.0}
    ]
    mine = [entry for entry in client.log() if client.account in entry["path"]]
    assert [entry["fault"] for entry in mine] == [None, "500", "500", None]
    requests.delete(f"{client.url}/emulator/faults", timeout=9)
    assert client.create("x")


@pytest.mark.parametrize(
    "plan",
    [
        {"fault": "flood"},
        {"fault": "500", "on": "lunch"},
        {"fault": "500", "times": 0},
        {"fault": "500", "after": -1},
        {"fault": "slow", "seconds": "x"},
        {"fault": "500", "when": 1},
        {},
        [],
    ],
    ids=json.dumps,
)
def test_a_fault_that_cannot_be_is_refused_in_one_line(client, plan):
    reply = requests.post(f"{client.url}/emulator/faults", json=plan, timeout=9)

    assert reply.status_code == 400 and reply.json()["error"].startswith("No such fault: ")
    assert requests.get(f"{client.url}/emulator/faults", timeout=9).json() == {"faults": []}


@pytest.mark.parametrize("text", ["flood", "slow soon", "slow nan"])
def test_a_misspelt_header_is_refused(client, text):
    assert client.ask("GET", "finetunes", **asked(text)).status_code == 400


@given(
    st.lists(
        st.builds(
            Fault,
            st.sampled_from(sorted(FAULTS)),
            st.sampled_from(OPERATIONS),
            st.integers(1, 3),
            st.integers(0, 3),
        ),
        max_size=4,
    ),
    st.sampled_from(OPERATIONS[1:]),
)
def test_a_plan_is_used_up(faults, operation):
    """Each fault that fits comes as often as it says, whatever else is planned; the others stay."""
    fitting = [fault for fault in faults if fault.on in ("any", operation)]
    wanted = sorted(fault.fault for fault in fitting for _ in range(fault.times))
    plan = FaultPlan()
    for fault in faults:
        plan.add(fault)
    taken = [plan.take(operation) for _ in range(40)]

    assert sorted(fault.fault for fault in taken if fault) == wanted
    assert len(plan.listed()) == len(faults) - len(fitting)


def test_the_api_works_on_after_every_fault(client):
    """Including over a connection that is kept open."""
    for fault in FAULTS:
        if fault == "base-reply":
            continue
        with suppress(requests.exceptions.RequestException):
            client.ask("GET", "models/search", **asked(f"{fault} 0.05"))
        assert client.ask("GET", "finetunes").status_code == 200, fault


def test_the_faults_are_listed_by_name(client: Client, tmp_path: Path):
    assert requests.get(f"{client.url}/emulator/health", timeout=9).json()["faults"] == FAULTS
    assert requests.get(f"{client.url}/emulator/lunch", timeout=9).status_code == 404
