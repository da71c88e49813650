"""Receipts: what is hashed, what is signed, and that every difference is named."""

import base64
import json
import os
import random
import stat

import pytest
from receipts import SETTINGS, TESTS, make_receipt, make_report, make_statement, write_files

from harness.attestation import (
    Setting,
    describe_settings,
    differences,
    digest_files,
    digest_ids,
    expected_tests,
    find_signer,
    generate_keys,
    hash_folder,
    load_signer,
    load_trusted,
    read_receipt,
    seal_statement,
    verify,
)
from harness.cases import load_cases
from harness.errors import DataError, SetupError
from harness.gate import load_gate
from harness.prompt import load_prompt


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A signer and the folder that trusts it."""
    folder = tmp_path_factory.mktemp("keys")
    generate_keys(folder)
    return load_signer(folder / "toolgate.key"), load_trusted(folder)


@pytest.fixture
def adapter(tmp_path):
    return write_files(tmp_path / "adapter")


def check(adapter, data, keys, **changes):
    asked = {"trusted": keys[1], "settings": SETTINGS[:2], "tests": TESTS}
    return verify(adapter, data, **{**asked, **changes})


def test_an_untouched_adapter_is_verified(adapter, keys):
    """Signed by a trusted key, with nothing different and nothing to remark."""
    found = check(adapter, make_receipt(adapter, keys[0]), keys)

    assert (found.verified, found.differing, found.refusals, found.notes) == (True, (), (), ())
    assert found.signer == keys[0].public_key.keyid
    assert found.receipt.adapter == digest_files(hash_folder(adapter))


def test_the_statement_is_the_predicate_of_in_toto(adapter):
    """A wrong answer is a measurement: it warns. Every file is a subject, every digest a configuration."""
    statement = make_statement(adapter)
    predicate = statement["predicate"]

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert [one["name"] for one in statement["subject"]] == sorted(hash_folder(adapter))
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == ["case/crud-001", "metric/tool_selection"]
    assert (predicate["warnedTests"], predicate["failedTests"]) == (["case/crud-002"], [])
    assert predicate["configuration"][0] == {"name": "gate.toml", "digest": {"sha256": "1" * 64}}
    assert predicate["toolgate"]["liveness"] == {"probes": 2, "differing": 2}


def test_other_tools_read_a_receipt(adapter, keys):
    """securesystemslib opens the envelope, in-toto-attestation parses and validates what is in it."""
    statement_module = pytest.importorskip("in_toto_attestation.v1.statement")
    import in_toto_attestation.predicates.test_result.v0.test_result_pb2 as test_result
    import in_toto_attestation.v1.statement_pb2 as statement_pb2
    from google.protobuf import json_format
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from securesystemslib.dsse import Envelope

    envelope = Envelope.from_dict(json.loads(make_receipt(adapter, keys[0])))
    payload = json.loads(envelope.payload)
    statement = statement_module.Statement.copy_from_pb(json_format.ParseDict(payload, statement_pb2.Statement()))
    result = json_format.ParseDict(payload["predicate"], test_result.TestResult(), ignore_unknown_fields=True)

    assert len(envelope.verify(keys[1], 1)) == 1
    assert envelope.payload_type == "application/vnd.in-toto+json"
    statement.validate()
    for descriptor in result.configuration:
        ResourceDescriptor.copy_from_pb(descriptor).validate()
    assert (result.result, list(result.failed_tests)) == ("PASSED", [])
    assert {one.name: one.digest["sha256"] for one in statement.pb.subject} == hash_folder(adapter)


def test_each_file_that_differs_is_named(adapter, keys):
    """Missing, extra and changed, all at once."""
    data = make_receipt(adapter, keys[0])
    (adapter / "adapter_config.json").unlink()
    (adapter / "new.txt").write_text("")
    (adapter / "adapter_model.safetensors").write_text("weightz")
    found = check(adapter, data, keys)

    assert [line.split(";")[0] for line in found.differing] == [
        "adapter_config.json: missing",
        "adapter_model.safetensors: changed",
        "new.txt: extra",
    ]


def test_each_digest_that_differs_is_named(adapter, keys):
    """Bars, a suite and a case that the receipt does not know."""
    changed = [Setting("gate.toml", "3" * 64), Setting("cases/general", "4" * 64)]
    found = check(
        adapter, make_receipt(adapter, keys[0]), keys, settings=changed, tests=[*TESTS[1:], "case/general-001"]
    )

    assert [line.split(";")[0].split(",")[0] for line in found.differing] == [
        "cases/crud: missing",
        "cases/general: extra",
        "gate.toml: changed",
        "case/crud-001: in the receipt",
        "case/general-001: not in the receipt",
    ]


def test_every_flipped_bit_of_the_adapter_is_found(adapter, keys):
    """Whichever byte of whichever file."""
    data = make_receipt(adapter, keys[0])
    chance = random.Random(7)
    for _ in range(60):
        path = adapter / chance.choice(["adapter_config.json", "adapter_model.safetensors", "extra/README.md"])
        whole = path.read_bytes()
        path.write_bytes(flip(whole, chance))
        found = check(adapter, data, keys)
        path.write_bytes(whole)

        assert [line.partition(":")[0] for line in found.differing] == [path.relative_to(adapter).as_posix()]


def test_every_flipped_bit_of_a_receipt_is_found(adapter, keys):
    """Also where the signature does not reach: the key's id, white space, spare bits of base64."""
    data = make_receipt(adapter, keys[0])
    chance = random.Random(7)
    for place in [*range(40), *range(len(data) - 160, len(data)), *(chance.randrange(len(data)) for _ in range(200))]:
        bad = bytearray(data)
        bad[place] ^= 1 << chance.randrange(8)
        found = check(adapter, bytes(bad), keys)

        assert not found.verified, f"byte {place}: {data[place]:#x} -> {bad[place]:#x}"
        assert any(line.startswith(("receipt:", "signature:")) for line in found.differing)


def flip(data, chance):
    changed = bytearray(data)
    changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def test_a_stranger_s_signature_is_none(adapter, keys, tmp_path):
    """Trusted is what lies in the folder, not what is well signed."""
    generate_keys(tmp_path / "other")
    found = check(adapter, make_receipt(adapter, load_signer(tmp_path / "other" / "toolgate.key")), keys)

    assert "signature: none of a trusted key" in found.differing[0]


def test_a_signature_of_another_statement_is_none(adapter, keys, tmp_path):
    """A replayed signature belongs to other bytes."""
    other = write_files(tmp_path / "other", "other weights")
    mine, theirs = json.loads(make_receipt(adapter, keys[0])), json.loads(make_receipt(other, keys[0]))
    theirs["signatures"] = mine["signatures"]
    data = json.dumps(theirs, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    assert "signature: none of a trusted key" in check(other, data, keys).differing[0]


def test_a_receipt_of_another_adapter_names_the_files(adapter, keys, tmp_path):
    """Well signed, and about something else."""
    other = write_files(tmp_path / "other", "other weights")

    lines = check(adapter, make_receipt(other, keys[0]), keys).differing

    assert [line.split(";")[0] for line in lines] == ["adapter_model.safetensors: changed"]


def test_an_unsigned_receipt_counts_only_where_the_caller_says_so(adapter, keys):
    """And the answer says it as well."""
    data = make_receipt(adapter)

    assert check(adapter, data, keys).differing == ("signature: missing; the receipt is unsigned",)
    accepted = check(adapter, data, keys, trusted=None)
    assert accepted.verified
    assert accepted.notes == ("UNSIGNED: the receipt has no signature, accepted as asked",)


def test_a_closed_gate_is_refused_with_its_reasons(adapter, keys):
    """Nothing differs, and still it is not verified."""
    found = check(adapter, make_receipt(adapter, keys[0], report=make_report(("too bad",))), keys)

    assert (found.verified, found.differing, found.refusals) == (False, (), ("too bad",))
    assert found.receipt.statement["predicate"]["result"] == "FAILED"


def test_a_receipt_for_less_is_no_release(adapter, keys):
    """The profile that was passed has to be the one asked for."""
    found = check(adapter, make_receipt(adapter, keys[0]), keys, profile="strict")

    assert found.differing == ("profile: the receipt is of 'release', asked for is 'strict'",)


def test_replies_of_unknown_origin_are_remarked(adapter, keys):
    """So are other versions, and a configuration that was not compared."""
    data = make_receipt(adapter, keys[0], evidence="recording")
    found = check(adapter, data, keys, settings=None, packages={"a": "2", "b": "1"})

    assert found.verified
    assert [note.partition(":")[0] for note in found.notes] == [
        "gate.toml, cases, toolset and prompt were not compared",
        "a was 1 and is 2 here",
        "evidence is 'recording'",
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "no receipt of this", id="type"),
        pytest.param(lambda s: s.update(subject=[]), "no receipt of this", id="no subject"),
        pytest.param(lambda s: s["subject"].append(s["subject"][0]), "named twice", id="subject twice"),
        pytest.param(lambda s: s["subject"][0]["digest"].update(sha256="F" * 64), "a digest that is none", id="digest"),
        pytest.param(lambda s: s["predicate"].update(result="FAILED"), "contradicts itself", id="result"),
        pytest.param(lambda s: s["predicate"].update(failedTests=["x"]), "contradicts itself", id="failed test"),
        pytest.param(lambda s: s["predicate"].pop("toolgate"), "KeyError", id="foreign"),
    ],
)
def test_what_is_no_receipt_is_said(adapter, keys, change, why):
    """Even with a good signature."""
    statement = make_statement(adapter)
    change(statement)

    with pytest.raises(DataError, match=why):
        read_receipt(seal_statement(statement, keys[0]))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"payload": 1, "payloadType": 2, "signatures": 3}', id="types"),
        pytest.param(b'{"payload": "", "payload": ""}', id="twice"),
        pytest.param(json.dumps({"payload": base64.b64encode(b"1").decode()}).encode(), id="no object"),
    ],
)
def test_any_bytes_are_refused_in_one_line(data):
    """Never a traceback."""
    with pytest.raises(DataError, match=r"^This is no receipt: .*Promote again\.$"):
        read_receipt(data)


def test_find_signer_needs_a_signature(adapter, keys):
    """Empty for an unsigned receipt."""
    assert find_signer(read_receipt(make_receipt(adapter)), keys[1]) == ""


# Folders.


def make_link(folder):
    (folder / "secret").symlink_to("/etc/hostname")


def make_inner_link(folder):
    (folder / "extra" / "up").symlink_to("..", target_is_directory=True)


def make_pipe(folder):
    os.mkfifo(folder / "pipe")


def make_control(folder):
    (folder / "a\nb").write_text("")


def make_backslash(folder):
    (folder / "..\\up").write_text("")


def make_no_text(folder):
    (folder / os.fsdecode(b"\xff")).write_text("")


def make_twin(folder):
    (folder / "ADAPTER_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("trick", "why"),
    [
        (make_link, "secret is a link"),
        (make_inner_link, "extra/up is a link"),
        (make_pipe, "pipe is no plain file"),
        (make_control, "can mislead"),
        (make_backslash, "can mislead"),
        (make_no_text, "can mislead"),
        (make_twin, "take for one"),
    ],
)
def test_tricks_in_a_folder_are_refused(adapter, keys, trick, why):
    """Hashing refuses them, and so a check does."""
    data = make_receipt(adapter, keys[0])
    trick(adapter)

    with pytest.raises(DataError, match=why):
        hash_folder(adapter)
    assert why in check(adapter, data, keys).differing[0]


def test_a_folder_that_is_a_link_is_refused(adapter, tmp_path):
    """It can point elsewhere tomorrow."""
    (tmp_path / "latest").symlink_to(adapter)

    with pytest.raises(DataError, match="Give the folder itself"):
        hash_folder(tmp_path / "latest")


def test_nothing_to_hash_is_an_error(tmp_path):
    """No folder, and an empty one."""
    with pytest.raises(SetupError, match="No adapter folder"):
        hash_folder(tmp_path / "none")
    with pytest.raises(SetupError, match="holds no file"):
        hash_folder(tmp_path)


def test_differences_are_empty_when_nothing_differs():
    """And name each side otherwise."""
    assert differences({"a": "1"}, {"a": "1"}) == []
    assert [line[:10] for line in differences({"a": "1", "b": "1"}, {"b": "2", "c": "1"})] == [
        "a: missing",
        "b: changed",
        "c: extra; ",
    ]


# Keys.


def test_keys_are_made_for_their_owner_alone(tmp_path):
    """Mode 0600, whatever the umask, and never over another key."""
    before = os.umask(0)
    try:
        secret, public, keyid = generate_keys(tmp_path / "keys")
    finally:
        os.umask(before)

    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert [key.keyid for key in load_trusted(public.parent)] == [keyid]
    with pytest.raises(SetupError, match=r"toolgate\.key is there already"):
        generate_keys(tmp_path / "keys")
    secret.unlink()
    with pytest.raises(SetupError, match=r"toolgate\.pub is there already"):
        generate_keys(tmp_path / "keys")


def test_a_key_that_others_may_read_is_refused(tmp_path):
    """The message says how to mend it."""
    secret, _, _ = generate_keys(tmp_path)
    secret.chmod(0o640)

    with pytest.raises(SetupError, match=r"may be read by others \(0640\). Run: chmod 600"):
        load_signer(secret)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\x00" * 100])
def test_what_is_no_key_is_refused(tmp_path, content):
    """As a secret key and as a trusted one."""
    path = tmp_path / "bad.pub"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(SetupError, match="is no ed25519 key"):
        load_signer(path)
    with pytest.raises(SetupError, match="is no public key"):
        load_trusted(tmp_path)


def test_other_kinds_of_keys_are_refused(tmp_path):
    """One kind is enough to get right."""
    from securesystemslib.signer import CryptoSigner

    signer = CryptoSigner.generate_ecdsa()
    (tmp_path / "ec.key").write_bytes(signer.private_bytes)
    (tmp_path / "ec.key").chmod(0o600)
    (tmp_path / "ec.pub").write_text(signer.public_key.keyval["public"])

    with pytest.raises(SetupError, match="is no ed25519 key"):
        load_signer(tmp_path / "ec.key")
    with pytest.raises(SetupError, match="is no ed25519 key"):
        load_trusted(tmp_path)


def test_no_trusted_key_is_an_error(tmp_path):
    """Nothing to trust is not everything to trust."""
    with pytest.raises(SetupError, match=r"holds no \*\.pub"):
        load_trusted(tmp_path)


# Configuration.


def test_settings_change_with_what_they_seal(tmp_path):
    """One byte of the bars, one value of a case, one id; the order of the cases does not matter."""
    gate = tmp_path / "gate.toml"
    gate.write_text('[profiles.release.metrics]\ntool_selection = {bar = 0.5, min_n = 1, require = "met"}\n')
    path = tmp_path / "cases.jsonl"
    line = {
        "messages": [{"role": "user", "content": "hello"}],
        "now": "2026-03-02T09:00:00+00:00",
        "expect": [],
        "tags": [],
        "why": "a test",
        "source": "hand-written",
    }
    lines = [json.dumps({"id": f"{suite}-001", "suite": suite, **line}) for suite in ("general", "negatives")]

    def describe(rows=lines):
        path.write_text("\n".join(rows) + "\n")
        cases = load_cases(path)
        found = describe_settings(load_gate(gate), "release", cases, load_prompt(), {"max_tokens": 256, "seed": 0})
        assert expected_tests(load_gate(gate), "release", cases)[-1] == "metric/tool_selection"
        return {setting.name: setting.digest for setting in found}

    first = describe()
    assert set(first) == {
        *("gate.toml", "case ids", "cases/general", "cases/negatives", "toolset", "system prompt", "decoding")
    }
    assert differences(first, describe(lines[::-1])) == []
    changed = differences(first, describe([lines[0].replace("hello", "hallo"), lines[1]]))
    assert [one.split(";")[0] for one in changed] == ["cases/general: changed"]
    fewer = differences(first, describe(lines[:1]))
    assert [one.split(";")[0] for one in fewer] == ["case ids: changed", "cases/negatives: missing"]
    gate.write_text(gate.read_text() + "\n")
    assert [one.split(";")[0] for one in differences(first, describe())] == ["gate.toml: changed"]


def test_a_doubled_id_is_another_list():
    """Order is none, number is."""
    assert digest_ids(["a", "b"]) == digest_ids(["b", "a"])
    assert digest_ids(["a", "b"]) != digest_ids(["a", "b", "b"])
