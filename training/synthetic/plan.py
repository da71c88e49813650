"""From options to a frozen plan: the requests of a run, and what they may cost.

Covers: which topic, style and times each request has, the estimate, writing and reading plan.json.
Does not cover: sending anything.

The plan is written before the first request and never changes: a run that goes on after a kill asks what is left of it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from harness.errors import DataError, SetupError
from harness.store import write_file
from harness.toolset import Toolset
from training.examples import Example
from training.synthetic.models import Price, find_claude
from training.synthetic.prompts import STYLES, Topic, format_line, list_topics, write_request, write_system

FORMAT = 1
PER_REQUEST = 10  # examples; more come out alike, fewer pay the system prompt too often
SHOWN = 2  # hand-written lines in a request
BYTES_PER_TOKEN = 2.5  # low, so that estimates are high: English has about 3 with the tokenizer of Claude 4.7 and later
LINE_TOKENS = {"single": 110, "negative": 90, "general": 130, "contrastive": 220, "compound": 190, "crud": 420,
               "multi_turn": 420}  # fmt: skip
THINKING = 2.5  # times the tokens of the lines, where a model thinks before it writes
MOST_TOKENS = 20_000  # of one reply; above 21,333 the SDK wants a stream
# Minutes from UTC, with quarters and halves of an hour among them.
_OFFSETS = (0, 0, 60, 60, 120, 180, 210, 330, 345, 480, 540, 570, 600, 720,
            -180, -240, -300, -300, -360, -420, -480, -600)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One request; everything in it is known before it is sent."""

    id: str  # four digits, in the order of asking
    topic: str
    kind: str
    tool: str | None
    paired: bool
    style: str
    nows: tuple[str, ...]  # one for each line that is asked for
    prompt: str
    max_tokens: int

    @property
    def examples(self) -> int:
        """How many it asks for; a pair counts twice."""
        return len(self.nows) * (2 if self.paired else 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, as plan.json holds it."""

    run: str  # eight hexadecimal digits: the beginning of the examples' ids
    made: str
    model: str
    base_url: str | None  # of an OpenAI-compatible server; None is the Messages API
    batch: bool
    temperature: float | None
    effort: str | None
    licence: str
    price: Price
    toolset: str  # digest
    system: str
    requests: tuple[Request, ...]

    def input_tokens(self, request: Request) -> int:
        """What a request sends, rather too high than too low."""
        return int(len((self.system + request.prompt).encode()) / BYTES_PER_TOKEN) + 50

    def at_most(self, request: Request) -> float:
        """US dollars that a request can cost, with a reply of max_tokens."""
        return self.price.cost(self.input_tokens(request), request.max_tokens, batch=self.batch)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan, or what is left of it, may cost."""

    requests: int
    examples: int
    input_tokens: int
    output_tokens: int
    output_tokens_at_most: int
    cost_usd: float
    cost_usd_at_most: float


def make_plan(
    toolset: Toolset, shown: Sequence[Example], *, run: str, model: str, price: Price, licence: str, count: int,
    kinds: Sequence[str] = (), tools: Sequence[str] = (), styles: Sequence[str] = (), seed: str | None = None,
    base_url: str | None = None, batch: bool = False, temperature: float | None = None, effort: str | None = None,
) -> Plan:  # fmt: skip
    """Spread ``count`` examples over topics and styles; the seed (else the run) draws times and shown lines.

    Raises:
        SetupError: an unknown kind, tool or style, or a choice that leaves no topic.
    """
    topics = _choose_topics(toolset, kinds, tools)
    styles = _choose(styles, STYLES, "--style")
    rng = random.Random(seed or run)
    requests: list[Request] = []
    left = count
    while left > 0:
        place = len(requests)
        topic = topics[place % len(topics)]
        # The styles step on with every round of the topics, so that each topic meets each style.
        style = styles[(place + place // len(topics)) % len(styles)]
        examples = min(PER_REQUEST, left)
        nows = tuple(draw_now(rng) for _ in range(-(-examples // 2) if topic.paired else examples))
        lines = LINE_TOKENS[topic.kind] * len(nows)
        requests.append(
            Request(
                id=f"{place + 1:04d}", topic=topic.name, kind=topic.kind, tool=topic.tool, paired=topic.paired,
                style=style, nows=nows, prompt=write_request(topic, style, nows, _show(topic, shown, rng)),
                max_tokens=min(MOST_TOKENS, 6_000 + 3 * lines),
            )
        )  # fmt: skip
        left -= requests[-1].examples
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Plan(run, made, model, base_url, batch, temperature, effort, licence, price, toolset.digest,
                write_system(toolset), tuple(requests))  # fmt: skip


def estimate_cost(plan: Plan, requests: Sequence[Request]) -> Estimate:
    """Tokens and dollars of some requests of a plan, before they are sent."""
    known = None if plan.base_url else find_claude(plan.model)
    thinking = THINKING if known is None or known.thinks else 1.0
    tokens_in = sum(plan.input_tokens(request) for request in requests)
    tokens_out = sum(int(LINE_TOKENS[r.kind] * len(r.nows) * thinking) for r in requests)
    return Estimate(
        requests=len(requests),
        examples=sum(request.examples for request in requests),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        output_tokens_at_most=sum(request.max_tokens for request in requests),
        cost_usd=round(plan.price.cost(tokens_in, tokens_out, batch=plan.batch), 4),
        cost_usd_at_most=round(sum(plan.at_most(request) for request in requests), 4),
    )


def write_plan(path: Path, plan: Plan) -> None:
    """Write plan.json, whole or not at all."""
    write_file(path, json.dumps({"format": FORMAT} | asdict(plan), ensure_ascii=False, indent=1).encode() + b"\n")


def read_plan(path: Path) -> Plan:
    """Read plan.json.

    Raises:
        SetupError: there is none.
        DataError: it is none.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format") != FORMAT:
            raise ValueError(f"not of format {FORMAT}")
        requests = tuple(Request(**(request | {"nows": tuple(request["nows"])})) for request in raw.pop("requests"))
        return Plan(**(raw | {"price": Price(**raw["price"]), "requests": requests}))
    except FileNotFoundError:
        raise SetupError(f"No run to go on with: {path} is not there. Leave out --resume to begin one.") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DataError(f"{path} is no plan of a run: {error}. Begin another one with a new --out.") from None


def draw_now(rng: random.Random) -> str:
    """A time with an offset, between 2025 and 2028, mostly by day."""
    offset = timezone(timedelta(minutes=rng.choice(_OFFSETS)))
    day = datetime(2025, 1, 1, tzinfo=offset) + timedelta(days=rng.randrange(4 * 365))
    hour = rng.choice((rng.randrange(24), rng.randrange(7, 22), rng.randrange(7, 22)))
    return (day + timedelta(hours=hour, minutes=rng.choice((0, 15, 30, rng.randrange(60))))).isoformat()


def _choose_topics(toolset: Toolset, kinds: Sequence[str], tools: Sequence[str]) -> list[Topic]:
    topics = list_topics(toolset)
    kinds = _choose(kinds, dict.fromkeys(topic.kind for topic in topics), "--kind")
    chosen = [topic for topic in topics if topic.kind in kinds]
    if tools:
        tools = _choose(tools, toolset.tools, "--tool")
        chosen = [topic for topic in chosen if topic.tool in tools]
    if not chosen:
        named = ", ".join(sorted({f"{topic.kind} {topic.tool}" for topic in topics if topic.tool}))
        raise SetupError(f"--kind and --tool leave nothing to ask for. Kinds that have a tool: {named}.")
    return chosen


def _choose(given: Sequence[str], known: Iterable[str], option: str) -> list[str]:
    names = list(known)
    if unknown := [name for name in given if name not in names]:
        raise SetupError(f"{option} {unknown[0]!r} is unknown. Possible: {', '.join(names)}.")
    return [name for name in names if name in given] if given else names


def _show(topic: Topic, shown: Sequence[Example], rng: random.Random) -> list[str]:
    """Hand-written examples of the topic's kind and tool, as lines."""
    if topic.paired:
        pairs: dict[str, list[Example]] = {}
        for example in shown:
            if example.kind == topic.kind and example.pair is not None:
                pairs.setdefault(example.pair, []).append(example)
        whole = [pair for pair in pairs.values() if len(pair) == 2 and pair[0].now == pair[1].now]
    else:
        fitting = [e for e in shown if e.kind == topic.kind and (topic.tool is None or e.tools[-1:] == (topic.tool,))]
        whole = [[example] for example in fitting]
    drawn = rng.sample(whole, min(SHOWN, len(whole)))
    return [format_line(group[0].now, [example.messages for example in group]) for group in drawn]
