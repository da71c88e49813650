"""Parity: what counts as a disagreement, what proves that there are few, and the command against the real emulator."""

import json

import pytest
from api_server import CALL
from emulated import TOKEN, edit_json, running, write_adapter, write_base
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from deploy.api import Credentials
from deploy.cli import app
from deploy.parity import RECORD, bound_rate, find_difference, judge_answers
from harness.attestation import digest_files, hash_folder
from harness.cases import parse_case
from harness.errors import TargetError
from harness.parsing import parse_reply
from harness.prompt import load_prompt
from harness.store import StoredReply

TRUE, ONE = (f'```json\n{{"tool": "listTasks", "params": {{"x": {value}}}}}\n```' for value in ("true", "1"))
OTHER_TOOL = CALL.replace("getWeather", "listTasks")
OTHER_PLACE = CALL.replace("Lisbon", "Porto")
NO_FENCE = CALL.replace("```json\n", "").replace("\n```", "")


def write_case(number: int) -> str:
    return json.dumps(
        {
            "id": f"selection-{number:03}",
            "suite": "selection",
            "messages": [{"role": "user", "content": f"How warm is Lisbon, take {number}?"}],
            "now": "2026-03-02T09:00:00+00:00",
            "expect": [{"tool": "getWeather", "params": {"location": ["Lisbon"]}}],
            "tags": [],
            "why": "a test",
            "source": "hand-written",
        }
    )


def reply(text: str) -> StoredReply:
    return StoredReply(text, False, 9)


def judge(local, served, limit=0.05):
    cases = [parse_case(write_case(number)) for number in range(len(local))]
    return judge_answers(cases, local, served, load_prompt(), {"target": "local"}, {"target": "cloudflare"}, limit)


@pytest.mark.parametrize(
    ("local", "served", "why"),
    [
        pytest.param(CALL, CALL, "", id="equal"),
        pytest.param("It is warm.", "Warm it is!", "", id="other words"),
        pytest.param(CALL, f"Sure.\n{CALL}", "", id="words around the call"),
        pytest.param(CALL, "It is warm.", "a call became text", id="no call"),
        pytest.param("It is warm.", "", "text became silence", id="silence"),
        pytest.param(CALL, NO_FENCE, "a call became a malformed call", id="no fence"),
        pytest.param(CALL, OTHER_TOOL, "other tools", id="tool"),
        pytest.param(CALL, f"{CALL}\n{CALL}", "other tools", id="twice"),
        pytest.param(CALL, OTHER_PLACE, "other arguments", id="argument"),
        pytest.param(TRUE, ONE, "other arguments", id="true is not 1"),
    ],
)
def test_replies_agree_where_a_user_would_get_the_same(local, served, why):
    assert find_difference(parse_reply(local), parse_reply(served)) == why


@given(st.integers(1, 400), st.data())
def test_the_bound_is_above_the_rate_and_falls_with_more_cases(n, data):
    k = data.draw(st.integers(0, n))

    assert k / n <= bound_rate(k, n) <= 1
    assert bound_rate(k, n + 1) <= bound_rate(k, n)


def test_the_bound_is_the_exact_one():
    """1 - 0.05^(1/n) where none disagrees: 59 cases are the fewest that show 5 %."""
    assert bound_rate(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert bound_rate(0, 59) <= 0.05 < bound_rate(0, 58)
    assert bound_rate(3, 3) == 1
    assert bound_rate(0, 0) is None


def test_enough_equal_replies_are_parity():
    found = judge([reply(CALL)] * 60, [reply(CALL)] * 60)

    assert found.ok
    assert (found.cases, found.same_text, found.right_local, found.right_served, found.p) == (60, 60, 60, 60, 1.0)


def test_too_few_cases_are_none():
    """Ten that agree show less than 26 %."""
    found = judge([reply(CALL)] * 10, [reply(CALL)] * 10)

    assert found.reasons == [
        "0 of 10 cases disagree (0.0%, at most 25.9%); too few cases to show less than 5.0%: raise --sample"
    ]


def test_a_rate_above_the_limit_is_refused_with_its_list():
    """The verdicts stand beside each other; each flip is counted by McNemar's exact test."""
    local, served = [reply(CALL)] * 60, [reply(OTHER_PLACE)] * 5 + [reply(CALL)] * 55
    found = judge(local, served)

    assert found.reasons == ["5 of 60 cases disagree (8.3%, at most 16.7%); the limit is 5.0%"]
    assert [one.case_id for one in found.disagreements] == [f"selection-{number:03}" for number in range(5)]
    assert found.disagreements[0].why == "other arguments"
    assert (found.disagreements[0].local_right, found.disagreements[0].served_right) == (True, False)
    assert (found.right_local, found.right_served, found.p) == (60, 55, 2 * 0.5**5)


def test_what_was_not_measured_is_refused_even_if_all_else_agrees():
    served = [*[reply(CALL)] * 99, TargetError("no reply came")]
    found = judge([reply(CALL)] * 100, served)

    assert found.reasons == ["1 cases were not measured, e.g. selection-099: no reply came"]


def test_no_cases_prove_nothing():
    assert judge([], []).reasons == ["no cases: a comparison of nothing proves nothing"]


# The command against the emulator, with tiny random models: their replies are long nonsense, and deterministic.


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An emulator with an uploaded adapter, three cases, and an environment to ask it."""
    folder = tmp_path_factory.mktemp("parity")
    base = write_base(folder / "base", max_position_embeddings=4096)
    adapter = write_adapter(folder / "adapter", base)
    edit_json(adapter / "adapter_config.json", model_type="llama")
    (folder / "cases.jsonl").write_text("".join(write_case(number) + "\n" for number in range(3)))
    digest = digest_files(hash_folder(adapter))
    name = f"toolgate-{digest.removeprefix('sha256:')[:12]}-01234567"
    with running(folder / "state", base) as client:
        client.upload(adapter, name)
        yield client, folder, name


@pytest.fixture
def run(world, monkeypatch):
    client, folder, name = world
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", client.account)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    monkeypatch.setenv("CLOUDFLARE_API_BASE_URL", client.api)

    def invoke(*more, store="store"):
        places = ["--cases", folder / "cases.jsonl", "--run-store", folder / store, "--state", folder / "deployments"]
        command = ["parity", name, "--adapter", folder / "adapter", *places, *more]
        return CliRunner().invoke(app, list(map(str, command)))

    yield invoke
    client.http.delete(f"{client.url}/emulator/faults", timeout=9)


def asked(client) -> int:
    return sum(entry["operation"] == "run" for entry in client.log())


@pytest.mark.slow
def test_the_served_adapter_answers_as_the_local_one(world, run):
    """The record is tied to the bytes; a second run asks nothing, since the store has all replies."""
    client, folder, name = world
    result = run("--limit", "0.7")
    before = asked(client)
    again = run("--limit", "0.7", "--json")
    credentials = Credentials(client.account, TOKEN, client.api)
    record = json.loads((folder / "deployments" / credentials.place / name / RECORD).read_text())

    assert result.exit_code == 0, result.output
    assert f"parity: {name}" in result.stdout
    assert "estimate for" in result.stderr
    assert again.exit_code == 0, again.output
    assert asked(client) == before
    assert json.loads(again.stdout) == record
    assert (record["ok"], record["cases"], record["disagreements"], record["same_text"]) == (True, 3, 0, 3)
    assert (record["kind"], record["name"], record["served"]["lora"]) == ("toolgate-parity", name, name)
    assert TOKEN not in json.dumps(record) + result.output


@pytest.mark.slow
def test_three_cases_do_not_prove_the_default_limit(run):
    result = run()

    assert result.exit_code == 8
    assert "too few cases to show less than 5.0%" in result.stdout


@pytest.mark.slow
def test_a_silent_base_is_found(world, run):
    """The platform answers with the base in the adapter's place: every reply differs."""
    client, _, name = world
    client.plan("base-reply", on="run", times=None)
    result = run("--json", store="other")
    record = json.loads(result.stdout)

    assert result.exit_code == 8
    assert record["same_text"] == 0
    assert not record["ok"]
    assert name in result.stderr


@pytest.mark.slow
def test_a_day_without_neurons_closes(world, run):
    client, _, _ = world
    client.plan("429-3036", on="run", times=None)
    result = run("--limit", "0.7", store="third")

    assert result.exit_code == 8
    assert "3 cases were not measured" in result.stdout
    assert "10,000 free neurons" in result.stdout


@pytest.mark.slow
def test_a_dry_run_says_what_it_would_cost_and_asks_nothing(world, run):
    client, _, _ = world
    before = asked(client)
    result = run("--dry", store="fourth")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("estimate for @cf/meta/llama-3.2-3b-instruct: 3 requests, about 1,2")
    assert asked(client) == before


@pytest.mark.slow
def test_another_adapter_is_refused(world, run):
    _, folder, _ = world
    other = write_adapter(folder / "other", folder / "base", seed=5)
    result = run("--adapter", other)

    assert result.exit_code == 1
    assert "is of another adapter than" in result.stderr
