"""A running emulator for tests: in this process, or as the command, which can be killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import uvicorn

from deploy.emulator.app import Emulator, Settings
from deploy.emulator.faults import OpenProtocol
from deploy.emulator.quirks import LLAMA_3B, LLAMA_70B

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))
from tiny_models import edit_json, write_adapter, write_base

__all__ = [
    "PATIENCE",
    "TOKEN",
    "Client",
    "edit_json",
    "running",
    "spawned",
    "write_adapter",
    "write_base",
    "write_tiny",
]

ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds; torch takes long to load where the cores are busy
TOKEN = "a-token-of-the-tests"


class Client:
    """Requests to one account of an emulator."""

    def __init__(self, url: str, account: str = "acct123", token: str = TOKEN) -> None:
        self.url, self.account = url, account
        self.api = f"{url}/client/v4"
        self.http = requests.Session()
        self.http.headers["authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:
        return self.http.request(method, f"{self.api}/accounts/{self.account}/ai/{path}", timeout=PATIENCE, **how)

    def create(self, name: str = "tune", model: str = LLAMA_3B) -> str:
        reply = self.ask("POST", "finetunes", json={"model": model, "name": name})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["result"]["id"])

    def send_file(self, tune: str, path: Path, name: str = "") -> requests.Response:
        with path.open("rb") as file:
            fields = {"file_name": (None, name or path.name), "file": ("blob", file, "application/octet-stream")}
            return self.ask("POST", f"finetunes/{tune}/finetune-assets", files=fields)

    def upload(self, folder: Path, name: str) -> str:
        tune = self.create(name)
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            assert self.send_file(tune, folder / file).json() == {"success": True}
        return tune

    def run(self, inputs: dict[str, Any], model: str = LLAMA_3B, **how: Any) -> requests.Response:
        inputs = {"temperature": 0, "max_tokens": 12, **inputs}
        return self.ask("POST", f"run/{model}", json=inputs, **how)

    def reply(self, prompt: str, **inputs: Any) -> str:
        reply = self.run({"prompt": prompt, "raw": True, **inputs})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["result"]["response"])

    def plan(self, fault: str, **how: Any) -> None:
        assert requests.post(f"{self.url}/emulator/faults", json={"fault": fault, **how}, timeout=9).status_code == 200

    def log(self) -> list[dict[str, Any]]:
        return list(requests.get(f"{self.url}/emulator/requests", timeout=9).json()["requests"])


def write_tiny(folder: Path) -> tuple[Path, Path]:
    """A tiny base and an adapter on it, as export leaves one: with model_type."""
    base = write_base(folder / "base")
    adapter = write_adapter(folder / "adapter", base)
    edit_json(adapter / "adapter_config.json", model_type="llama")
    return base, adapter


@contextmanager
def running(state: Path, base: Path | None = None, **settings: Any) -> Iterator[Client]:
    """An emulator in a thread, on a free port; without a base it has the embedded one, which is loaded when asked."""
    if base is not None:
        settings["bases"] = {LLAMA_3B: str(base), LLAMA_70B: str(base)}
    app: Any = Emulator(Settings(state=state, **settings))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        config = uvicorn.Config(app, http=OpenProtocol, ws="none", lifespan="off", log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield Client(f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.force_exit = server.should_exit = True
            thread.join(20)
            app.store.close()


@contextmanager
def spawned(state: Path, *options: str) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "deploy.emulator", "--port=0", "--json", f"--state={state}", *options]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            if not line:
                raise AssertionError(f"the emulator ended: {process.stderr.read()}")
            yield Client(json.loads(line)["url"]), process
        finally:
            process.kill()
            process.wait(20)
