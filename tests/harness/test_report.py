"""What a run shows: the same numbers in every format, and foreign text that stays text."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gate import Bar, Profile, Require, decide
from harness.metrics import compute_metrics
from harness.report import (
    HEADERS,
    Report,
    decision_dict,
    latency_dict,
    metrics_dict,
    read_decision,
    render_html,
    render_markdown,
    render_terminal,
    show_expected,
    show_text,
)
from harness.types import Case, ErrorType, ExpectedCall, Outcome, ReplyKind, Verdict

TASK = ExpectedCall("createTask", {"title": ("call mom",), "dueDate": (None, "2026-03-03"), "note": ({"any": True},)})
PROFILE = Profile(
    "release",
    {
        "tool_selection": Bar(0.9, 2, Require.PROVEN),
        "negative_precision": Bar(0.9, 2, Require.MET),
        "latency_p95": Bar(2.0, 1, Require.MET),
        "adapter_size": Bar(300, 1, Require.MET),
    },
    {},
)
HOSTILE = "\x1b[2J</pre></textarea><script>alert(1)</script>\n```\n| a | b |\n<!-- \x00 \u202e ]]> & \" ' `x` \ud800"


def make_case(case_id, question="remind me to call mom", expect=(TASK,)):
    turns = ({"role": "user", "content": question},)
    return Case(case_id, "selection" if expect else "negatives", turns, "2026-03-02T09:00:00+00:00", tuple(expect))


def make_outcome(case, error=None, text="ok", detail=""):
    right = error is None
    verdict = Verdict.RIGHT if right else Verdict.ERROR if error is ErrorType.TARGET_ERROR else Verdict.WRONG
    called = tuple(call.tool for call in case.expect) if right else ()
    kind = None if verdict is Verdict.ERROR else ReplyKind.CALL if called else ReplyKind.NONE
    expected = tuple(call.tool for call in case.expect)
    valid = True if called else None
    used = (expected, called, right, valid, int(bool(called)), 1)
    return Outcome(case.id, case.suite, verdict, error, detail, kind, *used, text=text)


def make_report(text="I would rather not.", question="remind me to call mom", detail="no call came", judged=True):
    tasks = [make_case(f"s-{i}", question) for i in range(6)]
    chats = [make_case(f"n-{i}", "hello", ()) for i in range(4)]
    outcomes = [make_outcome(case) for case in tasks + chats]
    outcomes[1] = make_outcome(tasks[1], ErrorType.MISSED_CALL, text, detail)
    outcomes[2] = make_outcome(tasks[2], ErrorType.MISSED_CALL, text, detail)
    metrics = compute_metrics(outcomes, latencies=[0.5] * 60, adapter_bytes=12_300_000)
    decision = decide([case.id for case in tasks + chats], outcomes, metrics, PROFILE) if judged else None
    return Report(
        metrics, outcomes, {case.id: case for case in tasks + chats}, decision, {"target": "replay"}, ("a note",)
    )


class Page(HTMLParser):
    """Collects tags and text; an unclosed or foreign tag would show up here."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], set(), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in attrs)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_terminal_shows_table_failures_reasons_and_verdict():
    """Columns, k/n, both readings, printed metrics without a bar, and the verdict in the last line."""
    text = render_terminal(make_report())
    lines = text.splitlines()

    assert lines[lines.index("missed_call (2)") + 12].split() == ["metric", "k/n", "point", "bound", "bar", "state"]
    assert any(x.split() == ["tool_selection", "4/6", "0.6667", "0.2713", ">", "0.9", "below", "✗"] for x in lines)
    assert any(x.split()[:3] == ["negative_precision", "(no_tool_recall)", "4/4"] and "proven" not in x for x in lines)
    assert any(x.split()[:3] == ["latency_p95", "60/60", "0.500"] for x in lines)
    assert any("12.3 MB" in x and "< 300 MB" in x for x in lines)
    assert any(x.split()[:2] == ["argument_accuracy", "4/6"] for x in lines)
    assert "missed_call (2)" in lines
    assert any(x.split() == ["prompt", "remind", "me", "to", "call", "mom"] for x in lines)
    assert any(x.strip().startswith("reply  I would rather not.") for x in lines)
    assert "8 of 10 cases right" in lines
    assert "a note" in lines
    assert lines[-1] == "gate closed: profile release, 2 reasons"


def test_every_reason_is_shown_in_every_format():
    """Nobody has to look elsewhere for why a gate is closed."""
    report = make_report()
    formats = (render_terminal(report), Page(render_html(report)).text, json.dumps(decision_dict(report)))

    for reason in report.decision.reasons:
        assert all(reason in text for text in formats)
    assert render_markdown(report).count("\n- ") == len(report.decision.reasons) + len(report.about)


def test_an_open_gate_says_so_once():
    """No reasons, no failures."""
    report = make_report()
    outcomes = [replace(o, verdict=Verdict.RIGHT, error_type=None) for o in report.outcomes]
    report = replace(report, outcomes=outcomes, decision=replace(report.decision, reasons=(), rows=()))

    assert render_terminal(report).endswith("\n\ngate open: profile release")
    assert "missed_call" not in render_terminal(report) + render_html(report) + render_markdown(report)


def test_a_run_without_a_verdict_gives_none():
    """``python -m harness run`` measures and decides nothing."""
    report = make_report(judged=False)

    assert render_terminal(report).endswith("measured, no verdict")
    assert decision_dict(report) == {"open": None, "profile": None, "reasons": [], "rows": []}
    assert read_decision(decision_dict(report)) is None


def test_more_failures_than_fit_are_counted():
    """The terminal shows some, the page all."""
    report = make_report()

    assert "… and 1 more" in render_terminal(report, shown=1)
    assert render_html(report).count("<article>") == 2


def test_what_was_not_measured_is_named():
    """Neither right nor wrong, and without a reply to show."""
    report = make_report()
    outcomes = [*report.outcomes[:-1], make_outcome(make_case("n-3", "hi", ()), ErrorType.TARGET_ERROR, "", "no route")]
    metrics = compute_metrics(outcomes)
    text = render_terminal(replace(report, outcomes=outcomes, metrics=metrics))

    assert "7 of 10 cases right, 1 not measured" in text
    assert "target_error (1)" in text
    assert "no route" in text


def test_metrics_json_holds_nothing_that_varies():
    """Other latencies give the same bytes; the verdict on latency stands in decision.json."""
    report = make_report()
    slow = compute_metrics(report.outcomes, latencies=[9.0] * 60, adapter_bytes=12_300_000)
    ids = list(report.cases)
    other = replace(report, metrics=slow, decision=decide(ids, report.outcomes, slow, PROFILE))

    assert metrics_dict(report) == metrics_dict(other)
    assert decision_dict(report) != decision_dict(other)
    assert latency_dict(slow)["p95"] == 9.0
    assert latency_dict(compute_metrics([])) == {"n": 0, "p50": None, "p95": None, "p95_upper": None, "seconds": []}


def test_a_decision_comes_back_as_it_was():
    """Through JSON, with every row and reason."""
    report = make_report()

    assert read_decision(json.loads(json.dumps(decision_dict(report)))) == report.decision


def test_expectations_are_readable():
    """Values, omissions and freedom in one line; plain text where no tool is right."""
    case = replace(make_case("a"), alternatives=((), (ExpectedCall("listTasks", "any"),)))

    assert show_expected(case) == (
        'createTask(title="call mom", dueDate=nothing|"2026-03-03", note=anything) or plain text or listTasks(…)'
    )


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(), st.just(HOSTILE)))
def test_foreign_text_stays_text(text):
    """Whatever a model writes: no control sequence, no markup, no broken table, no crash when written as UTF-8."""
    report = make_report(text=text, question=text or "?", detail=text)
    page = Page(render_html(report))
    terminal, markdown = render_terminal(report), render_markdown(report)

    assert page.open == []
    assert not page.tags & {"script", "textarea", "img", "a", "iframe", "svg"}
    assert all(c.isprintable() or c == "\n" for c in terminal)
    assert len(terminal.splitlines()) == len(render_terminal(make_report()).splitlines())
    for written in (terminal, markdown, render_html(report)):
        written.encode("utf-8")


def test_markdown_fences_are_longer_than_what_they_hold():
    """A reply that is a fence itself does not end ours."""
    markdown = render_markdown(make_report(text="`````\n# big\n`````"))

    assert "````````text" in markdown
    assert markdown.count("````````") == 4


@pytest.mark.parametrize("scheme", ["prefers-color-scheme: dark", "color-scheme: light dark", "default-src 'none'"])
def test_the_page_is_for_light_and_dark_screens_and_loads_nothing(scheme):
    """One file without a script and without an address."""
    page = render_html(make_report())

    assert scheme in page
    assert "http" not in page.replace("http-equiv", "")


def test_each_number_of_the_page_has_its_name_beside_it():
    """A narrow screen shows each cell with its header in front of it."""
    page = render_html(make_report())

    for name in HEADERS:
        assert f'data-name="{name}"' in page
    assert "content: attr(data-name)" in page


def test_long_text_is_cut():
    """A reply of a megabyte takes one line."""
    assert len(show_text("a" * 10**6)) == 161
    assert show_text("a\tb\n\x1b[0m\u202e") == "a⇥b⏎\\x1b[0m\\u202e"
