"""The reader: shared vectors, properties over any text, and time in proportion to length."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.parsing import MAX_DEPTH, format_call, load_strict, parse_reply
from harness.types import ReplyKind, ToolCall

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "replies.json").read_text(encoding="utf-8"))
CALL = '{"tool": "createTask", "params": {"title": "call mom", "priority": "medium"}}'

# Text in which fences, objects, markers and broken JSON meet far more often than in random characters.
PIECES = st.sampled_from(
    [
        *("```", "````", "~~~", "```json", "```JSON ", "json", "\n", "\r\n", "\r", " ", "    "),
        *(CALL, '{"tool": "x", "params": {}}', '{"name": "x", "arguments": {}}', '{"tool"', ": ", '"params"', "tool:"),
        *(
            "{",
            "}",
            "[",
            "]",
            '"',
            "'",
            "\\",
            ",",
            "name",
            "NaN",
            "1e999",
            "-",
            "> ",
            "é",
            "🎂",
            "\ud800",
            "\ufeff",
            "\0",
        ),
        *(
            "<tool_call>",
            "<|python_tag|>",
            "<function=",
            "<|eot_id|>",
            "</s>",
            "<|start_header_id|>",
            "<|end_header_id|>",
        ),
    ]
)
REPLIES = st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=40).map("".join)

# Halves of pairs are joined by JSON when two meet, so strings of a round trip have none.
STRINGS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**300), 10**300),
    st.floats(allow_nan=False, allow_infinity=False),
    STRINGS,
)
VALUES = st.recursive(
    SCALARS, lambda v: st.one_of(st.lists(v, max_size=4), st.dictionaries(STRINGS, v, max_size=4)), max_leaves=12
)
CALLS = st.builds(ToolCall, STRINGS.filter(bool), st.dictionaries(STRINGS, VALUES, max_size=5))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_the_reader_obeys_the_shared_vectors(vector):
    """Kind and calls are those that a person wrote beside the text."""
    reply = parse_reply(vector["text"])

    assert vector["kind"] == reply.kind, vector["why"]
    assert vector["calls"] == [{"tool": call.tool, "params": call.params} for call in reply.calls]
    assert bool(reply.malformed) == (vector["kind"] == "malformed")


def test_there_are_enough_vectors_and_each_is_new():
    """At least 160 vectors, every kind among them, no id and no text twice."""
    assert len(VECTORS) >= 160
    assert {"call", "none", "malformed"} == {vector["kind"] for vector in VECTORS}
    assert len(VECTORS) == len({vector["id"] for vector in VECTORS}) == len({vector["text"] for vector in VECTORS})
    assert all(vector["why"] and set(vector) == {"id", "text", "kind", "calls", "why"} for vector in VECTORS)


@settings(max_examples=400, deadline=None)
@given(st.one_of(REPLIES, st.text()))
@example("<|end_header_id|>")
@example("\\")
@example('{"')
@example("{'")
def test_no_text_raises(text):
    """Whatever a model writes, there is a reply, and its parts agree with its kind."""
    reply = parse_reply(text)

    assert (reply.kind is ReplyKind.MALFORMED) == bool(reply.malformed)
    assert (reply.kind is ReplyKind.CALL) == bool(reply.calls)
    assert reply.text == reply.text.strip()
    assert all(bad.text and bad.why and "\n" not in bad.why for bad in reply.malformed)


@settings(max_examples=200, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "<|eot_id|>"]))
def test_valid_calls_come_back_as_they_were(calls, newline, end):
    """Blocks written from calls read as the same calls, in order."""
    text = "\n".join(format_call(call) for call in calls).replace("\n", newline) + end

    assert tuple(calls) == parse_reply(text).calls


@settings(max_examples=200, deadline=None)
@given(CALLS)
def test_a_block_stays_valid_json_when_written_in_ascii_or_indented(call):
    """The reader reads JSON, not one way of writing it."""
    for body in (
        json.dumps({"params": call.params, "tool": call.tool}),
        json.dumps({"tool": call.tool, "params": call.params}, indent=1),
    ):
        assert (call,) == parse_reply(f"```json\n{body}\n```").calls


@settings(max_examples=400, deadline=None)
@given(REPLIES)
def test_a_call_implies_strict_json(text):
    """Every call of a reply stands in it as a JSON text that the strict reader accepts, with no value out of range."""
    reply = parse_reply(text)

    for call in reply.calls:
        written = json.dumps({"tool": call.tool, "params": call.params}, allow_nan=False)
        assert {"tool": call.tool, "params": call.params} == load_strict(written)


@settings(max_examples=200, deadline=None)
@given(REPLIES)
def test_line_ends_do_not_matter(text):
    """A text with CRLF reads as the text with LF."""
    unix = text.replace("\r", "")

    assert parse_reply(unix) == parse_reply(unix.replace("\n", "\r\n"))


@settings(max_examples=200, deadline=None)
@given(REPLIES)
def test_one_bad_block_spoils_the_reply(text):
    """A broken block before any text makes it malformed, and its good calls do not count."""
    reply = parse_reply("```json\n{oops\n```\n" + text)

    assert ReplyKind.MALFORMED is reply.kind
    assert reply.calls == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("```json\n{oops\n```", "not JSON", id="broken JSON"),
        pytest.param("```json\n[1]\n```", "needs one object, found an array", id="an array"),
        pytest.param("```json\n{}", "not closed", id="unclosed"),
        pytest.param('```json\n{"tool": "x"}\n```', "exactly the keys", id="missing key"),
        pytest.param('```json\n{"tool": "", "params": {}}\n```', "an empty one", id="empty name"),
        pytest.param(
            '```json\n{"tool": "x", "params": []}\n```', "'params' must be an object, found an array", id="params"
        ),
        pytest.param('```json\n{"tool": "x", "params": {"a": NaN}}\n```', "NaN is not JSON", id="NaN"),
        pytest.param('```json\n{"tool": "x", "params": {"a": 1, "a": 1}}\n```', "duplicate key 'a'", id="duplicate"),
        pytest.param(CALL, "a call object in the text", id="bare"),
        pytest.param(f"```\n{CALL}\n```", "a call object in a fence that is not json", id="other fence"),
        pytest.param("<tool_call>{}", "foreign call syntax <tool_call>", id="foreign"),
        pytest.param(f"Sure: ```json\n{CALL}\n```", "stands alone at the start of its line", id="mid-line"),
    ],
)
def test_what_cannot_be_read_says_why(text, why):
    """Every attempt that fails is kept with its reason."""
    assert why in parse_reply(text).malformed[0].why


def test_prose_is_the_text_without_its_blocks():
    """Text around blocks is joined; other fences are part of it."""
    reply = parse_reply(f"One.\n```json\n{CALL}\n```\nTwo.\n```sh\nls\n```\n<|eot_id|>")

    assert reply.text == "One.\nTwo.\n```sh\nls\n```"


def test_several_attempts_are_kept_apart():
    """Each bare object is one attempt; an object inside another attempt is part of it."""
    reply = parse_reply(f'{CALL} and {{"tool": "x", "params": {{"tool": "y", "params": {{}}}}}}')

    assert [bad.text for bad in reply.malformed] == [CALL, '{"tool": "x", "params": {"tool": "y", "params": {}}}']


@pytest.mark.parametrize(
    ("depth", "kind"), [(MAX_DEPTH - 2, "call"), (MAX_DEPTH - 1, "malformed"), (200_000, "malformed")]
)
def test_depth_has_a_stated_limit(depth, kind):
    """The limit is ours and not that of a runtime: two levels are the call's own."""
    assert MAX_DEPTH == 256
    text = '```json\n{"tool": "x", "params": {"a": ' + "[" * depth + "]" * depth + "}}\n```"

    assert kind == parse_reply(text).kind


LONG = {
    "backticks": "`" * 10**6,
    "tildes": "~" * 10**6,
    "open braces": "{" * 10**6,
    "open braces and a key": '{"tool":' * 125_000,
    "braces in pairs": "{}" * 500_000 + "tool",
    "open brackets in a fence": "```json\n" + "[" * 10**6 + "\n```",
    "nested fences": "".join("`" * n + "json\n" for n in range(3, 1400)),
    "closing fences that are too short": "````json\n" + "```\n" * 250_000,
    "json fences": "```json\n" * 125_000,
    "json fences in one line": "```json " * 125_000,
    "json fences in the middle of lines": "x ```json {\n" * 83_000,
    "valid blocks": f"```json\n{CALL}\n```\n" * 10_000,
    "quotes": '{"tool' + '"' * 10**6,
    "escaped quotes": '{"tool' + '\\"' * 500_000,
    "apostrophes": "{tool, '" * 125_000,
    "objects in objects": '{"tool": 1, "params": {' * 40_000 + "}}" * 40_000,
    "spaces before a colon": '{"tool"' + " " * 10**6,
    "keys without quotes": "{" + "tool:" * 200_000,
    "one long word": "{tool" + "a" * 10**6,
    "empty lines": "\n" * 10**6,
    "leaked tokens": "<|eot_id|>" * 100_000,
    "leaked headers": "<|end_header_id|>" * 60_000,
    "foreign markers": "<tool_call>" * 90_000,
    "half markers": "<function" * 110_000,
    "digits": '```json\n{"tool": "x", "params": {"n": ' + "9" * 10**6 + "}}\n```",
    "backslashes": '{"tool": "' + "\\" * 10**6,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_a_megabyte_is_read_in_less_than_a_second(text):
    """No input makes the reader slow: CPU time, so that a busy machine does not fail the test."""
    start = time.process_time()
    parse_reply(text)

    assert time.process_time() - start < 1.0
