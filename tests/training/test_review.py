"""The review: what has to be read, what a decision means for a build, the file of decisions, the server on loopback."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, SetupError
from harness.toolset import load_toolset
from training.examples import Example, check_example, parse_example, write_examples
from training.review import ReviewError, check_review, content_hash, read_decisions
from training.review.decisions import (
    Decision,
    DecisionLog,
    count_strata,
    draw_levels,
    draw_sample,
    find_verdicts,
    list_strata,
)
from training.review.server import REASONS, Review, describe_day, make_server, make_token, open_socket

NOW = "2026-03-02T09:00:00+00:00"  # a Monday
TIME = datetime(2026, 3, 2, 9, tzinfo=UTC)


def make_call(tool: str, text: str) -> str:
    params = {"title": text, "priority": "medium"} if tool == "createTask" else {"location": text}
    return "```json\n" + json.dumps({"tool": tool, "params": params}) + "\n```"


@cache  # properties ask for the same ones again and again
def make_example(number: int, *tools: str, kind: str | None = None) -> Example:
    """An example that passes every check; the number makes it another one."""
    reply = "\n".join(make_call(tool, f"thing {number}") for tool in tools) or f"I cannot do number {number}."
    name = kind or {0: "negative", 1: "single"}.get(len(tools), "compound")
    turns = [{"role": "user", "content": f"ask {number}"}, {"role": "assistant", "content": reply}]
    line = {"id": f"syn-{number}", "kind": name, "now": NOW, "messages": turns, "tools": list(tools)}
    return parse_example(
        json.dumps(line | {"source": "synthetic", "licence": "Apache-2.0", "author": "m"}), load_toolset()
    )


def decide(example: Example, action: str, /, **more: Any) -> Decision:
    return Decision(
        time=NOW, reviewer=more.pop("reviewer", "ann"), action=action, hash=content_hash(example), id=example.id, **more
    )


def edit(example: Example, text: str = "another question") -> Decision:
    edited = replace(example, messages=({"role": "user", "content": text}, *example.messages[1:]))
    return decide(example, "edit", example=edited, becomes=content_hash(edited))


SOME = [make_example(n, "createTask") for n in range(40)] + [make_example(n) for n in range(40, 60)]
TOOLS = st.sampled_from([(), ("createTask",), ("getWeather",), ("createTask", "getWeather"), ("createTask",) * 2])
SETS = st.lists(TOOLS, max_size=40).map(lambda kinds: [make_example(n, *tools) for n, tools in enumerate(kinds)])
SHARES = st.sampled_from([0.01, 0.15, 0.2, 1 / 3, 0.5, 1.0])


# --- the sample


@given(SETS, SHARES)
def test_every_stratum_is_drawn_in_its_share_rounded_up(examples: list[Example], share: float):
    """Every kind and tool has its share in the sample, or more; an example of two tools counts for both."""
    drawn = set(draw_sample(examples, share=share))
    strata = {stratum for example in examples for stratum in list_strata(example)}
    for stratum in strata:
        inside = {content_hash(example) for example in examples if stratum in list_strata(example)}
        assert len(inside & drawn) >= ceil(Fraction(share).limit_denominator(100) * len(inside))
    for count in count_strata(examples, [], share=share):
        if count.kind != "compound":  # those may be drawn for their other tool
            assert count.drawn == ceil(Fraction(share).limit_denominator(100) * count.total)


@given(SETS, st.randoms(use_true_random=False))
def test_the_sample_is_a_matter_of_the_contents(examples: list[Example], chance: random.Random):
    """Another order, another id, another source: the same sample in the same order."""
    mixed = [replace(example, id=f"x{n}", source="other") for n, example in enumerate(examples)]
    chance.shuffle(mixed)
    assert draw_sample(mixed) == draw_sample(examples)


@given(SETS, SETS, SHARES)
def test_what_is_drawn_stays_drawn(first: list[Example], more: list[Example], share: float):
    """The sample of a set is in the sample of every larger set, once its draws are written down."""
    more = [make_example(1000 + n, *example.tools) for n, example in enumerate(more)]
    levels = draw_levels(first, share=share)
    draws = [decide(e, "draw", level=levels[content_hash(e)]) for e in first if content_hash(e) in levels]

    assert set(levels) <= set(draw_sample([*first, *more], share=share, decisions=draws))


def test_a_larger_share_holds_the_smaller_sample_and_does_not_bind_later_builds():
    """Someone who tried --share 1 has not sworn to read everything."""
    small, all_of_them = draw_levels(SOME), draw_levels(SOME, share=1)
    draws = [decide(e, "draw", level=all_of_them[content_hash(e)]) for e in SOME]

    assert set(small) < set(all_of_them) == {content_hash(e) for e in SOME}
    assert set(draw_sample(SOME, decisions=draws)) == set(small)


def test_the_sample_is_not_a_prefix_of_the_content_hashes():
    """A split by the content hash must not hold out exactly what was reviewed."""
    hashes = sorted(content_hash(e) for e in SOME[:40])
    assert set(draw_sample(SOME[:40])) != set(hashes[:6])


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_an_impossible_share_is_refused(share: float):
    """Nothing to read would be a review that always passes."""
    with pytest.raises(SetupError, match=r"--share .* is not possible"):
        draw_sample(SOME, share=share)


# --- the check of a build


def accept_sample(examples: list[Example]) -> list[Decision]:
    drawn = set(draw_sample(examples))
    return [decide(example, "accept") for example in examples if content_hash(example) in drawn]


def test_a_set_whose_sample_is_accepted_passes_whole():
    """15 % is read, all of it enters; a set of nothing needs no review."""
    assert check_review(SOME, accept_sample(SOME)) == SOME
    assert check_review([], []) == []


@given(SETS.filter(bool), st.data())
def test_one_drawn_example_that_is_not_read_refuses_its_strata(examples: list[Example], data: st.DataObject):
    """Whichever decision is missing, the strata of that example are named, and no others."""
    done = accept_sample(examples)
    missing = data.draw(st.sampled_from(done))
    example = next(e for e in examples if content_hash(e) == missing.hash)

    with pytest.raises(ReviewError) as refused:
        check_review(examples, [d for d in done if d is not missing])

    named = [problem.partition(":")[0] for problem in refused.value.problems]
    assert named == [f"{kind} / {tool}" for kind, tool in list_strata(example)]


def test_nothing_read_is_refused_with_the_next_step():
    """The error names the strata and the command."""
    with pytest.raises(
        ReviewError, match=r"negative / \(none\): 3 of 3 drawn .* single / createTask: 6 of 6 .*training review"
    ):
        check_review(SOME, [])


def test_rejected_examples_are_dropped_below_the_limit_and_refuse_the_stratum_above_it():
    """1 of 20 is the limit and passes; 2 of 20 is over it, and the stratum is named."""
    done = [decide(example, "accept") for example in SOME]
    done[0] = decide(SOME[0], "reject", reasons=(REASONS[0],))
    done[40] = decide(SOME[40], "reject", note="no")
    assert check_review(SOME, done) == SOME[1:40] + SOME[41:]

    done[41] = decide(SOME[41], "reject", note="no")
    with pytest.raises(
        ReviewError, match=r"negative / \(none\): 2 of 20 read examples were rejected \(10%\)"
    ) as refused:
        check_review(SOME, done)
    assert len(refused.value.problems) == 1
    assert len(check_review(SOME, done, limit=0.1)) == 57
    with pytest.raises(SetupError, match="limit"):
        check_review(SOME, done, limit=1)


def test_an_edited_example_enters_as_edited_and_needs_no_second_reading():
    """It takes the place of the old one; a file that already holds the new text passes as well."""
    change = edit(SOME[3])
    done = [decide(example, "accept") for example in SOME if example is not SOME[3]] + [change]
    passed = check_review(SOME, done)
    assert passed[3] == change.example
    assert passed[:3] + passed[4:] == SOME[:3] + SOME[4:]
    assert check_review(passed, done) == passed


@given(
    st.lists(st.tuples(st.sampled_from(["accept", "reject", "edit", "skip", "undo"]), st.integers(0, 2)), max_size=15)
)
def test_the_last_decision_counts_and_undo_takes_it_back(steps: list[tuple[str, int]]):
    """Like a stack per example: each undo brings back what stood before."""
    stacks: dict[int, list[str]] = {0: [], 1: [], 2: []}
    decisions = []
    for action, place in steps:
        decisions.append(edit(SOME[place]) if action == "edit" else decide(SOME[place], action))
        if action != "undo":
            stacks[place].append(action)
        elif stacks[place]:
            stacks[place].pop()
    verdicts = find_verdicts(decisions)
    for place, stack in stacks.items():
        verdict = verdicts.get(content_hash(SOME[place]))
        assert (verdict.action if verdict else "skip") == (stack[-1] if stack else "skip")


def test_undo_takes_back_only_what_the_same_person_said():
    """Ben's undo leaves Ann's word alone."""
    decisions = [decide(SOME[0], "reject", note="x"), decide(SOME[0], "undo", reviewer="ben")]
    assert find_verdicts(decisions)[content_hash(SOME[0])].action == "reject"


# --- the file of decisions


def test_decisions_come_back_as_they_were_written(tmp_path: Path):
    """Every action with all that belongs to it; reopening goes on at the end."""
    file = tmp_path / "new" / "a.decisions"
    written = [
        decide(SOME[0], "draw", level=0.05),
        decide(SOME[0], "reject", reasons=REASONS[:2], note="“why”\u2028"),
        edit(SOME[1], "naïve \ud800"),
        decide(SOME[1], "undo"),
    ]
    log = DecisionLog(file)
    log.append(written[:2])
    log.append(written[2:])
    log.close()
    again = DecisionLog(file)
    again.append([decide(SOME[2], "accept")])
    again.close()

    assert read_decisions(file) == [*written, decide(SOME[2], "accept")]


@pytest.mark.parametrize("cut", [1, 30, 119])
def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path, cut: int):
    """It was never confirmed; the file goes on after the last whole line."""
    file = tmp_path / "a.decisions"
    log = DecisionLog(file)
    log.append([decide(SOME[0], "accept"), decide(SOME[1], "accept")])
    log.close()
    file.write_bytes(file.read_bytes()[:-cut])
    assert read_decisions(file) == [decide(SOME[0], "accept")]
    log = DecisionLog(file)
    log.append([decide(SOME[2], "accept")])
    log.close()

    assert [d.id for d in read_decisions(file)] == ["syn-0", "syn-2"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"action": "bless"}, "unknown action 'bless'", id="unknown action"),
        pytest.param({"hash": 3}, "hash must be a text", id="no hash"),
        pytest.param({"level": 0.1}, "a draw, and nothing else", id="level of an edit"),
        pytest.param({"becomes": "sha256:0"}, "becomes is not the hash", id="another text than was confirmed"),
        pytest.param({"example": {}}, "missing key", id="example is none"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, change: dict[str, Any], why: str):
    """The file and the line, and what is wrong; an edit that does not validate any more is such a line."""
    file = tmp_path / "a.decisions"
    log = DecisionLog(file)
    log.append([decide(SOME[0], "accept"), edit(SOME[1])])
    log.close()
    first, second = file.read_text().splitlines()
    file.write_text(first + "\n" + json.dumps(json.loads(second) | change) + "\n")

    with pytest.raises(DataError, match=re.escape(f"{file}:2: {why}")):
        read_decisions(file)


def test_two_sittings_cannot_write_to_one_file(tmp_path: Path):
    """The second one is told so; after the first has ended it may."""
    first = DecisionLog(tmp_path / "a.decisions")
    with pytest.raises(SetupError, match="Another review writes to"):
        DecisionLog(tmp_path / "a.decisions")
    first.close()
    DecisionLog(tmp_path / "a.decisions").close()


def test_a_full_disk_saves_nothing_and_says_so(tmp_path: Path):
    """Half a line is taken back; with room again the log goes on. A limit on the file's size stands for the disk."""
    log = DecisionLog(tmp_path / "a.decisions")
    log.append([decide(SOME[0], "accept")])
    size = log.path.stat().st_size
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, old[1]))
        with pytest.raises(DataError, match="Nothing was saved"):
            log.append([decide(SOME[1], "accept")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)
    assert log.path.stat().st_size == size
    log.append([decide(SOME[2], "accept")])
    log.close()

    assert [d.id for d in read_decisions(log.path)] == ["syn-0", "syn-2"]


# --- a sitting


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Callable[..., Review]]:
    logs = []

    def start(examples: list[Example] = SOME, **more: Any) -> Review:
        for log in logs[-1:]:
            log.close()
        logs.append(DecisionLog(tmp_path / "a.decisions"))
        return Review(examples, logs[-1], **{"reviewer": "ann", "clock": lambda: TIME} | more)

    yield start
    logs[-1].close()


def test_a_sitting_reads_the_sample_once_skips_last_and_a_build_takes_it(sit: Callable[..., Review]):
    """Skipped examples come back at the end; when all are accepted, the build has nothing to say."""
    review = sit()
    first = review.state()["example"]["hash"]
    review.decide({"action": "skip", "hash": first})
    seen = []
    while (state := review.state())["example"]:
        seen.append(state["example"]["hash"])
        review.decide({"action": "accept", "hash": seen[-1]})

    assert sorted(seen) == sorted(draw_sample(SOME))
    assert seen[-1] == first
    assert (state["read"], state["problems"]) == (9, [])
    assert check_review(SOME, review.log.decisions) == SOME
    assert {d.time for d in review.log.decisions} == {NOW}


def test_a_sitting_goes_on_where_the_last_one_ended(sit: Callable[..., Review]):
    """Decisions, draws and undo live in the file, not in the server."""
    review = sit(SOME[:40])
    key = review.state()["example"]["hash"]
    review.decide({"action": "reject", "hash": key, "reasons": [REASONS[1]]})
    drawn = set(review.sample)

    review = sit(SOME)

    assert drawn <= set(review.sample)
    assert review.state()["read"] == review.state()["rejected"] == 1
    state = review.decide({"action": "undo"})
    assert (state["example"]["hash"], state["read"], state["undo"]) == (key, 0, False)
    with pytest.raises(ValueError, match="nothing to undo"):
        review.decide({"action": "undo"})


def test_a_sitting_with_too_small_a_share_does_not_promise_a_build(sit: Callable[..., Review]):
    """Who reads 1 % is told what a build still wants."""
    review = sit(share=0.01)
    while (state := review.state())["example"]:
        review.decide({"action": "accept", "hash": state["example"]["hash"]})
    assert state["read"] == 2
    assert "single / createTask: 5 of 6 drawn examples are not read" in state["problems"]


def test_undo_belongs_to_the_reviewer(sit: Callable[..., Review]):
    """Ben cannot undo what Ann decided yesterday by pressing u too often."""
    review = sit()
    review.decide({"action": "accept", "hash": review.sample[0]})
    assert sit(reviewer="ben").state()["undo"] is False


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param({"action": "bless"}, "unknown action", id="unknown action"),
        pytest.param({"action": "reject"}, "say why", id="no reason"),
        pytest.param({"action": "reject", "reasons": ["so"]}, "reasons must be among", id="unknown reason"),
        pytest.param({"action": "accept", "hash": "sha256:0"}, "not in the sample", id="unknown example"),
        pytest.param({"action": "accept", "hash": []}, "not in the sample", id="no hash"),
        pytest.param({"action": "edit"}, "an edit has now, kind and messages", id="empty edit"),
    ],
)
def test_a_decision_that_cannot_be_taken_is_refused(sit: Callable[..., Review], body: dict[str, Any], why: str):
    """Nothing is written."""
    review = sit()
    before = review.log.path.read_bytes()
    with pytest.raises(ValueError, match=why):
        review.decide({"hash": review.sample[0]} | body)
    assert review.log.path.read_bytes() == before


def test_an_edit_is_validated_and_linked(sit: Callable[..., Review]):
    """A reply that breaks the contract is refused with its reason; a good one gets a new hash, a link and its tools."""
    review = sit()
    key = next(key for key in review.sample if review.examples[key].tools)
    old = review.examples[key]
    change = {"now": NOW, "kind": "single", "messages": ["weather?", make_call("getWeather", "Oslo")]}
    for messages, why in [
        (
            ["weather?", '```json\n{"tool": "getWeather", "params": {"city": "Oslo"}}\n```'],
            "breaks the schema of getWeather",
        ),
        (["weather?", "```json\n{oops\n```"], "malformed"),
        (["weather?"], "messages must be 2 texts"),
        ([m["content"] for m in old.messages], "nothing was changed"),
    ]:
        with pytest.raises(ValueError, match=why):
            review.decide({"action": "edit", "hash": key, "example": change | {"messages": messages}})
    with pytest.raises(ValueError, match="unknown kind"):
        review.decide({"action": "edit", "hash": key, "example": change | {"kind": "poem"}})

    review.decide({"action": "edit", "hash": key, "example": change})

    decision = read_decisions(review.log.path)[-1]
    assert decision.hash == key
    assert decision.example is not None
    assert decision.becomes == content_hash(decision.example) != key
    assert (decision.example.tools, decision.example.id) == (("getWeather",), old.id)
    assert check_example(decision.example, load_toolset()) == []


@pytest.mark.parametrize(
    ("value", "note"),
    [
        ("2026-03-02", "Monday, today"),
        ("2026-03-03T15:00:00+00:00", "Tuesday, tomorrow"),
        ("2026-03-06", "Friday, in 4 days"),
        ("2026-03-01", "Sunday, yesterday"),
        ("2026-02-20", "Friday, 10 days ago"),
        ("2026-02-30", "no such day"),
        ("call mom", ""),
        ("2026-03-02 or so", ""),
    ],
)
def test_dates_are_explained(value: str, note: str):
    """The reviewer need not count weekdays."""
    assert describe_day(value, NOW) == note


# --- the server


@pytest.fixture
def served(sit: Callable[..., Review]) -> Iterator[tuple[Review, int, str]]:
    review, token, listener = sit(), make_token(), open_socket(0)
    server = make_server(review, token)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield review, listener.getsockname()[1], token
    server.should_exit = True
    thread.join()
    listener.close()


def ask(port: int, path: str, body: Any = None, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    """One request; header names are written with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("GET" if body is None else "POST", path, data, sent)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text, response.headers


JSON = {"Content_Type": "application/json"}


def test_the_server_shows_and_takes_decisions(served: tuple[Review, int, str]):
    """State, decision, the next state; every decision is in the file when the answer comes."""
    review, port, token = served
    status, text, headers = ask(port, f"/{token}/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    for name in set(re.findall(r'(?:href|src)="(page[^"]+)"', text)):
        assert ask(port, f"/{token}/{name}")[0] == 200
    state = json.loads(ask(port, f"/{token}/state")[1])
    status, text, _ = ask(port, f"/{token}/decide", {"action": "accept", "hash": state["example"]["hash"]}, **JSON)

    assert (status, json.loads(text)["read"]) == (200, 1)
    assert read_decisions(review.log.path)[-1].action == "accept"
    assert ask(port, f"/{token}/decide", {"action": "bless", "hash": review.sample[0]}, **JSON)[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        pytest.param("/", None, {}, 403, id="no token"),
        pytest.param("/state", None, {}, 403, id="no token for the state"),
        pytest.param("/%F0%9F%90%99/state", None, {}, 403, id="another token"),
        pytest.param("/wrong/decide", {"action": "undo"}, JSON, 403, id="another token to write"),
        pytest.param("/TOKEN/state", None, {"Host": "evil.example"}, 403, id="DNS rebinding"),
        pytest.param("/TOKEN/state", None, {"Host": "127.0.0.1.evil.example:80"}, 403, id="lookalike host"),
        pytest.param("/TOKEN/state", None, {"Host": "localhost:9"}, 200, id="forwarded port"),
        pytest.param(
            "/TOKEN/decide", {"action": "undo"}, JSON | {"Origin": "http://evil.example"}, 403, id="other site"
        ),
        pytest.param("/TOKEN/decide", {"action": "undo"}, JSON | {"Origin": "null"}, 403, id="sandboxed frame"),
        pytest.param("/TOKEN/decide", {"action": "undo"}, {"Content_Type": "text/plain"}, 415, id="form"),
        pytest.param("/TOKEN/decide", b"x" * 2**21, JSON, 413, id="too long"),
        pytest.param("/TOKEN/decide", b"\xff", JSON, 400, id="not UTF-8"),
        pytest.param("/TOKEN/decide", b"[]", JSON, 400, id="no object"),
        pytest.param("/TOKEN/decide", None, {}, 404, id="get decide"),
        pytest.param("/TOKEN/../server.py", None, {}, 404, id="path"),
        pytest.param("/TOKEN/server.py", None, {}, 404, id="source"),
    ],
)
def test_who_may_not_is_turned_away(
    served: tuple[Review, int, str], path: str, body: Any, headers: dict[str, str], status: int
):
    """Without token, from other sites, under other names, with other bodies: refused, and nothing is written."""
    review, port, token = served
    before = review.log.path.read_bytes()
    try:
        found, text, _ = ask(port, path.replace("TOKEN", token), body, **headers)
    except (BrokenPipeError, ConnectionResetError):  # it hung up while we still sent
        found, text = 413, ""
    assert found == status
    assert token not in text
    assert review.log.path.read_bytes() == before


def test_the_server_hears_loopback_only(served: tuple[Review, int, str]):
    """Its socket is bound to 127.0.0.1: another address of this machine finds nobody, even within 127/8."""
    connection = http.client.HTTPConnection("127.0.0.2", served[1], timeout=5)
    with pytest.raises(OSError):  # refused, or no such address at all
        connection.request("GET", "/")


def test_a_taken_port_is_named(served: tuple[Review, int, str]):
    """One line that says what to do."""
    with pytest.raises(SetupError, match=f"Cannot listen on port {served[1]}.*--port 0"):
        open_socket(served[1])


# --- the command


@contextmanager
def start_command(*words: object) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    command = [sys.executable, "-m", "training", "review", *map(str, words), "--port", "0", "--reviewer", "ann"]
    wide = os.environ | {"COLUMNS": "120"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=wide) as process:
        assert process.stdout is not None
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]+)/\n", process.stdout.readline())
        try:
            assert found, "the command did not begin with an address"
            yield process, int(found[1]), found[2]
        finally:
            process.kill()


def test_the_command_serves_survives_a_kill_and_ends_with_a_table(tmp_path: Path):
    """A decision that was answered is there after kill -9; Ctrl-C prints how the strata stand."""
    write_examples(tmp_path / "syn.jsonl", SOME[:40])
    with start_command(tmp_path / "syn.jsonl") as (process, port, token):
        key = json.loads(ask(port, f"/{token}/state")[1])["example"]["hash"]
        assert ask(port, f"/{token}/decide", {"action": "accept", "hash": key}, **JSON)[0] == 200
        process.kill()
    with start_command(tmp_path / "syn.jsonl") as (process, port, token):
        assert json.loads(ask(port, f"/{token}/state")[1])["read"] == 1
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)

    assert process.returncode == 0, output
    assert "1 strata are not ready for a build" in output
    assert re.search(r"single\s.*createTask\s.*40\s.*6\s.*5\s.*read on", output)
    assert token not in output
    assert [d.action for d in read_decisions(tmp_path / "syn.decisions")] == ["draw"] * 6 + ["accept"]


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path):
    """Nothing to read is an error, not an empty page."""
    (tmp_path / "a.jsonl").write_text("{}\n")
    command = [sys.executable, "-m", "training", "review", str(tmp_path / "a.jsonl")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "a.jsonl:1: missing key" in result.stderr.replace("\n", "")
    assert "error: No examples in" in result.stderr
