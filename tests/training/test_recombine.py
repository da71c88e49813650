"""Recombined examples: still right, still a person's wording, and never one of the cases."""

from __future__ import annotations

import random
import re
from datetime import datetime

import pytest

from harness.parsing import format_call, parse_reply
from harness.prompt import load_prompt
from harness.types import ToolCall
from training.data import HANDCRAFTED, repeat_examples
from training.examples import Example, check_example, load_examples
from training.recombine import Pools, gather_pools, recombine, widen_pools

TOOLSET = load_prompt().toolset


@pytest.fixture(scope="module")
def written() -> list[Example]:
    return load_examples(HANDCRAFTED, TOOLSET)


@pytest.fixture(scope="module")
def pools(written: list[Example]) -> Pools:
    return gather_pools(written)


def made(text: str, **params: str) -> Example:
    call = ToolCall("createTask", {"title": "", "priority": "medium", **params})
    return Example(
        id="a",
        kind="single",
        now="2026-03-02T09:00:00+00:00",
        messages=({"role": "user", "content": text}, {"role": "assistant", "content": format_call(call)}),
        tools=("createTask",),
        source="handcrafted",
        licence="Apache-2.0",
        author="toolgate",
    )


def test_every_hand_written_example_stays_a_valid_one(written: list[Example], pools: Pools) -> None:
    for example in written:
        other = recombine(example, pools, random.Random(example.id))
        assert check_example(other, TOOLSET) == [], other
        assert [getattr(other, k) == getattr(example, k) for k in ("id", "kind", "tools", "pair")] == [True] * 4
        assert [m["role"] for m in other.messages] == [m["role"] for m in example.messages]


def test_weekdays_and_hours_stay(written: list[Example], pools: Pools) -> None:
    for example in written[::5]:
        other = recombine(example, pools, random.Random(example.id))
        before, after = datetime.fromisoformat(example.now), datetime.fromisoformat(other.now)
        assert (before.weekday(), before.time()) == (after.weekday(), after.time())


def test_distances_between_now_and_the_values_stay(written: list[Example], pools: Pools) -> None:
    stamp = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d[+-]\d\d:\d\d)?")

    def gaps(example: Example) -> list[float]:
        now = datetime.fromisoformat(example.now)
        texts = [m["content"] for m in example.messages if m["role"] != "user"]
        found = [datetime.fromisoformat(value) for text in texts for value in stamp.findall(text)]
        return [(f - (now if f.tzinfo else now.replace(tzinfo=None))).total_seconds() for f in found]

    for example in written[::3]:
        assert gaps(recombine(example, pools, random.Random(example.id))) == gaps(example), example


def test_a_value_changes_in_the_request_and_in_the_call_alike() -> None:
    values = {("createTask.title", "deed"): tuple(f"polish the {x}" for x in "abcdefgh")}
    pools = Pools(values, frozenset({"water", "polish"}))
    example = made("remind me to water the ferns tomorrow", title="water the ferns", dueDate="2026-03-03")
    seen = [recombine(example, pools, random.Random(seed)) for seed in range(40)]
    titles = set()
    for other in seen:
        title = parse_reply(other.messages[1]["content"]).calls[0].params["title"]
        titles.add(title)
        assert other.messages[0]["content"] == f"remind me to {title} tomorrow"
    assert len(titles) > 4


def test_a_spelt_out_date_keeps_its_year_and_day() -> None:
    example = made("remind me on March 12 to pay", title="pay", dueDate="2026-03-12")
    for seed in range(30):
        other = recombine(example, Pools({}, frozenset()), random.Random(seed))
        assert '"dueDate": "2026-03-12"' in other.messages[1]["content"]


def test_a_value_that_stands_twice_is_left_alone() -> None:
    pools = Pools({("createTask.title", "deed"): tuple(f"call {x}" for x in "abcdefgh")}, frozenset({"call"}))
    example = made("call mom, i mean remind me to call mom", title="call mom")
    for seed in range(20):
        assert '"title": "call mom"' in recombine(example, pools, random.Random(seed)).messages[1]["content"]


def test_wider_pools_bring_more_values() -> None:
    example = made("remind me to water the ferns tomorrow", title="water the ferns", dueDate="2026-03-03")
    pools = widen_pools(gather_pools([example]), {"createTask.title": [f"glaze pot {x}" for x in "abcdefgh"]})
    titles = {
        parse_reply(recombine(example, pools, random.Random(seed)).messages[1]["content"]).calls[0].params["title"]
        for seed in range(40)
    }
    assert len(titles) > 5
    assert "glaze pot a" in titles


def test_an_epoch_holds_recombined_copies(written: list[Example]) -> None:
    some = written[:200]
    epoch = repeat_examples(some, 3, recombined=True, seed=4)
    assert [e.id for e in epoch] == [e.id for e in some for _ in range(3)]
    assert sum(copy != some[place // 3] for place, copy in enumerate(epoch)) > 450
    assert epoch == repeat_examples(some, 3, recombined=True, seed=4)
    assert epoch != repeat_examples(some, 3, recombined=True, seed=5)
