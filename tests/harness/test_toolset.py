"""The ten tools: schemas, docs, validation and digests."""

import json

import pytest

from harness.errors import SetupError
from harness.toolset import DEFAULT_TOOLSET, digest_json, load_toolset

TEN = [
    *("createTask", "listTasks", "updateTask", "completeTask", "deleteTask"),
    *("createCalendarEvent", "updateCalendarEvent", "deleteCalendarEvent", "getWeather", "sendEmail"),
]
REQUIRED = {
    "createTask": {"title", "priority"},
    "listTasks": set(),
    "updateTask": {"taskId"},
    "completeTask": {"taskId"},
    "deleteTask": {"taskId"},
    "createCalendarEvent": {"summary", "startTime"},
    "updateCalendarEvent": {"eventId"},
    "deleteCalendarEvent": {"eventId"},
    "getWeather": set(),
    "sendEmail": {"to", "subject", "body"},
}
TIME = "2026-03-03T15:00:00+00:00"

VALID = [
    ("createTask", {"title": "call mom", "priority": "medium"}),
    ("createTask", {"title": "call mom", "priority": "high", "description": "", "dueDate": "2026-03-03"}),
    ("createTask", {"title": "call mom", "priority": "low", "dueDate": TIME}),
    ("listTasks", {}),
    ("listTasks", {"status": "all", "priority": "low", "dueBefore": "2026-03-03"}),
    ("updateTask", {"taskId": "t1", "title": "x"}),
    ("completeTask", {"taskId": "t1"}),
    ("deleteTask", {"taskId": "t1"}),
    ("createCalendarEvent", {"summary": "lunch", "startTime": TIME}),
    ("createCalendarEvent", {"summary": "lunch", "startTime": "2026-03-03T15:00:00Z", "attendees": ["a@b.co"]}),
    ("updateCalendarEvent", {"eventId": "e1", "location": "Rome"}),
    ("deleteCalendarEvent", {"eventId": "e1"}),
    ("getWeather", {}),
    ("getWeather", {"location": "Oslo", "date": "2026-03-03", "units": "metric"}),
    ("sendEmail", {"to": "Sam", "subject": "s", "body": "b", "cc": ["x@y.org"]}),
]
INVALID = [
    ("createTask", {"title": "call mom"}, "priority"),
    ("createTask", {"title": "call mom", "priority": "urgent"}, "urgent"),
    ("createTask", {"title": "call mom", "priority": "Medium"}, "Medium"),
    ("createTask", {"title": "", "priority": "low"}, "title"),
    ("createTask", {"title": 5, "priority": "low"}, "title"),
    ("createTask", {"title": None, "priority": "low"}, "title"),
    ("createTask", {"title": "x", "priority": "low", "dueDate": "tomorrow"}, "dueDate"),
    ("createTask", {"title": "x", "priority": "low", "dueDate": "2026-02-30"}, "dueDate"),
    ("createTask", {"title": "x", "priority": "low", "dueDate": "2026-03-03T15:00:00"}, "dueDate"),
    ("createTask", {"title": "x", "priority": "low", "due": "2026-03-03"}, "due"),
    ("listTasks", {"status": "done"}, "done"),
    ("listTasks", {"dueBefore": TIME}, "dueBefore"),
    ("updateTask", {"taskId": "t1"}, "updateTask"),
    ("updateTask", {"title": "x"}, "taskId"),
    ("completeTask", {"taskId": 7}, "taskId"),
    ("completeTask", {"taskId": "t1", "status": "completed"}, "status"),
    ("createCalendarEvent", {"summary": "lunch"}, "startTime"),
    ("createCalendarEvent", {"summary": "lunch", "startTime": "2026-03-03"}, "startTime"),
    ("createCalendarEvent", {"summary": "lunch", "startTime": TIME, "attendees": "a@b.co"}, "attendees"),
    ("createCalendarEvent", {"summary": "lunch", "startTime": TIME, "attendees": [1]}, "attendees"),
    ("updateCalendarEvent", {"eventId": "e1"}, "updateCalendarEvent"),
    ("getWeather", {"date": "2026-3-3"}, "date"),
    ("getWeather", {"units": "celsius"}, "celsius"),
    ("sendEmail", {"to": "Sam", "subject": "s"}, "body"),
    ("fly", {}, "unknown tool"),
]


@pytest.fixture(scope="module")
def toolset():
    return load_toolset()


def test_the_ten_tools_stand_in_their_order(toolset):
    """Names, order and required parameters are the contract's."""
    assert list(toolset.tools) == TEN
    assert {name: set(tool.required) for name, tool in toolset.tools.items()} == REQUIRED


def test_no_tool_takes_parameters_of_other_names(toolset):
    """additionalProperties is false everywhere."""
    assert all(tool.parameters["additionalProperties"] is False for tool in toolset.tools.values())


@pytest.mark.parametrize(("tool", "params"), VALID)
def test_valid_calls_have_no_schema_errors(toolset, tool, params):
    """Each tool with the least and with the most that it takes."""
    assert toolset.schema_errors(tool, params) == []


@pytest.mark.parametrize(("tool", "params", "named"), INVALID)
def test_invalid_calls_are_named(toolset, tool, params, named):
    """Every violation is one line that names what is wrong."""
    errors = toolset.schema_errors(tool, params)

    assert errors
    assert named in " ".join(errors)


def test_the_docs_are_one_line_per_tool(toolset):
    """Fixed vectors of two lines; the Worker writes the same docs byte for byte."""
    lines = toolset.docs().split("\n")

    assert [line.split("(")[0] for line in lines] == [f"- {name}" for name in TEN]
    assert lines[0] == (
        "- createTask(title: text, priority: low|medium|high, description?: text, dueDate?: date|time): "
        "Save a task or a reminder, also a reminder of a meeting."
    )
    assert lines[1].startswith(
        "- listTasks(status?: open|completed|all, priority?: low|medium|high, dueBefore?: date): "
    )
    assert "attendees?: text[]" in toolset.docs()


def test_the_digest_is_that_of_the_content_and_not_of_its_spelling(tmp_path, toolset):
    """Spaces and the order of keys do not change it; a changed word does."""
    raw = json.loads(DEFAULT_TOOLSET.read_text(encoding="utf-8"))
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(raw, indent=7, sort_keys=True))
    assert load_toolset(path).digest == toolset.digest

    raw["tools"][0]["description"] += "!"
    path.write_text(json.dumps(raw))
    assert load_toolset(path).digest != toolset.digest


def test_a_digest_names_its_algorithm():
    """Also for text that is no valid UTF-8."""
    assert digest_json({"b": 1, "a": "\ud800"}).startswith("sha256:")
    assert digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1}) != digest_json({"a": 2, "b": "1"})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{oops", id="not JSON"),
        pytest.param("[]", id="an array"),
        pytest.param('{"name": "x"}', id="no tools"),
        pytest.param('{"name": "x", "tools": [{"name": "a"}]}', id="half a tool"),
        pytest.param(
            json.dumps(
                {"name": "x", "tools": [{"name": "a", "description": "d", "parameters": {"type": "object"}}] * 2}
            ),
            id="a name twice",
        ),
    ],
)
def test_a_broken_toolset_is_refused(tmp_path, text):
    """The message names the file."""
    path = tmp_path / "tools.json"
    path.write_text(text)

    with pytest.raises(SetupError, match=r"tools\.json"):
        load_toolset(path)


def test_a_missing_toolset_names_those_that_exist(tmp_path):
    """What was given and what is possible."""
    with pytest.raises(SetupError, match="personal_assistant"):
        load_toolset(tmp_path / "none.json")


def test_the_shipped_schemas_are_json_schema(toolset):
    """Read lazily, since checking them costs more than a run's use of them."""
    jsonschema = pytest.importorskip("jsonschema")

    for tool in toolset.tools.values():
        jsonschema.Draft202012Validator.check_schema(dict(tool.parameters))
