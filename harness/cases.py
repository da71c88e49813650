"""Case files: from JSON Lines to frozen cases, and the proof that each case can be answered rightly.

Covers: a strict reader of case lines, the proof of one case and of a whole suite, a digest, and the one rule of what
text is too close to a case to be trained on.
Does not cover: scoring replies (scoring), the choice of cases of a profile (gate).

The reader is written by hand: it names file, line and key, and reads 2,000 cases in a fraction of a second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import CaseError, SetupError
from harness.parsing import parse_reply
from harness.prompt import has_special_tokens
from harness.scoring import accepts_anything, gold_calls, normalise_text, render_gold, sample_call, score_reply
from harness.toolset import Tool, Toolset, digest_json, is_instant
from harness.types import Case, ErrorType, ExpectedCall, Message, Reply, ReplyKind, ToolCall, Verdict

SUITES = ("selection", "disambiguation", "negatives", "crud", "multi_turn", "compound", "arguments", "general")
ROLES = ("user", "assistant", "tool")
NEEDED_KEYS = ("id", "suite", "messages", "now", "expect", "tags", "why", "source")
OPTIONAL_KEYS = ("pair", "alternatives", "ordered")
ALIKE = 90.0  # of 100: at 90 two questions of 40 characters differ in about four
CHUNK = 512  # texts compared at once; the table of scores stays small
LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # or a whole pair; a closer look tells
EXAMPLE_PARAMS = '{"title": ["call mom"]}'


class _Broken(Exception):  # noqa: N818  # never leaves this module
    """What is wrong with a line, what is possible and the next step."""


@dataclass(frozen=True, slots=True)
class CloseText:
    """A user turn that is nearly the question of a case."""

    index: int  # of its conversation
    case_id: str
    score: float  # of 100
    text: str
    question: str


def load_cases(path: Path) -> list[Case]:
    """Read the cases of a file, or of every ``*.jsonl`` in a folder (by name, not below it); empty lines are skipped.

    A file without a line holds no cases: the gate, not the reader, says what that means.

    Raises:
        SetupError: there is nothing at the path, or no ``*.jsonl`` in the folder.
        CaseError: a line breaks the format; the message starts with ``file:line:``.
    """
    if path.is_dir():
        files = sorted(path.glob("*.jsonl"))
        if not files:
            raise SetupError(f"No case files in {path}. Expected *.jsonl with one case per line.")
    else:
        files = [path]
    return [case for file in files for case in _load_file(file)]


def parse_case(line: str) -> Case:
    """One case from its JSON line.

    Raises:
        CaseError: the line breaks the format.
    """
    try:
        return _read_case(line)
    except _Broken as broken:
        raise CaseError(str(broken)) from None


def case_dict(case: Case) -> dict[str, Any]:
    """A case as the JSON object of its line; optional keys only where they say something."""
    line: dict[str, Any] = {
        "id": case.id,
        "suite": case.suite,
        "messages": [dict(message) for message in case.messages],
        "now": case.now,
        "expect": [_call_dict(call) for call in case.expect],
        "tags": list(case.tags),
        "why": case.why,
        "source": case.source,
    }
    if case.pair is not None:
        line["pair"] = case.pair
    if case.alternatives:
        line["alternatives"] = [[_call_dict(call) for call in option] for option in case.alternatives]
    if case.ordered:
        line["ordered"] = True
    return line


def digest_cases(cases: Iterable[Case]) -> str:
    """``sha256:<hex>`` over everything in the cases; their order and the spelling of their files do not matter."""
    return digest_json(sorted((case_dict(case) for case in cases), key=lambda line: str(line["id"])))


def prove_case(case: Case, toolset: Toolset) -> list[str]:
    """What keeps a case from measuring anything, one line each; empty when it is proven.

    Proven means: the conversation is well formed, every accepted value fits the schema, the gold reply of each
    accepted call list is read and scores right, a wrong tool scores wrong, and silence scores wrong.
    """
    problems = _prove_conversation(case, toolset)
    for option in (case.expect, *case.alternatives):
        for call in option:
            problems += _prove_expected(call, toolset)
    if not problems:  # a gold reply from broken expectations would only repeat them
        problems = _prove_scores(case, toolset)
    return [f"{case.id}: {problem}" for problem in problems]


def prove_suite(cases: Sequence[Case], toolset: Toolset) -> list[str]:
    """What is wrong between cases, one line each: ids used twice, pairs that are no pairs, questions asked twice.

    Each case is proven by ``prove_case``, not here. A pair is two cases of one suite of which neither gold
    reply is right for the other.
    """
    problems = []
    seen: set[str] = set()
    asked: dict[str, str] = {}
    pairs: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        if case.id in seen:
            problems.append(f"{case.id}: two cases have this id. Give each case an id of its own.")
        seen.add(case.id)
        question = json.dumps([case.now, case.messages])
        if question in asked and asked[question] != case.id:
            problems.append(f"{case.id}: asks word for word what {asked[question]} asks. Remove or change one of them.")
        asked.setdefault(question, case.id)
        if case.pair is not None:
            pairs.setdefault((case.suite, case.pair), []).append(case)
    for (suite, pair), members in sorted(pairs.items()):
        names = ", ".join(case.id for case in members)
        if len(members) != 2:
            problems.append(f"pair {pair} of {suite} has {len(members)} cases ({names}). A pair has exactly two.")
        elif any(_answers(one, other, toolset) for one, other in (members, members[::-1])):
            problems.append(
                f"pair {pair} of {suite} ({names}): one answer is right for both, so it tells nothing apart."
            )
    return problems


def close_to_cases(
    conversations: Sequence[Sequence[str]], cases: Sequence[Case], threshold: float = ALIKE
) -> list[CloseText]:
    """Where a conversation, given as its user turns, holds the question of a case, which is the case's last user turn.

    Every turn is compared, the first as well as the last: a model learns from all of them. What comes back is in the
    order of the conversations, each turn with every case that it is close to.

    Raises:
        ValueError: threshold is not above 0 and at most 100.
    """
    holders: dict[str, list[tuple[int, str]]] = {}  # equal texts are compared once
    for index, turns in enumerate(conversations):
        for text in dict.fromkeys(turns):
            holders.setdefault(normalise_text(text), []).append((index, text))
    askers: dict[str, list[tuple[str, str]]] = {}
    for case in cases:
        question = next((m["content"] for m in reversed(case.messages) if m["role"] == "user"), "")
        askers.setdefault(normalise_text(question), []).append((case.id, question))
    texts, questions = list(holders), list(askers)
    found = [
        CloseText(index, case_id, score, text, question)
        for i, j, score in near_duplicates(texts, questions, threshold)
        for index, text in holders[texts[i]]
        for case_id, question in askers[questions[j]]
    ]
    return sorted(found, key=lambda close: close.index)


def near_duplicates(texts_a: Sequence[str], texts_b: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """Pairs (index in a, index in b, score) whose normalised texts are alike by ``threshold`` or more, of 100.

    The score is rapidfuzz's ``ratio``: 100 times the share of characters in common (normalised indel similarity).
    When both arguments are the same list, each pair of different texts comes once. Texts that are empty once
    normalised are like nothing.

    Raises:
        ValueError: threshold is not above 0 and at most 100.
    """
    if not 0 < threshold <= 100:
        raise ValueError(f"threshold = {threshold!r} is not above 0 and at most 100. Usual is 90.")
    from rapidfuzz import fuzz, process

    clean_a = [normalise_text(text) for text in texts_a]
    clean_b = clean_a if texts_a is texts_b else [normalise_text(text) for text in texts_b]
    found = []
    for start in range(0, len(clean_a), CHUNK):
        scores = process.cdist(clean_a[start : start + CHUNK], clean_b, scorer=fuzz.ratio, score_cutoff=threshold)
        rows, columns = scores.nonzero()
        for row, j in zip(rows.tolist(), columns.tolist(), strict=True):
            i = start + row
            if clean_a[i] and clean_b[j] and (clean_a is not clean_b or i < j):
                found.append((i, j, float(scores[row, j])))
    return found


def _load_file(path: Path) -> list[Case]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SetupError(f"No cases at {path}. Expected a .jsonl file or a folder of them.") from None
    except OSError as error:
        raise SetupError(f"Cannot read the cases in {path}: {error.strerror}. Expected a .jsonl file.") from None
    cases: list[Case] = []
    first_line: dict[str, int] = {}
    # Split at newlines only: other line separators may stand inside a JSON string.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            case = _read_case(line.decode("utf-8"))
            if case.id in first_line:
                _refuse(
                    f"id {case.id!r} is already used on line {first_line[case.id]}. Give each case an id of its own"
                )
        except UnicodeDecodeError as error:
            raise CaseError(f"{path}:{number}: not UTF-8 at byte {error.start}. Save the file as UTF-8.") from None
        except _Broken as broken:
            raise CaseError(f"{path}:{number}: {broken}") from None
        first_line[case.id] = number
        cases.append(case)
    return cases


def _read_case(line: str) -> Case:
    try:
        raw = json.loads(line, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        _refuse(f"not JSON: {error.msg} at column {error.colno}. Expected one JSON object per line")
    except (RecursionError, ValueError):
        _refuse("not JSON that can be read: nested too deeply or a number too long. Expected one JSON object per line")
    if LONE_SURROGATE.search(line) and _has_lone_surrogates(raw):
        _refuse(
            "half a surrogate pair (\\ud800 to \\udfff) is no character. Write the whole pair, or the character itself"
        )
    if not isinstance(raw, dict):
        _refuse(f"a {_kind(raw)} where a case is needed. Expected one JSON object per line")
    for key in raw:
        if key not in NEEDED_KEYS and key not in OPTIONAL_KEYS:
            _refuse(f"unknown key {key!r}. Known keys: {', '.join((*NEEDED_KEYS, *OPTIONAL_KEYS))}")
    for key in NEEDED_KEYS:
        if key not in raw:
            _refuse(f"key {key!r} is missing. Every case needs {', '.join(NEEDED_KEYS)}")
    case_id = _read_word(raw, "id")
    now = _read_text(raw, "now")
    if not is_instant(now):
        _refuse(f"'now' is {now!r}. Expected a time with an offset, e.g. 2026-03-02T09:00:00+00:00")
    ordered = raw.get("ordered", False)
    if not isinstance(ordered, bool):
        _refuse(f"'ordered' is a {_kind(ordered)}. Expected true or false")
    alternatives = raw.get("alternatives", [])
    if not isinstance(alternatives, list) or ("alternatives" in raw and not alternatives):
        _refuse("'alternatives' is not a list of call lists. Expected [[call, ...], ...]; [] inside it means no call")
    return Case(
        id=case_id,
        suite=_read_word(raw, "suite"),
        messages=_read_messages(raw["messages"]),
        now=now,
        expect=_read_calls(raw["expect"], "expect"),
        alternatives=tuple(_read_calls(option, f"alternatives[{i}]") for i, option in enumerate(alternatives)),
        ordered=ordered,
        pair=_read_word(raw, "pair") if "pair" in raw else None,
        tags=_read_tags(raw["tags"]),
        why=_read_text(raw, "why"),
        source=_read_text(raw, "source"),
    )


def _read_messages(raw: Any) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        _refuse('\'messages\' is not a list of turns. Expected [{"role": "user", "content": "..."}, ...]')
    messages = []
    for i, turn in enumerate(raw):
        where = f"messages[{i}]"
        if not isinstance(turn, dict) or turn.keys() != {"role", "content"}:
            _refuse(f"{where} needs exactly the keys role and content")
        role, content = turn["role"], turn["content"]
        if role not in ROLES:
            _refuse(
                f"{where} has the role {role!r}. Possible: {', '.join(ROLES)}; the system prompt is put in front by us"
            )
        if not isinstance(content, str) or not content.strip():
            _refuse(f"{where} has no text as its content")
        if has_special_tokens(content):
            _refuse(f"{where} holds a special token such as <|eot_id|>, which could forge a turn. Take it out")
        messages.append(Message(role=role, content=content))
    if messages[0]["role"] != "user":
        _refuse(f"messages[0] has the role {messages[0]['role']}. A conversation starts with the user")
    if messages[-1]["role"] == "assistant":
        _refuse("the last message is the assistant's. A case ends with the user or a tool, so that a reply can follow")
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            if messages[i - 1]["role"] == "user":
                _refuse(f"messages[{i}] is a tool's, right after the user. A tool answers a call of the assistant")
            _check_tool_result(message["content"], i)
    return tuple(messages)


def _check_tool_result(content: str, i: int) -> None:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        _refuse(f"messages[{i}] is a tool's and its content is not JSON. Write the result as JSON text")


def _read_calls(raw: Any, where: str) -> tuple[ExpectedCall, ...]:
    if not isinstance(raw, list):
        _refuse(f"'{where}' is a {_kind(raw)}. Expected a list of calls, [] for no tool")
    return tuple(_read_call(call, f"{where}[{i}]") for i, call in enumerate(raw))


def _read_call(raw: Any, where: str) -> ExpectedCall:
    if not isinstance(raw, dict) or raw.keys() != {"tool", "params"}:
        _refuse(f"{where} needs exactly the keys tool and params")
    tool, params = raw["tool"], raw["params"]
    if not isinstance(tool, str) or not tool:
        _refuse(f"{where}.tool is not the name of a tool")
    if params == "any":
        return ExpectedCall(tool, "any")
    if not isinstance(params, dict):
        _refuse(f'{where}.params is a {_kind(params)}. Expected {EXAMPLE_PARAMS}, or "any" to score the tool alone')
    accepted: dict[str, tuple[Any, ...]] = {}
    for name, values in params.items():
        if accepts_anything(values):
            accepted[name] = (values,)
        elif isinstance(values, list) and values:
            accepted[name] = tuple(values)
        else:
            found = "an empty list" if values == [] else f"a {_kind(values)}"
            _refuse(
                f"{where}.params.{name} is {found}. Expected the list of accepted values, e.g. {EXAMPLE_PARAMS}; "
                'null in it = may be omitted, {"any": true} = any valid value'
            )
    return ExpectedCall(tool, accepted)


def _read_tags(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(tag, str) and tag.strip() for tag in raw):
        _refuse('\'tags\' is not a list of words. Expected e.g. ["core", "casual"], [] for none')
    if len(set(raw)) != len(raw):
        _refuse("'tags' names a tag twice. Name each once")
    return tuple(raw)


def _read_text(raw: Mapping[str, Any], key: str) -> str:
    value = raw[key]
    if not isinstance(value, str) or not value.strip():
        _refuse(f"{key!r} is {'empty' if isinstance(value, str) else f'a {_kind(value)}'}. Expected text")
    return value


def _read_word(raw: Mapping[str, Any], key: str) -> str:
    value = _read_text(raw, key)
    # Ids end up in test names, file names and tables.
    if not value.isprintable() or any(char.isspace() for char in value) or len(value) > 200:
        _refuse(f"{key!r} is {value[:60]!r}. Expected one word without spaces, e.g. selection-001")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        _refuse(f"key {next(n for n in names if names.count(n) > 1)!r} stands twice in one object. Keep one of them")
    return found


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON. Expected a number that JSON knows")


def _refuse(message: str) -> NoReturn:
    raise _Broken(message + ".")


def _has_lone_surrogates(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "true or false", int: "number", float: "number"}
    return names.get(type(value), "null")


def _call_dict(call: ExpectedCall) -> dict[str, Any]:
    if call.params == "any":
        return {"tool": call.tool, "params": "any"}
    return {"tool": call.tool, "params": {name: list(values) for name, values in call.params.items()}}


def _answers(one: Case, other: Case, toolset: Toolset) -> bool:
    """True where the gold reply of one case is right for the other."""
    calls = gold_calls(one, toolset)
    reply = Reply(ReplyKind.CALL if calls else ReplyKind.NONE, calls, (), "" if calls else render_gold(calls))
    return score_reply(other, reply, toolset).verdict is Verdict.RIGHT


def _prove_conversation(case: Case, toolset: Toolset) -> list[str]:
    problems = []
    if not is_instant(case.now):
        problems.append(f"now is {case.now!r}. Expected a time with an offset, e.g. 2026-03-02T09:00:00+00:00.")
    if not case.messages or case.messages[-1]["role"] == "assistant":
        problems.append("the conversation does not end with the user or a tool, so no reply can follow.")
    for i, message in enumerate(case.messages):
        if message["role"] not in ROLES:
            problems.append(f"messages[{i}] has the role {message['role']!r}. Possible: {', '.join(ROLES)}.")
        if has_special_tokens(message["content"]):
            problems.append(f"messages[{i}] holds a special token, which could forge a turn. Take it out.")
        if message["role"] == "assistant":
            said = parse_reply(message["content"])
            if said.kind is ReplyKind.MALFORMED:
                problems.append(f"messages[{i}] breaks the reply contract: {said.malformed[0].why}.")
            for call in said.calls:
                problems += [
                    f"messages[{i}] calls wrongly: {error}." for error in toolset.schema_errors(call.tool, call.params)
                ]
    return problems


def _prove_expected(expected: ExpectedCall, toolset: Toolset) -> list[str]:
    if expected.tool not in toolset.tools:
        return [f"no tool is called {expected.tool!r}. Known tools: {', '.join(toolset.tools)}."]
    if expected.params == "any":
        return []
    problems = []
    tool = toolset.tools[expected.tool]
    properties = tool.parameters.get("properties", {})
    for name, accepted in expected.params.items():
        if name not in properties:
            problems.append(f"{tool.name} has no parameter {name!r}. It has {', '.join(properties) or 'none'}.")
            continue
        for value in accepted:
            if value is None:
                if name in tool.required:
                    problems.append(
                        f"{tool.name}.{name} may not be omitted, and null stands in its list. Take null out."
                    )
            elif not accepts_anything(value):
                why = _value_error(toolset, tool.name, name, value)
                if why:
                    problems.append(f"{tool.name}.{name} accepts {value!r}, which its schema refuses: {why}.")
    problems += [
        f'{tool.name}.{name} is required and not listed, so no reply can be right. List its values, or {{"any": true}}.'
        for name in tool.required
        if name not in expected.params
    ]
    return problems


def _value_error(toolset: Toolset, tool: str, name: str, value: Any) -> str:
    """Why a value does not fit one parameter; empty when it does."""
    # The same few values (priorities, units, dates) stand in hundreds of cases.
    key = (toolset.digest, tool, name, value if isinstance(value, str) else (json.dumps(value),))
    if key not in _known_errors:
        schema = toolset.tools[tool].parameters["properties"][name]
        params = {"type": "object", "properties": {name: schema}}
        alone = Tool(tool, "", params, json.dumps(params, sort_keys=True))
        errors = Toolset(toolset.name, {tool: alone}, toolset.digest).schema_errors(tool, {name: value})
        _known_errors[key] = errors[0] if errors else ""
    return _known_errors[key]


_known_errors: dict[tuple[str, str, str, str | tuple[str]], str] = {}


def _prove_scores(case: Case, toolset: Toolset) -> list[str]:
    problems = []
    for i, option in enumerate((case.expect, *case.alternatives)):
        calls = gold_calls(case, toolset, option=i)
        text = render_gold(calls)
        reply = parse_reply(text)
        name = "the gold reply" if i == 0 else f"the gold reply of alternative {i}"
        if reply.calls != calls:
            problems.append(f"{name} is not read as it is meant: {text!r}.")
            continue
        outcome = score_reply(case, reply, toolset, text=text)
        if option and not outcome.schema_valid:
            problems.append(f"{name} breaks the schema: {outcome.detail or text!r}.")
        elif outcome.verdict is not Verdict.RIGHT:
            problems.append(f"{name} scores {outcome.error_type}: {outcome.detail}. Make it one that can be right.")
    wrong = _wrong_call(case, toolset)
    if score_reply(case, Reply(ReplyKind.CALL, (wrong,), (), ""), toolset).verdict is Verdict.RIGHT:
        problems.append(f"a call of {wrong.tool} scores right, and it is none of the expected tools.")
    silence = score_reply(case, Reply(ReplyKind.NONE, (), (), ""), toolset)
    if silence.error_type is not ErrorType.EMPTY_REPLY:
        problems.append("silence does not score as an empty reply.")
    return problems


def _wrong_call(case: Case, toolset: Toolset) -> ToolCall:
    named = {call.tool for option in (case.expect, *case.alternatives) for call in option}
    tool = next((tool for tool in toolset.tools if tool not in named), None)
    return sample_call(tool, toolset, case.now) if tool else ToolCall("noSuchTool", {})
