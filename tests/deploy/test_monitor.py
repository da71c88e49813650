"""Watching production: what is counted, how often a healthy adapter is reported, and what never leaves the log."""

import json
import math
import random
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from deploy.cli import app
from deploy.monitor import Latencies, Monitor, RateTest, judge_reply, read_baseline, send_alarm
from deploy.traffic import MAX_LINE, Lines, LoggedReply, find_replies, make_candidate, mask_texts, read_logs
from harness.cases import load_cases, parse_case
from harness.errors import CaseError
from harness.parsing import parse_reply
from harness.prompt import load_prompt
from harness.runner import read_run, write_run
from harness.scoring import score_reply
from harness.toolset import load_toolset

TOOLSET = load_toolset()
CALL = '```json\n{"tool": "createTask", "params": {"title": "call mom", "priority": "medium"}}\n```'
NOW = "2026-03-02T09:00:00+00:00"
BROKEN = '```json\n{"tool": "sendEmail", "params": {"to": "Priya Raman", "subject": "x", \n```'


def line(**more) -> dict:
    found = {"event": "toolgate.reply", "at": "2026-11-22T18:00:00.000Z", "model": "m", "adapter": "tune"}
    return {**found, "kind": "call", "tools": ["createTask"], "errors": 0, "seconds": 0.5, **more}


def gateway(text: str, **more) -> dict:
    prompt = load_prompt().render(
        [{"role": "user", "content": "Mail Priya at priya@example.com or 020 7946 0958"}], NOW
    )
    request = json.dumps({"prompt": prompt, "raw": True, "lora": "tune"})
    answer = json.dumps({"result": {"response": text}, "success": True})
    log = {"id": "1", "provider": "workers-ai", "model": "m", "success": True, "duration": 1500, "status_code": 200}
    return {**log, "created_at": NOW, "request_head": request, "response_head": answer, **more}


def write_lines(path: Path, values) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, ["monitor", *map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    row = {"suite": "selection", "now": NOW, "tags": [], "why": "w", "source": "hand-written"}
    call = [{"tool": "createTask", "params": "any"}]
    outcomes = []
    for number in range(200):
        question = [{"role": "user", "content": f"Remind me to call mom {number}"}]
        case = parse_case(json.dumps({"id": f"c-{number}", "messages": question, "expect": call, **row}))
        text = CALL if number % 2 else "Hello there."
        outcomes.append(score_reply(case, parse_reply(text), TOOLSET, text=text))
    return write_run(tmp_path / "run", outcomes, {}, about={}).parent


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(json.loads, id="the Worker's own line"),
        pytest.param(lambda text: {"outcome": "ok", "logs": [{"message": [text], "level": "log"}]}, id="wrangler tail"),
        pytest.param(lambda text: {"ScriptName": "a", "Logs": [{"Level": "log", "Message": [text]}]}, id="Logpush"),
        pytest.param(lambda text: {"source": json.loads(text), "$metadata": {"message": "x"}}, id="Workers Logs"),
        pytest.param(lambda text: {"source": {}, "$metadata": {"message": text}}, id="Workers Logs, as text"),
        pytest.param(
            lambda text: {"result": {"events": {"events": [{"source": json.loads(text), "$metadata": {}}]}}},
            id="Workers Logs, a page",
        ),
    ],
)
def test_the_same_reply_is_found_in_each_kind_of_log(wrap):
    found = list(find_replies(wrap(json.dumps(line(text=CALL)))))

    assert found == [
        LoggedReply("tune", CALL, "call", ("createTask",), 0, 0.5, "2026-11-22T18:00:00.000Z"),
    ]


def test_an_ai_gateway_log_gives_text_question_time_and_seconds():
    (found,) = find_replies({"result": [gateway(CALL)], "success": True})

    assert (found.adapter, found.text, found.seconds, found.now) == ("tune", CALL, 1.5, NOW)
    assert [turn["role"] for turn in found.messages] == ["user"]
    (failed,) = find_replies(gateway("", success=False, response_head="<html>"))
    assert judge_reply(failed, TOOLSET)[0] == "failed"
    (encrypted,) = find_replies(gateway("", response_head='{"data": "…", "key": "…"}', request_head="…"))
    assert judge_reply(encrypted, TOOLSET)[0] == "unknown"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"text": CALL}, ""),
        ({"text": "Hello."}, ""),
        ({"text": BROKEN}, "malformed"),
        ({"text": "  "}, "empty"),
        ({"text": CALL.replace("createTask", "fly")}, "unknown tool"),
        ({"text": CALL.replace("medium", "huge")}, "schema violation"),
        ({}, ""),
        ({"kind": "none", "tools": []}, ""),
        ({"kind": "malformed", "tools": []}, "malformed"),
        ({"kind": "empty", "tools": []}, "empty"),
        ({"kind": "error", "code": 3040}, "failed"),
        ({"tools": ["fly"], "errors": 1}, "unknown tool"),
        ({"errors": 1}, "schema violation"),
        ({"kind": "new kind"}, "unknown"),
    ],
)
def test_each_problem_is_named_with_and_without_the_text(more, problem):
    (reply,) = find_replies(line(**more))

    assert judge_reply(reply, TOOLSET)[0] == problem


KEYS = [
    "event",
    "logs",
    "Logs",
    "message",
    "source",
    "$metadata",
    "request",
    "response",
    "messages",
    "choices",
    "result",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_no_json_value_stops_the_reader(value):
    for shape in (
        value,
        {"event": "toolgate.reply", "tools": value, "seconds": value, "text": value},
        {"provider": "x", "response": value, "request": value, "duration": value},
    ):
        for reply in find_replies(shape):
            Monitor(TOOLSET, keep=True).add(reply)


def test_bad_lines_are_counted_and_named_and_pretty_json_is_read(tmp_path):
    """wrangler tail indents its objects; a line over the limit and a broken one cost nothing but themselves."""
    log = tmp_path / "a.log"
    tail = json.dumps({"logs": [{"message": [json.dumps(line())]}]}, indent=2)
    broken = json.dumps(line())[:-9]
    long = "x" * (3 * MAX_LINE)
    log.write_text(f"{tail}\n{broken}\n\n[1]\n{long}\n{json.dumps(line())}\n3\n{{\n  1\n{json.dumps(line())}", "utf-8")
    lines = Lines()
    found = list(read_logs([log], lines))

    assert len(found) == 2 and lines.bad == 4 and lines.other == 1
    first = len(tail.splitlines()) + 1
    assert [name.split(":")[1] for name in lines.named] == [str(first + n) for n in (0, 3, 5, 6)]


def test_a_growing_file_is_followed_and_half_a_line_waits(tmp_path):
    log, text = tmp_path / "a.log", json.dumps(line()) + "\n"
    log.write_text(text + text[:20], "utf-8")
    rounds = []

    def until():
        rounds.append(1)
        if len(rounds) == 1:
            with log.open("a", encoding="utf-8") as file:
                file.write(text[20:] + text)
        if len(rounds) == 2:
            log.write_text(text, "utf-8")  # emptied and begun again
        return len(rounds) == 3

    lines = Lines()
    assert len(list(read_logs([log], lines, follow=True, until=until))) == 4 and lines.bad == 0


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.1])
def test_a_healthy_rate_is_reported_no_more_often_than_stated(rate):
    """At the allowed rate itself, looked at after every reply: no stopping time gives more false alarms."""
    alpha, repeats, replies = 0.05, 600, 500
    rng = random.Random(rate)
    alarms = 0
    for _ in range(repeats):
        test = RateTest(rate, alpha)
        for _ in range(replies):
            test.add(rng.random() < rate)
        alarms += test.alarm
    # Binomial(600, 0.05) is above 48 with a probability of 0.0007.
    assert alarms <= 48


@given(st.floats(0.001, 0.9), st.floats(0, 1), st.integers(0, 40), st.integers(0, 400))
def test_evidence_is_a_supermartingale_under_every_allowed_rate(allowed, share, count, others):
    """The next reply does not raise the expected E while the rate is at or below the allowed one."""

    def value(k, n):
        return math.exp(RateTest(allowed, 0.05, k, n).evidence)

    p, n = allowed * share, count + others
    now = value(count, n)
    assert p * value(count + 1, n + 1) + (1 - p) * value(count, n + 1) <= now * (1 + 1e-9)
    assert value(0, 0) == pytest.approx(1)


def test_a_broken_adapter_is_reported_soon():
    monitor = Monitor(TOOLSET)
    for number in range(40):
        monitor.add(LoggedReply(text=BROKEN if number % 2 else CALL))

    assert monitor.alarms and monitor.problems["malformed"].alarmed_at <= 20
    assert [name for name, test in monitor.problems.items() if test.alarm] == ["malformed"]


def test_a_silent_base_is_reported_by_the_mix(run):
    """Replies that are text where the evals called tools break no rule; their share does."""
    baseline = read_baseline(read_run(run), TOOLSET)
    assert baseline.shares == {"createTask": 0.5, "no call": 0.5}
    monitor = Monitor(TOOLSET, baseline, drift=0.3)
    for _ in range(100):
        monitor.add(LoggedReply(text="I am a language model."))

    assert monitor.alarms[0].startswith("share of no call: 100 of 100") and monitor.drift == 0.5


@given(st.lists(st.floats(0.001, 900), min_size=1, max_size=50), st.sampled_from([0.5, 0.95]))
def test_latency_quantiles_are_within_two_percent(seconds, share):
    found = Latencies()
    for one in seconds:
        found.add(one)
    exact = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    assert exact * 0.999 <= found.quantile(share) <= exact * 1.021


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("write to ann.lee+x@mail.example.org please", "ann"),
        ("call +44 (0)20 7946-0958 today", "7946"),
        ("ring 555-123-4567", "4567"),
        ("card 4111 1111 1111 1111", "1111"),
        ("id 90412345", "90412345"),
        ('ask PRIYA. {"to": "Priya Raman"}', "riya"),
        ("Raman said {'attendees': ['Priya Raman', 'Bo']", "Raman"),
        ('tell Bo: {\\"cc\\": [\\"Bo Ek\\"', "Bo"),
    ],
)
def test_personal_data_is_masked(text, gone):
    (masked,) = mask_texts([text])

    assert gone.lower() not in masked.lower() and "<" in masked


@given(st.emails(), st.integers(10**6, 10**15), st.dates(), st.text("abcdefgh \n", max_size=10))
@settings(max_examples=60, deadline=None)
def test_masking_leaves_days_and_times_alone(email, number, day, text):
    (masked,) = mask_texts([f"{text} {email} {number}, {day}T15:00:00+00:00 and {day}"])

    assert str(number) not in masked and email not in masked
    assert f"{day}T15:00:00+00:00 and {day}" in masked


def test_a_candidate_is_masked_and_no_case_until_somebody_answers_it(tmp_path):
    (reply,) = find_replies(gateway(BROKEN))
    case = make_candidate(reply, "malformed", "why")
    text = json.dumps(case)

    assert not any(secret in text for secret in ("Priya", "Raman", "priya", "example.com", "7946"))
    assert case["now"] == NOW and case["id"] == make_candidate(reply, "malformed", "why")["id"]
    with pytest.raises(CaseError):
        load_cases(write_lines(tmp_path / "c.jsonl", [case]))


def test_the_command_reports_health_by_its_exit_status(tmp_path, run):
    healthy = write_lines(tmp_path / "a.log", [line(), line(kind="none", tools=[]), line(adapter="old", kind="error")])
    found = invoke(healthy, "--adapter=tune", "--baseline", run, "--json")
    report = json.loads(found.stdout)
    assert found.exit_code == 0 and report["healthy"] and report["replies"] == 2 and report["left_out"] == 1

    out = tmp_path / "candidates.jsonl"
    escape = BROKEN + "\x1b]0;owned\x07"
    sick = write_lines(tmp_path / "b.log", [gateway(escape), line(adapter="\x1b[31m")] + [gateway(BROKEN)] * 9)
    found = invoke(sick, "--export", out)
    assert found.exit_code == 8 and "ALARM: malformed: 10 of 11" in found.output and "\x1b" not in found.output
    assert len(out.read_text("utf-8").splitlines()) == 2
    assert invoke(sick, "--export", out).exit_code == 1
    assert "lies in evals" in invoke(sick, "--export", tmp_path / "evals" / "c.jsonl").output
    assert invoke(sick, "--follow").exit_code == 8  # stops at the alarm
    assert invoke(sick, "--alpha=0").exit_code == 1

    noise = tmp_path / "c.log"
    noise.write_text("x\ny\n" + json.dumps(line()), "utf-8")
    for path in (noise, tmp_path / "none.log", write_lines(tmp_path / "d.log", [{"other": 1}])):
        assert invoke(path).exit_code == 9, path


def test_the_webhook_is_told_over_https_alone_and_gets_no_text(tmp_path, monkeypatch):
    """A real TLS server; its address is named in no message, since for most services it is the secret."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    bodies, status = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    url = f"https://localhost:{server.server_port}/services/SECRET"
    sick = write_lines(tmp_path / "b.log", [gateway(BROKEN)] * 9)
    try:
        told = invoke(sick, "--webhook", url)
        status[0] = 500
        refused = invoke(sick, "--webhook", url)
    finally:
        server.shutdown()
        server.server_close()

    assert told.exit_code == 8 and bodies[0]["event"] == "toolgate.alarm" and "malformed: 9 of 9" in bodies[0]["text"]
    assert "Priya" not in json.dumps(bodies) and "SECRET" not in told.output + refused.output
    assert refused.exit_code == 8 and "localhost answered 500" in refused.output
    assert "was not reached" in send_alarm(url, bodies[0])
    for bad in (
        "http://localhost/SECRET",
        "https://",
        "https://user:SECRET@localhost/",
        "file:///etc/passwd",
        "https://[x",
    ):
        found = invoke(sick, "--webhook", bad)
        assert found.exit_code == 1 and "needs https" in found.output and "SECRET" not in found.output
