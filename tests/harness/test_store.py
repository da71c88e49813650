"""The store of replies: atomic, shared by processes, honest about damage and a full disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store import ReplyStore, StoredReply, request_key, write_file
from harness.types import Message

IDENTITY = {"target": "local", "adapter": "sha256:aa"}
MESSAGES = (Message(role="user", content="hi"),)
DECODING = {"max_tokens": 256, "seed": 0}
REPLY = StoredReply("héllo ``` \ud800 \x00", truncated=True, tokens=7)


def key_of(number: int = 0) -> str:
    return request_key(IDENTITY, MESSAGES, f"text {number}", DECODING)


def only_file(root: Path) -> Path:
    [path] = root.rglob("*.json")
    return path


def test_a_reply_comes_back_as_it_was(tmp_path):
    """Also with lone surrogates and control characters, and through another instance."""
    ReplyStore(tmp_path).put(key_of(), REPLY)

    assert ReplyStore(tmp_path).get(key_of()) == REPLY
    assert ReplyStore(tmp_path).get(key_of(1)) is None


def test_no_time_is_stored(tmp_path):
    """Latency can never be read from the store, because it is not in it."""
    ReplyStore(tmp_path).put(key_of(), REPLY)

    assert {"text", "truncated", "tokens"} == set(json.loads(only_file(tmp_path).read_text())["reply"])


def test_the_key_is_pinned():
    """A change of this value makes every stored reply unreachable; it has to be meant."""
    assert key_of()[:19] == "sha256:9df5ae44a896"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(({**IDENTITY, "adapter": "sha256:ab"}, MESSAGES, "text 0", DECODING), id="adapter"),
        pytest.param(({**IDENTITY, "server": "2"}, MESSAGES, "text 0", DECODING), id="server build"),
        pytest.param((IDENTITY, (Message(role="tool", content="hi"),), "text 0", DECODING), id="role"),
        pytest.param((IDENTITY, MESSAGES, "text 1", DECODING), id="text"),
        pytest.param((IDENTITY, MESSAGES, "text 0", {**DECODING, "seed": 1}), id="seed"),
    ],
)
def test_whatever_decides_a_reply_is_in_the_key(other):
    assert key_of() != request_key(*other)


def test_the_order_of_an_identity_does_not_matter():
    assert key_of() == request_key(dict(reversed(IDENTITY.items())), MESSAGES, "text 0", DECODING)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[: len(data) // 2], id="half"),
        pytest.param(lambda data: b"\0" * len(data), id="zeros after a power cut"),
        pytest.param(lambda data: data.replace(b"llo", b"llx"), id="other text"),
        pytest.param(lambda data: data.replace(b'"tokens":7', b'"tokens":8'), id="other number"),
        pytest.param(lambda data: b"[]", id="other JSON"),
        pytest.param(lambda data: b"\xff\xfe", id="no UTF-8"),
    ],
)
def test_a_damaged_entry_is_missing_and_can_be_written_again(tmp_path, damage):
    """Damage costs one generation and never a wrong score."""
    store = ReplyStore(tmp_path)
    store.put(key_of(), REPLY)
    path = only_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))

    assert store.get(key_of()) is None
    store.put(key_of(), REPLY)
    assert store.get(key_of()) == REPLY


def test_an_entry_under_another_name_is_missing(tmp_path):
    """A file that was copied to another key does not answer it."""
    store = ReplyStore(tmp_path)
    store.put(key_of(), REPLY)
    other = store._path(key_of(1))
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(only_file(tmp_path).read_bytes())

    assert store.get(key_of(1)) is None


def test_a_full_disk_is_one_clear_line(tmp_path):
    """No space left: where, what, next step; and nothing half-written stays."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    target = tmp_path / "metrics.json"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # A limit on the size of files fails in write(2) like a full disk does, with another errno.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
        with pytest.raises(StoreError) as caught:
            write_file(target, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert str(caught.value).startswith(f"Cannot write {target}: File too large.")
    assert "choose another" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_space_left_on_the_device_is_named(tmp_path):
    """ENOSPC from a real full device: the temporary file is a link to /dev/full."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    code = (
        "import itertools, os, sys; from pathlib import Path; import harness.store as s\n"
        f"root = Path({str(tmp_path)!r})\n"
        "os.symlink('/dev/full', root / f'.reply.{os.getpid()}.0.tmp')\n"
        "try: s.write_file(root / 'reply', b'x' * 100)\n"
        "except s.StoreError as e: print(e)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert found.startswith(f"Cannot write {tmp_path / 'reply'}: No space left on device.")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_an_impossible_place_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    store = ReplyStore(tmp_path / "file" / "store")

    for action in (lambda: store.get(key_of()), lambda: store.put(key_of(), REPLY), lambda: store.lock().__enter__()):
        with pytest.raises(StoreError, match=r"Cannot (read|write|lock) .*: (Not a directory|File exists)"):
            action()


def test_2000_gets_are_quick(tmp_path):
    """Less than 0.2 ms each, also on a busy machine: the best of three rounds."""
    store = ReplyStore(tmp_path)
    keys = [key_of(i) for i in range(2000)]
    for key in keys:
        store.put(key, REPLY)
    best = min(time_gets(tmp_path, keys) for _ in range(3))

    assert best / len(keys) < 0.0002


def time_gets(root: Path, keys: list[str]) -> float:
    store = ReplyStore(root)
    started = time.process_time()
    assert all(store.get(key) for key in keys)
    return time.process_time() - started


def write_many(root: Path, name: str) -> None:
    store = ReplyStore(root)
    for number in range(200):
        store.put(key_of(number % 20), StoredReply(name * 500, truncated=False, tokens=number))


def test_a_reader_never_sees_half_of_a_reply(tmp_path):
    """Three processes write the same keys while we read: each reply is whole, one writer's."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    store, seen = ReplyStore(tmp_path), 0
    while any(writer.is_alive() for writer in writers):
        for number in range(20):
            reply = store.get(key_of(number))
            if reply is not None:
                seen += 1
                assert reply.text in {"a" * 500, "b" * 500, "c" * 500}
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert seen
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_lock_is_free_again_after_a_kill(tmp_path):
    """kill -9 leaves no lock behind."""
    code = (
        "import sys, time; from pathlib import Path; from harness.store import ReplyStore\n"
        f"with ReplyStore(Path({str(tmp_path)!r})).lock(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()

    with ReplyStore(tmp_path).lock():
        pass
