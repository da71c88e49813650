"""Exports: the same bytes every time, and nothing lost on the way."""

import json
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lora_folders import BASE_NAME, CONFIG, EMULATED, FAMILY, MODEL, write_lora
from typer.testing import CliRunner

from deploy.cli import app
from deploy.export import NAME, derive_hashes, export_adapter, read_export, round_to_bf16
from deploy.preflight import check_folder
from harness.attestation import hash_folder
from harness.errors import DataError, SetupError
from harness.targets.adapter_folder import read_adapter

NANO = Path(__file__).parents[2] / "harness" / "embedded"


def test_an_export_adds_the_type_and_the_name_and_removes_nothing(tmp_path):
    """The weights are the same bytes; the manifest knows where all came from."""
    source = write_lora(tmp_path / "a", revision="x")
    made = export_adapter(source, tmp_path / "out", FAMILY)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    changed = {"model_type": "llama", "base_model_name_or_path": BASE_NAME, "target_modules": ["q_proj", "v_proj"]}

    assert config == {**CONFIG, "revision": "x", **changed}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    ]
    weights = "adapter_model.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (source / weights).read_bytes()
    assert made == read_export(tmp_path / "out")
    assert made.source_files == hash_folder(source)
    assert NAME.fullmatch(made.name)
    assert {one.state for one in check_folder(tmp_path / "out", FAMILY)} == {"ok"}


def test_the_same_adapter_gives_the_same_bytes(tmp_path):
    """The order in which PEFT writes a set does not matter to what is sent."""
    once = write_lora(tmp_path / "a", target_modules=["q_proj", "v_proj"])
    again = write_lora(tmp_path / "b", target_modules=["v_proj", "q_proj"])
    for source, out in ((once, "1"), (once, "2"), (again, "3")):
        export_adapter(source, tmp_path / out, FAMILY)
    first, second, third = (hash_folder(tmp_path / out) for out in "123")

    assert first == second
    assert first["adapter_config.json"] == third["adapter_config.json"]
    assert first["manifest.json"] != third["manifest.json"]


def test_an_export_can_be_derived_again_without_writing(tmp_path):
    source = write_lora(tmp_path / "a")
    made = export_adapter(source, tmp_path / "out", FAMILY)

    assert derive_hashes(source, made.source_files, made.plan) == dict(made.files)


def test_a_source_that_changed_is_named(tmp_path):
    source = write_lora(tmp_path / "a")
    made = export_adapter(source, tmp_path / "out", FAMILY)
    write_lora(source, seed=2)
    with pytest.raises(DataError, match=r"adapter_model.safetensors is not the file that was checked"):
        derive_hashes(source, made.source_files, made.plan)


def test_other_bytes_have_another_name(tmp_path):
    one = export_adapter(write_lora(tmp_path / "a"), tmp_path / "1", FAMILY)
    two = export_adapter(write_lora(tmp_path / "b", seed=2), tmp_path / "2", FAMILY)
    emulated = export_adapter(write_lora(tmp_path / "c"), tmp_path / "3", EMULATED)

    assert len({one.name, two.name, emulated.name}) == 3
    assert one.name[:21] == emulated.name[:21]
    assert one.name.split("-")[1] == one.source.removeprefix("sha256:")[:12]


def test_an_emulators_export_keeps_the_name_of_its_base(tmp_path):
    made = export_adapter(write_lora(tmp_path / "a", base_model_name_or_path="toolgate/x"), tmp_path / "1", EMULATED)

    assert read_adapter(tmp_path / "1").base_name == "toolgate/x"
    assert made.plan.base == ""


def test_what_preflight_refuses_is_not_exported(tmp_path):
    with pytest.raises(SetupError, match=r"use_dora is true\. Train again without it\."):
        export_adapter(write_lora(tmp_path / "a", use_dora=True), tmp_path / "out", FAMILY)
    (tmp_path / "there").mkdir()
    with pytest.raises(SetupError, match="is there already"):
        export_adapter(write_lora(tmp_path / "b"), tmp_path / "there", FAMILY)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "there"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.pop("plan"),
        lambda raw: raw.update(format=2),
        lambda raw: raw["plan"].update(bf16="yes"),
        lambda raw: raw["plan"].update(model=1),
        lambda raw: raw["files"].pop("adapter_config.json"),
        lambda raw: raw["files"]["adapter_config.json"].update(sha256="../x"),
        lambda raw: raw["adapter"].update(digest="sha256:0"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, damage):
    export_adapter(write_lora(tmp_path / "a"), tmp_path / "out", FAMILY)
    path = tmp_path / "out" / "manifest.json"
    raw = json.loads(path.read_text())
    damage(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(DataError, match="is no manifest of an export"):
        read_export(tmp_path / "out")


def test_a_folder_without_a_manifest_is_no_export(tmp_path):
    with pytest.raises(SetupError, match="python -m deploy export"):
        read_export(tmp_path)


@given(st.lists(st.floats(width=32, allow_nan=False, min_value=-(2.0**127), max_value=2.0**127), min_size=1))
def test_bf16_is_the_nearest_number_and_even_between_two(numbers):
    """No bf16 number is nearer than the one that was chosen."""
    rounded = round_to_bf16(struct.pack(f"<{len(numbers)}f", *numbers), "F32", Path("x"))

    def widen(bits):
        return struct.unpack("<f", struct.pack("<I", bits << 16))[0]

    for number, bits in zip(numbers, struct.unpack(f"<{len(numbers)}H", rounded), strict=True):
        chosen = widen(bits)
        magnitude = bits & 0x7FFF
        others = [widen(bits - 1)] if magnitude else []
        others += [widen(bits + 1)] if magnitude < 0x7F7F else []
        for other in others:
            near, far = abs(chosen - number), abs(other - number)
            assert near < far or (near == far and bits % 2 == 0)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 3.4e38])
def test_what_is_not_finite_in_bf16_is_refused(number):
    with pytest.raises(DataError, match="not finite"):
        round_to_bf16(struct.pack("<f", number), "F32", Path("x"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_the_bf16_file_is_whole_safetensors_and_torchs_own_rounding(tmp_path, kind):
    """Names, shapes and metadata stay; half the bytes of F32."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from deploy.export import Plan, derive_files

    source = write_lora(tmp_path / "a", dtype=kind)
    sealed = hash_folder(source)
    for name, chunks in derive_files(source, sealed, Plan(MODEL, "llama", BASE_NAME, bf16=True)):
        (tmp_path / name).write_bytes(b"".join(chunks))
    before = load_file(source / "adapter_model.safetensors")
    after = load_file(tmp_path / "adapter_model.safetensors")

    assert list(before) == list(after)
    assert all(torch.equal(after[name], before[name].to(torch.bfloat16)) for name in before)
    assert (tmp_path / "adapter_model.safetensors").read_bytes()[-8:].strip(b" ")
    assert json.loads((tmp_path / "adapter_config.json").read_text())["model_type"] == "llama"


def test_the_command_exports_and_says_the_name(tmp_path):
    """On the embedded adapter, as the rehearsal does."""
    out = tmp_path / "out"
    words = ["export", str(NANO / "nano-adapter"), "--base", str(NANO / "nano-base"), "--out", str(out), "--json"]
    result = CliRunner().invoke(app, words)
    told = json.loads(result.stdout)

    assert result.exit_code == 0, result.output
    assert told["name"] == read_export(out).name
    assert CliRunner().invoke(app, words).exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize("cases", [True, False])
def test_bf16_compares_greedy_replies(tmp_path, cases):
    """The embedded adapter in bf16 either gives the same replies to the sample or is refused, naming a case."""
    pytest.importorskip("torch")
    lines = [
        {
            "id": f"selection-{i:03}",
            "suite": "selection",
            "messages": [{"role": "user", "content": f"remind me to {title}"}],
            "now": "2026-03-02T09:00:00+00:00",
            "expect": [{"tool": "createTask", "params": "any"}],
            "tags": [],
            "why": "a test",
            "source": "hand-written",
        }
        for i, title in enumerate(("stretch", "defrost the freezer"), 1)
    ]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) if cases else "")
    from deploy.preflight import find_family

    family = find_family(MODEL, NANO / "nano-base")
    arguments = {"bf16": True, "base": NANO / "nano-base", "cases": tmp_path / "cases.jsonl"}
    if not cases:
        with pytest.raises(SetupError, match="no cases"):
            export_adapter(NANO / "nano-adapter", tmp_path / "out", family, **arguments)
        assert not (tmp_path / "out").exists()
        return
    try:
        made = export_adapter(NANO / "nano-adapter", tmp_path / "out", family, **arguments)
    except DataError as error:
        assert "replies differ" in str(error)
    else:
        assert made.replies["compared"] == 2
