"""Every finding about an adapter and an account, each with its fix."""

import json
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_server import ACCOUNT, MODELS, ApiServer, refuse, reply_with
from hypothesis import given
from hypothesis import strategies as st
from lora_folders import EMULATED, FAMILY, lora_shapes, write_lora, write_tensors
from typer.testing import CliRunner

from deploy import preflight
from deploy.cli import app
from deploy.preflight import check_account, check_folder, check_model_offline, failures, find_family, read_snapshot
from harness.errors import SetupError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NANO = Path(__file__).parents[2] / "harness" / "embedded"
A = "base_model.model.model.layers.0.self_attn.q_proj"


def failed(folder, family=FAMILY):
    """Check and text of what must be mended; each has a fix."""
    found = failures(check_folder(folder, family))
    assert all(one.fix for one in found)
    return [(one.check, one.what) for one in found]


def test_a_plain_lora_passes(tmp_path):
    """What export will add is a note and no failure."""
    found = check_folder(write_lora(tmp_path), FAMILY)

    assert {one.check: one.state for one in found} == {
        "files": "ok",
        "size": "ok",
        "pairs": "ok",
        "rank": "ok",
        "dtype": "ok",
        "shapes": "ok",
        "config": "ok",
        "model_type": "note",
        "base": "note",
    }


def test_the_embedded_adapter_passes_on_its_own_base():
    assert failed(NANO / "nano-adapter", find_family(MODELS[0], NANO / "nano-base")) == []


def test_the_embedded_adapter_does_not_fit_the_served_base():
    """Shapes and name are those of another family."""
    assert [check for check, _ in failed(NANO / "nano-adapter", find_family(MODELS[0]))] == ["shapes", "base"]


@pytest.mark.parametrize(
    "changes",
    [
        {"modules_to_save": ["embed_tokens"]},
        {"use_dora": True},
        {"use_rslora": True},
        {"bias": "all"},
        {"bias": "lora_only"},
        {"lora_bias": True},
        {"rank_pattern": {"q_proj": 8}},
        {"alpha_pattern": {"q_proj": 8}},
        {"fan_in_fan_out": True},
        {"layer_replication": [[0, 2]]},
        {"trainable_token_indices": [1]},
        {"use_rslora": 1},
        {"use_dora": "false"},
        {"init_lora_weights": "pissa_niter_4"},
        {"lora_alpha": None},
        {"lora_alpha": float("nan")},
        {"target_modules": ["q_proj"]},
        {"target_modules": ["q_proj", "v_proj", "lm_head"]},
    ],
    ids=str,
)
def test_what_a_server_does_not_know_is_refused(tmp_path, changes):
    """One finding, named after the field."""
    assert [check for check, _ in failed(write_lora(tmp_path, **changes))] == [next(iter(changes))]


@pytest.mark.parametrize(
    ("extra", "check", "said"),
    [
        ({f"{A}.lora_magnitude_vector": [16]}, "tensors", "DoRA"),
        ({"base_model.model.model.embed_tokens.lora_embedding_A": [4, 16]}, "tensors", "embeddings or head"),
        ({"base_model.model.lm_head.modules_to_save.weight": [9, 16]}, "tensors", "embeddings or head"),
        ({"base_model.model.lm_head.lora_A.weight": [4, 16]}, "tensors", "embeddings or head"),
        ({"model.layers.0.self_attn.q_proj.weight": [16, 16]}, "tensors", "no LoRA weights"),
        ({f"{A}.lora_B.bias": [16]}, "tensors", "bias"),
        ({"base_model.model.model.layers.1.mlp.up_proj.lora_A.weight": [4, 16]}, "pairs", "only lora_A"),
    ],
)
def test_tensors_that_are_no_lora_are_refused(tmp_path, extra, check, said):
    """Merged weights, embeddings, magnitudes, biases, and half a pair."""
    found = failed(write_lora(tmp_path, lora_shapes() | extra))

    assert check == found[0][0]
    assert said in found[0][1]


@pytest.mark.parametrize(
    ("shapes", "r", "said"),
    [
        (lora_shapes(33), 33, "at most 32"),
        (lora_shapes(64), 4, "at most 32"),
        (lora_shapes(8), 4, "tensors have 8, the config says 4"),
        (lora_shapes(4) | lora_shapes(8, ("v_proj",)), 4, "tensors have 4, 8"),
        (lora_shapes(4), True, "the config's r is True"),
        (lora_shapes(4), "4", "the config's r is '4'"),
    ],
)
def test_ranks_are_read_from_the_tensors_and_from_the_config(tmp_path, shapes, r, said):
    [(check, what)] = failed(write_lora(tmp_path, shapes, r=r))

    assert check == "rank"
    assert said in what


@given(r=st.integers(1, 40), told=st.integers(1, 40))
def test_a_rank_passes_exactly_when_both_agree_and_are_served(tmp_path_factory, r, told):
    folder = write_lora(tmp_path_factory.getbasetemp() / f"r{r}-{told}", lora_shapes(r, ("q_proj",), 1), r=told)
    (folder / "adapter_config.json").write_text(
        (folder / "adapter_config.json").read_text().replace('["v_proj", "q_proj"]', '["q_proj"]')
    )

    assert (failed(folder) == []) == (r == told <= 32)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (lora_shapes(4, layers=3), "the base has 2 layers"),
        ({f"{A}.lora_A.weight": [4, 17]}, "the base needs 16"),
        ({f"{A}.lora_B.weight": [24, 4]}, "the base needs 16"),
    ],
)
def test_shapes_are_compared_with_the_base(tmp_path, extra, said):
    [(check, what)] = failed(write_lora(tmp_path, lora_shapes() | extra))

    assert check == "shapes"
    assert said in what


def test_strange_and_mixed_dtypes_are_refused_and_unproven_ones_noted(tmp_path):
    states = {}
    for dtype in ("F32", "BF16", "F16", "F64"):
        found = check_folder(write_lora(tmp_path / dtype, dtype=dtype), FAMILY)
        states[dtype] = next(one.state for one in found if one.check == "dtype")

    assert states == {"F32": "ok", "BF16": "note", "F16": "note", "F64": "fail"}


def test_a_file_of_300_mb_is_refused(tmp_path, monkeypatch):
    """The limit is 300,000,000 bytes, and the file must be smaller; here it is moved to the file's own size."""
    folder = write_lora(tmp_path)
    size = (folder / "adapter_model.safetensors").stat().st_size
    monkeypatch.setattr(preflight, "MAX_BYTES", size)
    assert [check for check, _ in failed(folder)] == ["size"]
    monkeypatch.setattr(preflight, "MAX_BYTES", size + 1)
    assert failed(folder) == []


def test_wrong_names_are_refused(tmp_path):
    """A wrong name is taken at the upload and ignored when served."""
    folder = write_lora(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "Adapter_Model.safetensors")
    beside = write_lora(tmp_path / "b")
    write_tensors(beside / "model.safetensors", {"w": [2, 2]})

    assert [check for check, _ in failed(folder)] == ["files", "adapter"]
    assert failed(beside) == [
        ("files", "model.safetensors lies beside the adapter: merged or other weights, which are never uploaded")
    ]


@pytest.mark.parametrize("kind", ["no folder", "pickle", "cut short", "no JSON", "zero", "huge header"])
def test_a_broken_folder_is_one_finding(tmp_path, kind):
    folder = write_lora(tmp_path / "a")
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if kind == "no folder":
        folder = tmp_path / "b"
    elif kind == "pickle":
        weights.write_bytes(b"PK\x03\x04" + b"\xff" * 40)
    elif kind == "cut short":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif kind == "no JSON":
        config.write_text("{")
    elif kind == "huge header":
        weights.write_bytes(struct.pack("<Q", 1 << 60) + weights.read_bytes()[8:])
    else:
        data = weights.read_bytes()
        length = 8 + struct.unpack("<Q", data[:8])[0]
        weights.write_bytes(data[:length] + bytes(len(data) - length))

    assert [check for check, _ in failed(folder)] == ["adapter"]


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("meta-llama/Llama-3.2-3B-Instruct", "ok"),
        ("unsloth/llama-3.2-3b-instruct-unsloth-bnb-4bit", "note"),
        ("somewhere/models/Llama-3.2-3B-Instruct/", "note"),
        ("meta-llama/Llama-3.2-1B-Instruct", "fail"),
        ("", "fail"),
    ],
)
def test_the_base_is_known_by_its_name(tmp_path, name, state):
    found = check_folder(write_lora(tmp_path, base_model_name_or_path=name), FAMILY)

    assert next(one.state for one in found if one.check == "base") == state


@pytest.mark.parametrize("told", ["mistral", "qwen2", "", 3])
def test_a_wrong_model_type_is_refused(tmp_path, told):
    assert [check for check, _ in failed(write_lora(tmp_path, model_type=told))] == ["model_type"]


def test_an_emulator_may_serve_another_base(tmp_path):
    found = check_folder(write_lora(tmp_path, base_model_name_or_path="toolgate/nano-base"), EMULATED)

    assert next(one.state for one in found if one.check == "base") == "note"
    with pytest.raises(SetupError, match="Give --base the folder"):
        find_family(MODELS[0], tmp_path / "nowhere")


def test_the_snapshot_names_its_date_and_the_families_it_knows():
    """The arithmetic of the served 3B base: 54,272 parameters per rank and layer."""
    snapshot = read_snapshot()
    shapes = preflight.module_shapes(find_family(MODELS[0]).config)

    assert snapshot["date"] in preflight.SNAPSHOT.name
    assert sum(one["lora"] for one in snapshot["models"]) == 9
    assert sum(map(sum, shapes.values())) == 54_272
    assert all(one["model_type"] in preflight.MODEL_TYPES for one in snapshot["families"].values())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("@cf/meta/llama-3.2-1b-instruct", "takes no LoRA"),
        ("@cf/meta/llama-3.3-70b-instruct-fp8-fast", "quantised"),
        ("@cf/meta/llama-9", "not in the list"),
    ],
)
def test_models_are_judged_by_the_list(model, said):
    [offline] = check_model_offline(model)
    with ApiServer() as server, server.client() as api:
        online = check_account(api, model, now=NOW)[0]

    assert (offline.state, online.state) == ("fail", "fail")
    assert said in offline.what
    assert said in online.what or "not in the list" in online.what
    assert "@cf/meta/llama-3.2-3b-instruct" in online.fix


def test_an_account_in_order_passes_and_nothing_is_created():
    with ApiServer() as server, server.client() as api:
        found = check_account(api, MODELS[0], "toolgate-new", now=NOW)
        assert server.tunes == {}

    assert [(one.check, one.state) for one in found] == [
        ("base", "ok"),
        ("token", "ok"),
        ("quota", "ok"),
        ("name", "ok"),
    ]


def test_a_token_that_only_reads_a_full_quota_and_a_taken_name_are_found():
    with ApiServer(may_write=False) as server, server.client() as api:
        server.tunes = {
            str(i): {"id": str(i), "name": f"n{i}", "model": MODELS[0], "created_at": "2026"} for i in range(100)
        }
        found = failures(check_account(api, MODELS[0], "n7", now=NOW))

    assert [one.check for one in found] == ["token", "quota", "name"]
    assert found[1].what == "100 of 100 in use"
    assert "prune" in found[1].fix


def test_an_expiring_and_an_expired_token_are_told():
    with ApiServer() as server, server.client() as api:
        path = f"GET /client/v4/accounts/{ACCOUNT}/tokens/verify"
        soon = {"status": "active", "expires_on": "2026-11-22T05:00:00Z"}
        server.fail(path, reply_with(200, {"success": True, "result": soon}))
        warned = check_account(api, MODELS[0], now=NOW)[1]
        server.fail(path, reply_with(200, {"success": True, "result": {"status": "expired"}}))
        server.may_write = False
        expired = check_account(api, MODELS[0], now=NOW)[1]

    assert (warned.state, expired.state) == ("note", "fail")
    assert "expires in 5 hours" in warned.what
    assert "the token is expired" in expired.what


def test_a_clock_that_is_wrong_is_found():
    with ApiServer() as server, server.client() as api:
        late = reply_with(200, {"success": True, "result": []}, Date="Sun, 22 Nov 2020 10:00:00 GMT")
        server.fail("GET .*/finetunes", late)
        api.list_finetunes()
        assert api.skew is not None
        assert api.skew > 3600
        server.fail("GET .*/finetunes", late)
        skewed = check_account(api, MODELS[0], now=NOW)

    assert "clock" in [one.check for one in skewed]


def test_an_account_that_refuses_is_told_in_every_line():
    with ApiServer() as server, server.client() as api:
        server.fail(".", *[reply_with(*refuse(404, 7003, "Could not route"))] * 9)
        found = failures(check_account(api, MODELS[0], now=NOW))

    assert [one.check for one in found] == ["base", "token", "finetunes"]
    assert all("CLOUDFLARE_ACCOUNT_ID" in one.fix for one in found)


def test_the_command_prints_one_table_and_ends_with_8_when_something_is_wrong(tmp_path, monkeypatch):
    """Also as JSON; --offline asks nobody."""
    bad = write_lora(tmp_path / "bad", use_dora=True)
    run = CliRunner().invoke
    family = ["--base", str(tmp_path / "base")]
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(dict(FAMILY.config)))
    table = run(app, ["preflight", str(bad), *family, "--offline"])
    told = json.loads(run(app, ["preflight", str(bad), *family, "--offline", "--json"]).stdout)
    with ApiServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        before = run(app, ["preflight"])

    assert table.exit_code == 8
    assert "use_dora is true" in table.stdout
    assert "Train again without it" in table.stdout
    assert not told["ok"]
    assert before.exit_code == 0, before.output
    assert "nothing to mend" in before.stdout


def test_without_credentials_the_command_says_what_to_export(monkeypatch):
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    result = CliRunner().invoke(app, ["preflight"])

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: CLOUDFLARE_API_TOKEN is not set.")
