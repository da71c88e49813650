"""Uploads: only against a receipt, hashed while they are sent, resumed or cleaned after every fault."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from api_server import (
    ACCOUNT,
    MODELS,
    TOKEN,
    ApiServer,
    cut_short,
    do_and_drop,
    drop,
    echo_token,
    hang,
    limited,
    refuse,
    reply_with,
)
from hypothesis import given
from hypothesis import strategies as st
from lora_folders import BASE_NAME, EMULATED, FAMILY, write_lora, write_tensors
from typer.testing import CliRunner

from deploy import finetunes, upload, wrangler
from deploy.api import Credentials, Finetune, WorkersAI
from deploy.cli import app
from deploy.export import export_adapter
from deploy.journal import Journal, read_journals, read_progress
from deploy.upload import AssetBody, RefusedError, check_export, upload_export
from harness.attestation import (
    Setting,
    build_statement,
    generate_keys,
    hash_folder,
    load_signer,
    load_trusted,
    seal_statement,
    verify,
)
from harness.cases import load_cases
from harness.cli import app as harness_app
from harness.errors import DataError, SetupError
from harness.gate import Decision, MetricRow, State
from harness.metrics import compute_metrics
from harness.report import Report
from harness.scoring import gold_reply
from harness.targets.workers_ai_codes import ApiError
from harness.toolset import load_toolset
from harness.types import Outcome, ReplyKind, Verdict

WHEN = "2026-11-22T10:00:00+00:00"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture
def server():
    with ApiServer() as one:
        yield one


@pytest.fixture
def api(server):
    with server.client() as one:
        yield one


@pytest.fixture
def keys(tmp_path):
    secret, _, _ = generate_keys(tmp_path / "keys")
    return load_signer(secret), load_trusted(tmp_path / "keys")


def seal(adapter, signer, reasons=()):
    """A receipt about a folder, of one case and one bar."""
    outcome = Outcome("crud-001", "crud", Verdict.RIGHT, None, "", ReplyKind.NONE, (), (), True, None, 0, 0)
    row = MetricRow("tool_selection", 1, 1, 1.0, 0.1, 0.4, State.MET, reason=reasons[0] if reasons else "")
    decision = Decision("release", reasons, (row,))
    report = Report(compute_metrics([outcome]), [outcome], {}, decision, {"target": "local"})
    alive = {"probes": 1, "differing": 1}
    settings = [Setting("gate.toml", "1" * 64)]
    statement = build_statement(
        hash_folder(adapter), report, settings, liveness=alive, evidence="bytes", time="2026-03-02T09:00:00+00:00"
    )
    return seal_statement(statement, signer)


@pytest.fixture
def adapter(tmp_path):
    return write_lora(tmp_path / "adapter", base_model_name_or_path="toolgate/x")


@pytest.fixture
def export(adapter, tmp_path):
    return export_adapter(adapter, tmp_path / "export", EMULATED)


def check(export, adapter, keys, *, signer=None, reasons=()):
    data = seal(adapter, keys[0] if signer is None else signer, reasons)
    return check_export(export, adapter, verify(adapter, data, trusted=keys[1]))


@pytest.fixture
def checked(export, adapter, keys):
    return check(export, adapter, keys)


def send(api, checked, tmp_path, **more):
    return upload_export(api, checked, tmp_path / "state", when=WHEN, **more)


def progress(api, checked, tmp_path):
    return read_journals(tmp_path / "state" / api.credentials.place)[checked.export.name]


# Evidence.


def test_an_upload_sends_the_config_first_and_the_bytes_of_the_export(server, api, checked, tmp_path):
    """Created with a JSON body, the files without a slash at the end, the name with the adapter's digest."""
    steps = []
    done = send(api, checked, tmp_path, on_step=lambda *step: steps.append(step))
    created = json.loads(
        next(b for a, b in zip(server.asked, server.bodies, strict=True) if a.endswith("finetunes") and b)
    )
    posts = [line for line in server.asked if line.startswith("POST")]

    assert done.state == "uploaded"
    assert checked.export.source.removeprefix("sha256:")[:12] in done.name
    assert created["model"] == MODELS[0]
    assert checked.export.source in created["description"]
    assert posts == [f"POST /client/v4/accounts/{ACCOUNT}/ai/finetunes"] + 2 * [
        f"POST /client/v4/accounts/{ACCOUNT}/ai/finetunes/{done.id}/finetune-assets"
    ]
    assert list(server.files[done.id]) == [CONFIG, WEIGHTS]
    for name, data in server.files[done.id].items():
        assert data == (checked.export.path / name).read_bytes()
    assert steps[-1] == (f"sending {WEIGHTS}", *[(checked.export.path / WEIGHTS).stat().st_size] * 2)
    assert progress(api, checked, tmp_path).state == "done"


def test_a_second_upload_of_the_same_bytes_does_nothing(server, api, checked, tmp_path):
    first = send(api, checked, tmp_path)
    server.asked.clear()
    second = send(api, checked, tmp_path)

    assert (second.state, second.id) == ("there already", first.id)
    assert [line.split()[0] for line in server.asked] == ["GET"]


def test_an_unsigned_a_foreign_and_a_closed_receipt_are_refused(export, adapter, keys, tmp_path):
    """And one whose adapter changed since."""
    other, _, _ = generate_keys(tmp_path / "other")
    with pytest.raises(DataError, match="the receipt is unsigned"):
        check_export(export, adapter, verify(adapter, seal(adapter, None), trusted=keys[1]))
    with pytest.raises(DataError, match="nobody whom you trust"):
        check_export(export, adapter, verify(adapter, seal(adapter, None), trusted=None))
    with pytest.raises(DataError, match="none of a trusted key"):
        check(export, adapter, keys, signer=load_signer(other))
    with pytest.raises(RefusedError, match=r"gate was closed\. too few right"):
        check(export, adapter, keys, reasons=("too few right",))
    data = seal(adapter, keys[0])
    (adapter / "README.md").write_text("Another card.")
    with pytest.raises(DataError, match=r"README\.md: changed"):
        check_export(export, adapter, verify(adapter, data, trusted=keys[1]))


def test_the_receipt_of_another_adapter_is_refused(export, keys, tmp_path):
    other = write_lora(tmp_path / "other", seed=2)
    with pytest.raises(DataError, match="the receipt is about"):
        check(export, other, keys)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_an_export_with_another_byte_is_refused_even_with_its_own_manifest(export, adapter, keys, name):
    """The manifest proves nothing: the export is derived again from the promoted adapter."""
    path = export.path / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    manifest = json.loads((export.path / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = hash_folder(export.path)[name]
    (export.path / "manifest.json").write_text(json.dumps(manifest))
    from deploy.export import read_export

    with pytest.raises(DataError, match=f"does not follow from the promoted adapter .*{name}"):
        check(read_export(export.path), adapter, keys)


def test_a_link_in_the_export_is_refused(export, adapter, keys, tmp_path):
    real = tmp_path / "elsewhere"
    (export.path / WEIGHTS).rename(real)
    (export.path / WEIGHTS).symlink_to(real)
    with pytest.raises(DataError, match="is a link"):
        check(export, adapter, keys)


def test_an_emulators_export_does_not_go_to_cloudflare(checked, tmp_path):
    with WorkersAI(Credentials(ACCOUNT, TOKEN)) as far, pytest.raises(SetupError, match="for an emulator"):
        send(far, checked, tmp_path)


def test_bf16_needs_its_comparison(adapter, keys, tmp_path):
    """Weights that were rounded are not those that were judged, unless the replies were compared."""
    from dataclasses import asdict, replace

    from deploy.export import Plan, derive_files, derive_hashes
    from deploy.preflight import find_family

    assert find_family(MODELS[0]).base == BASE_NAME
    plan = Plan(FAMILY.model, "llama", "", bf16=True)
    folder, files = tmp_path / "half", hash_folder(adapter)
    folder.mkdir()
    for name, chunks in derive_files(adapter, files, plan):
        (folder / name).write_bytes(b"".join(chunks))
    (folder / "manifest.json").write_text("{}")
    assert asdict(plan)["bf16"]
    made = upload.Export(folder, plan, derive_hashes(adapter, files, plan), files, {})
    with pytest.raises(DataError, match="in bf16 were not compared"):
        check(made, adapter, keys)

    assert check(replace(made, replies={"compared": 9, "differing": 0}), adapter, keys).signer


# Faults.


def untouched(server):
    return server.tunes == {}


@pytest.mark.parametrize("where", ["POST .*/finetunes$", "POST .*-assets", "GET .*/finetunes$"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(reply_with(500, b"<h1>oops</h1>"), id="500"),
        pytest.param(drop, id="reset"),
        pytest.param(do_and_drop, id="done and reset"),
        pytest.param(cut_short, id="cut short"),
        pytest.param(limited(3040), id="3040"),
        pytest.param(limited(3036), id="3036"),
        pytest.param(reply_with(*refuse(403, 10000)), id="403"),
        pytest.param(reply_with(200, b"<html>"), id="page with 200"),
        pytest.param(echo_token, id="page with 400"),
        pytest.param(hang, id="hang", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("times", [1, 9])
def test_after_every_fault_the_upload_is_whole_or_nothing_is_there(server, checked, tmp_path, where, fault, times):
    """Once the API is well again the same command ends with the whole; it never has half of one, or two."""
    with server.client(timeout=0.3, retries=2) as api, server.client() as patient:
        server.fail(where, *[fault] * times)
        try:
            send(api, checked, tmp_path)
        except (ApiError, SetupError) as error:
            assert TOKEN not in str(error)
            assert len(str(error).splitlines()) == 1
            half = {listed.finetune.name for listed in _list_calmly(server, tmp_path) if listed.state == "half-made"}
            assert {tune["name"] for tune in server.tunes.values()} <= half | set(server.complete())
        server.faults.clear()
        send(patient, checked, tmp_path)

    assert server.complete() == [checked.export.name]
    assert len(server.tunes) == 1
    for path in (tmp_path / "state").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


def _list_calmly(server, tmp_path):
    server.faults.clear()
    with server.client() as api:
        return finetunes.list_finetunes(api, tmp_path / "state")


def test_a_refused_file_removes_the_fine_tune(server, api, checked, tmp_path):
    server.fail("POST .*-assets", lambda handler: False, reply_with(*refuse(400, 7410, "bad weights")))
    with pytest.raises(ApiError, match=r"bad weights.*Nothing was left behind\."):
        send(api, checked, tmp_path)

    assert untouched(server)


def test_what_cannot_be_removed_is_told_and_listed(server, api, checked, tmp_path):
    """An API without deletion: the half-made one is named, shown by list, and the next upload finishes it."""
    server.can_delete = False
    server.fail("POST .*-assets", lambda handler: False, reply_with(*refuse(400, 7410)))
    with pytest.raises(ApiError, match=r"is still there \(the API deletes none\)"):
        send(api, checked, tmp_path)
    [listed] = finetunes.list_finetunes(api, tmp_path / "state")
    assert listed.state == "half-made"
    with pytest.raises(ApiError, match="Remove it in the dashboard"):
        finetunes.prune_finetunes(api, [listed], tmp_path / "state")
    done = send(api, checked, tmp_path)

    assert done.state == "uploaded"
    assert server.complete() == [checked.export.name]


def test_a_file_overwritten_during_the_upload_is_never_completed(server, api, checked, tmp_path):
    """After the check, while the config is on its way."""

    def overwrite(handler):
        with (checked.export.path / WEIGHTS).open("r+b") as file:
            file.seek(-8, 2)
            file.write(b"\xff" * 8)
        return False

    server.fail("POST .*-assets", overwrite)
    with pytest.raises(DataError, match=r"is not the file that was checked.*Nothing was left behind\."):
        send(api, checked, tmp_path)

    assert untouched(server)
    assert all(WEIGHTS not in files for files in server.files.values())


def test_a_file_exchanged_during_the_upload_does_not_matter(server, api, checked, tmp_path):
    """What was opened and compared is what is sent, whatever stands under its name by then."""
    weights = checked.export.path / WEIGHTS
    before = weights.read_bytes()

    def exchange(handler):
        weights.unlink()
        write_tensors(weights, {"x": [4, 4]})
        return False

    server.fail("POST .*-assets", exchange)
    done = send(api, checked, tmp_path)

    assert server.files[done.id][WEIGHTS] == before


def test_a_file_swapped_before_the_upload_is_never_completed(server, api, checked, tmp_path):
    write_tensors(checked.export.path / WEIGHTS, {"x": [400, 400]})
    with pytest.raises(DataError, match="Nothing was left behind"):
        send(api, checked, tmp_path)

    assert untouched(server)


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_upload import WHEN
from deploy import journal
from deploy.api import Credentials, WorkersAI
from deploy.export import read_export
from deploy.upload import Checked, upload_export
real, left = journal.Journal.write, [{after}]
def write(self, step, **facts):
    if {before} and left[0] == 0:
        os.kill(os.getpid(), 9)
    real(self, step, **facts)
    if not {before} and left[0] == 0:
        os.kill(os.getpid(), 9)
    left[0] -= 1
journal.Journal.write = write
api = WorkersAI(Credentials({account!r}, {token!r}, {url!r}))
upload_export(api, Checked(read_export(Path({export!r})), "r", "s", ()), Path({state!r}), when=WHEN)
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before the note", "after the note"])
@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_a_killed_upload_goes_on_or_is_cleaned(server, api, checked, tmp_path, after, before):
    """kill -9 around every line of the journal; the same command then ends with exactly one whole fine-tune."""
    code = KILLED.format(
        tests=str(Path(__file__).parent),
        after=after,
        before=before,
        account=ACCOUNT,
        token=TOKEN,
        url=server.url,
        export=str(checked.export.path),
        state=str(tmp_path / "state"),
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    states = [one.state for one in finetunes.list_finetunes(api, tmp_path / "state")]
    done = send(api, checked, tmp_path)

    assert killed.returncode == -9, killed.stderr
    assert states in ([], ["half-made"]) or (after, before) == (4, False)
    assert server.complete() == [done.name]
    assert len(server.tunes) == 1


def test_a_half_made_one_can_be_pruned_instead(server, api, checked, tmp_path):
    """After a kill between the two files."""
    state = tmp_path / "state"
    journal = Journal(state / api.credentials.place / checked.export.name)
    with journal.hold():
        journal.write("create", mark="m1", adapter="a", receipt="r", files={})
        api.create_finetune(MODELS[0], checked.export.name, "toolgate upload m1")
    chosen = finetunes.choose_pruned(finetunes.list_finetunes(api, state), 10, [])

    assert [one.state for one in chosen] == ["half-made"]
    assert finetunes.prune_finetunes(api, chosen, state) == [checked.export.name]
    assert untouched(server)
    assert progress(api, checked, tmp_path).state == "gone"


def test_two_uploads_at_once_do_not_meet(api, checked, tmp_path):
    folder = tmp_path / "state" / api.credentials.place / checked.export.name
    with Journal(folder).hold(), pytest.raises(SetupError, match="Another process holds"):
        send(api, checked, tmp_path)


def test_a_taken_name_and_a_full_quota_are_refused_before_anything_is_made(server, api, checked, tmp_path):
    api.create_finetune(MODELS[0], checked.export.name, "somebody else's")
    with pytest.raises(SetupError, match=r"is taken by .* --suffix TEXT"):
        send(api, checked, tmp_path)
    assert send(api, checked, tmp_path, suffix="b").name == checked.export.name + "-b"
    with pytest.raises(SetupError, match="must be 1 to 16"):
        send(api, checked, tmp_path, suffix="../x")
    for number in range(98):
        api.create_finetune(MODELS[0], f"n{number}", "")
    with pytest.raises(SetupError, match="100 of 100 in use"):
        send(api, checked, tmp_path, suffix="c")

    assert len(server.tunes) == 100


# The journal.


@given(st.binary(max_size=40))
def test_a_line_that_a_kill_cut_short_is_no_entry(tmp_path_factory, tail):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    with journal.hold():
        journal.write("create", mark="m")
    with journal.path.open("ab") as file:
        file.write(tail.replace(b"\n", b""))
    with journal.hold() as entries:
        assert read_progress(entries).state == "creating"
        journal.write("created", id="i")
    with journal.hold() as entries:
        assert read_progress(entries).id == "i"


def test_a_damaged_journal_is_told(tmp_path):
    journal = Journal(tmp_path)
    journal.path.write_text('{"step": "created"}\n')
    with pytest.raises(DataError, match="is damaged"), journal.hold():
        pass


# The body.


@given(data=st.binary(min_size=1, max_size=300), sizes=st.lists(st.integers(1, 50), min_size=1))
def test_a_body_is_the_same_in_pieces_of_every_size_and_after_a_rewind(tmp_path_factory, data, sizes):
    path = tmp_path_factory.getbasetemp() / "file"
    path.write_bytes(data)
    import hashlib

    with path.open("rb") as file:
        body = AssetBody(file, "a.bin", hashlib.sha256(data).hexdigest())
        whole = b"".join(body)
        body.seek(0)
        pieces = []
        number = 0
        while piece := body.read(sizes[number % len(sizes)]):
            pieces.append(piece)
            number += 1

    assert b"".join(pieces) == whole
    assert len(whole) == len(body)
    assert whole.split(b"\r\n\r\n", 2)[2].startswith(data)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(server, tmp_path):
    """200 MB, of which nothing is held: the server reads and throws away."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    import hashlib

    digest = hashlib.sha256()
    for _ in range(200):
        digest.update(bytes(1_000_000))
    with path.open("rb") as file:
        body = AssetBody(file, "a.bin", digest.hexdigest())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        count = sum(len(chunk) for chunk in body)

    assert count == len(body)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


# List and prune.


def test_prune_keeps_the_newest_the_aliases_and_what_is_not_ours():
    def listed(name, state, day):
        created = f"2026-09-{day:02} 10:00:00.000"
        return finetunes.Listed(Finetune(name, name, MODELS[0], "", created), state)

    ours = [listed(f"toolgate-{n:012x}-00000000", "ours", n + 1) for n in range(5)]
    everything = [listed("half", "half-made", 20), *ours, listed("foreign", "foreign", 1)]
    chosen = finetunes.choose_pruned(everything, 2, ["sha256:" + f"{1:012x}" + "0" * 52])

    assert [one.finetune.name for one in chosen] == ["half", ours[0].finetune.name, ours[2].finetune.name]


# wrangler.

FAKE = """#!{python}
import json, os, re, sys, urllib.request
if sys.argv[1:] == ["--version"]:
    print({version!r}); sys.exit(0)
how = open({how!r}).read()
model, name, folder = sys.argv[4:]
root = f"{{os.environ['CLOUDFLARE_API_BASE_URL']}}/accounts/{{os.environ['CLOUDFLARE_ACCOUNT_ID']}}/ai/finetunes"
def post(url, data, kind):
    head = {{"Authorization": "Bearer " + os.environ["CLOUDFLARE_API_TOKEN"], "Content-Type": kind}}
    return json.load(urllib.request.urlopen(urllib.request.Request(url, data, head)))
if how == "refused":
    print("🚨 Finetune couldn't be created: " + os.environ["CLOUDFLARE_API_TOKEN"] + " [code: 1000]", file=sys.stderr)
    sys.exit(0)
made = post(root, json.dumps({{"model": model, "name": name, "description": ""}}).encode(), "text/plain;charset=UTF-8")
for file in ("adapter_config.json", "adapter_model.safetensors")[: 1 if how in ("half", "lies") else 2]:
    data = open(os.path.join(folder, file), "rb").read()
    body = b'--b\\r\\nContent-Disposition: form-data; name="file_name"\\r\\n\\r\\n' + file.encode()
    body += b'\\r\\n--b\\r\\nContent-Disposition: form-data; name="file"; filename="blob"\\r\\n'
    body += b"Content-Type: application/octet-stream\\r\\n\\r\\n" + data + b"\\r\\n--b--\\r\\n"
    post(f"{{root}}/{{made['result']['id']}}/finetune-assets", body, "multipart/form-data; boundary=b")
if how == "half":
    print("🚨 Couldn't upload file: adapter_model.safetensors, quiting...", file=sys.stderr)
else:
    print(f'✅ Assets uploaded, finetune "{{name}}" is ready to use.')
"""


@pytest.fixture
def tool(tmp_path):
    """A program that talks to the API as wrangler was recorded to, and ends with 0 whatever happens."""

    def make(how="well", version=wrangler.VERSION):
        (tmp_path / "how").write_text(how)
        path = tmp_path / "wrangler"
        path.write_text(FAKE.format(python=sys.executable, version=version, how=str(tmp_path / "how")))
        path.chmod(0o755)
        return path

    return make


def by_wrangler(api, checked, tmp_path, tool):
    return wrangler.upload_by_wrangler(api, checked, tmp_path / "state", when=WHEN, wrangler=tool)


def test_wrangler_uploads_and_is_judged(server, api, checked, tmp_path, tool):
    done = by_wrangler(api, checked, tmp_path, tool())
    again = by_wrangler(api, checked, tmp_path, tool())

    assert (done.state, again.state) == ("uploaded", "there already")
    assert server.complete() == [done.name]
    assert progress(api, checked, tmp_path).state == "done"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param("refused", r"wrangler did not upload .*\[token\] \[code: 1000\]", id="refused, exit 0"),
        pytest.param("half", "Couldn't upload file.*Nothing was left behind", id="half, exit 0"),
        pytest.param("lies", "lacks a file.*Nothing was left behind", id="says ready without the weights"),
    ],
)
def test_wranglers_exit_status_is_not_believed(server, api, checked, tmp_path, tool, how, said):
    """Judged by its output, the list and one request; what it left behind is removed."""
    with pytest.raises(ApiError, match=said) as caught:
        by_wrangler(api, checked, tmp_path, tool(how))

    assert untouched(server)
    assert TOKEN not in str(caught.value)


def test_another_wrangler_and_none_are_refused(api, checked, tmp_path, tool):
    with pytest.raises(SetupError, match=f"pinned is {wrangler.VERSION}"):
        by_wrangler(api, checked, tmp_path, tool(version="4.164.0"))
    with pytest.raises(SetupError, match="Cannot run"):
        by_wrangler(api, checked, tmp_path, tmp_path / "nowhere")


def test_wrangler_is_told_only_what_it_needs(api, monkeypatch):
    monkeypatch.setenv("ANOTHER_SECRET", "x")
    told = wrangler.wrangler_environment(api)

    assert "ANOTHER_SECRET" not in told
    assert told["WRANGLER_SEND_METRICS"] == "false"
    assert wrangler.wrangler_command(Path("w"), "@cf/a/b", "n", Path("d"))[1:] == [
        *("ai", "finetune", "create", "@cf/a/b", "n", "d")
    ]


# The command line, from a receipt of the real promote.

GATE = """
[profiles.release.metrics]
tool_selection = {bar = 0.6, min_n = 1, require = "met"}
"""


@pytest.fixture
def world(tmp_path, adapter, server, monkeypatch):
    """A promoted adapter, its export, and the place where the commands run."""
    monkeypatch.chdir(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    line = {
        "id": "selection-001",
        "suite": "selection",
        "messages": [{"role": "user", "content": "remind me to call mom"}],
        "now": "2026-03-02T09:00:00+00:00",
        "expect": [{"tool": "createTask", "params": {"title": ["call mom"], "priority": ["medium"]}}],
        "tags": [],
        "why": "a test of the command line",
        "source": "hand-written",
    }
    Path("cases.jsonl").write_text(json.dumps(line) + "\n")
    Path("gate.toml").write_text(GATE)
    Path("gold.json").write_text(
        json.dumps({case.id: gold_reply(case, load_toolset()) for case in load_cases(Path("cases.jsonl"))})
    )
    Path("none.json").write_text('{"*": "I cannot do that."}')
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps(dict(EMULATED.config)))
    judged = ["--cases", "cases.jsonl", "--gate", "gate.toml"]
    replay = ["--target", "replay", "--base-replies", "none.json", "--replies", "gold.json", "--run-store", "store"]
    for words in (
        ["keygen", "--out", "keys"],
        ["promote", "adapter", *judged, *replay, "--key", "keys/toolgate.key"],
    ):
        result = CliRunner().invoke(harness_app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert call("export", "champion", "--base", "base", "--out", "out").exit_code == 0
    return ["upload", "out", "--trusted", "keys", *judged]


def call(*words):
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_from_promote_to_list_and_prune(world, server):
    """The registry's champion is exported, uploaded and protected."""
    first = call(*world)
    again = json.loads(call(*world, "--json").stdout)
    listed = json.loads(call("list", "--json").stdout)
    pruned = call("prune", "--keep", "1", "--yes")

    assert first.exit_code == 0, first.output
    assert f"next: python -m deploy probe {again['name']}" in first.stdout
    assert again["state"] == "there already"
    assert again["signer"]
    assert listed["finetunes"] == [
        {
            "name": again["name"],
            "id": again["id"],
            "model": MODELS[0],
            "created": "2026-09-19 18:18:39.465",
            "state": "ours",
        }
    ]
    assert "1 of 100 in use" in call("list").stdout
    assert pruned.stdout == "0 removed\n"
    assert len(server.tunes) == 1


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        pytest.param(
            lambda: Path("gate.toml").write_text(GATE.replace("0.6", "0.5")), 9, "gate.toml: changed", id="bars"
        ),
        pytest.param(
            lambda: Path("cases.jsonl").write_text(Path("cases.jsonl").read_text().replace("mom", "dad")),
            9,
            "cases/selection: changed",
            id="cases",
        ),
        pytest.param(lambda: generate_keys(Path("other")), 0, "", id="nothing"),
        pytest.param(lambda: (Path("out") / CONFIG).write_text("{}"), 9, "does not follow from", id="export"),
        pytest.param(lambda: Path("registry").rename("away"), 1, "Promote it, or give --adapter", id="no registry"),
        pytest.param(
            lambda: os.environ.update(CLOUDFLARE_API_TOKEN="wrong"), 1, "the token is refused", id="wrong token"
        ),
        pytest.param(
            lambda: os.environ.update(CLOUDFLARE_ACCOUNT_ID="f" * 32),
            1,
            "CLOUDFLARE_API_BASE_URL|ACCOUNT",
            id="account",
        ),
    ],
)
def test_what_does_not_match_is_one_line_and_nothing_is_left(world, server, change, status, said):
    import re

    change()
    result = call(*world)

    assert result.exit_code == status, result.output
    assert re.search(said, result.output)
    assert status == 0 or (untouched(server) and len(result.stderr.strip().splitlines()) == 1)


def test_a_trusted_key_is_asked_for(world):
    words = [word for word in world if word not in {"--trusted", "keys"}]

    assert CliRunner().invoke(app, words).exit_code == 2
    assert call(*words, "--trusted", "nowhere").exit_code == 1


def test_an_interrupted_upload_says_how_to_go_on(world, server, monkeypatch):
    def interrupt(*args, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(AssetBody, "read", interrupt)
    stopped = call(*world)
    monkeypatch.undo()

    assert stopped.exit_code == 130
    assert "The same command goes on from here." in stopped.stderr
    assert len(server.tunes) == 1
