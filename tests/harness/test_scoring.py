"""Scoring: every error type, what counts as the same value, and the assignment of calls to expected calls."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.parsing import parse_reply
from harness.scoring import (
    EXACT_SEARCH,
    assign_calls,
    gold_reply,
    normalise_text,
    same_value,
    sample_call,
    score_reply,
    target_error,
)
from harness.toolset import load_toolset
from harness.types import Case, ErrorType, ExpectedCall, Outcome, Reply, ReplyKind, ToolCall, Verdict

TOOLSET = load_toolset()
NOW = "2026-03-02T09:00:00+00:00"
calm = settings(deadline=None)  # the first example pays for importing scipy
ANY = {"any": True}


def case_of(*expect: ExpectedCall, **changes: object) -> Case:
    base = Case("c-1", "selection", ({"role": "user", "content": "hi"},), NOW, expect, pair="p", tags=("core",))
    return replace(base, **changes)


def task(title="call mom", priority="medium", **more):
    return ExpectedCall("createTask", {"title": (title,), "priority": (priority,), **more})


def block(tool: str, **params: object) -> str:
    import json

    return "```json\n" + json.dumps({"tool": tool, "params": params}) + "\n```"


def score(case: Case, text: str) -> Outcome:
    return score_reply(case, parse_reply(text), TOOLSET, text=text)


MOM = block("createTask", title="call mom", priority="medium")
DAD = block("createTask", title="call dad", priority="medium")


@pytest.mark.parametrize(
    ("expect", "text", "error", "in_detail"),
    [
        pytest.param([task()], MOM, None, "", id="right call"),
        pytest.param([], "It is sunny.", None, "", id="right silence about tools"),
        pytest.param([task()], "Sure, I will.", "missed_call", "expected createTask, got plain text", id="missed"),
        pytest.param([], MOM, "phantom_call", "expected plain text, got createTask", id="phantom"),
        pytest.param(
            [task()], block("getWeather"), "wrong_tool", "expected createTask, got getWeather", id="wrong tool"
        ),
        pytest.param([task(), task("call dad")], MOM, "missing_call", "createTask is missing", id="missing"),
        pytest.param([task()], MOM + "\n" + DAD, "extra_call", "createTask is not asked for", id="extra"),
        pytest.param([task()], MOM + "\n" + MOM, "duplicate_call", "more than once", id="duplicate"),
        pytest.param([task()], "\n".join([MOM, MOM, DAD]), "extra_call", "not asked for", id="duplicate and extra"),
        pytest.param([task()], block("fly"), "unknown_tool", 'no tool is called "fly"', id="unknown tool"),
        pytest.param([], block("fly"), "phantom_call", "plain text", id="unknown tool where none is expected"),
        pytest.param([task()], "```json\n{oops\n```", "malformed", "JSON", id="malformed"),
        pytest.param([], "```json\n{oops\n```", "malformed", "JSON", id="malformed where none is expected"),
        pytest.param(
            [task()], block("createTask", title="call mom"), "schema_violation", "'priority' is a required", id="schema"
        ),
        pytest.param(
            [task()],
            block("createTask", title="x", priority="urgent"),
            "schema_violation",
            "urgent",
            id="schema before value",
        ),
        pytest.param(
            [task()],
            block("createTask", title="call mom", priority="high"),
            "wrong_value",
            'createTask.priority: got "high", accepted "medium"',
            id="wrong value",
        ),
        pytest.param(
            [task()],
            block("createTask", title="call mom", priority="medium", description="now"),
            "wrong_value",
            "createTask.description",
            id="unexpected parameter",
        ),
        pytest.param(
            [task(dueDate=("2026-03-03",))], MOM, "wrong_value", "createTask.dueDate: missing", id="missing parameter"
        ),
        pytest.param([task()], "", "empty_reply", "empty", id="silence"),
        pytest.param([], " \n\t", "empty_reply", "empty", id="silence where no tool is expected"),
        pytest.param([], "<|eot_id|>", "empty_reply", "empty", id="nothing but a leaked token"),
    ],
)
def test_each_reply_has_one_verdict_and_one_error(expect, text, error, in_detail):
    """A reply is right or has exactly one error type, and its detail is one line."""
    outcome = score(case_of(*expect), text)

    assert error == outcome.error_type
    assert (Verdict.RIGHT if error is None else Verdict.WRONG) == outcome.verdict
    assert in_detail in outcome.detail
    assert "\n" not in outcome.detail
    assert outcome.tools_right == (error in {None, "schema_violation", "wrong_value"})
    assert (outcome.schema_valid is None) == (outcome.kind is not ReplyKind.CALL)


def test_every_error_type_is_tested_here():
    """A new error type needs a line in the table above."""
    table = test_each_reply_has_one_verdict_and_one_error.pytestmark[0].args[1]
    tested = {param.values[2] for param in table}

    assert {str(e) for e in ErrorType} - {"target_error"} == tested - {None}


def test_a_target_that_failed_is_not_measured():
    """An error is neither right nor wrong, and its reason stays on one line."""
    outcome = target_error(case_of(task()), "timeout\nafter 30 s")

    assert (outcome.verdict, outcome.error_type, outcome.kind) == (Verdict.ERROR, "target_error", None)
    assert outcome.detail == "timeout after 30 s"


def test_an_outcome_carries_its_case():
    """Pair, tags, suite, text and the truncation flag are handed on."""
    text = "```json\n{"
    outcome = score_reply(case_of(task()), parse_reply(text), TOOLSET, text=text, truncated=True)

    assert ("c-1", "selection", "p", ("core",), True, text) == (
        outcome.case_id,
        outcome.suite,
        outcome.pair,
        outcome.tags,
        outcome.truncated,
        outcome.text,
    )


@pytest.mark.parametrize(
    ("accepted", "given_value", "right"),
    [
        pytest.param(("call mom",), "Call Mom!", True, id="case and end punctuation"),
        pytest.param(("call mom",), "  call   the mom ", True, id="articles and spaces"),
        pytest.param(("mom’s “cake”",), 'mom\'s "cake"', True, id="curly quotes"),
        pytest.param(("café",), "cafe\u0301", True, id="unicode composition"),
        pytest.param(("plan A",), "plan", False, id="an article at the end is a name"),
        pytest.param(("call mom",), "call dad", False, id="another word"),
        pytest.param(("call mom", "ring mom"), "ring mom", True, id="one of several"),
        pytest.param((ANY,), "whatever", True, id="any"),
        pytest.param(("call mom", ANY), "whatever", True, id="any among others"),
    ],
)
def test_titles_compare_by_normalised_text(accepted, given_value, right):
    """A title is a person's words: spelling habits are no error, other words are."""
    case = case_of(ExpectedCall("createTask", {"title": accepted, "priority": ("low",)}))
    outcome = score(case, block("createTask", title=given_value, priority="low"))

    assert right == (outcome.verdict is Verdict.RIGHT)


@pytest.mark.parametrize(
    ("accepted", "got", "right"),
    [
        pytest.param("2026-03-03T15:00:00+00:00", "2026-03-03T16:00:00+01:00", True, id="other offset"),
        pytest.param("2026-03-03T15:00:00+00:00", "2026-03-03T15:00:00Z", True, id="Z"),
        pytest.param("2026-03-03T15:00:00+00:00", "2026-03-03T15:00+00:00", True, id="no seconds"),
        pytest.param("2026-03-03T15:00:00+00:00", "2026-03-03T15:00:00.000+00:00", True, id="milliseconds"),
        pytest.param("2026-03-03T15:00:00+00:00", "2026-03-03T15:00:00+01:00", False, id="same clock elsewhere"),
        pytest.param("2026-03-03", "2026-03-03T00:00:00+00:00", False, id="a day is no instant"),
        pytest.param("2026-03-03T00:00:00+00:00", "2026-03-03", False, id="an instant is no day"),
        pytest.param("2026-03-03", "2026-03-03", True, id="same day"),
        pytest.param("2026-03-03", "2026-03-04", False, id="next day"),
    ],
)
def test_instants_compare_as_instants_and_days_exactly(accepted, got, right):
    """The same moment in another offset is the same value; a day is not a moment."""
    outcome = score(
        case_of(task(dueDate=(accepted,))), block("createTask", title="call mom", priority="medium", dueDate=got)
    )

    assert right == (outcome.verdict is Verdict.RIGHT)


def test_a_body_that_looks_like_an_instant_is_text():
    """Only where the schema has date-times are strings read as instants."""
    params = {"to": ("Ann",), "subject": (ANY,), "body": ("2026-03-03T15:00:00Z",)}
    text = block("sendEmail", to="Ann", subject="s", body="2026-03-03T15:00:00+00:00")

    assert score(case_of(ExpectedCall("sendEmail", params)), text).error_type == "wrong_value"


@calm
@given(
    moment=st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
    minutes=st.tuples(st.integers(-840, 840), st.integers(-840, 840)),
)
def test_an_instant_keeps_its_meaning_in_every_offset(moment, minutes):
    """Moving an instant to another offset changes nothing; moving it by a second does."""
    here, there = (timezone(timedelta(minutes=m)) for m in minutes)
    one = moment.replace(microsecond=0, tzinfo=here)
    schema = {"type": "string", "format": "date-time"}

    assert same_value(one.astimezone(there).isoformat(), one.isoformat(), schema)
    assert not same_value((one + timedelta(seconds=1)).astimezone(there).isoformat(), one.isoformat(), schema)


NUMBER, INTEGER = {"type": "number"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("got", "accepted", "schema", "same"),
    [
        pytest.param(True, 1, INTEGER, False, id="true is not 1"),
        pytest.param(1, True, INTEGER, False, id="1 is not true"),
        pytest.param(False, 0, NUMBER, False, id="false is not 0"),
        pytest.param(0, False, {}, False, id="0 is not false"),
        pytest.param(True, True, {"type": "boolean"}, True, id="true"),
        pytest.param("5", 5, INTEGER, False, id="text is no number"),
        pytest.param(5, "5", {}, False, id="a number is no text"),
        pytest.param(5.0, 5, NUMBER, True, id="5.0 where a number is asked for"),
        pytest.param(5, 5.0, {"type": ["number", "null"]}, True, id="number or null"),
        pytest.param(5, 5.0, {"anyOf": [INTEGER, NUMBER]}, True, id="number among choices"),
        pytest.param(5.0, 5, INTEGER, False, id="5.0 where an integer is asked for"),
        pytest.param(5.0, 5, {}, False, id="5.0 where nothing is said"),
        pytest.param(5, 5, INTEGER, True, id="5"),
        pytest.param(None, None, {}, True, id="null"),
        pytest.param(None, False, {}, False, id="null is not false"),
        pytest.param(["a", "b"], ["a", "b"], {}, True, id="list"),
        pytest.param(["b", "a"], ["a", "b"], {}, False, id="order of a list"),
        pytest.param(["a"], ["a", "b"], {}, False, id="shorter list"),
        pytest.param([True], [1], {"items": NUMBER}, False, id="strict inside a list"),
        pytest.param({"x": 1}, {"x": 1.0}, {"properties": {"x": NUMBER}}, True, id="object"),
        pytest.param({"x": 1}, {"x": 1, "y": 2}, {}, False, id="missing key"),
        pytest.param("Low", "low", {"enum": ["low"]}, False, id="an enum is exact"),
        pytest.param("Ann ", "Ann", {"type": "string"}, False, id="other strings are exact"),
    ],
)
def test_values_compare_strictly(got, accepted, schema, same):
    """Types never mix, except integers and floats where the schema says number."""
    assert same is same_value(got, accepted, schema)


def test_an_enum_is_exact_even_in_a_text_parameter():
    """A fixed word list is no person's words."""
    assert not same_value("Low.", "low", {"enum": ["low"]}, as_text=True)


@calm
@given(st.text() | st.text(st.sampled_from("the an'\" .")))
def test_normalising_twice_changes_nothing(text):
    """What is normalised stays as it is, and no text is normalised to nothing."""
    once = normalise_text(text)

    assert once == normalise_text(once)
    assert bool(once) == bool(text.strip())


def test_null_in_the_list_means_may_be_omitted():
    """With null a parameter may be absent, and present it must still be accepted."""
    case = case_of(task(dueDate=(None, "2026-03-03")))

    assert Verdict.RIGHT is score(case, MOM).verdict
    assert Verdict.RIGHT is score(case, MOM.replace('"}}', '", "dueDate": "2026-03-03"}}')).verdict
    assert score(case, MOM.replace('"}}', '", "dueDate": "2026-03-04"}}')).error_type == "wrong_value"


def test_an_explicit_null_is_a_value():
    """The reply's null is not an omission; the schema of a string refuses it."""
    text = (
        '```json\n{"tool": "createTask", "params": {"title": "call mom", "priority": "medium", "dueDate": null}}\n```'
    )

    assert score(case_of(task(dueDate=(None,))), text).error_type == "schema_violation"


def test_any_params_score_the_tool_alone():
    """With "any" a schema error is counted apart, not as a wrong answer; other tools stay wrong."""
    case = case_of(ExpectedCall("createTask", "any"))
    outcome = score(case, block("createTask", nonsense=1))

    assert (
        outcome.verdict,
        outcome.schema_valid,
        outcome.arguments_right,
        outcome.arguments_total,
    ) == (Verdict.RIGHT, False, 0, 0)
    assert score(case, block("getWeather")).error_type == "wrong_tool"


@pytest.mark.parametrize("order", list(itertools.permutations([MOM, DAD, block("getWeather", location="Rome")])))
def test_calls_match_in_any_order(order):
    """Compound calls are a set."""
    case = case_of(task(), task("call dad"), ExpectedCall("getWeather", {"location": ("Rome",)}))
    outcome = score(case, "\n".join(order))

    assert (outcome.verdict, outcome.arguments_right, outcome.arguments_total) == (Verdict.RIGHT, 3, 3)


def test_assignment_does_not_depend_on_which_expected_call_comes_first():
    """A call that fits two expected ones is left to the one that no other call fits."""
    wide, narrow = ExpectedCall("getWeather", {"location": (ANY,)}), ExpectedCall("getWeather", {"location": ("Rome",)})
    text = "\n".join(block("getWeather", location=place) for place in ("Rome", "Oslo"))

    assert Verdict.RIGHT is score(case_of(wide, narrow), text).verdict
    assert Verdict.RIGHT is score(case_of(narrow, wide), text).verdict


def test_ordered_calls_must_come_in_order():
    """With ordered, the right calls in another order are wrong, though the tools are the right ones."""
    weather = ExpectedCall("getWeather", {"location": (None,)})
    case = case_of(task(), weather, ordered=True)

    assert Verdict.RIGHT is score(case, MOM + "\n" + block("getWeather")).verdict
    outcome = score(case, block("getWeather") + "\n" + MOM)
    assert (outcome.error_type, outcome.tools_right) == ("wrong_value", True)
    assert "wrong order" in outcome.detail
    twins = case_of(task(), task("call dad"), ordered=True)
    assert score(twins, DAD + "\n" + MOM).error_type == "wrong_value"


def test_the_best_fitting_alternative_counts():
    """A reply is held against the accepted call list that it fits best."""
    weather = ExpectedCall("getWeather", {"location": ("Rome",)})
    case = case_of(task(), alternatives=((weather,), ()))

    assert Verdict.RIGHT is score(case, "Which mom?").verdict
    right = score(case, block("getWeather", location="Rome"))
    assert (right.verdict, right.expected) == (Verdict.RIGHT, ("getWeather",))
    close = score(case, block("getWeather", location="Oslo"))
    assert (
        close.error_type,
        close.expected,
        close.arguments_right,
        close.arguments_total,
    ) == ("wrong_value", ("getWeather",), 0, 1)
    assert score(case, block("deleteTask", taskId="t1")).expected == ("createTask",), "a tie goes to expect"


def test_missing_calls_still_earn_their_arguments():
    """One of two calls right is half of the arguments, though the verdict is wrong."""
    outcome = score(case_of(task(), task("call dad")), DAD)

    assert (outcome.arguments_right, outcome.arguments_total, outcome.tools_right) == (1, 2, False)


@st.composite
def weight_tables(draw, most=5):
    rows, columns = draw(st.integers(1, most)), draw(st.integers(1, most))
    return draw(st.lists(st.lists(st.integers(0, 9), min_size=columns, max_size=columns), min_size=rows, max_size=rows))


def best_by_trying(weights):
    rows, columns = len(weights), len(weights[0])
    slots = [*range(columns), *[None] * rows]
    return max(
        sum(weights[i][j] for i, j in enumerate(chosen) if j is not None)
        for chosen in set(itertools.permutations(slots, rows))
    )


@calm
@given(weight_tables(most=4))
def test_assignment_is_the_best_of_all(weights):
    """The summed weight equals that of the best of all assignments tried one by one."""
    chosen = assign_calls(weights)
    used = [j for j in chosen if j is not None]

    assert len(used) == len(set(used))
    assert best_by_trying(weights) == sum(weights[i][j] for i, j in enumerate(chosen) if j is not None)


@calm
@given(weight_tables(most=EXACT_SEARCH))
def test_both_ways_of_assigning_agree(weights):
    """The small search and scipy find the same weight; many rows are given to scipy."""
    padded = weights + [[0] * len(weights[0])] * (EXACT_SEARCH + 1)

    def total(chosen):
        return sum(weights[i][j] for i, j in enumerate(chosen[: len(weights)]) if j is not None)

    assert total(assign_calls(weights)) == total(assign_calls(padded))


def test_many_calls_against_a_few_expected_are_scored_quickly():
    """A reply that repeats itself for pages is an extra or duplicate call, not a hang."""
    text = "\n".join(block("createTask", title=f"t{i}", priority="low") for i in range(2000))

    assert score(case_of(task(), task("call dad")), text).error_type == "extra_call"


PARAMS = {"title": "call mom", "priority": "high", "description": "d", "dueDate": "2026-03-03"}


@calm
@given(st.permutations(list(PARAMS)), st.dictionaries(st.sampled_from(list(PARAMS)), st.sampled_from(["high", "d"])))
def test_the_order_of_parameters_does_not_matter(order, changes):
    """Reply and expectation may list their parameters in any order."""
    expect = ExpectedCall("createTask", {name: (PARAMS[name],) for name in order})
    straight = ExpectedCall("createTask", {name: (PARAMS[name],) for name in PARAMS})
    values = PARAMS | changes
    shuffled = ToolCall("createTask", {name: values[name] for name in order})

    def outcome(expected, call):
        reply = parse_reply("x")
        return score_reply(case_of(expected), replace(reply, kind=ReplyKind.CALL, calls=(call,)), TOOLSET)

    one, other = outcome(expect, shuffled), outcome(straight, ToolCall("createTask", values))
    assert (one.verdict, one.error_type) == (other.verdict, other.error_type)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
calls_of_any_kind = st.builds(
    ToolCall,
    st.sampled_from([*TOOLSET.tools, "fly"]),
    st.dictionaries(
        st.sampled_from([*PARAMS, "taskId", "startTime", "x\ny"]), json_values | st.sampled_from(["low", NOW])
    ),
)
expectations = st.builds(
    ExpectedCall,
    st.sampled_from([*TOOLSET.tools]),
    st.just("any")
    | st.dictionaries(
        st.sampled_from([*PARAMS, "taskId"]), st.lists(json_values | st.just(ANY), min_size=1, max_size=3).map(tuple)
    ),
)


@calm
@given(
    st.lists(expectations, max_size=3),
    st.lists(st.lists(expectations, max_size=2), max_size=2),
    st.booleans(),
    st.lists(calls_of_any_kind, min_size=1, max_size=4),
)
def test_any_calls_against_any_expectation_are_one_verdict(expect, alternatives, ordered, calls):
    """Scoring never raises; verdict, error type, detail and counts never contradict one another."""
    case = case_of(*expect, alternatives=tuple(map(tuple, alternatives)), ordered=ordered)
    outcome = score_reply(case, Reply(ReplyKind.CALL, tuple(calls), (), ""), TOOLSET)

    right = outcome.verdict is Verdict.RIGHT
    assert right == (outcome.error_type is None) == (not outcome.detail)
    assert outcome.tools_right == (outcome.error_type in {None, "schema_violation", "wrong_value"})
    assert outcome.tools_right == (sorted(outcome.expected) == sorted(outcome.called))
    assert 0 <= outcome.arguments_right <= outcome.arguments_total
    assert not right or outcome.arguments_right == outcome.arguments_total
    assert outcome.detail.isprintable()


@pytest.mark.parametrize("tool", list(TOOLSET.tools))
def test_a_sample_call_of_every_tool_fits_its_schema(tool):
    """Gold replies of "any" are valid calls."""
    assert TOOLSET.schema_errors(tool, sample_call(tool, TOOLSET, NOW).params) == []
    case = case_of(ExpectedCall(tool, "any"))
    assert Verdict.RIGHT is score(case, gold_reply(case, TOOLSET)).verdict


def test_a_gold_reply_keeps_the_order_of_the_schema_and_omits_what_may_be():
    """The gold reply is the first accepted value of each parameter, in the reply contract."""
    case = case_of(
        ExpectedCall("createTask", {"dueDate": (None, "2026-03-03"), "priority": ("low",), "title": ("x", "y")})
    )

    assert (
        gold_reply(case, TOOLSET) == '```json\n{"tool": "createTask", "params": {"title": "x", "priority": "low"}}\n```'
    )
    assert parse_reply(gold_reply(case_of(), TOOLSET)).kind == "none"


def test_a_gold_reply_keeps_an_optional_value_that_the_schema_needs():
    """updateTask needs one field beside the id, also where each of them may be omitted."""
    params = {"taskId": ("t1",), "title": (None, "x"), "description": (None, ANY)}
    case = case_of(ExpectedCall("updateTask", params))

    assert Verdict.RIGHT is score(case, gold_reply(case, TOOLSET)).verdict


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("line\nbreak\u2028 \x1b[31m", id="control characters"),
        pytest.param("\ud800", id="half a surrogate pair"),
        pytest.param("x" * 100_000, id="very long"),
    ],
)
def test_a_detail_is_one_printable_line(value):
    """What a model writes cannot break the report or its encoding."""
    detail = score(case_of(task()), block("createTask", title=value, priority="medium")).detail

    assert detail.isprintable()
    assert len(detail) <= 400
    detail.encode("utf-8")


def test_scoring_starts_without_scipy_or_torch():
    """Cold start: scoring, metrics and gate import nothing heavy until they compute."""
    heavy = "('scipy', 'torch', 'rapidfuzz', 'jsonschema')"
    code = f"import sys, harness.gate, harness.cases; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
