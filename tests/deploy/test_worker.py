"""The Worker beside Python: the same docs, prompts, readings, verdicts, JSON; its own tests; conversations through it.

`npm test` in deploy/worker covers the rest with a scripted model: D1, refusals, fallbacks, the log, the page.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from emulated import PATIENCE, ROOT, TOKEN, edit_json, running

from deploy.emulator.quirks import LLAMA_3B
from harness.errors import SetupError
from harness.parsing import parse_reply
from harness.prompt import load_prompt
from harness.targets import Decoding, Prompt, TargetSpec, check_spec, load_target
from harness.targets.local import EMBEDDED_BASE
from harness.toolset import is_instant

WORKER = ROOT / "deploy" / "worker"
pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(
        not (shutil.which("node") and (WORKER / "node_modules" / "miniflare").exists()),
        reason="deploy/worker/node_modules is missing; run npm ci in deploy/worker",
    ),
]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "replies.json").read_text(encoding="utf-8"))
NOW = "2026-03-02T09:00:00+00:00"
# Three ways to say each: a small model need not know all of them; how many it knows is what the evals measure.
DONE = ("Mark that task as done", "I called her", "complete it")
EARLIER = ("Can you move that one hour earlier?", "an hour earlier please", "Actually, an hour earlier")
PROMPT = load_prompt()
Probe = Callable[..., dict[str, Any]]


@contextmanager
def started(*options: str) -> Iterator[str]:
    """The Worker in workerd, started by local.mjs; gives its address."""
    command = ["node", "local.mjs", "--port=0", "--state=", "--json", f"--token={TOKEN}", *options]
    with subprocess.Popen(command, cwd=WORKER, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """The Worker's pure parts, many questions a request."""
    with started("--entry=test/probe.ts") as url, requests.Session() as http:

        def ask(**asked: Any) -> dict[str, Any]:
            reply = http.post(url, json=asked, timeout=PATIENCE)
            assert reply.status_code == 200, reply.text[:500]
            found: dict[str, Any] = reply.json()
            return found

        yield ask


def test_tool_docs_and_prompt_are_python_s(probe: Probe) -> None:
    found = probe()
    assert found["docs"] == PROMPT.toolset.docs()
    assert found["digest"] == PROMPT.digest


def test_every_conversation_is_rendered_to_the_same_bytes(probe: Probe) -> None:
    """All hand-written training conversations, and 2,000 of spaces, special tokens and text from everywhere."""
    lines = [
        line
        for file in sorted((ROOT / "training" / "handcrafted").glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    asked = [{"messages": row["messages"], "now": row["now"]} for row in map(json.loads, lines)]
    chance = random.Random(1)
    pieces = ["\r\n", " ", "\t", "\0", "<|eot_id|>", "<|", "|>", "<|a", "$&", "$1", "{now}", "{tool_docs}", "x"]
    pieces += [chr(code) for code in (0x1C, 0x1F, 0x85, 0xA0, 0x180E, 0x200B, 0x2028, 0x3000, 0xFEFF, 0x1F382, 0xD800)]
    for _ in range(2000):
        messages = [
            {"role": chance.choice(["user", "assistant", "tool"]), "content": _mix(chance, pieces, 12)}
            for _ in range(chance.randint(1, 4))
        ]
        asked.append({"messages": messages, "now": chance.choice(asked)["now"]})
    assert len(asked) > 3000

    for at in range(0, len(asked), 1000):
        part = asked[at : at + 1000]
        rendered = [PROMPT.render(one["messages"], one["now"]) for one in part]
        assert probe(render=part)["render"] == _joined(rendered)


def test_times_are_understood_as_by_python(probe: Probe) -> None:
    """What is an instant, and on which day of the week: of 4,000 texts near the form.

    Python 3.11 passes over one character of any kind before the offset; the Worker does not.
    """
    chance = random.Random(2)
    times = [_near_instant(chance) for _ in range(4000)]
    expected = []
    for now in times:
        try:
            expected.append(PROMPT.render([], now) if is_instant(now) else None)
        except SetupError:
            expected.append(None)
    assert 400 < sum(one is not None for one in expected) < 3600
    found = probe(render=[{"messages": [], "now": now} for now in times])["render"]
    differ = [now for now, here, there in zip(times, expected, found, strict=True) if here != there]
    mended = [now[:10] + re.sub(".(?=(Z|[+-].*)$)", "", now[10:]) for now in differ]
    assert [now for now in mended if not is_instant(now)] == []
    assert all(there is None for here, there in zip(expected, found, strict=True) if here != there)


def test_all_vectors_and_changed_ones_are_read_as_by_python(probe: Probe) -> None:
    """The shared vectors, and 6,000 texts cut, joined and scrambled from them."""
    texts = [vector["text"] for vector in VECTORS]
    found = probe(read=texts)["read"]
    for vector, there in zip(VECTORS, found, strict=True):
        assert (vector["kind"], vector["calls"]) == (there["kind"], there["calls"]), vector["id"]
    chance = random.Random(3)
    texts += [_change(chance) for _ in range(6000)]
    assert _differences(probe, texts) == []


def test_parameters_are_judged_as_by_python(probe: Probe) -> None:
    """6,000 calls with fitting, missing, foreign and wrong parameters."""
    chance = random.Random(4)
    calls = [_near_call(chance) for _ in range(6000)]
    valid = [not PROMPT.toolset.schema_errors(call["tool"], call["params"]) for call in calls]
    assert 600 < sum(valid) < 5400
    found = [not errors for errors in probe(check=calls)["check"]]
    assert [call for call, here, there in zip(calls, valid, found, strict=True) if here != there] == []


def test_results_are_written_as_training_writes_them(probe: Probe) -> None:
    values = [
        {"id": "task_1", "title": 'say "hi" \\ to Zoë 🎂\n\u2028', "status": "open", "n": [1, True, None, -0.5]},
        {"tasks": [{"id": "task_1"}, {}]},
        {"tasks": []},
        {"ok": True, "id": "event_7"},
        {"error": "there is no task 7"},
    ]
    assert probe(dump=values)["dump"] == [json.dumps(value, ensure_ascii=False) for value in values]


def test_a_worker_without_an_emulator_says_so(probe: Probe) -> None:
    """Nothing listens there: plain text, and the failure beside it."""
    with started("--ai=http://127.0.0.1:9", "--adapter=tune") as url:
        turn = _chat(url, [{"role": "user", "content": "Remind me to call mom"}])
    assert "nothing was changed" in turn["text"] and turn["done"] == [] and turn["failure"]["code"] == "unknown"


@pytest.mark.slow
def test_conversations_through_the_emulator_with_the_embedded_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created and completed, created and an hour earlier, by the shipped adapter; then each fault of the emulator."""
    adapter = Path(shutil.copytree(EMBEDDED_BASE.parent / "nano-adapter", tmp_path / "adapter"))
    edit_json(adapter / "adapter_config.json", model_type="llama")
    with running(tmp_path / "state") as client:
        client.upload(adapter, "tune")
        log = tmp_path / "log.ndjson"
        with started(f"--ai={client.url}", "--adapter=tune", "--timeout=60000", f"--log={log}") as url:
            tasks = [_talk(url, "Remind me to call mom tomorrow at 3pm", done) for done in DONE]
            moves = [_talk(url, "Add dentist to my calendar tomorrow at 10am", earlier) for earlier in EARLIER]
            asked = {"messages": [{"role": "user", "content": "Remind me to call mom tomorrow at 3pm"}], "now": NOW}
            reply = _post(url, "reply", asked)
            health = requests.get(f"{url}/api/health", headers=_access(), timeout=PATIENCE).json()
            direct = client.reply(PROMPT.render(asked["messages"], NOW), lora="tune", max_tokens=256)
            monkeypatch.setenv("WORKER_ACCESS_TOKEN", TOKEN)
            target = load_target(check_spec(TargetSpec("worker", options={"url": url})))
            prompt = Prompt(tuple(PROMPT.messages(asked["messages"], NOW)), "")
            by_target = target.time_one(prompt, Decoding())
            target.close()

        for fault in ("500", "html", "truncated", "429-3036", "reset"):
            client.plan(fault)
        with started(f"--ai={client.url}", "--adapter=tune", "--timeout=60000") as url:
            failures = [_chat(url, asked["messages"]) for _ in range(5)]
        with started(f"--ai={client.url}", "--adapter=nobody", "--timeout=60000") as url:
            gone = _chat(url, asked["messages"])
        client.plan("hang")
        with started(f"--ai={client.url}", "--adapter=tune", "--timeout=1000") as url:
            late = _chat(url, asked["messages"])

    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert {(line["event"], line["adapter"]) for line in lines} == {("toolgate.reply", "tune")}
    assert len(lines) >= 6 + 6 + 2 and "call" in {line["kind"] for line in lines}
    assert "dentist" not in str(lines) and TOKEN not in str(lines)
    at_three, ten, nine = (f"2026-03-03T{hour}:00:00+00:00" for hour in (15, 10, "09"))
    assert any(
        [made["tool"], made["result"].get("dueDate"), done["tool"], done["result"]]
        == ["createTask", at_three, "completeTask", {"ok": True, "id": made["result"]["id"]}]
        for made, done in (calls for calls in tasks if len(calls) == 2)
    ), tasks
    assert any(
        [made["tool"], made["result"].get("startTime"), moved["tool"], moved["result"]]
        == ["createCalendarEvent", ten, "updateCalendarEvent", {**made["result"], "startTime": nine}]
        for made, moved in (calls for calls in moves if len(calls) == 2)
    ), moves
    assert reply["text"] == direct == by_target.text and parse_reply(direct).calls[0].tool == "createTask"
    assert health == {"model": LLAMA_3B, "adapter": "tune", "prompt": PROMPT.digest}
    for turn in (*failures, gone, late):
        assert "nothing was changed" in turn["text"] and turn["done"] == [], turn
    assert [turn["failure"]["code"] for turn in (failures[3], gone, late)] == [3036, 5033, "timeout"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["types", "test"])
def test_the_worker_s_own_checks_pass(command: str) -> None:
    """tsc, and the tests in workerd; among them `wrangler deploy --dry-run`, whose bundle serves the page's tests."""
    run = ["npm", "run", "--silent", command]
    done = subprocess.run(run, cwd=WORKER, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


@pytest.mark.parametrize("name", ["wrangler", "miniflare", "esbuild", "typescript", "jsdom"])
def test_every_tool_is_pinned_in_both_files(name: str) -> None:
    from deploy.wrangler import VERSION

    wanted = json.loads((WORKER / "package.json").read_text())["devDependencies"][name]
    locked = json.loads((WORKER / "package-lock.json").read_text())["packages"][f"node_modules/{name}"]["version"]
    assert wanted == locked and (name != "wrangler" or wanted == VERSION)


def _access() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


def _post(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = requests.post(f"{url}/api/{path}", json=body, headers=_access(), timeout=PATIENCE)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def _chat(url: str, messages: list[dict[str, str]]) -> dict[str, Any]:
    return _post(url, "chat", {"messages": messages, "now": NOW})


def _talk(url: str, *said: str) -> list[dict[str, Any]]:
    """What was done in one conversation."""
    messages: list[dict[str, str]] = []
    done = []
    for text in said:
        messages.append({"role": "user", "content": text})
        turn = _chat(url, messages)
        messages += turn["added"]
        done += turn["done"]
    return done


def _mix(chance: random.Random, pieces: list[str], most: int) -> str:
    return "".join(chance.choices(pieces, k=chance.randint(0, most)))


def _joined(value: Any) -> Any:
    """The value after a trip through JSON, where halves of a surrogate pair that meet are one character."""
    return json.loads(json.dumps(value))


def _cause(why: str) -> str:
    """What makes it malformed: worded alike, but for what is wrong with the JSON and for names in quotes."""
    return "JSON" if re.search("not JSON|duplicate key|out of range", why) else why[:20]


def _differences(probe: Probe, texts: list[str]) -> list[tuple[str, Any, Any]]:
    differ = []
    for at in range(0, len(texts), 2000):
        part = texts[at : at + 2000]
        for text, there in zip(part, probe(read=part)["read"], strict=True):
            reply = parse_reply(text)
            calls = [{"tool": call.tool, "params": dict(call.params)} for call in reply.calls]
            bad = [[one.text, _cause(one.why)] for one in reply.malformed]
            here = _joined([reply.kind.value, calls, bad, reply.text])
            bad = [[one["text"], _cause(one["why"])] for one in there["malformed"]]
            found = [there["kind"], there["calls"], bad, there["text"]]
            if here != found:
                differ.append((text, here, found))
    return differ


CHUNKS = [*"\n\r\t \u2028\u00a0\x1c\ufeff{}[]\"'\\:,“”éſ\u212a🎂", "{tool: ", "\r\n", '"__proto__"', "\\u0074ool"]
CHUNKS += ["```", "```json", "~~~json", "json", "tool", "params", "name", "arguments", "1e999", "-0", "01", "null"]
CHUNKS += ["<tool_call>", "<|eot_id|>", "<|python_tag|>", "</s>"]


def _change(chance: random.Random) -> str:
    text = str(chance.choice(VECTORS)["text"])[:600]
    if chance.random() < 0.3:
        text += chance.choice(["", "\n"]) + str(chance.choice(VECTORS)["text"])[:600]
    for _ in range(chance.randint(1, 5)):
        at = chance.randint(0, len(text))
        text = text[:at] + chance.choice([*CHUNKS, ""]) + text[at + chance.choice([0, 0, 1, 1, 3, 20]) :]
    return text


def _near_instant(chance: random.Random) -> str:
    pick = chance.choice
    day = pick(["2026-03-02", "2024-02-29", "2025-02-29", "0001-01-01", "0000-01-01", "9999-12-31", "2026-13-01"])
    clock = pick(["09", "09:00", "0900", "090000", "09:0000", "24:00", "23:59:60", "09:00:00.5", "09:00:00,1234567"])
    clock = pick([clock, "09:00:00", "9:00", "09:00:00.", "090000.5", "09:60", ""])
    offset = pick(["Z", "z", "", "+00:00", "-05:30", "+0530", "+05", "+24:00", "+23:59:59.999999", "+5", "−05:00"])
    text = day + pick(["T", "T", "T", "t", " ", ""]) + clock + pick([offset, "Z", "+01:00"])
    if chance.random() < 0.2:
        at = chance.randint(0, len(text))
        text = text[:at] + pick(["", "0", ":", "-", " ", "٣"]) + text[at + 1 :]
    return text


def _near_call(chance: random.Random) -> dict[str, Any]:
    tool = chance.choice([*PROMPT.toolset.tools.values()])
    good = {
        "enum": lambda schema: chance.choice([*schema["enum"], *schema["enum"], "urgent"]),
        "array": lambda _: chance.choice([["a@b.com"], [], ["a", "b"], ["a", 1], [""], "a"]),
        "time": lambda _: chance.choice([NOW, NOW, "2026-03-02", "tomorrow", "2026-03-02T09:00:00"]),
        "date": lambda _: chance.choice(["2026-03-02", "2026-03-02", "2026-3-2", NOW, ""]),
        "text": lambda _: chance.choice(["call mom", "call mom", "x", "", "🎂", " ", 7, None, {}, True]),
    }
    params = {}
    for name, schema in tool.parameters["properties"].items():
        if chance.random() < (0.9 if name in tool.required else 0.3):
            kind = "enum" if "enum" in schema else "array" if schema["type"] == "array" else "text"
            kind = {"date": "date", "date-time": "time"}.get(schema.get("format", ""), kind)
            params[name] = good["date" if "anyOf" in schema and chance.random() < 0.5 else kind](schema)
    if chance.random() < 0.1:
        params[chance.choice(["__proto__", "constructor", "colour", "toString"])] = "x"
    return {"tool": chance.choice([tool.name] * 20 + ["fly", "constructor"]), "params": params}
