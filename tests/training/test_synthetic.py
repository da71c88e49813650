"""Synthetic examples without a network: plans, prices, what is asked for and what is refused."""

from __future__ import annotations

import json
import random
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cases import parse_case
from harness.errors import DataError, SetupError
from harness.prompt import load_prompt
from training.data import HANDCRAFTED
from training.examples import check_example, load_examples
from training.synthetic.clients import check_url, read_wait
from training.synthetic.harvest import Harvest, harvest_replies, write_harvest
from training.synthetic.ledger import State, ledger_path, load_state, open_ledger, read_reply, spent
from training.synthetic.models import CLAUDE, Price, check_settings, read_price, refuse_openai
from training.synthetic.plan import Plan, draw_now, estimate_cost, make_plan, read_plan, write_plan
from training.synthetic.prompts import STYLES, format_line, list_topics, parse_line

TOOLSET = load_prompt().toolset
KINDS = ("single", "crud", "contrastive", "negative", "multi_turn", "compound", "general")


def plan_for(kind: str = "single", *, count: int = 10, tool: str | None = None, **options) -> Plan:
    tools = (tool,) if tool else ()
    defaults = {"run": "0badcafe", "model": "claude-sonnet-5-5", "price": Price(2, 10), "licence": "Apache-2.0"}
    return make_plan(TOOLSET, (), count=count, kinds=(kind,), tools=tools, seed="s", **(defaults | options))


def reply(text: str, *, stop: str = "end_turn", model: str = "claude-sonnet-5-5") -> str:
    usage = {"input_tokens": 100, "output_tokens": 50}
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
    return json.dumps({"content": content, "model": model, "stop_reason": stop, "usage": usage})


def harvest(plan: Plan, text: str, *, known=(), cases=(), **options) -> Harvest:
    state = State(replies={plan.requests[0].id: reply(text, **options)})
    return harvest_replies(plan, state, TOOLSET, known=known, cases=cases)


def task_line(now: str, title: str, said: str | None = None, **params: str) -> str:
    calls = [{"tool": "createTask", "params": {"title": title, "priority": "medium"} | params}]
    return json.dumps({"now": now, "messages": [{"user": said or f"note {title}"}, {"calls": calls}]})


def test_every_kind_and_tool_has_a_topic():
    """Topics cover the kinds of the format and all ten tools."""
    topics = list_topics(TOOLSET)

    assert {topic.kind for topic in topics} == set(KINDS)
    assert {topic.tool for topic in topics if topic.tool} == set(TOOLSET.tools)


def test_each_topic_meets_each_style():
    """The styles step on against the topics, so the matrix fills."""
    plan = plan_for("crud", count=10 * 5 * len(STYLES))

    assert len({(request.topic, request.style) for request in plan.requests}) == 5 * len(STYLES)


@settings(deadline=None)
@given(st.integers(1, 400), st.sets(st.sampled_from(KINDS)), st.sets(st.sampled_from(sorted(STYLES))))
def test_a_plan_asks_for_what_was_said(count, kinds, styles):
    """The examples of the requests add up to the count (a pair may be one more), with ids and times of their own."""
    plan = make_plan(TOOLSET, (), run="1", model="m", price=Price(1, 1), licence="x", count=count,
                     kinds=tuple(kinds), styles=tuple(styles))  # fmt: skip

    assert count <= sum(request.examples for request in plan.requests) <= count + 1
    assert len({request.id for request in plan.requests}) == len(plan.requests)
    assert {request.kind for request in plan.requests} <= (kinds or set(KINDS))
    assert {request.style for request in plan.requests} <= (styles or set(STYLES))
    for request in plan.requests:
        assert all(now in request.prompt and datetime.fromisoformat(now).tzinfo for now in request.nows)
        assert request.max_tokens <= 20_000
    assert estimate_cost(plan, plan.requests).cost_usd <= estimate_cost(plan, plan.requests).cost_usd_at_most


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path):
    """What a killed run goes on with is what was planned."""
    plan = plan_for("contrastive", count=30, temperature=None, batch=True)
    write_plan(tmp_path / "plan.json", plan)

    assert read_plan(tmp_path / "plan.json") == plan
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(DataError, match="is no plan"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(SetupError, match="Leave out --resume"):
        read_plan(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param({"kinds": ("odd",)}, "--kind 'odd' is unknown. Possible: single", id="kind"),
        pytest.param({"tools": ("fly",)}, "--tool 'fly' is unknown. Possible: createTask", id="tool"),
        pytest.param({"styles": ("loud",)}, "--style 'loud' is unknown. Possible: formal", id="style"),
        pytest.param({"kinds": ("negative",), "tools": ("createTask",)}, "leave nothing to ask for", id="nothing left"),
    ],
)
def test_choices_that_do_not_exist_are_named(options, why):
    """One line that says what is possible."""
    with pytest.raises(SetupError, match=why):
        make_plan(TOOLSET, (), run="1", model="m", price=Price(1, 1), licence="x", count=1, **options)


def test_handwritten_examples_survive_the_form_of_a_line():
    """A hand-written conversation can be written as a line and read back word for word."""
    for example in load_examples(HANDCRAFTED)[::7]:
        now, conversations = parse_line(format_line(example.now, [example.messages]), TOOLSET)
        assert (now, len(conversations)) == (example.now, 1)
        mine = [m | {"content": json.loads(m["content"])} if m["role"] == "tool" else m for m in conversations[0]]
        theirs = [m | {"content": json.loads(m["content"])} if m["role"] == "tool" else m for m in example.messages]
        assert mine == theirs


def test_requests_show_handwritten_lines():
    """A request holds lines of its own kind and tool in the right form."""
    shown = load_examples(HANDCRAFTED)
    for kind in ("crud", "contrastive", "general"):
        plan = make_plan(TOOLSET, shown, run="1", model="m", price=Price(1, 1), licence="x", count=10, kinds=(kind,))
        prompt = plan.requests[0].prompt
        lines = [line for line in prompt.split("\n") if line.startswith("{")]
        assert len(lines) == 2, kind
        assert all(len(parse_line(line, TOOLSET)[1]) == (2 if kind == "contrastive" else 1) for line in lines)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5.1-mini", "openai/gpt-oss-120b", "gpt-oss-20b", "chatgpt-4o-latest",
                                   "o3", "o4-mini", "text-davinci-003", "ft:gpt-4o:me", "GPT-4", "azure/anything",
                                   "codex-mini-latest", "gpt4"])  # fmt: skip
def test_models_of_openai_are_refused(model):
    """With the reason, and with what to use."""
    with pytest.raises(SetupError, match=r"terms of use forbid .* Use Claude, or serve an open model"):
        refuse_openai(model)


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://API.OpenAI.com:443/v1/", "https://openai.com",
                                 "https://mine.openai.azure.com/openai/v1"])  # fmt: skip
def test_servers_of_openai_are_refused(url):
    """Whatever the model is called."""
    with pytest.raises(SetupError, match="serves OpenAI's models"):
        refuse_openai("my-model", url)


@pytest.mark.parametrize("model", ["Qwen/Qwen3-32B", "meta-llama/Llama-3.2-3B-Instruct", "EleutherAI/gpt-j-6b",
                                   "gpt-neox-20b", "mistral-small", "olmo-2", "claude-opus-5-5", "phi-4"])  # fmt: skip
def test_other_models_are_not(model):
    """Names that only look alike pass."""
    refuse_openai(model, "http://notopenai.com.example/v1")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        pytest.param(("claude-sonnet-5-5", 0.7, None, False), "takes no --temperature", id="no temperature"),
        pytest.param(("claude-haiku-4-5-20251001", 1.5, None, False), "not between 0 and 1", id="range"),
        pytest.param(("claude-haiku-4-5", None, "low", False), "takes no --effort", id="no effort"),
        pytest.param(("claude-opus-5", None, "huge", False), "Possible: low, medium", id="unknown effort"),
        pytest.param(("qwen", None, "low", True), "a setting of Claude", id="effort elsewhere"),
    ],
)
def test_settings_that_a_model_refuses_are_refused_first(given, why):
    """Before anything is sent."""
    model, temperature, effort, hosted_here = given
    with pytest.raises(SetupError, match=why):
        check_settings(model, temperature, effort, hosted_here=hosted_here)


def test_prices():
    """The table, dated names, prices of one's own, and half for a batch."""
    assert read_price(None, "claude-haiku-4-5-20251001", hosted_here=False) == CLAUDE["claude-haiku-4-5"].price
    assert read_price(None, "qwen", hosted_here=True) == Price(0, 0)
    assert read_price("3/15", "claude-unheard-of", hosted_here=False).cost(1_000_000, 1_000_000) == 18
    assert Price(2, 10).cost(500_000, 100_000, batch=True) == 1.0
    with pytest.raises(SetupError, match="No price is known for 'claude-unheard-of'"):
        read_price(None, "claude-unheard-of", hosted_here=False)
    for text in ("3", "a/b", "-1/2", "1/2/3", "nan/1"):
        with pytest.raises(SetupError, match="is no price"):
            read_price(text, "m", hosted_here=False)


def test_addresses_with_secrets_are_refused():
    """They would stand in plan.json."""
    assert check_url("http://127.0.0.1:8000/v1/") == "http://127.0.0.1:8000/v1"
    for url in ("localhost:8000", "ftp://x", "http://me:secret@x/v1", "http://x/v1?key=secret"):
        with pytest.raises(SetupError, match="--base-url") as error:
            check_url(url)
        assert "secret" not in str(error.value) or "secret@" not in str(error.value)


def test_retry_after_is_seconds_or_a_date():
    """And nonsense is no wait."""
    assert read_wait("2.5") == 2.5
    assert read_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert read_wait("soon") is None
    assert read_wait(None) is None


def test_a_good_line_becomes_an_example():
    """With provenance: run, request and line are its id, the model its author."""
    plan = plan_for(tool="createTask")
    now = plan.requests[0].nows[3]
    text = f"```json\n\n{task_line(now, 'water the moss')}\n```\n"

    examples = harvest(plan, text, model="claude-sonnet-5-5-20261001").examples

    assert [e.id for e in examples] == ["syn-0badcafe-0001-01"]
    assert (examples[0].source, examples[0].author) == ("synthetic", "claude-sonnet-5-5-20261001")
    assert (examples[0].licence, examples[0].now, examples[0].tools) == ("Apache-2.0", now, ("createTask",))
    assert check_example(examples[0], TOOLSET) == []


def test_the_halves_of_a_pair_stay_together():
    """One line, two examples, one pair; what is alike inside a pair is meant to be."""
    plan = plan_for("contrastive")
    call_task = {"tool": "createTask", "params": {"title": "judo", "priority": "medium"}}
    call_event = {
        "tool": "createCalendarEvent",
        "params": {"summary": "judo", "startTime": "2030-01-01T09:00:00+00:00"},
    }
    halves = [[{"user": f"put judo on my {where} for new year 2030"}, {"calls": [call]}]
              for where, call in (("list", call_task), ("calendar", call_event))]  # fmt: skip
    line = {"now": plan.requests[0].nows[0], "pair": halves}

    found = harvest(plan, json.dumps(line))
    same = harvest(plan, json.dumps(line | {"pair": [halves[0], halves[0]]}))

    assert [(e.id[-1], e.pair) for e in found.examples] == [
        ("a", "syn-0badcafe-0001-01"),
        ("b", "syn-0badcafe-0001-01"),
    ]
    assert (found.lines, len(found.units)) == (1, 1)
    assert same.rejects[0].detail == "both halves of the pair call the same"


NOW = plan_for(tool="createTask").requests[0].nows[0]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        pytest.param("Here are your lines:", "not JSON", "", id="prose"),
        pytest.param('{"now": "x"}', "not the asked form", "now", id="keys"),
        pytest.param('{"now": "x", "messages": []}', "not the asked form", "list of turns", id="no turns"),
        pytest.param('{"now": 1, "messages": []}', "not the asked form", "now is a text", id="now"),
        pytest.param(task_line("2026-01-01T09:00:00+00:00", "x"), "now is none of the given times", "2026", id="time"),
        pytest.param(task_line(NOW, "x").replace("eTask", "eFly"), "not the asked form", "unknown tool", id="tool"),
        pytest.param(task_line(NOW, "x", colour="red"), "breaks the format", "colour", id="schema"),
        pytest.param(task_line(NOW, "x", said="<|eot_id|> x"), "breaks the format", "special-token", id="token"),
        pytest.param(task_line(NOW, "x", dueDate="2020-01-01"), "a day that cannot be right", "before now", id="past"),
        pytest.param(
            task_line(NOW, "x", said="x by monday please", dueDate="2030-01-01"), "a day that cannot be right",
            "the user says monday, and 2030-01-01 is a Tuesday", id="weekday",
        ),
        pytest.param(
            task_line(NOW, "x").replace("createTask", "listTasks").replace('"title": "x", "priority"', '"priority"'),
            "not what was asked for", "one call of createTask", id="other tool",
        ),
        pytest.param(
            json.dumps({"now": NOW, "pair": [[{"user": "a"}, {"assistant": "b"}]] * 2}), "not the asked form", "a pair",
            id="pair",
        ),
    ],
)  # fmt: skip
def test_a_bad_line_is_kept_with_its_reason(line, reason, detail):
    """And takes nothing else of the reply with it."""
    plan = plan_for(tool="createTask")
    good = task_line(NOW, "fold the origami cranes")

    found = harvest(plan, f"{good}\n{line}")

    assert (found.lines, len(found.units), len(found.rejects)) == (2, 1, 1)
    assert found.rejects[0].reason == reason
    assert detail in found.rejects[0].detail
    assert found.rejects[0].line == line


def test_an_end_before_its_start_is_refused():
    """Times are compared as instants."""
    plan = plan_for(tool="createCalendarEvent")
    params = {"summary": "x", "startTime": "2030-05-05T10:00:00+00:00", "endTime": "2030-05-05T11:00:00+02:00"}
    turns = [{"user": "x"}, {"calls": [{"tool": "createCalendarEvent", "params": params}]}]

    found = harvest(plan, json.dumps({"now": plan.requests[0].nows[0], "messages": turns}))

    assert "before it begins" in found.rejects[0].detail


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        pytest.param("", {"stop": "refusal"}, "the model refused", id="refusal"),
        pytest.param("", {"stop": "end_turn"}, "the reply is empty (end_turn)", id="empty"),
        pytest.param("x", {"model": "gpt-4o"}, "output of an OpenAI model", id="OpenAI behind another name"),
        pytest.param('{"now": "2026', {"stop": "max_tokens"}, "cut off at max_tokens", id="cut"),
    ],
)
def test_a_reply_that_is_none_is_kept_with_its_reason(text, options, reason):
    """Its cost counts all the same."""
    found = harvest(plan_for(tool="createTask"), text, **options)

    assert [reject.reason for reject in found.rejects] == [reason]


@settings(deadline=None)
@given(st.text(max_size=300) | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x)
       | st.dictionaries(st.sampled_from(["now", "messages", "pair", "user", "calls", "result", "tool", "params"]), x),
       max_leaves=12).map(json.dumps))  # fmt: skip
def test_no_reply_breaks_the_harvest(text):
    """Every line is an example or a reject, whatever a model writes."""
    plan = plan_for(tool="createTask")

    found = harvest(plan, text)

    assert found.lines == len(found.units) + len(found.rejects)
    assert all(check_example(example, TOOLSET) == [] for example in found.examples)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_body_breaks_the_reader(body):
    """What is no reply says so, and is not lost."""
    assert read_reply(body).why or read_reply(body).text


def test_near_duplicates_are_dropped():
    """Of known examples, of earlier lines, of questions in evals, whose words do not come out."""
    plan = plan_for(tool="createTask")
    nows = plan.requests[0].nows
    known = harvest(plan, task_line(nows[0], "x", said="kindly remember the tulip bulbs in the cellar")).examples
    case = parse_case(json.dumps({
        "id": "selection-900", "suite": "selection", "now": nows[0], "expect": [], "tags": [],
        "why": "w", "source": "s", "messages": [{"role": "user", "content": "secret words about the observatory dome"}],
    }))  # fmt: skip
    said = ["kindly remember the tulip bulbs in the cellar!", "polish the brass telescope tonight",
            "Polish the brass telescopes tonight.", "secret words about the observatory domes"]  # fmt: skip
    text = "\n".join(
        task_line(now, f"t{i}", said=words) for i, (now, words) in enumerate(zip(nows, said, strict=False))
    )

    found = harvest(plan, text, known=known, cases=[case])

    assert [user["content"] for e in found.examples for user in e.messages[:1]] == [said[1]]
    assert {r.id[-2:]: (r.reason, r.detail.partition(",")[0]) for r in found.rejects} == {
        "01": ("close to a known example", "syn-0badcafe-0001-01"),
        "03": ("close to another line of this run", "syn-0badcafe-0001-02"),
        "04": ("close to a case of evals", "selection-900"),
    }


def test_the_report_adds_up(tmp_path: Path):
    """Lines are kept or rejected, tokens and dollars are the replies' own, and the files are the same every time."""
    plan = plan_for(tool="createTask", count=20)
    nows = plan.requests[0].nows
    state = State(replies={"0001": reply(task_line(nows[0], "oil the bicycle chain") + "\nsorry")}, lost=["0002"])

    for _ in range(2):
        found = harvest_replies(plan, state, TOOLSET, known=(), cases=())
        report = write_harvest(tmp_path, plan, state, found, stopped="interrupted")

    assert (report["lines"], report["kept"], report["rejected"]) == (2, 1, {"not JSON": 1})
    assert report["tokens"] == {"input": 100, "output": 50}
    assert report["cost_usd"] == pytest.approx(0.0007 + plan.at_most(plan.requests[1]), abs=1e-6)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert len(load_examples(tmp_path)) == 1  # the folder itself is what review and build read
    assert json.loads((tmp_path / "raw" / "rejects.jsonl").read_text())["line"] == "sorry"


def test_a_torn_line_of_the_ledger_is_cut_off(tmp_path: Path):
    """A kill in the middle of writing takes that line alone, and what comes next is readable."""
    path = ledger_path(tmp_path)
    with open_ledger(path) as ledger:
        ledger.append("reply", request="0001", body="whole \u2028 \ud800")
    with path.open("ab") as file:
        file.write(b'{"event": "reply", "request": "0002", "bo')
    assert set(load_state(path).replies) == {"0001"}
    with open_ledger(path) as ledger:
        ledger.append("reply", request="0003", body="after")

    assert load_state(path).replies == {"0001": "whole \u2028 \ud800", "0003": "after"}


def test_two_processes_cannot_pay_for_one_run(tmp_path: Path):
    """The second one is told so."""
    with (
        open_ledger(ledger_path(tmp_path)),
        pytest.raises(SetupError, match="Another process is at work"),
        open_ledger(ledger_path(tmp_path)),
    ):
        pass


def test_a_broken_line_of_the_ledger_is_not_thrown_away(tmp_path: Path):
    """It names file and line, and leaves the file as it is."""
    path = ledger_path(tmp_path)
    path.parent.mkdir()
    path.write_text('{"event": "reply", "request": "0001", "body": ""}\nnonsense\n')

    with pytest.raises(DataError, match=r"replies\.jsonl:2: no line of a ledger"), open_ledger(path):
        pass
    assert path.read_text().endswith("nonsense\n")


def test_spent_counts_replies_once():
    """A reply that came twice was paid once by the token counts; what got lost counts in full."""
    plan = plan_for(tool="createTask", count=20)
    state = State(replies={"0001": reply("x"), "0002": "no json"})

    assert spent(plan, state) == pytest.approx(0.0007 + plan.at_most(plan.requests[1]))


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_times_have_an_offset_and_a_fair_hour(seed):
    """They read as the prompt's times do."""
    moment = datetime.fromisoformat(draw_now(random.Random(seed)))

    assert moment.utcoffset() is not None
    assert 2025 <= moment.year <= 2028
