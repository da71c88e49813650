"""Sets of human questions in their original formats; the answers are ours."""

# ruff: noqa: E501 - rows read better unbroken

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from converting import Converted, convert_rows

from training.converters._times import parse_length, parse_when, stamp_moment

MONDAY = datetime.fromisoformat("2026-03-02T09:00:00+00:00")


@pytest.mark.parametrize(
    ("phrase", "moment"),
    [
        ("tomorrow at 3 pm", "2026-03-03T15:00"), ("friday five thirty pm", "2026-03-06T17:30"), ("monday", "2026-03-09T09:00"),
        ("next friday", "2026-03-13T09:00"), ("in three days", "2026-03-05T09:00"), ("april two", "2026-04-02T09:00"),
        ("the 15th of March at 10:00 AM", "2026-03-15T10:00"), ("1 march", "2027-03-01T09:00"), ("noon", "2026-03-02T12:00"),
        ("8 am", "2026-03-03T08:00"), ("tomorrow morning at 8", "2026-03-03T08:00"), ("at five", "2026-03-02T17:00"),
        ("2026-03-04 14:30", "2026-03-04T14:30"), ("25/12/2026", "2026-12-25T09:00"), ("day after tomorrow", "2026-03-04T09:00"),
        ("tonight", "2026-03-02T20:00"), ("march twenty first", "2026-03-21T09:00"), ("two weeks from now", "2026-03-16T09:00"),
    ],
)  # fmt: skip
def test_phrases_of_time_follow_the_conventions(phrase: str, moment: str):
    """Days and clocks resolve as in the hand-written examples."""
    when = parse_when(phrase, MONDAY)

    assert when is not None
    assert moment == stamp_moment(when, MONDAY).isoformat()[:16]


@pytest.mark.parametrize(
    "phrase", ["next week", "3/4/2026", "30 february", "25:00", "every monday", "soon", "", "13 pm", "9" * 400]
)
def test_unclear_phrases_stay_unresolved(phrase: str):
    """Nothing is guessed."""
    assert parse_when(phrase, MONDAY) is None


def test_lengths_are_read():
    """In words, in units, as bare minutes."""
    assert (
        timedelta(minutes=90) == parse_length("1 hour and 30 minutes") == parse_length(90) == parse_length("1.5 hours")
    )
    assert parse_length("a while") is None
    assert parse_length(True) is None


def one_call(source: str, row: Any, folder: Path) -> dict[str, Any]:
    done = convert_rows(source, [row], folder)
    assert done.reasons == {}
    return done.calls[0]


def only_reply(done: Converted) -> str:
    assert [example.kind for example in done.examples] == ["negative"], done.reasons
    return done.examples[0].messages[-1]["content"]


def slurp_row(annotated: str, scenario: str, action: str) -> dict[str, Any]:
    import re

    text = re.sub(r"\[[^:]*: ([^\]]*)\]", r"\1", annotated)
    return {"slurp_id": 1, "sentence": text, "sentence_annotation": annotated, "intent": f"{scenario}_{action}",
            "scenario": scenario, "action": action, "tokens": [], "entities": [], "recordings": []}  # fmt: skip


def test_slurp_requests_become_calls_and_answers(tmp_path: Path):
    """Slots give title and time; what the rulings exclude gets plain text."""
    row = slurp_row(
        "put [event_name : pottery class] on my calendar for [date : tomorrow] at [time : two pm]", "calendar", "set"
    )
    done = convert_rows("slurp", [row], tmp_path)
    day = date.fromisoformat(done.examples[0].now[:10]) + timedelta(days=1)
    assert {"summary": "pottery class", "startTime": f"{day}T14:00:00+00:00"} == done.calls[0]["params"]

    row = slurp_row("remind me to feed the newt", "calendar", "set")
    assert one_call("slurp", row, tmp_path)["params"] == {"title": "feed the newt", "priority": "medium"}
    assert "calendar" in only_reply(
        convert_rows("slurp", [slurp_row("what is on my diary", "calendar", "query")], tmp_path)
    )
    assert only_reply(
        convert_rows("slurp", [slurp_row("plan my [event_name : gala]", "calendar", "set")], tmp_path)
    ).endswith("?")


def test_slurp_entities_are_spans_of_tokens(tmp_path: Path):
    """Where entities are there, they count."""
    row = slurp_row("is it wet in oslo", "weather", "query")
    row |= {
        "tokens": [{"surface": word} for word in row["sentence"].split()],
        "entities": [{"span": [4], "type": "place_name"}],
    }

    assert one_call("slurp", row, tmp_path)["params"] == {"location": "oslo"}


def test_clinc_is_one_object_of_lists(tmp_path: Path):
    """Sections are streamed item by item; an item of another shape is a row too."""
    items = [["add call the vet to my to do list", "todo_list_update"], ["say something funny", "tell_joke"], ["x"],
             ["i finished the dishes, cross it off my to do list", "todo_list_update"], ["what's on tv", "oos"]]  # fmt: skip
    file = tmp_path / "data_full.json"
    file.write_text(json.dumps({"train": items, "version": 3, "oos_test": [["weather in Lima", "weather"]]}))

    done = Converted("clinc", file, tmp_path)

    assert [call["tool"] for call in done.calls] == ["createTask", "listTasks", "getWeather"]
    assert (done.report["rows"], done.reasons) == (6, {3: "a row is not [text, intent]"})


def test_nlu_eval_is_a_csv_with_semicolons(tmp_path: Path):
    """Annotated answers hold the slots; rows without an answer and irrelevant ones are left out."""
    head = "userid;answerid;scenario;intent;status;answer_annotation;notes;suggested_entities;answer_normalised;answer;question"
    lines = [
        head,
        '1;1;email;sendemail;"";mail;;;;"Send an email to Zoe saying the ""newt"" is fine; call me";q',
        "1;2;weather;query;;rain in [place_name : Kyiv] [date : today];;;rain in kyiv today;Rain in Kyiv today;q",
        "1;3;music;query;IRR;x;;;x;what is it;q",
        "1;4;music;query;;null;;;null;null;q",
        "1;5;short",
    ]
    file = tmp_path / "nlu.csv"
    file.write_text("\n".join(lines), encoding="utf-8")

    done = Converted("nlu_eval", file, tmp_path)

    assert done.calls[0]["params"]["body"] == 'the "newt" is fine; call me'
    assert done.calls[1]["params"] == {"location": "Kyiv"}
    assert done.reasons == {3: "marked as irrelevant by the set", 4: "no words in the text",
            5: "another number of cells than columns"}  # fmt: skip


def test_snips_files_may_be_latin_1(tmp_path: Path):
    """Pieces of text are joined; bytes that are not UTF-8 are read as Latin-1."""
    pieces = [{"text": "Forecast for "}, {"text": "Orléans", "entity": "city"}, {"text": " please"}]
    file = tmp_path / "train_GetWeather.json"
    file.write_bytes(json.dumps({"GetWeather": [{"data": pieces}]}, ensure_ascii=False).encode("latin-1"))

    assert Converted("snips", file, tmp_path).calls[0]["params"] == {"location": "Orléans"}


def test_facebook_rows_have_spans_of_characters(tmp_path: Path):
    """Tab-separated without a header; a quotation mark is a word's; other languages are left out."""
    lines = [
        'reminder/set_reminder\t15:27:reminder/todo\tremind me to 5" read a poem\ten_XX\t{}',
        "alarm/set_alarm\t\twake me at 6\ten_XX\t{}",
        "weather/find\t\tqué tiempo hace\tes_XX\t{}",
        "weather/find\t9:99:location\train in Lima\ten_XX\t{}",
    ]
    lines[0] = "reminder/set_reminder\t13:24:reminder/todo\tremind me to read a poem\ten_XX\t{}"
    lines.append('weather/find\t\tis it 5" of snow\ten_XX\t{}')
    file = tmp_path / "train-en.tsv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    done = Converted("facebook_mtod", file, tmp_path)

    assert done.calls[0]["params"]["title"] == "read a poem"
    assert done.reasons == {
        3: "not English",
        4: "a slot that is no span of the text",
        5: "a time that is not understood",
    }
    assert done.examples[0].licence == "unknown"


def test_sgd_gives_the_first_question(tmp_path: Path):
    """Spans of the frame are the slots."""
    text = "Put Judo on my calendar for tomorrow"
    slots = [
        {"slot": "event_name", "start": 4, "exclusive_end": 8},
        {"slot": "event_date", "start": 28, "exclusive_end": 36},
    ]
    frame = {"service": "Calendar_1", "state": {"active_intent": "AddEvent"}, "slots": slots}
    turns = [
        {"speaker": "USER", "utterance": text, "frames": [frame]},
        {"speaker": "SYSTEM", "utterance": "Ok", "frames": []},
    ]
    file = tmp_path / "dialogues_001.json"
    file.write_text(json.dumps([{"dialogue_id": "1", "services": [], "turns": turns}], indent=2))

    assert Converted("sgd", file, tmp_path).calls[0]["params"]["summary"] == "Judo"


@pytest.mark.parametrize(
    ("text", "program", "tool"),
    [
        pytest.param("Put yoga on my calendar tomorrow at 6 pm", '(Yield (CreateCommitEventWrapper (Event.subject_? (?= "yoga"))))', "createCalendarEvent", id="create"),
        pytest.param("Will it rain in Turin", '(Yield (WeatherQueryApi (LocationKeyphrase.apply "Turin")))', "getWeather", id="weather"),
        pytest.param("When do I meet Bo", "(Yield (FindEventWrapperWithDefaults (Event.subject_?)))", "", id="find"),
        pytest.param("Drop the yoga thing", "(Yield (DeleteCommitEventWrapper (id (yoga))))", "", id="delete"),
    ],
)  # fmt: skip
def test_smcalflow_programs_name_the_intent(tmp_path: Path, text: str, program: str, tool: str):
    """Names of functions decide; the program is not run."""
    row = {"dialogue_id": "a", "turns": [{"user_utterance": {"original_text": text}, "lispress": program}]}
    done = convert_rows("smcalflow", [row], tmp_path)

    assert [tool] * bool(tool) == [call["tool"] for call in done.calls]
    assert done.report["kept"] == 1


def test_labels_without_a_rule_or_ruling_are_refused(tmp_path: Path):
    """Doubtful intents, ranges and repetitions are not guessed."""
    rows = [{"text": "clear my calendar", "label": "calendar_remove"}, {"text": "plan a run every day", "label": "calendar_set"},
            {"text": "who knows", "label": "unheard_of"}, {"text": "weather this week", "label": "weather_query"}]  # fmt: skip

    assert convert_rows("nlu_eval", rows, tmp_path).reasons == {1: "an intent that the rulings do not settle", 2: "repeats; no tool does",
            3: "an intent that the table does not name", 4: "a time that is not understood",
            }  # fmt: skip
