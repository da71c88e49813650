"""The command itself: what it says, what it refuses, and what a kill -9 leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from emulated import ROOT, TOKEN, Client, spawned, write_tiny

from deploy.emulator.quirks import ADAPTER_LIMIT, LLAMA_3B

pytestmark = pytest.mark.filterwarnings("ignore:Unexpected keyword arguments .'model_type'")


def run_command(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.emulator", *options]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_state_survives_kill_9_and_serves_on(tmp_path):
    """Killed during an upload and a creation: what was answered is there, what was not is whole or absent."""
    base, adapter = write_tiny(tmp_path)
    big = tmp_path / "adapter_model.safetensors"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    with spawned(tmp_path / "state", f"--base={base}") as (client, process):
        client.upload(adapter, "tune")
        wanted, listed = client.reply("call mom", lora="tune"), client.ask("GET", "finetunes").json()["result"]
        half = client.create("half")
        assert client.send_file(half, adapter / "adapter_config.json").status_code == 200

        def send() -> None:
            with suppress(requests.exceptions.RequestException):
                client.send_file(half, big)

        def create() -> None:
            with suppress(requests.exceptions.RequestException):
                for index in range(90):
                    Client(client.url).create(f"more-{index}")

        threads = [threading.Thread(target=send), threading.Thread(target=create)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    with spawned(tmp_path / "state", f"--base={base}") as (client, process):
        found = client.ask("GET", "finetunes").json()["result"]

        assert found[0] == listed[0] and client.reply("call mom", lora="tune") == wanted
        assert all(set(entry) == set(listed[0]) for entry in found)
        assert client.run({"prompt": "x", "lora": "half"}).json()["errors"][0]["code"] == 3039
        assert list((tmp_path / "state" / "partial").iterdir()) == []
        assert client.send_file(half, adapter / "adapter_model.safetensors").json() == {"success": True}
        assert client.reply("call mom", lora="half") == wanted


@pytest.mark.slow
def test_an_upload_takes_little_memory_and_one_above_the_limit_is_refused(tmp_path):
    sizes = {"adapter_config.json": 280_000_000, "adapter_model.safetensors": ADAPTER_LIMIT}
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)

    def stream(boundary: bytes, path: Path):  # requests itself would hold the whole body in memory
        yield b'--%s\r\nContent-Disposition: form-data; name="file_name"\r\n\r\n' % boundary + path.name.encode()
        yield b'\r\n--%s\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\n\r\n' % boundary
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk
        yield b"\r\n--%s--\r\n" % boundary

    with spawned(tmp_path / "state") as (client, process):
        tune = client.create()

        def peak() -> int:
            status = Path(f"/proc/{process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024

        before, replies = peak(), []
        for name in sizes:
            headers = {"content-type": "multipart/form-data; boundary=xyz"}
            body = stream(b"xyz", tmp_path / name)
            replies.append(client.ask("POST", f"finetunes/{tune}/finetune-assets", data=body, headers=headers))

        assert replies[0].json() == {"success": True}
        assert (replies[1].status_code, replies[1].json()["errors"][0]["code"]) == (413, 3006)
        assert peak() - before < 40_000_000


@pytest.mark.slow
def test_the_command_tells_where_it_is_and_refuses_in_one_line(tmp_path):
    with spawned(tmp_path / "state", f"--token=expired={TOKEN}") as (client, process):
        assert client.ask("GET", "finetunes").status_code == 401
        second = run_command("--port=0", f"--state={tmp_path / 'state'}")
        port = client.url.rpartition(":")[2]
        taken = run_command(f"--port={port}", f"--state={tmp_path / 'other'}")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT
    wrong_token = run_command(f"--token=stale={TOKEN}", f"--state={tmp_path / 'third'}")
    wrong_base = run_command(f"--base={LLAMA_3B}", f"--state={tmp_path / 'third'}")

    for done, why in (
        (second, "Another emulator runs on"),
        (taken, f"Cannot listen on 127.0.0.1:{port}"),
        (wrong_token, "--token wants KIND=TOKEN"),
        (wrong_base, "names a model without a base"),
    ):
        assert done.returncode == 1 and done.stderr.startswith("Error: ") and why in done.stderr
        assert done.stderr.count("\n") == 1 and TOKEN not in done.stderr + done.stdout


@pytest.mark.slow
def test_a_damaged_record_is_named(tmp_path):
    with spawned(tmp_path) as (client, _):
        tune = client.create()
    record = tmp_path / "accounts" / "acct123" / tune / "finetune.json"
    record.write_text(json.dumps({"id": tune}))
    done = run_command("--port=0", f"--state={tmp_path}")

    assert done.returncode == 1 and str(record) in done.stderr and done.stderr.count("\n") == 1


def test_it_listens_on_loopback_only():
    from deploy.emulator.command import HOST

    assert socket.gethostbyname(HOST) == "127.0.0.1"
