"""``keygen``, ``promote``, ``verify``, ``rollback``: exit status 0 done, 8 refused, 9 evidence differs, 4 usage."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from receipts import write_files
from typer.testing import CliRunner

from harness.cases import load_cases
from harness.cli import app
from harness.scoring import gold_reply
from harness.toolset import load_toolset

TITLES = ["call mom", "buy stamps", "water the plants", "renew my passport"]
GATE = """
[profiles.release.metrics]
tool_selection = {bar = 0.6, min_n = 4, require = "met"}
adapter_size = {bar = 300, min_n = 1, require = "met"}
[profiles.iterate.metrics]
tool_selection = {bar = 0.2, min_n = 1, require = "met"}
"""
JUDGED = ["--cases", "cases.jsonl", "--gate", "gate.toml"]
REPLAY = [*JUDGED, "--target", "replay", "--base-replies", "base.json", "--run-store", "store"]
SIGNED = ["--key", "keys/toolgate.key"]
TRUSTED = ["--trusted", "keys"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Cases, bars, recordings, keys and an adapter, and the place where the commands run."""
    monkeypatch.chdir(tmp_path)
    lines = [
        {
            "id": f"selection-{i:03}",
            "suite": "selection",
            "messages": [{"role": "user", "content": f"remind me to {title}"}],
            "now": "2026-03-02T09:00:00+00:00",
            "expect": [{"tool": "createTask", "params": {"title": [title], "priority": ["medium"]}}],
            "tags": [],
            "why": "a test of the command line",
            "source": "hand-written",
        }
        for i, title in enumerate(TITLES, 1)
    ]
    Path("cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("gate.toml").write_text(GATE)
    toolset = load_toolset()
    gold = {case.id: gold_reply(case, toolset) for case in load_cases(Path("cases.jsonl"))}
    Path("gold.json").write_text(json.dumps(gold | {"selection-001": "No."}))
    Path("bad.json").write_text(json.dumps(gold | {"selection-001": "No.", "selection-002": "No."}))
    Path("base.json").write_text('{"*": "I cannot do that."}')
    write_files(tmp_path / "adapter", "one")
    write_files(tmp_path / "other", "two")
    assert call("keygen", "--out", "keys").exit_code == 0
    return tmp_path


def call(*args):
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


def promote(adapter="adapter", replies="gold.json", *args, how=SIGNED):
    return call("promote", adapter, *REPLAY, "--replies", replies, *how, *args)


def verify(adapter="adapter", *args, how=TRUSTED):
    return call("verify", adapter, *JUDGED, *how, *args)


def state():
    return json.loads(Path("registry/registry.json").read_text())


def test_keygen_makes_keys_and_never_overwrites_them(world):
    """Exit status 4, and the key stays."""
    key = Path("keys/toolgate.key")
    before = key.read_bytes()
    again = call("keygen", "--out", "keys")

    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert again.exit_code == 4
    assert "is there already" in again.stderr
    assert key.read_bytes() == before


def test_an_open_gate_makes_a_champion_with_a_receipt(world):
    """The receipt holds what was asked, what came out, and that the adapter acts."""
    result = promote()
    entry = state()["aliases"]["champion"]
    receipt = Path("registry/receipts") / f"{entry['receipt'].removeprefix('sha256:')}.json"
    statement = json.loads(base64.b64decode(json.loads(receipt.read_bytes())["payload"]))
    predicate = statement["predicate"]
    names = [one["name"] for one in predicate["configuration"]]

    assert result.exit_code == 0, result.output
    assert "gate open: profile release" in result.stdout
    assert f"champion: {entry['adapter']}\nreceipt: {receipt}" in result.stdout
    assert "note: Evidence is 'recording'" in result.stdout
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"][0] == "case/selection-002"
    assert predicate["warnedTests"] == ["case/selection-001"]
    assert names[:4] == ["gate.toml", "case ids", "cases/selection", "toolset"]
    assert names[4:] == ["system prompt", "decoding", "base", "target", "packages", "attempts"]
    assert predicate["toolgate"]["liveness"] == {"probes": 4, "differing": 4}
    assert predicate["toolgate"]["metrics"]["rates"]["tool_selection"]["k"] == 3
    assert str(world) not in json.dumps(statement)


def test_what_was_promoted_is_verified(world):
    """By its folder, by its alias, by a receipt on its own."""
    promote()
    receipt = next(Path("registry/receipts").iterdir())

    for result in (verify(), verify("champion"), verify("adapter", "--receipt", str(receipt))):
        assert result.exit_code == 0, result.output
        assert "verified: sha256:" in result.stdout
    data = json.loads(verify("adapter", "--json").stdout)
    assert (data["verified"], data["differing"]) == (True, [])
    assert data["signer"]


def test_a_closed_gate_promotes_nothing(world):
    """Exit status 8 with the reasons; no state, no receipt, no copy."""
    result = promote("adapter", "bad.json", "--json")
    data = json.loads(result.stdout)

    assert result.exit_code == 8
    assert data["promoted"] is False
    assert "tool_selection: 2/4 = 0.5000 is not above the bar 0.6." in data["reasons"]
    assert not Path("registry/registry.json").exists()
    assert not Path("registry/receipts").exists()
    assert list(Path("registry/staging").iterdir()) == []


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        pytest.param(["--base-replies", "gold.json"], "it does not act", id="equal replies"),
        pytest.param(None, "the base model alone cannot be asked", id="no base"),
    ],
)
def test_an_adapter_that_does_not_act_is_not_measured(world, base, reason):
    """Before any score."""
    asked = [*REPLAY[:6], *(base or []), "--run-store", "store"]
    result = call("promote", "adapter", *asked, "--replies", "gold.json", *SIGNED)

    assert result.exit_code == 8
    assert reason in result.stdout
    assert "not measured: 4 case" in result.stdout


def test_a_smaller_profile_makes_a_candidate(world):
    """It is no permission to release: it does not verify as one."""
    result = promote("adapter", "bad.json", "--profile", "iterate")

    assert result.exit_code == 0, result.output
    assert set(state()["aliases"]) == {"candidate"}
    assert verify("adapter", "--profile", "iterate").exit_code == 0
    refused = verify()
    assert refused.exit_code == 9
    assert "profile: the receipt is of 'iterate', asked for is 'release'" in refused.stdout


def change(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("tamper", "line"),
    [
        (lambda: change("adapter/adapter_model.safetensors", "one", "onf"), "adapter_model.safetensors: changed"),
        (lambda: Path("adapter/adapter_config.json").unlink(), "adapter_config.json: missing"),
        (lambda: Path("adapter/hidden").write_text(""), "hidden: extra"),
        (lambda: Path("adapter/link").symlink_to("/etc"), "link is a link"),
        (lambda: change("gate.toml", "0.6", "0.5"), "gate.toml: changed"),
        (lambda: change("gate.toml", "[profiles.release", "[["), "configuration: gate.toml: not TOML"),
        (lambda: change("cases.jsonl", "buy stamps", "buy milk"), "cases/selection: changed"),
        (lambda: change("cases.jsonl", "selection-004", "selection-005"), "case/selection-004: in the receipt"),
        (lambda: change("cases.jsonl", "{", ""), "configuration: cases.jsonl:1"),
    ],
)
def test_verify_names_what_differs(world, tamper, line):
    """Exit status 9."""
    promote()
    tamper()
    result = verify()

    assert result.exit_code == 9, result.output
    assert f"differs: {line}" in result.stdout or line in result.stdout + result.stderr
    assert "verified: sha256" not in result.stdout


def test_a_changed_prompt_or_toolset_is_named(world, monkeypatch):
    """They are not options; they come with the code."""
    import harness.promotion
    from harness.prompt import PromptSpec, load_prompt

    promote()
    prompt = load_prompt()
    monkeypatch.setattr(harness.promotion, "load_prompt", lambda: PromptSpec("Hi. " + prompt.template, prompt.toolset))
    result = verify()

    assert result.exit_code == 9
    assert result.stdout.startswith("differs: system prompt: changed")


def test_a_stranger_s_key_is_not_trusted(world):
    """Neither when promoting with a folder of trusted keys, nor when verifying."""
    call("keygen", "--out", "strange")
    refused = promote("adapter", "gold.json", *TRUSTED, how=["--key", "strange/toolgate.key"])
    promote("adapter", "gold.json", how=["--key", "strange/toolgate.key"])
    result = verify()

    assert refused.exit_code == 4
    assert "is not among the trusted keys" in refused.stderr
    assert result.exit_code == 9
    assert "differs: signature: none of a trusted key" in result.stdout


def test_an_unsigned_receipt_says_so_everywhere(world):
    """It is verified only where that was asked for."""
    promoted = promote(how=["--unsigned"])

    assert promoted.exit_code == 0
    assert "note: UNSIGNED" in promoted.stdout
    assert verify().exit_code == 9
    accepted = verify(how=["--unsigned"])
    assert accepted.exit_code == 0
    assert "note: UNSIGNED" in accepted.stdout
    assert "signed by nobody (UNSIGNED)" in accepted.stdout


def test_rollback_makes_the_previous_champion_champion(world):
    """With a trusted signature and untouched files alone."""
    promote()
    first = state()["aliases"]["champion"]["adapter"]
    promote("other")
    call("keygen", "--out", "strange")
    strange = call("rollback", "--trusted", "strange")
    result = call("rollback", *TRUSTED)

    assert strange.exit_code == 9
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"champion: {first}, signed by ")
    assert state()["aliases"]["champion"]["adapter"] == first
    assert [move["action"] for move in state()["history"]] == ["promote", "promote", "rollback"]
    again = call("rollback", *TRUSTED)
    assert (again.exit_code, "no previous champion" in again.stderr) == (4, True)


def test_rollback_refuses_an_unsigned_or_changed_champion(world):
    """Exit status 9; the champion stays."""
    promote(how=["--unsigned"])
    promote("other")
    before = state()
    unsigned = call("rollback", *TRUSTED)
    digest = before["aliases"]["previous"]["adapter"].removeprefix("sha256:")
    (Path("registry/adapters") / digest / "new").write_text("")
    changed = call("rollback", "--unsigned")

    assert (unsigned.exit_code, changed.exit_code) == (9, 9)
    assert "receipt is unsigned" in unsigned.stderr
    assert "new: extra" in changed.stderr
    assert state() == before


@pytest.mark.parametrize(
    ("args", "line"),
    [
        pytest.param(["promote"], "Missing argument", id="no adapter"),
        pytest.param(["promote", "adapter", "--nonsense"], "No such option", id="option"),
        pytest.param(["promote", "adapter", *REPLAY], "Give either --key FILE, or --unsigned", id="no key"),
        pytest.param(["promote", "adapter", *REPLAY, *SIGNED, "--unsigned"], "Give either --key", id="both"),
        pytest.param(["promote", "adapter", *REPLAY, "--key", "none"], "Cannot read the key none", id="missing key"),
        pytest.param(["promote", "adapter", *REPLAY, *SIGNED], "needs a recording", id="no replies"),
        pytest.param(["promote", "none", *REPLAY, *SIGNED], "No adapter folder at none", id="no folder"),
        pytest.param(["promote", "adapter", *REPLAY, *SIGNED, "--profile", "x"], "Unknown profile 'x'", id="profile"),
        pytest.param(["promote", "adapter", *SIGNED, *JUDGED, "--cases", "no"], "No cases at no", id="cases"),
        pytest.param(["verify", "adapter", *JUDGED], "Give either --trusted DIR", id="no trust"),
        pytest.param(["verify", "adapter", *JUDGED, *TRUSTED], "No registry at registry", id="no registry"),
        pytest.param(["verify", "champion", *JUDGED, *TRUSTED], "has no champion", id="no champion"),
        pytest.param(["verify", "adapter", *TRUSTED, "--receipt", "none"], "Cannot read the receipt", id="no receipt"),
        pytest.param(["verify", "adapter", "--trusted", "none"], "No folder of trusted keys", id="no trusted"),
        pytest.param(["verify", "adapter", *TRUSTED, "--receipt", "x"], "Nothing to compare with at", id="no bars"),
        pytest.param(["rollback"], "Give either --trusted", id="rollback"),
        pytest.param(["keygen"], "Missing option", id="keygen"),
    ],
)
def test_wrong_usage_is_exit_status_4(world, args, line):
    """With one line that says what to give."""
    Path("x").write_text("")
    result = call(*args)

    assert result.exit_code == 4, result.output
    assert line in result.stderr
    assert result.stdout == ""


def test_a_key_that_others_may_read_signs_nothing(world):
    """Before anything is measured."""
    Path("keys/toolgate.key").chmod(0o644)
    result = promote()

    assert result.exit_code == 4
    assert "chmod 600" in result.stderr


@pytest.mark.parametrize("trick", ["link", "folder"])
def test_links_are_not_promoted(world, trick):
    """Exit status 9, and nothing is copied."""
    if trick == "link":
        Path("adapter/weights").symlink_to("/etc/hostname")
    else:
        Path("adapter").rename("real")
        Path("adapter").symlink_to("real")
    result = promote()

    assert result.exit_code == 9
    assert "is a link" in result.stderr
    assert not Path("registry/registry.json").exists()


def test_a_damaged_registry_is_told_first(world):
    """Not after hours of measuring."""
    promote()
    Path("registry/registry.json").write_text("{}")
    result = promote()

    assert result.exit_code == 9
    assert "is damaged" in result.stderr


def test_help_loads_no_heavy_library():
    """A cold start stays one."""
    code = (
        "import sys; sys.argv = ['harness', '--help']; from harness.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'cryptography', 'securesystemslib', 'torch', 'scipy', 'transformers'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "promote" in result.stdout
    assert result.stdout.endswith("heavy: []\n")


@pytest.mark.slow
def test_a_real_adapter_is_promoted_from_its_bytes(world):
    """Loaded from the copy; the base is sealed and compared, and the whole run is reused from the store."""
    from tiny_models import write_adapter, write_base

    base = write_base(Path("base"))
    write_adapter(Path("lora"), base)
    Path("gate.toml").write_text(
        '[profiles.release.metrics]\nadapter_size = {bar = 300, min_n = 1, require = "proven"}\n'
    )
    first = call("promote", "lora", *JUDGED, *SIGNED, "--base", "base", "--run-store", "store", "--json")
    stored = sorted(os.walk("store"))
    again = call("promote", "lora", *JUDGED, *SIGNED, "--base", "base", "--run-store", "store", "--json")
    same = verify("lora", "--base", "base")
    write_base(Path("base2"), seed=3)
    other = verify("lora", "--base", "base2")

    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["notes"] == []
    assert again.exit_code == 0
    assert sorted(os.walk("store")) == stored
    assert same.exit_code == 0, same.output
    assert "note" not in same.stdout
    assert other.exit_code == 9
    assert "differs: base: changed" in other.stdout
