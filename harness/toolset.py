"""The tools that a model may call: JSON Schema in, tool docs, validation and digests out.

Covers: reading a toolset file, the one-line docs shown to the model, schema errors of one call, digests.
Does not cover: whether a call answers the question (scoring), or how the prompt is put together (prompt).
The Worker reads the same file and writes the same docs byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import SetupError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

TOOLSETS = Path(__file__).parent / "toolsets"
DEFAULT_TOOLSET = TOOLSETS / "personal_assistant.json"


def is_date(value: object) -> bool:
    """True for ``YYYY-MM-DD`` of a real day; other types are left to ``type``."""
    if not isinstance(value, str):
        return True
    try:
        return len(value) == 10 and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def is_instant(value: object) -> bool:
    """True for an ISO 8601 date and time with an offset (``Z`` counts); other types are left to ``type``."""
    if not isinstance(value, str):
        return True
    try:
        return is_date(value[:10]) and value[10:11] in ("T", "t") and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, eq=False)  # one object per loaded tool: equality by identity makes it a key
class Tool:
    """One tool: ``parameters`` is a JSON Schema of type object, ``schema`` its canonical JSON text."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    schema: str

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that every call needs."""
        return tuple(self.parameters.get("required", ()))


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools of one assistant, in the order of their file."""

    name: str
    tools: Mapping[str, Tool]
    digest: str  # sha256:<hex> over the canonical JSON of the file

    def docs(self) -> str:
        """The tool docs of the prompt: one line per tool, in file order, without a newline at the end."""
        return _docs(tuple(self.tools.values()))

    def schema_errors(self, tool: str, params: Mapping[str, Any]) -> list[str]:
        """Why ``params`` are not a valid call of ``tool``; empty when they are. An unknown tool is one error."""
        if tool not in self.tools:
            return [f"unknown tool {tool!r}; known: {', '.join(self.tools)}"]
        errors = _validator(self.tools[tool].schema).iter_errors(dict(params))
        return sorted(f"{'.'.join(map(str, error.path)) or tool}: {error.message}" for error in errors)


def load_toolset(path: Path = DEFAULT_TOOLSET) -> Toolset:
    """Read a toolset file.

    Raises:
        SetupError: the file is missing, is not JSON, or lacks a part. A schema that is no JSON Schema is found when
            first used.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        tools = {
            t["name"]: Tool(t["name"], t["description"], t["parameters"], json.dumps(t["parameters"], sort_keys=True))
            for t in raw["tools"]
        }
    except FileNotFoundError:
        shipped = ", ".join(sorted(p.stem for p in TOOLSETS.glob("*.json")))
        raise SetupError(f"No toolset at {path}. Shipped toolsets: {shipped}.") from None
    except Exception as error:
        shape = "{name, tools: [{name, description, parameters}]}"
        raise SetupError(f"{path} is not a toolset: {error}. Expected {shape}.") from error
    if len(tools) != len(raw["tools"]):
        raise SetupError(f"{path} names a tool twice. Give each tool a name of its own.")
    return Toolset(name=str(raw["name"]), tools=tools, digest=digest_json(raw))


def digest_json(value: object) -> str:
    """``sha256:<hex>`` of the canonical JSON of a value (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _validator(schema: str) -> Draft202012Validator:
    # Building a validator costs more than using it; the JSON text is the key since schemas are plain dicts.
    # jsonschema is imported here: `pytest --help` has no use for it.
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError

    formats = FormatChecker(formats=())
    formats.checks("date")(is_date)
    formats.checks("date-time")(is_instant)
    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        raise SetupError(
            f"A tool's parameters are not JSON Schema: {error.message}. Mend them in the toolset file."
        ) from None
    return Draft202012Validator(json.loads(schema), format_checker=formats)


@cache
def _docs(tools: tuple[Tool, ...]) -> str:
    # Every prompt of a run asks for the docs.
    return "\n".join(_doc_line(tool) for tool in tools)


def _doc_line(tool: Tool) -> str:
    params = []
    for name, schema in tool.parameters["properties"].items():
        mark = "" if name in tool.required else "?"
        params.append(f"{name}{mark}: {_doc_type(schema)}")
    return f"- {tool.name}({', '.join(params)}): {tool.description}"


def _doc_type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return "|".join(_doc_type(choice) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return _doc_type(schema["items"]) + "[]"
    kind = str(schema.get("format", schema.get("type", "any")))
    return {"date-time": "time", "string": "text"}.get(kind, kind)
