"""From a case and a read reply to an outcome: the right tools, accepted arguments, or rightly no call.

Covers: verdict and error type of one reply, comparing values, a gold reply that scores right.
Does not cover: reading text (parsing), counting outcomes (metrics), what an outcome means for a release (gate).

How replies are judged:

- Calls and expected calls are matched by the assignment that fits best (most tools, then most accepted calls, then
  most accepted parameters); with ``ordered`` the first belongs to the first, and so on. Of several alternatives the
  one that fits best counts; where they fit equally well, the one that stands first in the case.
- ``tools_right`` is true exactly where the error type is none, schema_violation or wrong_value. The right calls in the
  wrong order are a wrong_value.
- ``"params": "any"`` scores the tool alone: whether its parameters fit the schema is told by ``schema_valid`` only.
- An explicit JSON null is a value, not an omission; it is accepted only where the schema allows it.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from harness.parsing import format_call
from harness.toolset import Tool, Toolset, is_instant
from harness.types import Case, ErrorType, ExpectedCall, Outcome, Reply, ReplyKind, ToolCall, Verdict

# Parameters that carry a person's words: their case, articles and end punctuation are no error.
TEXT_PARAMS = frozenset({"title", "summary", "subject"})
ARTICLES = frozenset({"a", "an", "the"})
QUOTES = str.maketrans("‘’‚‛′“”„″–—‑", "'''''\"\"\"\"---")
END_PUNCTUATION = " .,;:!?…¿¡'\"`´«»()[]{}<>-_*·•"
PLAIN_ANSWER = "Happy to help with that."  # the gold reply where no tool is expected

# Weights of one matched pair; each level outweighs all pairs of the level below it in any case of sane size.
TOOL_WEIGHT, ACCEPTED_WEIGHT, SHARE_WEIGHT = 10**10, 10**5, 10**2
EXACT_SEARCH = 8  # above this many expected calls scipy assigns; below, importing it would cost more than it saves
DETAIL_LENGTH = 400
VALUE_LENGTH = 120


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a reply fits one of the accepted call lists."""

    option: tuple[ExpectedCall, ...]
    error_type: ErrorType | None
    detail: str
    tools_right: bool
    distance: int  # missing or extra calls, whichever are more
    arguments_right: int
    weight: int

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """Greater fits better."""
        return (self.error_type is None, self.tools_right, -self.distance, self.weight)


def score_reply(case: Case, reply: Reply, toolset: Toolset, *, text: str = "", truncated: bool = False) -> Outcome:
    """The outcome of one reply: right, or wrong with exactly one error type and one line for a person.

    ``text`` is the reply as it came and is only kept; ``reply`` is what the reader made of it.
    """
    violations = [find_violations(call, toolset) for call in reply.calls]
    fit = _fit_reply(case, reply, toolset, violations)
    return Outcome(
        case_id=case.id,
        suite=case.suite,
        verdict=Verdict.RIGHT if fit.error_type is None else Verdict.WRONG,
        error_type=fit.error_type,
        detail=_shorten(fit.detail, DETAIL_LENGTH),
        kind=reply.kind,
        expected=tuple(call.tool for call in fit.option),
        called=tuple(call.tool for call in reply.calls),
        tools_right=fit.tools_right,
        schema_valid=not any(violations) if reply.calls else None,
        arguments_right=fit.arguments_right,
        arguments_total=_count_scored(fit.option),
        pair=case.pair,
        tags=case.tags,
        truncated=truncated,
        text=text,
    )


def find_violations(call: ToolCall, toolset: Toolset) -> Sequence[str]:
    """``toolset.schema_errors`` of a call. A case's proof, its pair and its reply ask for the same few calls."""
    if call.tool not in toolset.tools:
        return toolset.schema_errors(call.tool, call.params)
    try:
        params = json.dumps(dict(call.params))
    except RecursionError:
        return toolset.schema_errors(call.tool, call.params)
    return _known_violations(toolset.tools[call.tool], params)


@lru_cache(maxsize=16384)
def _known_violations(tool: Tool, params: str) -> tuple[str, ...]:
    return tuple(Toolset("", {tool.name: tool}, "").schema_errors(tool.name, json.loads(params)))


def target_error(case: Case, why: str) -> Outcome:
    """The outcome of a case that got no reply: not measured, so part of no rate; it closes the gate."""
    return Outcome(
        case_id=case.id,
        suite=case.suite,
        verdict=Verdict.ERROR,
        error_type=ErrorType.TARGET_ERROR,
        detail=_shorten(" ".join(why.split()) or "the target gave no reply", DETAIL_LENGTH),
        kind=None,
        expected=tuple(call.tool for call in case.expect),
        called=(),
        tools_right=False,
        schema_valid=None,
        arguments_right=0,
        arguments_total=_count_scored(case.expect),
        pair=case.pair,
        tags=case.tags,
    )


def gold_reply(case: Case, toolset: Toolset, option: int = 0) -> str:
    """A reply text that answers the case rightly: the first accepted values, in the reply contract.

    ``option`` 0 is ``expect``, 1 the first alternative, and so on. Where any value is accepted, a schema-valid sample
    stands; an optional parameter whose first accepted value is null is left out.
    """
    return render_gold(gold_calls(case, toolset, option))


def render_gold(calls: Sequence[ToolCall]) -> str:
    """Calls as a reply text with nothing around their blocks; a plain sentence where there are none."""
    return "\n".join(format_call(call) for call in calls) or PLAIN_ANSWER


def gold_calls(case: Case, toolset: Toolset, option: int = 0) -> tuple[ToolCall, ...]:
    """The calls of ``gold_reply``, not yet text."""
    expected = (case.expect, *case.alternatives)[option]
    return tuple(_gold_call(call, toolset, case.now) for call in expected)


def sample_call(tool: str, toolset: Toolset, now: str) -> ToolCall:
    """A schema-valid call of a known tool with as few parameters as it allows; times are taken from ``now``."""
    return _gold_call(ExpectedCall(tool, "any"), toolset, now)


def sample_value(schema: Mapping[str, Any], now: str) -> Any:
    """A value that a parameter's schema allows, as far as a simple look at it can tell; patterns are not solved."""
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return sample_value({**{k: v for k, v in schema.items() if k != key}, **schema[key][0]}, now)
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "string":
            if schema.get("format") == "date":
                return now[:10]
            if schema.get("format") == "date-time":
                return now
            return "sample".ljust(int(schema.get("minLength", 0)), "e")[: schema.get("maxLength")]
        case "integer" | "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            return min(low, schema["maximum"]) if "maximum" in schema else low
        case "boolean":
            return True
        case "array":
            return [sample_value(schema.get("items", {}), now)] * max(1, int(schema.get("minItems", 1)))
        case "object":
            properties = schema.get("properties", {})
            return {name: sample_value(properties.get(name, {}), now) for name in schema.get("required", ())}
    return None


def normalise_text(text: str) -> str:
    """A person's words without what is no difference: case, articles, spacing, punctuation at the ends, quote forms.

    Unicode is read as NFKC. An article at the very end stays, since it is a name there ("plan A").
    """
    while (plainer := _normalise_once(text)) != text:  # an article may come to light behind a quote that was stripped
        text = plainer
    return text


def _normalise_once(text: str) -> str:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(QUOTES)
    words = _strip_ends(" ".join(text.split())).split(" ")
    return _strip_ends(" ".join([word for word in words[:-1] if word not in ARTICLES] + words[-1:]))


def _strip_ends(text: str) -> str:
    return text.strip(END_PUNCTUATION) or text  # what is punctuation alone stays as it is


def same_value(got: Any, accepted: Any, schema: Mapping[str, Any], *, as_text: bool = False) -> bool:
    """True where a value of a reply means the accepted one.

    Types are strict: True is not 1, "5" is not 5, and 5.0 is 5 only where the schema says number. Strings are compared
    exactly, except words (``as_text``) by ``normalise_text`` and instants as instants where the schema has date-times.
    """
    if isinstance(got, str) and isinstance(accepted, str):
        if got == accepted:
            return True
        if "enum" in schema or "const" in schema:
            return False
        if as_text:
            return normalise_text(got) == normalise_text(accepted)
        return _allows(schema, "format", "date-time") and _same_instant(got, accepted)
    if isinstance(got, bool) or isinstance(accepted, bool):
        return got is accepted
    if isinstance(got, int | float) and isinstance(accepted, int | float):
        return got == accepted and (type(got) is type(accepted) or _allows(schema, "type", "number"))
    if isinstance(got, list | tuple) and isinstance(accepted, list | tuple):
        items = schema.get("items", {})
        return len(got) == len(accepted) and all(same_value(g, a, items) for g, a in zip(got, accepted, strict=True))
    if isinstance(got, Mapping) and isinstance(accepted, Mapping):
        properties = schema.get("properties", {})
        return got.keys() == accepted.keys() and all(
            same_value(got[k], accepted[k], properties.get(k, {})) for k in got
        )
    return got is None and accepted is None


def accepts_anything(accepted: Any) -> bool:
    """True for ``{"any": true}``, which stands for every value that the schema allows."""
    return isinstance(accepted, Mapping) and len(accepted) == 1 and accepted.get("any") is True


def assign_calls(weights: Sequence[Sequence[int]]) -> list[int | None]:
    """For each row the column it is matched with, so that the summed weight is greatest; no column twice.

    A pair of weight 0 or less is never matched. Exact: a search over sets of rows for few rows, scipy's
    ``linear_sum_assignment`` (Crouse 2016, a modified Jonker-Volgenant algorithm) for more.
    """
    rows = len(weights)
    columns = len(weights[0]) if rows else 0
    if rows == 0 or columns == 0:
        return [None] * rows
    if rows > EXACT_SEARCH:
        return _assign_by_scipy(weights)
    # best[set of rows already matched] = (weight, columns chosen); columns are offered one after the other.
    best: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {0: (0, ())}
    for column in range(columns):
        for taken, (total, chosen) in list(best.items()):
            for row in range(rows):
                weight = weights[row][column]
                if weight <= 0 or taken >> row & 1:
                    continue
                joined = taken | 1 << row
                if joined not in best or best[joined][0] < total + weight:
                    best[joined] = (total + weight, (*chosen, (row, column)))
    matched = dict(max(best.values(), key=lambda entry: entry[0])[1])
    return [matched.get(row) for row in range(rows)]


def _assign_by_scipy(weights: Sequence[Sequence[int]]) -> list[int | None]:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment([[max(0, weight) for weight in row] for row in weights], maximize=True)
    matched = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [matched[row] if row in matched and weights[row][matched[row]] > 0 else None for row in range(len(weights))]


def _fit_reply(case: Case, reply: Reply, toolset: Toolset, violations: Sequence[Sequence[str]]) -> _Fit:
    if reply.kind is ReplyKind.MALFORMED:
        first = reply.malformed[0] if reply.malformed else None
        why = f"{first.why}: {_show(first.text)}" if first else "the reply attempts a call that cannot be read"
        return _failed(case.expect, ErrorType.MALFORMED, why)
    if reply.kind is ReplyKind.NONE and not reply.text.strip():
        return _failed(case.expect, ErrorType.EMPTY_REPLY, f"the reply is empty, expected {_name_calls(case.expect)}")
    # max() keeps the first of equals, so a tie goes to the list that stands first in the case.
    fits = [
        _fit_option(option, case.ordered, reply, toolset, violations) for option in (case.expect, *case.alternatives)
    ]
    return max(fits, key=lambda fit: fit.rank)


def _failed(option: tuple[ExpectedCall, ...], error_type: ErrorType, detail: str, distance: int = 0) -> _Fit:
    return _Fit(option, error_type, detail, tools_right=False, distance=distance, arguments_right=0, weight=0)


def _fit_option(
    option: tuple[ExpectedCall, ...], ordered: bool, reply: Reply, toolset: Toolset, violations: Sequence[Sequence[str]]
) -> _Fit:
    calls = reply.calls
    if not option and not calls:
        return _Fit(option, None, "", tools_right=True, distance=0, arguments_right=0, weight=0)
    if not calls:
        detail = f"expected {_name_calls(option)}, got plain text: {_show(reply.text)}"
        return _failed(option, ErrorType.MISSED_CALL, detail, distance=len(option))
    if not option:
        detail = f"expected plain text, got {'; '.join(_show_call(call) for call in calls)}"
        return _failed(option, ErrorType.PHANTOM_CALL, detail, distance=len(calls))

    wanted, called = [call.tool for call in option], [call.tool for call in calls]
    same_order = wanted == called
    missing, extra = Counter[str](), Counter[str]()
    if not same_order:
        missing, extra = Counter(wanted) - Counter(called), Counter(called) - Counter(wanted)
    problems: dict[tuple[int, int], list[str]] = {}
    weights = [[0] * len(calls) for _ in option]
    for i, expected in enumerate(option):
        for j, call in enumerate(calls):
            # With `ordered` and the right order of tools the only possible partner stands at the same place.
            if expected.tool == call.tool and not (ordered and same_order and i != j):
                found, share = _judge_call(expected, call, toolset, violations[j])
                problems[i, j] = found
                weights[i][j] = TOOL_WEIGHT + ACCEPTED_WEIGHT * (not found) + round(SHARE_WEIGHT * share)
    pairs = [(i, j) for i, j in enumerate(assign_calls(weights)) if j is not None]
    accepted = sum(not problems[i, j] for i, j in pairs if option[i].params != "any")
    error_type, detail = _name_error(option, calls, toolset, missing, extra)
    if error_type is None:
        wrong = [pair for pair in pairs if problems[pair]]
        bad_schema = [pair for pair in wrong if violations[pair[1]]]
        detail = "; ".join(line for pair in bad_schema or wrong for line in problems[pair])
        if bad_schema:
            error_type = ErrorType.SCHEMA_VIOLATION
        elif wrong:
            error_type = ErrorType.WRONG_VALUE
        elif ordered and not same_order:
            error_type = ErrorType.WRONG_VALUE
            detail = f"the calls are in the wrong order: got {_name_calls(calls)}, accepted {_name_calls(option)}"
    return _Fit(
        option,
        error_type,
        detail,
        tools_right=not missing and not extra,
        distance=max(missing.total(), extra.total()),
        arguments_right=accepted,
        weight=sum(weights[i][j] for i, j in pairs),
    )


def _name_error(
    option: Sequence[ExpectedCall],
    calls: Sequence[ToolCall],
    toolset: Toolset,
    missing: Counter[str],
    extra: Counter[str],
) -> tuple[ErrorType | None, str]:
    """The error in the choice of tools, if there is one."""
    unknown = [call.tool for call in calls if call.tool not in toolset.tools]
    if unknown:
        return ErrorType.UNKNOWN_TOOL, f"no tool is called {_show(unknown[0])}, expected {_name_calls(option)}"
    if not missing and not extra:
        return None, ""
    compared = f"expected {_name_calls(option)}, got {'; '.join(_show_call(call) for call in calls)}"
    if missing and extra:
        return ErrorType.WRONG_TOOL, compared
    if missing:
        return ErrorType.MISSING_CALL, f"{', '.join(missing.elements())} is missing: {compared}"
    # Only where repeating calls is all that went wrong is it a duplicate; one new call among them is an extra call.
    repeated: Counter[str] = Counter()
    for same, count in Counter((call.tool, _canonical(call.params)) for call in calls).items():
        repeated[same[0]] += count - 1
    if not extra - repeated:
        return ErrorType.DUPLICATE_CALL, f"the same call of {', '.join(extra)} comes more than once: {compared}"
    return ErrorType.EXTRA_CALL, f"{', '.join(extra.elements())} is not asked for: {compared}"


def _judge_call(
    expected: ExpectedCall, call: ToolCall, toolset: Toolset, violations: Sequence[str]
) -> tuple[list[str], float]:
    """What is wrong with a call of the expected tool, one line each, and the share of parameters that are right."""
    if expected.params == "any":
        return [], 1.0
    lines = []
    properties = toolset.tools[call.tool].parameters.get("properties", {}) if call.tool in toolset.tools else {}
    for name, accepted in expected.params.items():
        if name not in call.params:
            if not any(value is None for value in accepted):
                lines.append(f"{call.tool}.{name}: missing, accepted {_show_accepted(accepted)}")
        elif not _is_accepted(call.params[name], accepted, properties.get(name, {}), as_text=name in TEXT_PARAMS):
            lines.append(f"{call.tool}.{name}: got {_show(call.params[name])}, accepted {_show_accepted(accepted)}")
    lines += [
        f"{call.tool}.{_plain(name)}: got {_show(call.params[name])}, accepted only when omitted"
        for name in call.params
        if name not in expected.params
    ]
    names = expected.params.keys() | call.params.keys()
    share = 1 - len(lines) / len(names) if names else 1.0
    if violations:
        lines = [f"{call.tool} breaks its schema: {_plain(line)}" for line in violations]
    return lines, share


def _is_accepted(got: Any, accepted: Sequence[Any], schema: Mapping[str, Any], *, as_text: bool) -> bool:
    # A schema violation is reported before any value, so "any" needs no check of its own.
    return any(accepts_anything(value) or same_value(got, value, schema, as_text=as_text) for value in accepted)


def _gold_call(expected: ExpectedCall, toolset: Toolset, now: str) -> ToolCall:
    parameters = toolset.tools[expected.tool].parameters if expected.tool in toolset.tools else {}
    properties, required = parameters.get("properties", {}), set(parameters.get("required", ()))
    accepted: Mapping[str, Sequence[Any]]
    if expected.params == "any":
        accepted = {name: ({"any": True},) if name in required else (None, {"any": True}) for name in properties}
    else:
        accepted = expected.params
    fewest = int(parameters.get("minProperties", 0))
    params: dict[str, Any] = {}
    spare: list[str] = []
    names = [name for name in properties if name in accepted] + [name for name in accepted if name not in properties]
    for name in names:
        values = [value for value in accepted[name] if value is not None]
        if not values:
            continue
        value = sample_value(properties.get(name, {}), now) if accepts_anything(values[0]) else values[0]
        params[name] = value
        if accepted[name][0] is None and name not in required:
            spare.append(name)
    for name in reversed(spare):  # what may be omitted first is omitted, as far as the schema lets it
        if len(params) > fewest:
            del params[name]
    return ToolCall(expected.tool, params)


def _count_scored(option: Sequence[ExpectedCall]) -> int:
    return sum(call.params != "any" for call in option)


def _allows(schema: Mapping[str, Any], key: str, value: str) -> bool:
    own = schema.get(key)
    if own == value or (isinstance(own, list) and value in own):
        return True
    return any(_allows(choice, key, value) for word in ("anyOf", "oneOf", "allOf") for choice in schema.get(word, ()))


def _same_instant(got: str, accepted: str) -> bool:
    return is_instant(got) and is_instant(accepted) and datetime.fromisoformat(got) == datetime.fromisoformat(accepted)


def _canonical(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        return f"nested too deeply to compare: {id(value)}"


def _name_calls(calls: Sequence[ExpectedCall | ToolCall]) -> str:
    return ", ".join(_plain(call.tool) for call in calls) or "plain text"


def _show_call(call: ToolCall) -> str:
    return f"{_plain(call.tool)}({_show(dict(call.params))})"


def _show_accepted(accepted: Sequence[Any]) -> str:
    words = ("omitted" if v is None else "any value" if accepts_anything(v) else _show(v) for v in accepted)
    return " or ".join(words)


def _show(value: Any) -> str:
    """A value as JSON on one line, shortened; never text that UTF-8 cannot write."""
    try:
        return _shorten(_plain(json.dumps(value, ensure_ascii=False)), VALUE_LENGTH)
    except RecursionError:
        return "a value nested too deeply to show"


def _plain(text: str) -> str:
    """Text on one line; control characters and lone surrogates are written out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
