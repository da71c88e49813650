"""Sets of function calls: their formats, their quirks, and what of them is ours."""

# ruff: noqa: E501 - rows read better unbroken

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from converting import Converted, convert_rows

SEND = {"name": "send_email", "description": "Send an email", "parameters": {"type": "object", "properties": {}}}
PICK = {"name": "pick_colour", "description": "Pick a colour", "parameters": {"type": "object", "properties": {}}}
NONE = "SYSTEM: You are a helpful assistant, with no access to external functions.\n\n"
ARGUMENTS = '{"recipient": "ana@acme.test", "subject": "Lunch", "message": "Let us eat."}'
ASKED = "USER: Mail ana@acme.test, subject Lunch, that we should eat.\n\n\n"
DONE = '\n\n\nFUNCTION RESPONSE: {"status": "sent"}\n\n\nASSISTANT: It is sent. <|endoftext|>\n\n\n'


def offer(*functions: Any) -> str:
    head = "SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n"
    return head + "\n\n".join(json.dumps(function, indent=4) for function in functions) + "\n"


def glaive_row(call: str, *functions: Any, asked: str = ASKED, done: str = DONE) -> dict[str, str]:
    return {
        "system": offer(*(functions or (SEND,))),
        "chat": f"{asked}ASSISTANT: <functioncall> {call} <|endoftext|>{done}",
    }


def mail(arguments: str) -> str:
    return '{"name": "send_email", "arguments": ' + arguments + "}"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(mail(f"'{ARGUMENTS}'"), id="text in single quotes"),
        pytest.param(mail(ARGUMENTS), id="an object"),
        pytest.param(mail(json.dumps(ARGUMENTS)), id="text in double quotes"),
        pytest.param(mail(f"'{ARGUMENTS}'").replace("arguments", "parameters"), id="key parameters"),
        pytest.param(mail(f"'{ARGUMENTS}'") + "}", id="a brace too many"),
        pytest.param(mail(f"'{ARGUMENTS}}}'"), id="a brace too many inside"),
        pytest.param(mail("'" + json.dumps(json.loads(ARGUMENTS), indent=2) + "'"), id="several lines"),
    ],
)
def test_each_way_of_writing_a_call_is_read(tmp_path: Path, call: str):
    """Arguments may be a JSON text in single quotes, an object, and more."""
    done = convert_rows("glaive", [glaive_row(call)], tmp_path, array=True)

    params = {"to": "ana@acme.test", "subject": "Lunch", "body": "Let us eat."}
    assert [{"tool": "sendEmail", "params": params}] == done.calls
    assert done.examples[0].kind == "multi_turn"


@pytest.mark.parametrize(
    ("text", "body"),
    [
        pytest.param("Hey, let's go, it's late", "Hey, let's go, it's late", id="apostrophes"),
        pytest.param("I\\'m late", "I'm late", id="escaped apostrophe"),
    ],
)
def test_the_last_quotation_mark_closes(tmp_path: Path, text: str, body: str):
    """Apostrophes inside the single-quoted text are not escaped, or escaped as JSON does not know."""
    call = mail("'" + ARGUMENTS.replace("Let us eat.", text) + "'")

    assert body == convert_rows("glaive", [glaive_row(call)], tmp_path).calls[0]["params"]["body"]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        pytest.param('{"name": "send_email"}', "sendEmail: no to, subject, body", id="missing arguments"),
        pytest.param(mail("null"), "sendEmail: no to, subject, body", id="null"),
        pytest.param(mail('["a"]'), "arguments that are no object", id="a list"),
        pytest.param(mail("'" + ARGUMENTS[:-12]), "a call that is cut off", id="truncated"),
        pytest.param(mail("'{\"recipient\": Infinity}'"), "arguments that are not JSON", id="Infinity"),
        pytest.param("{" * 4000, "a call without a name", id="braces only"),
        pytest.param(
            mail("'" + ARGUMENTS.replace("Let us eat.", "[User provided data]") + "'"),
            "a placeholder stands in the call",
            id="placeholder",
        ),
        pytest.param(
            mail("'" + ARGUMENTS.replace("ana@", "bob@") + "'"), "an address that nobody gave", id="made-up address"
        ),
        pytest.param(
            mail("'" + ARGUMENTS.replace("subject", "colour") + "'"),
            "sendEmail: an argument without counterpart",
            id="unknown argument",
        ),
        pytest.param(
            '{"name": "send_mail_now", "arguments": {}}',
            "calls a function that the row does not declare",
            id="undeclared",
        ),
        pytest.param(
            mail("'" + ARGUMENTS.replace("Let us eat.", "<|eot_id|>") + "'"),
            "a special-token string in the text",
            id="special token",
        ),
    ],
)
def test_a_call_that_cannot_be_used_refuses_its_row(tmp_path: Path, call: str, reason: str):
    """The row is counted by its reason, and the good row behind it is kept."""
    done = convert_rows("glaive", [glaive_row(call), glaive_row(mail(f"'{ARGUMENTS}'"))], tmp_path, array=True)

    assert {1: reason} == done.reasons
    assert [example.id for example in done.examples] == ["glaive:2"]


def test_names_with_hyphens_are_declared_names(tmp_path: Path):
    """create_to_do_list is the declared create_to-do_list, declared twice or not."""
    todo = {"name": "create_to-do", "parameters": {}}
    row = glaive_row(
        '{"name": "create_to_do", "arguments": \'{"title": "water the ferns", "priority": "Urgent"}\'}', todo, todo,
        asked="USER: urgent: I must water the ferns, put it on my list\n\n\n",
    )  # fmt: skip

    done = convert_rows("glaive", [row], tmp_path)

    assert done.calls == [{"tool": "createTask", "params": {"title": "water the ferns", "priority": "high"}}]


def test_an_ai_that_was_replaced_is_restored(tmp_path: Path):
    """ "AI:" inside a user's turn became an end of turn; text with "ASSISTANT:" in a line stays whole."""
    chat = "USER: Summarise this: Open<|endoftext|>\n\n\nASSISTANT: a lab that trains models.\n\nASSISTANT: It is a lab. <|endoftext|>"

    done = convert_rows("glaive", [{"system": NONE, "chat": chat}], tmp_path)

    assert list(done.examples[0].messages) == [
        {"role": "user", "content": "Summarise this: OpenAI: a lab that trains models."},
        {"role": "assistant", "content": "It is a lab."},
    ]
    assert done.examples[0].kind == "general"


def test_text_before_a_call_is_dropped(tmp_path: Path):
    """The contract has blocks alone."""
    row = glaive_row(mail(f"'{ARGUMENTS}'"))
    row["chat"] = row["chat"].replace("ASSISTANT: <func", "ASSISTANT: Sure, one moment.\n<func")

    done = convert_rows("glaive", [row], tmp_path)

    assert done.examples[0].messages[1]["content"].startswith("```json\n")


def test_another_call_syntax_is_refused(tmp_path: Path):
    """An answer that calls as other models do is no plain text."""
    row = {"system": NONE, "chat": "USER: hi\n\n\nASSISTANT: AI to= get_time {} <|endoftext|>"}

    assert convert_rows("glaive", [row], tmp_path).reasons == {1: "a call in another syntax"}


def test_a_row_without_a_call_becomes_a_negative(tmp_path: Path):
    """It keeps the refusal and loses the offer of functions that we do not have."""
    answer = "I'm sorry, but I can't order food. My functions only allow me to pick colours."
    row = {"system": offer(PICK), "chat": f"USER: Order a pizza.\n\n\nASSISTANT: {answer} <|endoftext|>"}

    done = convert_rows("glaive", [row], tmp_path)

    assert (done.examples[0].kind, done.examples[0].tools) == ("negative", ())
    assert done.examples[0].messages[-1]["content"] == "I'm sorry, but I can't order food."


@pytest.mark.parametrize(
    ("asked", "answer", "reason"),
    [
        pytest.param("Remind me to call Bo", "I'm sorry, I can't.", "refuses what one of the ten tools does", id="ours"),
        pytest.param("Weather in Rome today?", "It is mild.", "no call, but the words may want one of the ten tools", id="weather"),
        pytest.param("Pick one", "Sure, please provide a list.", "no call, and the last answer asks for what a foreign function needs", id="asks"),
    ],
)  # fmt: skip
def test_plain_answers_that_are_wrong_for_us_are_refused(tmp_path: Path, asked: str, answer: str, reason: str):
    """The other assistant had other functions."""
    row = {"system": offer(PICK), "chat": f"USER: {asked}\n\n\nASSISTANT: {answer} <|endoftext|>"}

    assert {1: reason} == convert_rows("glaive", [row], tmp_path).reasons


def test_a_dialogue_is_cut_before_a_foreign_function(tmp_path: Path):
    """What stood before it is an example of its own."""
    row = glaive_row(mail(f"'{ARGUMENTS}'"), SEND, PICK)
    row["chat"] += (
        'USER: Now a colour\n\n\nASSISTANT: <functioncall> {"name": "pick_colour", "arguments": \'{}\'} <|endoftext|>'
    )

    done = convert_rows("glaive", [row], tmp_path)

    assert done.examples[0].messages[-1]["content"] == "It is sent."


@pytest.mark.parametrize(
    ("asked", "arguments", "now", "start"),
    [
        pytest.param("Plan Gala tomorrow at 3 PM", {"title": "Gala", "start_time": "2023-05-06T15:00:00"},
                     "2023-05-05T07:00:00+00:00", "2023-05-06T15:00:00+00:00", id="tomorrow"),
        pytest.param("Plan Gala on May 6th, 3 PM", {"title": "Gala", "date": "2023-05-06", "time": "3:00 PM"},
                     "2023-05-03T09:00:00+00:00", "2023-05-06T15:00:00+00:00", id="halves"),
        pytest.param("Plan Gala on 2023-05-06, 15:00 Z", {"title": "Gala", "start_time": "2023-05-06T15:00:00Z"},
                     "2023-05-03T09:00:00+00:00", "2023-05-06T15:00:00+00:00", id="offset"),
    ],
)  # fmt: skip
def test_dates_fix_the_current_time(tmp_path: Path, asked: str, arguments: dict[str, str], now: str, start: str):
    """The current time is one under which the call's date is the right answer."""
    call = json.dumps({"name": "create_event", "arguments": arguments})
    row = glaive_row(call, {"name": "create_event"}, asked=f"USER: {asked}\n\n\n")

    done = convert_rows("glaive", [row], tmp_path)

    assert (now, start) == (done.examples[0].now, done.calls[0]["params"]["startTime"])


def test_a_relative_date_that_nothing_anchors_is_refused(tmp_path: Path):
    """ "Next week" with a date of the past cannot be learned from."""
    call = json.dumps({"name": "create_event", "arguments": {"title": "Gala", "start_time": "2023-05-06T15:00:00"}})
    row = glaive_row(call, {"name": "create_event"}, asked="USER: Plan Gala next week at 3 PM\n\n\n")

    assert convert_rows("glaive", [row], tmp_path).reasons == {
        1: "a relative date, and the row does not say when it was asked"
    }


def test_llama_factory_rows_of_glaive_are_read(tmp_path: Path):
    """Roles human, gpt, function_call and observation; tools is a JSON text."""
    turns = [
        ("human", "Mail ana@acme.test"),
        ("function_call", mail(ARGUMENTS)),
        ("observation", "ok"),
        ("gpt", "Sent."),
    ]
    row = {"conversations": [{"from": f, "value": v} for f, v in turns], "tools": json.dumps([SEND])}

    done = convert_rows("glaive", [row], tmp_path)

    assert done.calls[0]["tool"] == "sendEmail"
    assert done.examples[0].messages[2]["content"] == '{"result": "ok"}'


def test_sharegpt_of_glaive_keeps_inline_calls(tmp_path: Path):
    """Calls stay inside the gpt turn, results have a role of their own."""
    turns = [("system", offer(SEND)), ("human", "Mail ana@acme.test"), ("gpt", f"<functioncall> {mail(repr(ARGUMENTS))}"),
             ("function_response", '{"ok": true}'), ("gpt", "Sent.")]  # fmt: skip
    row = {"conversations": [{"from": f, "value": v} for f, v in turns]}

    assert convert_rows("function_calling_sharegpt", [row], tmp_path).calls[0]["tool"] == "sendEmail"


def test_xlam_rows_become_compound_calls(tmp_path: Path):
    """Several calls in one answer; a parameter may be called type, and a repeated default is dropped."""
    tools = [
        {
            "name": "get_weather",
            "parameters": {"city": {"type": "str"}, "type": {"type": "str, optional", "default": "short"}},
        }
    ]
    calls = [{"name": "get_weather", "arguments": {"city": city, "type": "short"}} for city in ("Oslo", "Bergen")]
    row = {"id": 4, "query": "Weather in Oslo and Bergen?", "answers": json.dumps(calls), "tools": json.dumps(tools)}
    other = row | {"answers": json.dumps([*calls, {"name": "primes", "arguments": {}}])}

    done = convert_rows("xlam", [row, other], tmp_path)

    assert [example.kind for example in done.examples] == ["compound"]
    assert [call["params"] for call in done.calls] == [{"location": "Oslo"}, {"location": "Bergen"}]
    assert done.reasons == {2: "no tool for the function"}
    assert done.report["functions_without_counterpart"] == {"primes": 1}


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("{'arguments': {'city': \"L'Aquila\", 'units': None}, 'name': 'get_weather'}", id="Python"),
        pytest.param('{"arguments": {"city": "L\'Aquila"}, "name": "get_weather"}', id="JSON"),
        pytest.param("\\n{'arguments': {'city': \"L'Aquila\"}, 'name': 'get_weather'}\\n", id="literal line ends"),
        pytest.param('{"arguments": {"city": "L\'Aquila", "name": "get_weather"}}', id="name inside"),
        pytest.param("{'arguments': {'city': \"L'Aquila\"}, 'name': 'get_weather'", id="a brace too few"),
    ],
)
def test_hermes_blocks_are_read_without_exchanging_quotation_marks(tmp_path: Path, block: str):
    """Python literals and JSON, with what went wrong at their ends."""
    turns = [("system", "<tools>[{'type': 'function'}]</tools>"), ("human", "Weather in L'Aquila?"),
             ("gpt", f"Let me see.\n<tool_call>\n{block}\n</tool_call>"),
             ("tool", "<tool_response>\n{'name': 'get_weather', 'content': {'summary': 'dry'}}\n</tool_response>"),
             ("gpt", "It is dry.")]  # fmt: skip
    done = convert_rows("hermes", [{"id": "a", "conversations": [{"from": f, "value": v} for f, v in turns]}], tmp_path)

    assert done.calls == [{"tool": "getWeather", "params": {"location": "L'Aquila"}}]
    assert done.examples[0].messages[2]["content"] == '{"summary": "dry"}'


def test_nothing_of_a_block_is_evaluated(tmp_path: Path):
    """A call is a literal or it is refused."""
    turns = [
        ("system", "<tools>"),
        ("human", "hi"),
        ("gpt", f"<tool_call>open({str(tmp_path / 'x')!r}, 'w')</tool_call>"),
    ]
    done = convert_rows("hermes", [{"conversations": [{"from": f, "value": v} for f, v in turns]}], tmp_path)

    assert done.reasons == {1: "a call that is neither JSON nor a Python literal"}
    assert not (tmp_path / "x").exists()


def test_apigen_thoughts_are_dropped_and_its_time_is_kept(tmp_path: Path):
    """``think`` and its empty observation are no part of an example."""
    thought = [("function_call", '{"name": "think", "arguments": {"thought": "hm"}}'), ("observation", "")]
    turns = [("human", "Weather in Rome?"), *thought, ("function_call", '{"name": "get_weather", "arguments": {"city": "Rome"}}'),
             ("observation", '{"summary": "dry"}'), *thought, ("gpt", "Dry.")]  # fmt: skip
    row = {"conversations": [{"from": f, "value": v} for f, v in turns], "tools": "[]",
           "system": "# Policy\nThe current time is 2024-05-15 15:00:00 EST.\n"}  # fmt: skip
    done = convert_rows("apigen_mt", [row], tmp_path)

    assert [message["role"] for message in done.examples[0].messages] == ["user", "assistant", "tool", "assistant"]
    assert (done.examples[0].now, done.examples[0].licence) == ("2024-05-15T15:00:00-05:00", "CC-BY-NC-4.0")


def test_finetome_is_general_talk(tmp_path: Path):
    """Both spellings of the roles; a system prompt is dropped; an answer that reads as a call is refused."""
    good = {"conversations": [{"from": "human", "value": "Why is ice light?"}, {"from": "gpt", "value": "It expands."}]}
    other = {"conversations": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a gas"},
                               {"role": "assistant", "content": "Argon."}], "source": "x", "score": 4.5}  # fmt: skip
    bad = {"conversations": [{"from": "human", "value": "JSON?"}, {"from": "gpt", "value": '```json\n{"a": 1}\n```'}]}
    done = convert_rows("finetome", [good, other, bad], tmp_path)

    assert [example.kind for example in done.examples] == ["general", "general"]
    assert done.reasons[3] == "no example: assistant turn is malformed: needs exactly the keys"


def test_ids_that_no_result_holds_are_refused(tmp_path: Path):
    """A call that changes something uses an id that was seen."""
    row = glaive_row(
        '{"name": "delete_task", "arguments": {"task_id": 7}}', {"name": "delete_task"}, asked="USER: delete 7\n\n\n"
    )

    assert convert_rows("glaive", [row], tmp_path).reasons[1].startswith("no example: assistant turn uses taskId")


GARBAGE: list[Any] = [
    None, 7, "text", [], {}, [1, 2], {"chat": 5, "system": None}, {"conversations": []}, {"conversations": [5]},
    {"conversations": [{"from": None, "value": []}]}, {"conversations": [{"from": "gpt", "value": "hi"}]},
    {"system": "", "chat": "no speaker"}, {"system": "", "chat": "USER: a\n\nUSER: b"}, {"query": "x", "answers": "[[", "tools": "["},
    {"query": "x", "answers": [{"name": 3}], "tools": []}, {"data": [{"text": 4}]}, {"text": "", "label": "oos"},
    {"text": "\ud800 hello", "label": "alarm"}, {"turns": []}, {"turns": [{"speaker": 1}]}, {"sentence": "a", "intent": 3},
    {"sentence": "hello there", "intent": "general_quirky", "entities": [{"span": [99], "type": "x"}], "tokens": [1]},
    {"conversations": [{"from": "human", "value": "x" * 50_000}, {"from": "gpt", "value": "y"}]},
    {"turns": [{"speaker": "USER", "utterance": "hi", "frames": [{"service": "A_1", "state": {"active_intent": "B"}, "slots": [{}]}]}]},
]  # fmt: skip


def test_no_row_stops_a_conversion(tmp_path: Path):
    """Whatever a row holds, every source accounts for it and goes on."""
    from training.converters import CONVERTERS

    for source in CONVERTERS:
        assert len(GARBAGE) == convert_rows(source, GARBAGE, tmp_path).report["rows"], source


def test_every_converter_has_its_line():
    """A file without a line in the table would never be run."""
    import training.converters as package

    files = {path.stem for path in Path(package.__file__).parent.glob("[a-z]*.py")} - {"base"}
    assert files == set(package.CONVERTERS)


def test_strict_stops_at_a_broken_row_only(tmp_path: Path):
    """Rows without use are no reason to stop; a broken one is named, and nothing is written."""
    from harness.errors import DataError

    file = tmp_path / "in.json"
    file.write_text(json.dumps([glaive_row('{"name": "pick_colour", "arguments": {}}', PICK), {"chat": 1}]))

    with pytest.raises(DataError, match=r"in\.json: row 2: no text under system"):
        Converted("glaive", file, tmp_path, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.json"]


def test_hostile_rows_take_no_time(tmp_path: Path):
    """Patterns run in proportion to a row, also over a hundred thousand of the same character."""
    import time

    start = time.monotonic()
    for filler in (" ", "'", "{", "[a ", "\\n", "<tool_call>", "}'", "1 ", "a, "):
        text = filler * (100_000 // len(filler))
        rows: list[Any] = [
            glaive_row(mail("'" + text)),
            {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": f"<tool_call>{text}x"}]},
            {
                "sentence": text + "x",
                "sentence_annotation": text,
                "intent": "calendar_set",
                "text": text + "x",
                "label": "calendar_set",
            },
            {"query": text, "answers": text, "tools": text},
        ]
        for source in ("glaive", "hermes", "slurp", "nlu_eval", "xlam", "finetome"):
            convert_rows(source, rows, tmp_path)

    assert time.monotonic() - start < 60
