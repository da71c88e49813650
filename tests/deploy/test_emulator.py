"""The emulator's endpoints and quirks, asked over real connections; a tiny random Llama answers."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from emulated import PATIENCE, TOKEN, Client, edit_json, running, write_adapter, write_base, write_tiny

from deploy.emulator.inference import build_prompt, render_official
from deploy.emulator.quirks import ASSUMED, LLAMA_3B, LLAMA_70B, count_neurons
from deploy.emulator.state import FinetuneStore
from harness.errors import SetupError
from harness.prompt import render_llama3
from harness.targets import Decoding, Prompt, TargetSpec, load_target

# PEFT warns of model_type, which Workers AI wants in adapter_config.json.
pytestmark = pytest.mark.filterwarnings("ignore:Unexpected keyword arguments .'model_type'")
HELLO = render_llama3([{"role": "system", "content": "Be brief. " * 30}, {"role": "user", "content": "call mom"}])
BINDING = {
    "mf-url": "https://workers-binding.ai/run?version=3",
    "mf-header-cf-consn-model-id": LLAMA_3B,
    "mf-header-cf-consn-sdk-version": "2.0.0",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def served(tiny: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One emulator with the adapter ``tune`` for all tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("state"), tiny[0]) as client:
        client.upload(tiny[1], "tune")
        yield client


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """One emulator for all tests that need no model, and its state."""
    state = tmp_path_factory.mktemp("empty")
    with running(state) as client:
        yield client, state


@pytest.fixture
def client(empty: tuple[Client, Path], request: pytest.FixtureRequest) -> Client:
    """A fresh account of it."""
    return Client(empty[0].url, f"a{zlib.crc32(request.node.nodeid.encode()):08x}")


def error_of(reply: requests.Response) -> tuple[int, int]:
    body = reply.json()
    assert body["success"] is False
    return reply.status_code, body["errors"][0]["code"]


# finetunes


def test_the_list_is_flat_with_times_that_are_not_iso(client):
    tune = client.create("first")
    [listed] = client.ask("GET", "finetunes").json()["result"]

    assert set(listed) == {"id", "name", "description", "created_at", "model"}
    assert (listed["id"], listed["name"], listed["model"]) == (tune, "first", LLAMA_3B)
    assert " " in listed["created_at"] and "T" not in listed["created_at"] and "Z" not in listed["created_at"]


def test_a_created_finetune_says_whether_it_is_public(client):
    reply = client.ask("POST", "finetunes", json={"model": LLAMA_3B, "name": "open", "public": True}).json()
    client.create("closed")

    assert {"id", "created_at", "modified_at", "public", "name", "model"} <= set(reply["result"])
    assert [found["name"] for found in client.ask("GET", "finetunes/public").json()["result"]] == ["open"]
    assert client.ask("GET", "finetunes/public?offset=1").json()["result"] == []


def test_a_body_of_text_plain_is_read_as_json(client):
    """wrangler sends it so."""
    body = json.dumps({"model": LLAMA_3B, "name": "tune", "description": ""})
    reply = client.ask("POST", "finetunes", data=body, headers={"content-type": "text/plain;charset=UTF-8"})

    assert reply.status_code == 200 and reply.json()["result"]["name"] == "tune"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("{", id="not JSON"),
        pytest.param("[]", id="no object"),
        pytest.param('{"model": "' + LLAMA_3B + '", "name": "\\ud800"}', id="half a character"),
        pytest.param("{}", id="nothing in it"),
        pytest.param(json.dumps({"model": LLAMA_3B, "name": " "}), id="an empty name"),
        pytest.param(json.dumps({"model": "not-a-model", "name": "x"}), id="an unknown model"),
        pytest.param(json.dumps({"model": LLAMA_70B, "name": "x"}), id="a model without adapters"),
        pytest.param(json.dumps({"model": LLAMA_3B, "name": "cf-public-x"}), id="the reserved prefix"),
        pytest.param(json.dumps({"model": LLAMA_3B, "name": "taken"}), id="a name that is taken"),
    ],
)
def test_what_cannot_be_created_is_refused_and_leaves_nothing(client, body):
    client.create("taken")
    reply = client.ask("POST", "finetunes", data=body)

    assert error_of(reply) == (400, ASSUMED)
    assert len(client.ask("GET", "finetunes").json()["result"]) == 1


def test_the_quota_is_a_hundred_per_account(tmp_path):
    for index in range(100):
        record = {"id": f"id-{index}", "name": f"tune-{index}", "model": LLAMA_3B, "description": "", "public": False}
        home = tmp_path / "accounts" / "acct123" / record["id"]
        (home / "adapter").mkdir(parents=True)
        (home / "finetune.json").write_text(json.dumps({**record, "created_at": "2026-09-19 18:18:39.465"}))
    with running(tmp_path) as client:
        refused = client.ask("POST", "finetunes", json={"model": LLAMA_3B, "name": "one more"})

        assert error_of(refused) == (400, ASSUMED) and "100" in refused.text
        assert len(client.ask("GET", "finetunes").json()["result"]) == 100
        assert Client(client.url, "another").create("one more")


def test_a_finetune_is_found_by_id_and_by_name_in_its_account_alone(client):
    tune = client.create("tune")

    assert error_of(Client(client.url, "another").ask("DELETE", f"finetunes/{tune}")) == (404, 5033)
    assert client.ask("DELETE", "finetunes/tune").json()["success"] is True
    assert error_of(client.ask("DELETE", f"finetunes/{tune}")) == (404, 5033)
    assert client.ask("GET", "finetunes").json()["result"] == []


# assets


def test_an_asset_cannot_be_changed(client, tmp_path):
    tune = client.create()
    (tmp_path / "adapter_config.json").write_text("not json {{{")

    assert client.send_file(tune, tmp_path / "adapter_config.json").json() == {"success": True}
    assert error_of(client.send_file(tune, tmp_path / "adapter_config.json")) == (400, ASSUMED)


@pytest.mark.parametrize("name", ["../../finetune.json", "adapter_model.bin", "/etc/passwd", "ADAPTER_CONFIG.JSON"])
def test_a_wrong_file_name_is_accepted_and_ignored(client, empty, tmp_path, name):
    tune = client.create()
    (tmp_path / "x").write_text("x")

    assert client.send_file(tune, tmp_path / "x", name).json() == {"success": True}
    files = [path for path in empty[1].rglob("*") if path.is_file() and client.account in path.parts]
    assert [path.name for path in files] == ["finetune.json"]
    assert not (empty[1] / "finetune.json").exists()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"file_name": (None, "adapter_config.json")}, id="no file"),
        pytest.param({"file": ("blob", b"x")}, id="no name"),
        pytest.param({"file_name": (None, "adapter_config.json"), "file": (None, "x")}, id="the file as a plain field"),
    ],
)
def test_an_upload_needs_both_fields(client, fields):
    assert error_of(client.ask("POST", f"finetunes/{client.create()}/finetune-assets", files=fields)) == (400, ASSUMED)


def test_an_upload_that_is_no_form_or_for_no_finetune_is_refused(client):
    broken = {"content-type": "multipart/form-data"}
    at = f"finetunes/{client.create()}/finetune-assets"

    assert error_of(client.ask("POST", at, data=b"x", headers=broken)) == (400, ASSUMED)
    assert error_of(client.ask("POST", at, json={})) == (400, ASSUMED)
    assert error_of(client.ask("POST", "finetunes/nobody/finetune-assets", files={"file": b"x"})) == (404, 5033)


def test_a_signed_download_gives_the_bytes_back(client, tmp_path):
    tune = client.create()
    (tmp_path / "adapter_config.json").write_bytes(b"{}\n")
    client.send_file(tune, tmp_path / "adapter_config.json")
    url = client.ask("GET", f"finetunes/{tune}/finetune-assets/adapter_config.json").json()["result"]["url"]

    assert requests.get(url, timeout=9).content == b"{}\n"
    assert requests.get(url[:-1] + ("0" if url[-1] != "0" else "1"), timeout=9).status_code == 403
    assert error_of(client.ask("GET", f"finetunes/{tune}/finetune-assets/adapter_model.safetensors")) == (404, ASSUMED)


# routes


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "finetunes/x/finetune-assets/", id="the docs' trailing slash"),
        pytest.param("GET", "finetunes/", id="a trailing slash on the list"),
        pytest.param("POST", "run/@cf%2Fmeta%2Fllama-3.2-3b-instruct", id="slashes as %2F"),
        pytest.param("POST", "run/%40cf%2fmeta%2fllama-3.2-3b-instruct", id="slashes as %2f"),
        pytest.param("GET", "nothing/here", id="no such path"),
        pytest.param("POST", "v1/chat/completions", id="the OpenAI-compatible endpoint"),
    ],
)
def test_what_has_no_route_is_400_with_code_7000(client, method, path):
    reply = client.ask(method, path, json={})

    assert error_of(reply) == (400, 7000)
    assert reply.json()["errors"][0]["message"] == "No route for that URI"


def test_a_wrong_method_is_405_and_a_dangling_question_mark_is_fine(client):
    refused = client.ask("PUT", "finetunes")

    assert error_of(refused) == (405, 10405) and refused.headers["allow"] == "GET, POST"
    assert client.ask("GET", "finetunes?").json()["result"] == []


def test_an_api_without_delete_and_download_has_no_such_routes(tmp_path):
    with running(tmp_path, can_delete=False) as client:
        tune = client.create()
        assert error_of(client.ask("DELETE", f"finetunes/{tune}")) == (400, 7000)
        assert error_of(client.ask("GET", f"finetunes/{tune}/finetune-assets/adapter_config.json")) == (400, 7000)
        assert len(client.ask("GET", "finetunes").json()["result"]) == 1


# tokens and accounts


def test_tokens_are_checked(tmp_path):
    tokens = {f"token-{kind}": kind for kind in ("bad", "expired", "no-permission", "read-only")}
    with running(tmp_path, tokens=tokens, account="mine") as good:
        clients = {kind: Client(good.url, "mine", f"token-{kind}") for kind in tokens.values()}
        body = {"json": {"model": LLAMA_3B, "name": "x"}}

        assert error_of(Client(good.url, "mine", "").ask("GET", "finetunes")) == (401, 10000)
        assert error_of(clients["bad"].ask("GET", "finetunes")) == (401, 10000)
        assert error_of(clients["expired"].ask("GET", "finetunes")) == (401, 10000)
        assert error_of(clients["no-permission"].ask("GET", "finetunes")) == (403, 10000)
        assert clients["read-only"].ask("GET", "finetunes").status_code == 200
        assert error_of(clients["read-only"].ask("POST", "finetunes", **body)) == (403, 10000)
        assert error_of(Client(good.url, "other").ask("GET", "finetunes")) == (403, 10000)
        assert error_of(Client(good.url, "not%20an%20id").ask("GET", "finetunes")) == (404, 7003)
        status = clients["expired"].http.get(f"{good.api}/user/tokens/verify", timeout=9).json()["result"]["status"]
        assert status == "expired"
        assert good.http.get(f"{good.api}/user/tokens/verify", timeout=9).json()["result"]["status"] == "active"
        assert good.http.get(f"{good.api}/accounts", timeout=9).json()["result"][0]["id"] == "mine"
        member = good.http.get(f"{good.api}/memberships?page=1", timeout=9).json()["result"][0]
        assert member["account"]["id"] == "mine"


def test_once_a_good_token_is_named_the_others_are_bad(tmp_path):
    with running(tmp_path, tokens={TOKEN: "good", "other": "read-only"}) as client:
        assert client.ask("GET", "finetunes").status_code == 200
        assert Client(client.url, token="other").ask("GET", "finetunes").status_code == 200
        assert error_of(Client(client.url, token="guess").ask("GET", "finetunes")) == (401, 10000)


def test_no_token_is_kept_or_shown(tmp_path):
    with running(tmp_path) as client:
        client.create()
        client.ask("PUT", "finetunes")
        shown = json.dumps(client.log()) + requests.get(f"{client.url}/emulator/health", timeout=9).text
        kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())

        assert TOKEN not in shown + kept
        assert [(entry["operation"], entry["status"]) for entry in client.log()] == [("create", 200), ("other", 405)]


# models


def test_the_catalogue_is_paged_until_a_page_is_empty(client):
    models = client.ask("GET", "models/search").json()["result"]
    found = {m["name"]: {p["property_id"]: p["value"] for p in m["properties"]} for m in models}

    assert found[LLAMA_3B]["lora"] == "true" and "lora" not in found[LLAMA_70B]
    assert sum("lora" in properties for properties in found.values()) == 9
    assert client.ask("GET", "models/search?page=2").json()["result"] == []
    assert len(client.ask("GET", "models/search?per_page=5&page=2").json()["result"]) == 5
    assert [m["name"] for m in client.ask("GET", "models/search?search=3.2-3B").json()["result"]] == [LLAMA_3B]
    assert client.ask("GET", "models/search?author=nobody").json()["result"] == []
    assert error_of(client.ask("GET", "models/search?page=0")) == (400, ASSUMED)


def test_a_models_schema_names_lora(client):
    schema = client.ask("GET", "models/schema", params={"model": LLAMA_3B}).json()["result"]

    assert "lora" in schema["input"]["oneOf"][0]["properties"] and "response" in schema["output"]["properties"]
    assert error_of(client.ask("GET", "models/schema?model=x")) == (400, 5007)


# run


def test_replies_are_those_of_the_local_target_with_and_without_the_adapter(served, tiny):
    """Greedy at temperature 0, byte for byte, by name and by id, again and again."""
    base, adapter = tiny
    wanted = []
    for folder in (None, adapter):
        with load_target(TargetSpec("local", adapter=folder, base=str(base))) as target:
            [(_, completion)] = target.generate([Prompt((), HELLO)], Decoding(max_tokens=12))
            wanted.append(completion.text)
    tune = served.ask("GET", "finetunes").json()["result"][0]["id"]

    assert wanted[0] != wanted[1]
    assert [served.reply(HELLO), served.reply(HELLO, lora="tune"), served.reply(HELLO, lora=tune)] == [
        wanted[0],
        wanted[1],
        wanted[1],
    ]
    assert served.reply(HELLO) == wanted[0]


def test_prompts_with_a_common_start_get_the_replies_they_get_alone(served, tiny):
    prompts = [HELLO.replace("call mom", f"call {name}") for name in ("mom", "dad", "Sam", "mom and dad")]
    with load_target(TargetSpec("local", base=str(tiny[0]))) as target:
        wanted = [next(iter(target.generate([Prompt((), p)], Decoding(max_tokens=12))))[1].text for p in prompts]

    assert [served.reply(prompt) for prompt in prompts] == wanted


def test_usage_neurons_and_ids_come_with_the_reply(served):
    reply = served.run({"prompt": HELLO, "raw": "true", "max_tokens": 7})
    body, usage = reply.json(), reply.json()["result"]["usage"]

    assert list(body) == ["result", "success", "errors", "messages"] and body["result"]["tool_calls"] == []
    assert usage["completion_tokens"] <= 7 < usage["prompt_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert reply.headers["cf-ai-neurons"] == str(usage["neurons"]) and reply.headers["cf-ai-req-id"]
    assert reply.headers["content-type"] == "application/json"


def test_neurons_are_those_measured_live():
    assert count_neurons(LLAMA_3B, 38, 8) == 0.41955
    assert count_neurons("@cf/qwen/qwq-32b", 38, 8) is None


def test_a_stream_ends_with_the_usage_and_done(served):
    whole = served.reply(HELLO, lora="tune")
    reply = served.run({"prompt": HELLO, "raw": True, "lora": "tune", "stream": True})
    events = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    parts = [json.loads(event) for event in events[:-1]]

    assert reply.headers["content-type"] == "text/event-stream"
    assert "".join(part["response"] for part in parts) == whole
    assert events[-1] == "[DONE]" and parts[-1]["usage"]["completion_tokens"] > 0


def test_without_temperature_zero_replies_differ_unless_seeded(served):
    """The platform's default is 0.6: a client that forgets to say 0 measures noise."""
    drawn = {served.reply(HELLO, temperature=5) for _ in range(4)}
    seeded = {served.reply(HELLO, temperature=2, seed=7) for _ in range(3)}

    assert len(drawn) > 1 and len(seeded) == 1


def test_the_generic_endpoint_names_the_model_in_its_body(served):
    inputs = {"prompt": HELLO, "raw": True, "temperature": 0, "max_tokens": 12}
    reply = served.ask("POST", "run", json={"model": LLAMA_3B, "input": inputs})

    assert reply.json()["result"]["response"] == served.reply(HELLO)
    assert error_of(served.ask("POST", "run", json={"model": LLAMA_3B})) == (400, 3003)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"prompt": ""}, id="an empty prompt"),
        pytest.param({"messages": [], "raw": True}, id="nothing but raw"),
        pytest.param({"prompt": "x", "seed": 0}, id="seed 0"),
        pytest.param({"prompt": "x", "temperature": 6}, id="temperature 6"),
        pytest.param({"prompt": "x", "max_tokens": "12"}, id="max_tokens as text"),
        pytest.param({"messages": [{"role": "user"}]}, id="a message without content"),
        pytest.param({"prompt": "x", "lora": 7}, id="lora as a number"),
    ],
)
def test_bad_inputs_are_5006(client, inputs):
    reply = client.run(inputs)

    assert error_of(reply) == (400, 5006)
    assert reply.json()["errors"][0]["message"].startswith("AiError: AiError: Bad input")
    assert reply.json()["result"] == {}


def test_unknown_models_and_ones_without_a_base_are_5007(client):
    assert error_of(client.run({"prompt": "x"}, "@cf/meta/llama-9")) == (400, 5007)
    assert error_of(client.run({"prompt": "x"}, "@cf/qwen/qwq-32b")) == (400, 5007)


@pytest.mark.parametrize("body", ["{", "", '{"prompt": "x", "top_p": NaN}', '{"prompt": "\\ud800"}', "[" * 9999])
def test_a_body_that_is_no_json_is_5006(client, body):
    assert error_of(client.ask("POST", f"run/{LLAMA_3B}", data=body)) == (400, 5006)


def test_lora_is_refused_as_each_model_refuses_it(client):
    assert error_of(client.run({"prompt": "x", "lora": "t"}, "@cf/meta/llama-3.2-1b-instruct")) == (405, 5005)
    assert error_of(client.run({"prompt": "x", "lora": "t"}, LLAMA_70B)) == (400, 5007)
    assert error_of(client.run({"prompt": "x", "lora": "nobody"})) == (400, 5033)
    client.create("for another", "@cf/qwen/qwq-32b")
    client.create("empty")
    assert error_of(client.run({"prompt": "x", "lora": "empty"})) == (400, 3039)


def test_an_adapter_with_a_missing_file_is_accepted_and_refused_when_served(client, tiny):
    tune = client.create()

    assert client.send_file(tune, tiny[1] / "adapter_model.safetensors").json() == {"success": True}
    assert error_of(client.run({"prompt": "x", "lora": "tune"})) == (400, 3039)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"model_type": None}, "model_type", id="no model_type"),
        pytest.param({"r": 64}, "rank 64", id="rank 64"),
        pytest.param({"use_dora": True}, "use_dora", id="DoRA"),
        pytest.param({"modules_to_save": ["lm_head"]}, "modules_to_save", id="whole modules"),
    ],
)
def test_an_adapter_against_the_rules_is_refused_when_served(client, tiny, tmp_path, changes, why):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in tiny[1].iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    edit_json(bad / "adapter_config.json", **changes)
    client.upload(bad, "bad")
    reply = client.run({"prompt": "x", "lora": "bad"})

    assert error_of(reply) == (400, 3030) and why in reply.text


def test_an_adapter_for_another_base_is_3030_and_one_of_zeros_is_served_as_the_base(served, tiny, tmp_path):
    wide = write_adapter(tmp_path / "wide", write_base(tmp_path / "base", hidden_size=32))
    zero = write_adapter(tmp_path / "zero", tiny[0], strength=0)
    for folder in (wide, zero):
        edit_json(folder / "adapter_config.json", model_type="llama")
        served.upload(folder, folder.name)

    assert error_of(served.run({"prompt": "x", "lora": "wide"})) == (400, 3030)
    assert served.reply(HELLO, lora="zero") == served.reply(HELLO)
    for name in ("wide", "zero"):
        served.ask("DELETE", f"finetunes/{name}")


def test_a_prompt_longer_than_the_context_is_too_large(served):
    assert error_of(served.run({"prompt": "a task " * 3000, "raw": True})) == (413, 3006)
    assert error_of(served.run({"prompt": "a task " * 3000, "raw": True, "temperature": 1})) == (413, 3006)


def test_replies_come_one_at_a_time_while_lists_go_on(served):
    wanted, found = served.reply(HELLO), []
    threads = [threading.Thread(target=lambda: found.append(Client(served.url).reply(HELLO))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert served.ask("GET", "finetunes").status_code == 200
    for thread in threads:
        thread.join()

    assert found == [wanted] * 8


# prompts


def test_messages_go_through_the_official_template():
    """Two dates in a system turn that is always there, a tool's content quoted; compared by hand with the original."""
    text = render_official(
        [
            {"role": "system", "content": " Be brief. "},
            {"role": "user", "content": "call mom\n"},
            {"role": "tool", "content": '{"ok": "é"}'},
        ],
        "26 Jul 2024",
    )
    dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

    assert text == (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{dates}Be brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\ncall mom<|eot_id|>"
        '<|start_header_id|>ipython<|end_header_id|>\n\n"{\\"ok\\": \\"é\\"}"<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert text.replace(dates, "").count("<|begin_of_text|>") == 1


def test_raw_decides_whether_a_template_is_applied():
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]

    assert build_prompt({"prompt": "x", "raw": True}) == "x" == build_prompt({"prompt": "x", "raw": "true"})
    assert build_prompt({"messages": messages, "raw": True}) == "a\nb"
    scoped = build_prompt({"prompt": "x"}, "26 Jul 2024")
    assert scoped == render_official([{"role": "user", "content": "x"}], "26 Jul 2024")
    assert "system<|end_header_id|>" in scoped and build_prompt({"messages": messages}).count("<|eot_id|>") == 3


def test_messages_with_lora_are_answered_by_the_adapter(served):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "call mom"}]
    replies = [
        served.run({"messages": messages, **more}).json()["result"]["response"] for more in ({}, {"lora": "tune"})
    ]

    assert replies[0] != replies[1]


# the AI binding of workerd


def test_the_binding_gets_the_bare_result_under_the_exact_content_type(served):
    body = {"inputs": {"prompt": HELLO, "raw": True, "temperature": 0, "max_tokens": 12, "lora": "tune"}, "options": {}}
    reply = requests.post(served.url, json=body, headers=BINDING, timeout=PATIENCE)

    assert reply.json()["response"] == served.reply(HELLO, lora="tune") and "success" not in reply.json()
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cf-ai-req-id"] and reply.json()["usage"]["neurons"] > 0
    assert requests.get(f"{served.url}/?MF-Binding=AI", headers={"upgrade": "websocket"}, timeout=9).status_code == 404


def test_a_lora_among_the_bindings_options_is_not_asked_for(served):
    body = {"inputs": {"prompt": HELLO, "raw": True, "temperature": 0, "max_tokens": 12}, "options": {"lora": "tune"}}

    assert requests.post(served.url, json=body, headers=BINDING, timeout=PATIENCE).json()["response"] == served.reply(
        HELLO
    )


def test_the_bindings_errors_and_streams_are_those_that_workerd_reads(served):
    def post(inputs):
        return requests.post(served.url, json={"inputs": inputs, "options": {}}, headers=BINDING, timeout=PATIENCE)

    refused = post({"prompt": "x", "lora": "nobody"})
    assert refused.status_code == 400 and refused.headers["content-type"] == "application/json"
    assert {"internalCode": 5033, "name": "AiError"}.items() <= refused.json().items()
    assert refused.json()["description"].startswith("Finetune not found: nobody")
    streamed = post({"prompt": HELLO, "raw": True, "temperature": 0, "stream": True, "max_tokens": 3})
    assert streamed.headers["content-type"] == "text/event-stream" and streamed.text.endswith("data: [DONE]\n\n")
    other = requests.post(served.url, json={}, headers={**BINDING, "mf-url": "https://x/ai-api/models"}, timeout=9)
    assert other.json()["internalCode"] == 7000


# setting up


def test_two_emulators_cannot_share_a_state(empty):
    with pytest.raises(SetupError, match="Another emulator runs"):
        FinetuneStore(empty[1])


def test_a_base_that_is_not_there_is_named_at_the_start(tmp_path):
    with pytest.raises(SetupError, match="No base model at"), running(tmp_path / "s", tmp_path / "nothing"):
        pass
