"""The switch: what it asks for, what a kill at any moment leaves, and the way back without any evidence."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from emulated import PATIENCE, ROOT, TOKEN, running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lora_folders import write_lora
from typer.testing import CliRunner

from deploy.api import Credentials
from deploy.cli import app
from deploy.journal import Journal
from deploy.parity import RECORD as PARITY
from deploy.parity import Parity, write_parity
from deploy.preflight import Finding
from deploy.probe import RECORD as PROBE
from deploy.probe import Probe, write_probe
from deploy.switch import History, SwitchAPI, replay_history, roll_back, served_adapters, show_command, switch_adapter
from deploy.wrangler import PLACE
from harness.attestation import digest_files, hash_folder
from harness.cases import load_cases
from harness.cli import app as harness_app
from harness.errors import DataError, SetupError
from harness.scoring import gold_reply
from harness.targets.workers_ai_codes import ApiError
from harness.toolset import load_toolset

SPACE, OTHER_SPACE = "0123456789abcdef" * 2, "f" * 32
WHEN = "2026-11-22T10:00:00+00:00"
GATE = """
[profiles.release.metrics]
tool_selection = {bar = 0.6, min_n = 1, require = "met"}
"""
CASE = {
    "id": "selection-001",
    "suite": "selection",
    "messages": [{"role": "user", "content": "remind me to call mom"}],
    "now": "2026-03-02T09:00:00+00:00",
    "expect": [{"tool": "createTask", "params": {"title": ["call mom"], "priority": ["medium"]}}],
    "tags": [],
    "why": "a test of the switch",
    "source": "hand-written",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with running(tmp_path_factory.mktemp("emulator")) as one:
        yield one


def make_api(client, kind=SwitchAPI, account="acct123"):
    return kind(Credentials(account, TOKEN, client.api), backoff=0.001, timeout=5, retries=1)


@pytest.fixture
def api(client):
    with make_api(client) as one:
        one.write_key(SPACE, "")
        yield one
    client.http.delete(f"{client.url}/emulator/faults", timeout=9)


def faults(client, fault, times=9):
    client.plan(fault, on="kv", times=times)


# The key and the history.


def test_the_key_is_written_read_and_removed(api):
    assert api.read_key(SPACE) == ""
    api.write_key(SPACE, "one")
    assert api.read_key(SPACE) == "one"
    api.write_key(SPACE, "")
    api.write_key(SPACE, "")
    assert api.read_key(SPACE) == ""


def test_rollbacks_go_back_step_by_step_to_what_was_there_before_us(api, tmp_path):
    """Also to a name that somebody had set by hand, and to none."""
    api.write_key(SPACE, "by-hand")
    history = History(tmp_path)
    for name in ("one", "two", "one"):
        assert switch_adapter(api, history, name, SPACE, {}, when=WHEN).state == "switched"
    back = [roll_back(api, history, None, when=WHEN) for _ in range(3)]

    assert [done.name for done in back] == ["two", "one", "by-hand"]
    assert api.read_key(SPACE) == "by-hand"
    with pytest.raises(SetupError, match="no name to go back to"):
        roll_back(api, history, None, when=WHEN)


def test_where_none_was_set_a_rollback_removes_the_key(api, tmp_path):
    switch_adapter(api, History(tmp_path), "one", SPACE, {}, when=WHEN)
    roll_back(api, History(tmp_path), None, when=WHEN)

    assert api.read_key(SPACE) == ""


def test_the_same_name_again_writes_the_key_and_no_history(api, tmp_path):
    switch_adapter(api, History(tmp_path), "one", SPACE, {}, when=WHEN)
    api.write_key(SPACE, "by-hand")
    done = switch_adapter(api, History(tmp_path), "one", SPACE, {}, when=WHEN)

    assert (done.state, api.read_key(SPACE)) == ("there already", "one")
    assert len(History(tmp_path).read()) == 2


def test_two_namespaces_have_two_histories(api, tmp_path):
    history = History(tmp_path)
    with pytest.raises(SetupError, match="Nothing was switched yet: give"):
        roll_back(api, history, None, when=WHEN)
    for space, name in ((SPACE, "one"), (OTHER_SPACE, "two"), (SPACE, "three")):
        switch_adapter(api, history, name, space, {}, when=WHEN)
    with pytest.raises(SetupError, match="has 2 namespaces"):
        roll_back(api, history, None, when=WHEN)
    with pytest.raises(SetupError, match="expected 32 hex digits"):
        roll_back(api, history, "../x", when=WHEN)

    assert roll_back(api, history, SPACE, when=WHEN).name == "one"
    assert api.read_key(OTHER_SPACE) == "two"


def test_a_history_that_no_switch_writes_is_refused(api, tmp_path):
    switch_adapter(api, History(tmp_path), "one", SPACE, {}, when=WHEN)
    with (tmp_path / "switch.jsonl").open("a") as file:
        file.write(json.dumps({"step": "rollback", "namespace": SPACE, "before": "x", "name": "y"}) + "\n")
    with pytest.raises(DataError, match="line 3 cannot follow"):
        roll_back(api, History(tmp_path), None, when=WHEN)


def test_two_at_once_are_one_after_the_other(api, tmp_path):
    with History(tmp_path).hold(), pytest.raises(SetupError, match="holds"):
        switch_adapter(api, History(tmp_path), "one", SPACE, {}, when=WHEN)


@pytest.mark.parametrize("fault", ["500", "html", "reset", "truncated"])
def test_after_a_fault_the_same_command_finishes(api, client, tmp_path, fault):
    history = History(tmp_path)
    switch_adapter(api, history, "one", SPACE, {}, when=WHEN)
    faults(client, fault, None)
    with pytest.raises(ApiError, match=r"not known\. Give the same command again"):
        switch_adapter(api, history, "two", SPACE, {}, when=WHEN)
    client.http.delete(f"{client.url}/emulator/faults", timeout=9)

    assert switch_adapter(api, history, "two", SPACE, {}, when=WHEN).state == "finished"
    assert api.read_key(SPACE) == "two"
    assert roll_back(api, history, None, when=WHEN).name == "one"


def test_a_refused_write_changes_nothing(tmp_path):
    """A token that may not write: said so, and the next switch is a new one."""
    tokens = {TOKEN: "read-only", "other": "good"}
    with running(tmp_path / "emulator", tokens=tokens) as client, make_api(client) as poor:
        with pytest.raises(ApiError, match="Workers KV Storage Write"):
            switch_adapter(poor, History(tmp_path), "one", SPACE, {}, when=WHEN)

        assert replay_history(History(tmp_path).read(), SPACE).open is None
        assert poor.read_key(SPACE) == ""


class Killed(BaseException):
    """What a kill looks like from inside."""


class KilledAPI(SwitchAPI):
    """The real client, with a kill before or after the write."""

    kill = ""

    def write_key(self, namespace, name):
        if self.kill == "before":
            raise Killed
        super().write_key(namespace, name)
        if self.kill == "after":
            raise Killed


@pytest.mark.parametrize("kill", ["before", "after"])
def test_a_rollback_takes_a_killed_switch_back(client, api, tmp_path, kill):
    """Whether or not it came through; a killed rollback is finished by the next and not taken twice."""
    history = History(tmp_path)
    for name in ("one", "two"):
        switch_adapter(api, history, name, SPACE, {}, when=WHEN)
    with make_api(client, KilledAPI) as fragile:
        fragile.kill = kill
        with pytest.raises(Killed):
            switch_adapter(fragile, history, "three", SPACE, {}, when=WHEN)
        with pytest.raises(Killed):
            roll_back(fragile, history, None, when=WHEN)

    assert roll_back(api, history, None, when=WHEN).state == "finished"
    assert api.read_key(SPACE) == "two"
    assert roll_back(api, history, None, when=WHEN).name == "one"


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["", "before", "after"])), max_size=8),
    st.sampled_from(["a", "b"]),
)
def test_after_kills_at_any_moment_a_switch_and_its_rollback_hold(client, api, tmp_path, steps, last):
    """An empty name stands for a rollback. What is put back is a name that was asked for, or none."""
    shutil.rmtree(tmp_path / "h", ignore_errors=True)
    history = History(tmp_path / "h")
    api.write_key(SPACE, "")
    with make_api(client, KilledAPI) as fragile:
        for name, fragile.kill in steps:
            with suppress(Killed, SetupError):
                if name:
                    switch_adapter(fragile, history, name, SPACE, {}, when=WHEN)
                else:
                    roll_back(fragile, history, SPACE, when=WHEN)
    certain = replay_history(history.read(), SPACE)
    if certain.open is None and certain.names:
        assert api.read_key(SPACE) == certain.names[-1]
    switched = switch_adapter(api, history, last, SPACE, {}, when=WHEN)

    assert api.read_key(SPACE) == last
    standing = replay_history(history.read(), SPACE)
    assert standing.open is None
    assert standing.names[-1] == last
    if switched.state != "there already":
        back = roll_back(api, history, SPACE, when=WHEN)
        assert api.read_key(SPACE) == back.name == switched.before != last


def test_a_line_cut_short_by_a_kill_announced_nothing(api, tmp_path):
    switch_adapter(api, History(tmp_path), "one", SPACE, {}, when=WHEN)
    with (tmp_path / "switch.jsonl").open("a") as file:
        file.write('{"step": "swi')
    switch_adapter(api, History(tmp_path), "two", SPACE, {}, when=WHEN)

    assert roll_back(api, History(tmp_path), None, when=WHEN).name == "one"


# The emulator's KV, asked by clients that nobody here wrote.


def test_the_emulators_values_survive_it_and_unknown_ones_are_told_apart(tmp_path):
    """The value comes back as it is, without an envelope; a multipart form names it ``value``."""
    path = f"storage/kv/namespaces/{SPACE}/values"
    with running(tmp_path) as client:
        root = f"{client.api}/accounts/{client.account}/"
        made = client.http.put(f"{root}{path}/adapter", files={"value": (None, "one"), "metadata": (None, "{}")})
        assert made.json()["success"] is True
        missing = client.http.get(f"{root}{path}/other")
        assert (missing.status_code, missing.json()["errors"][0]["code"]) == (404, 10009)
        wrong = client.http.get(f"{root}{path.replace(SPACE, 'x')}/adapter")
        assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (404, 10013)
        assert client.http.put(f"{root}{path}/..%5cx", data=b"x").status_code == 400
        assert client.http.get(f"{client.api}/accounts/another/{path}/adapter").status_code == 404
    with running(tmp_path) as client:
        assert client.http.get(f"{client.api}/accounts/{client.account}/{path}/adapter").content == b"one"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_python_sdk_reads_and_writes_the_key(api, client):
    cloudflare = pytest.importorskip("cloudflare")
    names = {"account_id": client.account, "namespace_id": SPACE}
    with cloudflare.Cloudflare(api_token=TOKEN, base_url=client.api, max_retries=0) as sdk:
        sdk.kv.namespaces.values.update("adapter", **names, value=b"by-sdk", metadata="{}")
        assert api.read_key(SPACE) == "by-sdk"
        api.write_key(SPACE, "by-us")
        assert sdk.kv.namespaces.values.get("adapter", **names).read() == b"by-us"
        sdk.kv.namespaces.values.delete("adapter", **names)
    assert api.read_key(SPACE) == ""


@pytest.mark.skipif(not (ROOT / PLACE).exists() or not shutil.which("node"), reason="needs Node and npm ci")
@pytest.mark.slow
@pytest.mark.node
def test_the_commands_of_a_dry_run_work_as_they_are(api, client, tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "WRANGLER_LOG_PATH": str(tmp_path),
        "CLOUDFLARE_API_BASE_URL": client.api,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "CLOUDFLARE_ACCOUNT_ID": client.account,
        "WRANGLER_SEND_METRICS": "false",
        "CI": "1",
    }
    for name in ("by-wrangler", ""):
        command = show_command(SPACE, name).split()
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, check=True)
        assert api.read_key(SPACE) == name


# The commands, with a champion of the real promote and records of the real writers.


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    """A registry with a champion."""
    place = tmp_path_factory.mktemp("promoted")
    adapter = write_lora(place / "adapter", base_model_name_or_path="toolgate/x")
    (place / "cases.jsonl").write_text(json.dumps(CASE) + "\n")
    (place / "gate.toml").write_text(GATE)
    gold = {case.id: gold_reply(case, load_toolset()) for case in load_cases(place / "cases.jsonl")}
    (place / "gold.json").write_text(json.dumps(gold))
    (place / "none.json").write_text('{"*": "I cannot do that."}')
    judged = ["--cases", place / "cases.jsonl", "--gate", place / "gate.toml"]
    replay = ["--target", "replay", "--base-replies", place / "none.json", "--replies", place / "gold.json"]
    kept = ["--run-store", place / "store", "--registry", place / "registry", "--key", place / "keys/toolgate.key"]
    for words in (["keygen", "--out", place / "keys"], ["promote", adapter, *judged, *replay, *kept]):
        result = CliRunner().invoke(harness_app, list(map(str, words)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return place, digest_files(hash_folder(adapter))


def stamp(hours=0.0):
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")


class World:
    """The folder of one test: a champion that was uploaded, probed and compared."""

    def __init__(self, client, place, digest):
        self.client, self.place, self.digest = client, place, digest
        self.name = f"toolgate-{digest.removeprefix('sha256:')[:12]}-01234567"
        self.state = place / "deployments" / Credentials(client.account, TOKEN, client.api).place
        self.folder = self.state / self.name
        self.facts = {"name": self.name, "id": "id-1", "account": client.account, "adapter": digest}
        self.facts |= {"receipt": "sha256:" + "1" * 64, "files": {"adapter_model.safetensors": "2" * 64}}
        self.upload()
        self.probe()
        self.parity()

    def upload(self, **changes):
        shutil.rmtree(self.folder, ignore_errors=True)
        journal = Journal(self.folder)
        with journal.hold():
            journal.write("create", mark="m", model="x", when=WHEN, **{**self.facts, **changes})
            journal.write("created", id="id-1")
            journal.write("done")

    def probe(self, *, good=True, hours=0.0, **changes):
        found = Probe("x", self.name, (Finding("ok" if good else "fail", "adapter", "it acts"),), (), {}, None)
        write_probe(self.folder / PROBE, found, {**self.facts, "when": stamp(hours), **changes})

    def parity(self, *, cases=100, limit=0.05, asked=100, hours=0.0, **changes):
        found = Parity({}, {}, cases, (), cases, cases, cases, 1.0, (), limit, asked)
        write_parity(self.folder / PARITY, found, {**self.facts, "when": stamp(hours), **changes})

    def words(self, *more):
        judged = ["--cases", "cases.jsonl", "--gate", "gate.toml", "--trusted", "keys"]
        return list(map(str, ["switch", self.name, *judged, "--namespace", SPACE, *more]))

    def switch(self, *more):
        return CliRunner().invoke(app, self.words(*more), catch_exceptions=False)

    def rollback(self, *more):
        return CliRunner().invoke(app, ["rollback", *more], catch_exceptions=False)


@pytest.fixture
def world(client, api, promoted, tmp_path, monkeypatch):
    shutil.copytree(promoted[0], tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", client.account)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    monkeypatch.setenv("CLOUDFLARE_API_BASE_URL", client.api)
    return World(client, Path(tmp_path, "w"), promoted[1])


def test_from_switch_to_rollback(world, api):
    """The history names what the switch went by; the way back needs neither registry nor records."""
    api.write_key(SPACE, "the-old-one")
    first, again = world.switch(), world.switch("--json")
    entries = History(world.state).read()
    for gone in ("registry", "keys", "cases.jsonl", f"deployments/{world.state.name}/{world.name}"):
        path = world.place / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    assert first.exit_code == 0, first.output
    assert f"switched: {world.name}\nbefore: the-old-one" in first.stdout
    assert json.loads(again.stdout)["state"] == "there already"
    assert [entry["step"] for entry in entries] == ["switch", "done"]
    assert entries[0]["adapter"] == world.digest
    assert entries[0].keys() >= {"receipt", "signer", "probe", "parity", "when", "before"}
    assert TOKEN not in json.dumps(entries) + first.output
    back = world.rollback()
    assert back.exit_code == 0, back.output
    assert f"rolled back: the-old-one\nbefore: {world.name}" in back.stdout
    assert api.read_key(SPACE) == "the-old-one"
    assert world.rollback().exit_code == 1


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        pytest.param(lambda w: (w.folder / PROBE).unlink(), 8, "there is no probe", id="no probe"),
        pytest.param(lambda w: (w.folder / PARITY).unlink(), 8, "there is no parity", id="no parity"),
        pytest.param(lambda w: w.probe(good=False), 8, "probe .* did not prove it", id="probe failed"),
        pytest.param(lambda w: w.parity(cases=10), 8, "parity .* did not prove it", id="parity failed"),
        pytest.param(lambda w: w.parity(cases=10, limit=0.9), 8, "at most 25.9%, the limit is 5", id="lax parity"),
        pytest.param(lambda w: w.parity(asked=0), 8, "asked nothing", id="stored parity"),
        pytest.param(lambda w: w.probe(hours=25), 8, r"probe .* is 25\.0 h old, of 24", id="old probe"),
        pytest.param(lambda w: w.parity(hours=25), 8, r"parity .* is 25\.0 h old, of 24", id="old parity"),
        pytest.param(lambda w: w.probe(hours=-1), 8, "from the future", id="clock"),
        pytest.param(lambda w: w.probe(id="id-2"), 9, r"about another upload \(id\)", id="another id"),
        pytest.param(lambda w: w.parity(files={}), 9, r"about another upload \(files\)", id="other files"),
        pytest.param(lambda w: (w.folder / PROBE).write_text("{"), 9, "is damaged", id="damaged"),
        pytest.param(lambda w: w.upload(adapter="sha256:" + "9" * 64), 8, "the champion is", id="not the champion"),
        pytest.param(lambda w: shutil.rmtree(w.folder), 1, "was not uploaded from here", id="not uploaded"),
        pytest.param(lambda w: shutil.rmtree("registry"), 1, "has no champion", id="no registry"),
        pytest.param(lambda w: Path("gate.toml").write_text(GATE.replace("6", "5")), 9, "gate.toml", id="bars"),
        pytest.param(lambda w: shutil.copytree("keys", "k2") and Path("keys/toolgate.pub").unlink(), 1, "", id="keys"),
        pytest.param(
            lambda w: (next(Path("registry/adapters").iterdir()) / "README.md").write_text("x"),
            9,
            "README.md",
            id="bytes",
        ),
    ],
)
def test_without_evidence_nothing_moves_and_one_line_says_why(world, api, change, status, said):
    import re

    change(world)
    result = world.switch()

    assert result.exit_code == status, result.output
    assert re.search(said, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1
    assert api.read_key(SPACE) == ""
    assert not History(world.state).path.exists()


def test_half_an_upload_is_refused(world):
    shutil.rmtree(world.folder)
    journal = Journal(world.folder)
    with journal.hold():
        journal.write("create", mark="m", **world.facts)
    result = world.switch()

    assert result.exit_code == 1
    assert "did not end (creating)" in result.stderr


def test_the_limits_are_options(world, api):
    world.probe(hours=30)
    world.parity(cases=10, limit=0.9, asked=0, hours=30)
    result = world.switch("--max-age", "48", "--parity-limit", "0.3", "--stored-parity")

    assert result.exit_code == 0, result.output
    assert api.read_key(SPACE) == world.name


@pytest.mark.parametrize("option", ["--max-age=nan", "--max-age=inf", "--parity-limit=nan", "--parity-limit=1"])
def test_no_limit_is_refused(world, option):
    result = world.switch(option)

    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1)
    assert "possible: 0 to 10,000" in result.stderr


def test_what_serves_and_what_a_rollback_would_put_back_is_not_pruned(api, tmp_path):
    history = History(tmp_path)
    for number, name in enumerate(("one", "two", "three")):
        switch_adapter(api, history, name, SPACE, {"adapter": f"sha256:{number}"}, when=WHEN)

    assert served_adapters(history.read()) == ["sha256:1", "sha256:2"]
    assert served_adapters([]) == []


def test_a_dry_run_names_the_command_and_does_nothing(world, api):
    result = world.switch("--dry-run")

    assert result.stdout == (
        f"deploy/worker/node_modules/.bin/wrangler kv key put adapter {world.name} --namespace-id {SPACE} --remote\n"
    )
    assert api.read_key(SPACE) == ""
    assert not History(world.state).path.exists()
    world.switch()
    assert world.rollback("--dry-run").stdout.endswith(f"kv key delete adapter --namespace-id {SPACE} --remote\n")
    assert api.read_key(SPACE) == world.name


@pytest.mark.slow
def test_a_switch_that_was_killed_is_finished_by_the_next(world, client, api):
    """kill -9 while the API hangs."""
    client.plan("hang", on="kv", after=1, times=1)
    command = [sys.executable, "-m", "deploy", *world.words()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not History(world.state).read() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    client.http.delete(f"{client.url}/emulator/faults", timeout=9)

    assert [entry["step"] for entry in History(world.state).read()] == ["switch"]
    assert world.switch().stdout.startswith(f"finished: {world.name}")
    assert api.read_key(SPACE) == world.name
