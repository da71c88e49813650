"""Case files: what the reader refuses, what the proof finds, near-duplicates and digests."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cases import (
    CloseText,
    case_dict,
    close_to_cases,
    digest_cases,
    load_cases,
    near_duplicates,
    parse_case,
    prove_case,
    prove_suite,
)
from harness.errors import CaseError, SetupError
from harness.toolset import load_toolset
from harness.types import Case, ExpectedCall

TOOLSET = load_toolset()
calm = settings(deadline=None)
LINE = {
    "id": "selection-001",
    "suite": "selection",
    "messages": [{"role": "user", "content": "remind me to water the ferns"}],
    "now": "2026-03-02T09:00:00+00:00",
    "expect": [{"tool": "createTask", "params": {"title": ["water the ferns"], "priority": ["medium"]}}],
    "tags": ["core"],
    "why": "plain",
    "source": "hand-written",
}


def line_of(**changes: object) -> str:
    return json.dumps({key: value for key, value in (LINE | changes).items() if value is not ...})


def expect_of(**params: object) -> str:
    return line_of(expect=[{"tool": "createTask", "params": {"title": ["x"], "priority": ["low"]} | params}])


def say(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_a_case_comes_back_as_it_was_written():
    """Reading and writing a line loses nothing."""
    line = LINE | {
        "pair": "001",
        "ordered": True,
        "alternatives": [[], [{"tool": "getWeather", "params": "any"}]],
        "expect": [{"tool": "createTask", "params": {"title": [{"any": True}], "dueDate": [None, "2026-03-03"]}}],
    }

    assert line == case_dict(parse_case(json.dumps(line)))
    assert list(LINE) == list(case_dict(parse_case(line_of())))


def test_any_may_stand_in_place_of_the_list():
    """A bare {"any": true} is a list with nothing else in it."""
    case = parse_case(expect_of(description={"any": True}))

    assert case.expect[0].params["description"] == ({"any": True},)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("{", "not JSON", id="not JSON"),
        pytest.param("[]", "a list where a case is needed", id="a list"),
        pytest.param("[" * 100_000, "nested too deeply", id="too deep"),
        pytest.param(line_of().replace("{", '{"id": "x", ', 1), "key 'id' stands twice", id="a key twice"),
        pytest.param(line_of(why=float("nan")), "NaN is not JSON", id="NaN"),
        pytest.param(line_of(why="\ud800"), "surrogate", id="half a surrogate pair"),
        pytest.param(line_of(idd="x"), "unknown key 'idd'. Known keys: id, suite", id="misspelt key"),
        pytest.param(line_of(why=...), "key 'why' is missing", id="missing key"),
        pytest.param(line_of(id=""), "'id' is empty", id="empty id"),
        pytest.param(line_of(id=7), "'id' is a number", id="id is a number"),
        pytest.param(line_of(id="a b"), "one word without spaces", id="id with a space"),
        pytest.param(line_of(pair=None), "'pair' is a null", id="pair is null"),
        pytest.param(line_of(now="2026-03-02T09:00:00"), "a time with an offset", id="now without offset"),
        pytest.param(line_of(now="2026-02-30T09:00:00Z"), "a time with an offset", id="now on no day"),
        pytest.param(line_of(messages=[]), "not a list of turns", id="no messages"),
        pytest.param(line_of(messages=[{"role": "user"}]), "exactly the keys role and content", id="no content"),
        pytest.param(
            line_of(messages=[say("system", "x")]), "role 'system'. Possible: user, assistant, tool", id="role"
        ),
        pytest.param(line_of(messages=[say("user", " ")]), "no text as its content", id="blank message"),
        pytest.param(line_of(messages=[say("user", "a <|eot_id|> b")]), "holds a special token", id="special token"),
        pytest.param(line_of(messages=[say("assistant", "a")]), "starts with the user", id="assistant first"),
        pytest.param(
            line_of(messages=[say("user", "a"), say("assistant", "b")]), "is the assistant's", id="assistant last"
        ),
        pytest.param(
            line_of(messages=[say("user", "a"), say("tool", "{}")]), "right after the user", id="tool after user"
        ),
        pytest.param(
            line_of(messages=[say("user", "a"), say("assistant", "b"), say("tool", "done")]),
            "not JSON",
            id="tool result",
        ),
        pytest.param(line_of(expect={}), "'expect' is a object", id="expect is an object"),
        pytest.param(
            line_of(expect=[{"tool": "x"}]), "expect[0] needs exactly the keys tool and params", id="no params"
        ),
        pytest.param(line_of(expect=[{"tool": "", "params": {}}]), "not the name of a tool", id="empty tool"),
        pytest.param(line_of(expect=[{"tool": "x", "params": []}]), "params is a list", id="params is a list"),
        pytest.param(
            expect_of(title="call mom"), "params.title is a text. Expected the list of accepted values", id="no list"
        ),
        pytest.param(expect_of(title=[]), "params.title is an empty list", id="nothing accepted"),
        pytest.param(line_of(alternatives=[]), "'alternatives' is not a list of call lists", id="no alternatives"),
        pytest.param(line_of(alternatives=[{}]), "'alternatives[0]' is a object", id="an alternative is no list"),
        pytest.param(line_of(ordered=1), "'ordered' is a number", id="ordered is 1"),
        pytest.param(line_of(tags="core"), "'tags' is not a list of words", id="tags are text"),
        pytest.param(line_of(tags=["a", "a"]), "names a tag twice", id="a tag twice"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(tmp_path, line, says):
    """The error starts with file:line and says what is possible."""
    path = tmp_path / "broken.jsonl"
    path.write_text(line_of(id="first") + "\n\n" + line + "\n")

    with pytest.raises(CaseError) as caught:
        load_cases(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@calm
@given(
    st.text()
    | st.recursive(st.none() | st.booleans() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)).map(
        json.dumps
    )
)
def test_no_line_crashes_the_reader(line):
    """Whatever stands in a line, it is a case or a CaseError."""
    with pytest.raises(CaseError):
        parse_case(line)


@calm
@given(
    st.sampled_from(list(LINE)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    ),
)
def test_no_value_crashes_the_reader_or_the_proof(key, value):
    """Any value under any key is refused by the reader, or read and proven or not."""
    try:
        case = parse_case(line_of(**{key: value}))
    except CaseError:
        return
    assert all("\n" not in problem for problem in prove_case(case, TOOLSET))


def test_an_id_used_twice_in_a_file_is_named(tmp_path):
    """The second of two equal ids is the broken line, and the first is pointed to."""
    path = tmp_path / "a.jsonl"
    path.write_text(line_of() + "\n" + line_of() + "\n")

    with pytest.raises(CaseError, match=r"a\.jsonl:2: id 'selection-001' is already used on line 1"):
        load_cases(path)


def test_bytes_that_are_not_utf8_are_named(tmp_path):
    """Latin-1 text is refused, not guessed."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(line_of().encode() + b"\n" + b'{"id": "caf\xe9"}')

    with pytest.raises(CaseError, match=r"a\.jsonl:2: not UTF-8 at byte 11"):
        load_cases(path)


def test_a_folder_is_read_by_name_and_line_separators_stay_in_strings(tmp_path):
    """All *.jsonl of a folder, in order; only a newline ends a line; CRLF and a BOM do no harm."""
    (tmp_path / "b.jsonl").write_text(line_of(id="b-1"))
    raw = json.dumps(LINE | {"id": "a-1", "why": "one\u2028two\x85three"}, ensure_ascii=False)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + raw.encode() + b"\r\n\r\n")
    (tmp_path / "notes.txt").write_text("no case")

    cases = load_cases(tmp_path)
    assert [case.id for case in cases] == ["a-1", "b-1"]
    assert cases[0].why == "one\u2028two\x85three"


def test_nothing_to_read_is_said(tmp_path):
    """A missing path and a folder without case files are errors; an empty file holds no cases."""
    with pytest.raises(SetupError, match="No cases at"):
        load_cases(tmp_path / "none.jsonl")
    with pytest.raises(SetupError, match="No case files in"):
        load_cases(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    assert load_cases(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param(
            line_of(expect=[{"tool": "fly", "params": "any"}]),
            "no tool is called 'fly'. Known tools: createTask",
            id="unknown tool",
        ),
        pytest.param(
            line_of(alternatives=[[{"tool": "fly", "params": "any"}]]),
            "no tool is called 'fly'",
            id="unknown tool in an alternative",
        ),
        pytest.param(
            expect_of(colour=["red"]), "createTask has no parameter 'colour'. It has title", id="unknown parameter"
        ),
        pytest.param(
            expect_of(priority=["low", "urgent"]),
            "accepts 'urgent', which its schema refuses",
            id="value outside the schema",
        ),
        pytest.param(
            expect_of(dueDate=["2026-02-30"]), "accepts '2026-02-30', which its schema refuses", id="no such day"
        ),
        pytest.param(expect_of(title=[None, "x"]), "title may not be omitted", id="null for a required parameter"),
        pytest.param(
            line_of(expect=[{"tool": "createTask", "params": {"title": ["x"]}}]),
            "priority is required and not listed",
            id="required and not listed",
        ),
        pytest.param(
            line_of(expect=[{"tool": "updateTask", "params": {"taskId": ["t1"]}}]),
            "gold reply breaks the schema",
            id="too few parameters",
        ),
        pytest.param(
            line_of(messages=[say("user", "a"), say("assistant", "```json\n{oops\n```"), say("user", "b")]),
            "messages[1] breaks the reply contract",
            id="assistant breaks the contract",
        ),
        pytest.param(
            line_of(
                messages=[
                    say("user", "a"),
                    say("assistant", '```json\n{"tool": "fly", "params": {}}\n```'),
                    say("tool", "{}"),
                ]
            ),
            "messages[1] calls wrongly: unknown tool 'fly'",
            id="assistant calls what is not there",
        ),
    ],
)
def test_a_case_that_measures_nothing_is_found(line, says):
    """What the reader cannot know, the proof finds, and names the case."""
    problems = prove_case(parse_case(line), TOOLSET)

    assert problems
    assert problems[0].startswith("selection-001: ")
    assert says in " ".join(problems)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line_of(), id="one call"),
        pytest.param(line_of(expect=[]), id="no tool"),
        pytest.param(
            line_of(expect=[], alternatives=[[{"tool": "listTasks", "params": {"status": ["open", None]}}]]),
            id="either",
        ),
        pytest.param(line_of(expect=[{"tool": name, "params": "any"} for name in TOOLSET.tools]), id="every tool"),
        pytest.param(line_of(expect=LINE["expect"] * 2, ordered=True), id="the same call twice"),
        pytest.param(expect_of(description=[None, {"any": True}], dueDate=[{"any": True}]), id="any"),
    ],
)
def test_sound_cases_are_proven(line):
    """Gold scores right, another tool and silence score wrong."""
    assert prove_case(parse_case(line), TOOLSET) == []


def test_a_case_built_by_hand_is_proven_too():
    """What the reader refuses, the proof refuses as well, for cases that never were a line."""
    case = Case("x", "s", ({"role": "system", "content": "<|eot_id|>"},), "today", ())

    assert len(prove_case(case, TOOLSET)) == 3
    assert len(prove_case(replace(case, messages=()), TOOLSET)) == 2


def pair_of(one: list, other: list) -> list[Case]:
    lines = [
        line_of(id="d-1a", pair="1", expect=one),
        line_of(id="d-1b", pair="1", expect=other, messages=[say("user", "add the ferns")]),
    ]
    return [parse_case(line) for line in lines]


WEATHER = [{"tool": "getWeather", "params": {"location": ["Rome", None]}}]


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        pytest.param([parse_case(line_of())] * 2, "two cases have this id", id="an id twice"),
        pytest.param(
            [parse_case(line_of()), parse_case(line_of(id="x", expect=[]))],
            "asks word for word what selection-001 asks",
            id="a question twice",
        ),
        pytest.param(pair_of(LINE["expect"], [])[:1], "has 1 cases", id="half a pair"),
        pytest.param(
            [*pair_of(LINE["expect"], []), parse_case(line_of(id="d-1c", pair="1", messages=[say("user", "z")]))],
            "has 3 cases",
            id="three",
        ),
        pytest.param(pair_of(LINE["expect"], LINE["expect"]), "one answer is right for both", id="the same answer"),
        pytest.param(
            pair_of(WEATHER, [{"tool": "getWeather", "params": "any"}]),
            "one answer is right for both",
            id="an answer that covers the other",
        ),
    ],
)
def test_what_is_wrong_between_cases_is_found(cases, says):
    """Ids and questions are used once, and a pair tells two answers apart."""
    (problem,) = [p for p in prove_suite(cases, TOOLSET) if says in p]

    assert "\n" not in problem


def test_a_sound_pair_is_no_problem():
    """Two cases with different answers, and the same pair name in another suite."""
    cases = pair_of(LINE["expect"], [])
    twins = [replace(c, id=c.id + "x", suite="negatives", messages=({"role": "user", "content": c.id},)) for c in cases]

    assert prove_suite([*cases, *twins], TOOLSET) == []


def test_near_duplicates_are_found_over_spelling():
    """Case, articles and end punctuation hide no duplicate; another sentence is none."""
    training = ["Remind me to call the mom!", "what is the weather in Rome", "", "book a table for two"]
    cases = ["remind me to call mom", "book a table for twelve people", "..."]

    assert near_duplicates(training, cases, 95) == [(0, 0, 100.0)]
    assert [(i, j) for i, j, _ in near_duplicates(training, cases, 70)] == [(0, 0), (3, 1)]
    assert near_duplicates([], cases, 90) == []
    assert near_duplicates(training, [], 90) == []


def test_a_list_against_itself_gives_each_pair_once():
    """No text is its own duplicate."""
    texts = ["call mom", "Call mom.", "send mail"]

    assert near_duplicates(texts, texts, 90) == [(0, 1, 100.0)]


def test_chunks_do_not_shift_the_indices():
    """Many texts are compared in chunks; indices are those of the whole lists."""
    texts = [f"{i:06d}" * 3 for i in range(1200)]

    assert [hit for hit in near_duplicates(texts, [texts[1111]], 100) if hit[2] == 100] == [(1111, 0, 100.0)]


def test_every_turn_is_compared_with_the_last_question_of_a_case():
    """One rule for the trainer and for the command: equal texts and equal questions are all named."""
    turns = [{"role": "user", "content": "Water the ferns"}, {"role": "assistant", "content": "When?"}]
    talk = parse_case(line_of(id="a", messages=[*turns, {"role": "user", "content": "tomorrow at noon"}]))
    cases = [talk, parse_case(line_of(id="b")), parse_case(line_of(id="c", now="2027-03-02T09:00:00Z"))]
    question = LINE["messages"][0]["content"]
    conversations = [
        ["water the ferns", "no", "no"],
        [],
        ["hi", "Remind me to water the ferns!", "thanks"],
        ["Tomorrow at noon.", "Tomorrow at noon."],
    ]

    assert close_to_cases(conversations, cases) == [
        CloseText(2, "b", 100.0, "Remind me to water the ferns!", question),
        CloseText(2, "c", 100.0, "Remind me to water the ferns!", question),
        CloseText(3, "a", 100.0, "Tomorrow at noon.", "tomorrow at noon"),
    ]
    assert close_to_cases(conversations, []) == close_to_cases([], cases) == []


def test_a_large_training_set_is_compared_in_time():
    """8,000 conversations with 1,000 cases: the trainer does this at every start."""
    draw = random.Random(0)

    def sentence():
        return " ".join("".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 8))) for _ in range(9))

    cases = [parse_case(line_of(id=f"c-{i}", messages=[{"role": "user", "content": sentence()}])) for i in range(1000)]
    conversations = [[sentence()] for _ in range(8000)]
    started = time.perf_counter()

    assert close_to_cases(conversations, cases) == []
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("threshold", [0, -1, 101])
def test_an_impossible_threshold_is_refused(threshold):
    """The scale goes to 100."""
    with pytest.raises(ValueError, match="at most 100"):
        near_duplicates(["a"], ["a"], threshold)


def test_the_digest_names_the_content_only():
    """Order does not matter; every single part of a case does."""
    one, other = parse_case(line_of()), parse_case(line_of(id="z"))

    assert digest_cases([one, other]) == digest_cases([other, one])
    changes = {
        "id": "q",
        "suite": "q",
        "messages": ({"role": "user", "content": "q"},),
        "now": "2026-03-02T09:00:00Z",
        "expect": (ExpectedCall("createTask", "any"),),
        "alternatives": ((),),
        "ordered": True,
        "pair": "q",
        "tags": (),
        "why": "q",
        "source": "q",
    }
    digests = {digest_cases([replace(one, **{key: value})]) for key, value in changes.items()}
    assert len(changes) == len(digests - {digest_cases([one])}) == len(Case.__dataclass_fields__)


def test_two_thousand_cases_are_read_and_proven_in_time(tmp_path):
    """Reading and proving stays within half of the harness's budget of 1 ms per case, in processor time."""
    path = tmp_path / "many.jsonl"
    lines = [line_of(id=f"c-{i}", messages=[say("user", f"remind me to water fern {i}")]) for i in range(2000)]
    path.write_text("\n".join(lines))

    started = time.process_time()
    cases = load_cases(path)
    problems = [problem for case in cases for problem in prove_case(case, TOOLSET)] + prove_suite(cases, TOOLSET)
    spent = time.process_time() - started

    assert problems == []
    assert spent < 1.0, f"{spent / 2:.2f} ms per case"
