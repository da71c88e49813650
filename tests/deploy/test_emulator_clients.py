"""The emulator as clients see it that nobody here wrote: Cloudflare's Python SDK, wrangler, workerd, schemathesis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulated import PATIENCE, ROOT, TOKEN, Client, running, spawned, write_base, write_tiny

from deploy.emulator.app import OPENAPI
from deploy.emulator.quirks import LLAMA_3B, MODELS

pytestmark = pytest.mark.filterwarnings("ignore:Unexpected keyword arguments .'model_type'")
PROMPT = "Please remind me to call mom tomorrow"
# What a folder with the pinned wrangler holds; deploy/worker has one after npm ci.
NODE_MODULES = Path(os.environ.get("TOOLGATE_NODE_MODULES") or ROOT / "deploy" / "worker" / "node_modules")
needs_node = pytest.mark.skipif(
    not (shutil.which("node") and (NODE_MODULES / ".bin" / "wrangler").exists()),
    reason=f"no wrangler in {NODE_MODULES}: run npm ci in deploy/worker",
)
WORKER = """
export default { async fetch(request, env) {
  const { model, inputs, options } = await request.json();
  try {
    const found = await env.AI.run(model, inputs, options);
    return found instanceof ReadableStream ? new Response(found) : Response.json(found);
  } catch (e) { return Response.json({ error: e.name, message: e.message }); }
} };
"""
ASK_WORKER = """
import { Miniflare } from "miniflare";
const [url, calls] = process.argv.slice(2);
const mf = new Miniflare({ modules: true, scriptPath: "worker.mjs", compatibilityDate: "2026-04-01",
  ai: { binding: "AI", remoteProxyConnectionString: new URL(url) } });
const replies = [];
for (const [inputs, options] of JSON.parse(calls)) {
  const body = JSON.stringify({ model: "@cf/meta/llama-3.2-3b-instruct", inputs, options });
  replies.push(await (await mf.dispatchFetch("http://localhost/", { method: "POST", body })).text());
}
console.log(JSON.stringify(replies));
await mf.dispose();
"""


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def client(adapter: tuple[Path, Path], tmp_path: Path) -> Iterator[Client]:
    with running(tmp_path / "state", adapter[0]) as client:
        yield client


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_python_sdk_makes_fills_lists_and_deletes_a_finetune(client, adapter):
    cloudflare = pytest.importorskip("cloudflare")
    with cloudflare.Cloudflare(api_token=TOKEN, base_url=client.api, max_retries=0) as sdk:
        account = {"account_id": client.account}
        made = sdk.ai.finetunes.create(**account, model=LLAMA_3B, name="by-sdk")
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            sdk.ai.finetunes.assets.create(made.id, **account, file=adapter[1] / name, file_name=name)

        assert client.reply(PROMPT, lora="by-sdk") == client.reply(PROMPT, lora=made.id) != client.reply(PROMPT)
        [listed] = sdk.ai.finetunes.list(**account)
        assert listed["id"] == made.id if isinstance(listed, dict) else listed.id == made.id
        assert [model["name"] for model in sdk.ai.models.list(**account)] == list(MODELS)
        assert list(sdk.ai.finetunes.public.list(**account)) == []
        with pytest.raises(cloudflare.BadRequestError) as taken:
            sdk.ai.finetunes.create(**account, model=LLAMA_3B, name="by-sdk")
        assert "already exists" in taken.value.errors[0].message
        # It writes the model's slashes as %2F, which the live API has no route for either.
        with pytest.raises(cloudflare.BadRequestError) as lost:
            sdk.ai.run(LLAMA_3B, **account, prompt="x")
        assert lost.value.errors[0].code == 7000
        client.plan("429-3040")
        with pytest.raises(cloudflare.RateLimitError):
            sdk.ai.finetunes.list(**account)
        sdk.delete(f"/accounts/{client.account}/ai/finetunes/{made.id}", cast_to=object)
        assert client.ask("GET", "finetunes").json()["result"] == []
    with cloudflare.Cloudflare(api_token=TOKEN, base_url=client.api, max_retries=2) as sdk:
        client.plan("html", times=2)
        assert list(sdk.ai.finetunes.list(account_id=client.account) or []) == []


def run_wrangler(client: Client, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CLOUDFLARE_API_BASE_URL": client.api,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "CLOUDFLARE_ACCOUNT_ID": client.account,
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_LOG_PATH": str(home / "logs"),
        "XDG_CONFIG_HOME": str(home),
        "CI": "1",
    }
    command = [str(NODE_MODULES / ".bin" / "wrangler"), "ai", *arguments]
    return subprocess.run(
        command, env=environment, cwd=home, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@needs_node
@pytest.mark.slow
@pytest.mark.node
def test_wrangler_makes_and_lists_a_finetune_and_lists_the_models(client, adapter, tmp_path):
    made = run_wrangler(client, tmp_path, "finetune", "create", LLAMA_3B, "by-wrangler", str(adapter[1]))
    assert 'finetune "by-wrangler" is ready to use' in made.stdout, made.stdout + made.stderr
    assert "by-wrangler" in run_wrangler(client, tmp_path, "finetune", "list").stdout
    models = json.loads(run_wrangler(client, tmp_path, "models", "--json").stdout)
    assert [model["name"] for model in models] == list(MODELS)
    assert client.reply(PROMPT, lora="by-wrangler") != client.reply(PROMPT)

    client.plan("500", on="upload")
    failed = run_wrangler(client, tmp_path, "finetune", "create", LLAMA_3B, "half", str(adapter[1]))
    assert failed.returncode == 0 and "Couldn't upload file" in failed.stdout + failed.stderr  # it fails with status 0
    assert "half" in [found["name"] for found in client.ask("GET", "finetunes").json()["result"]]
    content_types = {entry["content_type"] for entry in client.log() if entry["operation"] == "create"}
    assert content_types == {"text/plain;charset=UTF-8"}


@needs_node
@pytest.mark.slow
@pytest.mark.node
def test_the_ai_binding_of_workerd_is_answered(client, adapter, tmp_path):
    client.upload(adapter[1], "tune")
    (tmp_path / "worker.mjs").write_text(WORKER)
    (tmp_path / "ask.mjs").write_text(ASK_WORKER)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    base = {"prompt": PROMPT, "raw": True, "temperature": 0, "max_tokens": 12}
    calls = [
        [{**base, "lora": "tune"}, {}],
        [base, {"lora": "tune"}],
        [{**base, "lora": "nobody"}, {}],
        [{**base, "stream": True}, {}],
        [base, {"extraHeaders": {"x-emulator-fault": "429-3036"}}],
    ]
    asked = subprocess.run(
        ["node", "ask.mjs", client.url, json.dumps(calls)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    with_lora, in_options, unknown, streamed, refused = json.loads(asked.stdout.splitlines()[-1])

    assert json.loads(with_lora)["response"] == client.reply(PROMPT, lora="tune")
    assert json.loads(in_options)["response"] == client.reply(PROMPT)
    assert json.loads(unknown)["error"] == "AiError" and json.loads(unknown)["message"].startswith("5033: ")
    assert streamed.endswith("data: [DONE]\n\n")
    assert json.loads(refused)["message"].startswith("3036: ")


@pytest.mark.slow
def test_schemathesis_finds_no_reply_that_the_openapi_does_not_describe(tmp_path):
    """Two of its checks contradict what is known: good input may be refused, a misnamed file is taken and dropped."""
    pytest.importorskip("schemathesis")
    base = write_base(tmp_path / "base", max_position_embeddings=96)  # short replies
    with spawned(tmp_path / "state", f"--base={base}", f"--token=good={TOKEN}") as (client, _):
        client.create("0")
        client.reply("x")  # loads the model, which would cost the first request its time
        command = [sys.executable, "-m", "schemathesis.cli", "run", str(OPENAPI), f"--url={client.api}"]
        command += [
            f"--header=Authorization: Bearer {TOKEN}",
            "--max-examples=3",
            "--seed=1",
            "--no-color",
            "--request-timeout=60",
        ]
        command += ["--exclude-checks=positive_data_acceptance,ensure_resource_availability"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)

    assert done.returncode == 0, done.stdout[-6000:]
    assert "Tested: 10" in done.stdout
