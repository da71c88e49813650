"""The ledger: nothing is lost, nothing is changed unseen, lineages hang together, luck is counted."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import DataError, StoreError
from harness.gate import Bar, Profile, Require, Sealed
from harness.ledger import (
    SEALED_SUITE,
    START,
    Ledger,
    count_consultations,
    find_lineage,
    read_marks,
    show_consultations,
)
from harness.metrics import Metrics, count_rate
from harness.planning import fewest_right, pass_chance

TIME = "2026-03-02T09:00:00+00:00"
DIGEST = "sha256:" + "a" * 64
PROVEN = Profile("release", {"tool_selection": Bar(0.9, 50, Require.PROVEN)}, {})
SPAWN = multiprocessing.get_context("spawn")


def add(ledger: Ledger, *marks: str, profile: str = "release", suites=None, opened: bool = False):
    suites = suites or {"crud": (60, DIGEST)}
    return ledger.append(time=TIME, by="promote", profile=profile, opened=opened, marks=marks, suites=suites)


def metrics(n: int = 50) -> Metrics:
    return Metrics(rates={"tool_selection": count_rate(n, n)}, latency=None, adapter_bytes=None)


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(tmp_path / "deep" / "attempts.jsonl")


def test_attempts_come_back_as_they_were_written(ledger):
    """In order, each sealed to the one before."""
    assert ledger.read() == []
    written = [add(ledger, f"adapter:{i}", opened=i == 2) for i in range(3)]

    assert ledger.read() == written
    assert written[0].previous == START
    assert all(after.previous == before.seal for before, after in pairwise(written))
    assert [one.number for one in written] == [1, 2, 3]
    assert all(ledger.holds(one.seal) for one in written)
    assert ledger.holds(START)
    assert not ledger.holds(DIGEST)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_is_seen(ledger, data):
    """Whichever it is, also in the last line, except that a lost last newline only unwrites the last line."""
    if not ledger.path.exists():
        for i in range(3):
            add(ledger, f"adapter:{i}")
    whole = ledger.path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    changed = whole[:place] + bytes([byte]) + whole[place + 1 :]
    copy = Ledger(ledger.path.with_name("changed"))
    copy.path.write_bytes(changed)

    if place == len(whole) - 1:
        assert len(copy.read()) == 2
    else:
        with pytest.raises(DataError, match=r"changed:\d: the ledger was changed here"):
            copy.read()
        before = copy.path.read_bytes()
        with pytest.raises(DataError):
            add(copy, "adapter:new")
        assert copy.path.read_bytes() == before


@pytest.mark.parametrize("order", [[1, 2], [0, 2], [1, 0, 2], [0, 0, 1], [0, 1, 2, 2]])
def test_removed_swapped_and_doubled_lines_are_seen(ledger, order):
    """Each line says which one it follows."""
    for i in range(3):
        add(ledger, f"adapter:{i}")
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[i] for i in order))

    with pytest.raises(DataError, match="the ledger was changed here: it does not follow"):
        ledger.read()


def test_a_cut_end_is_seen_by_who_knows_a_seal(ledger):
    """The chain alone cannot show it; a receipt that recorded the seal does."""
    add(ledger, "adapter:1")
    last = add(ledger, "adapter:2")
    ledger.path.write_bytes(ledger.path.read_bytes().splitlines(keepends=True)[0])

    assert len(ledger.read()) == 1
    assert not ledger.holds(last.seal)


def test_a_torn_last_line_is_written_over(ledger):
    """What a killed process left was never told to anybody."""
    add(ledger, "adapter:1")
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + whole[:40])

    assert len(ledger.read()) == 1
    assert add(ledger, "adapter:2").number == 2
    assert [one.adapter for one in ledger.read()] == ["adapter:1", "adapter:2"]


def _append_many(path: str, name: str, count: int) -> None:
    for i in range(count):
        add(Ledger(Path(path)), f"adapter:{name}-{i}")


def test_many_processes_write_one_chain(ledger):
    """No attempt is lost and none is written twice."""
    workers = [SPAWN.Process(target=_append_many, args=(str(ledger.path), str(i), 5)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    attempts = ledger.read()

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert [one.number for one in attempts] == list(range(1, 16))
    assert len({one.adapter for one in attempts}) == 15


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_chain(ledger):
    """At twenty moments; the next one goes on."""
    for moment in range(20):
        worker = SPAWN.Process(target=_append_many, args=(str(ledger.path), str(moment), 10_000))
        worker.start()
        before = ledger.path.stat().st_size if ledger.path.exists() else 0
        while (ledger.path.stat().st_size if ledger.path.exists() else 0) == before:
            time.sleep(0.001)
        time.sleep(0.0005 * moment)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        numbers = [one.number for one in ledger.read()]
        assert numbers == list(range(1, len(numbers) + 1))
    assert add(ledger, "adapter:last").number == len(numbers) + 1


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    """It says what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another with --ledger FILE"):
        add(Ledger(tmp_path / "file" / "attempts.jsonl"), "adapter:1")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(StoreError, match="Cannot write the ledger"):
        add(Ledger(tmp_path / "link"), "adapter:1")


def test_an_attempt_of_nothing_is_none(ledger):
    """It would count for nobody."""
    with pytest.raises(DataError):
        ledger.append(time=TIME, by="promote", profile="release", opened=True, marks=(), suites={"crud": (1, DIGEST)})
    assert not ledger.path.exists()


# Lineages.


def write_training(folder: Path, **facts: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps(facts))
    return folder


def test_marks_come_from_training_json(tmp_path):
    """Data, recipe and its name; the adapter's own mark is the first."""
    facts = {"data": {"digest": "sha256:d"}, "recipe_digest": "sha256:r", "recipe": {"name": "nano"}}
    folder = write_training(tmp_path / "a", **facts)

    assert read_marks(folder, {"adapter": DIGEST}) == (
        f"adapter:{DIGEST}",
        "data:sha256:d",
        "recipe:sha256:r",
        "name:nano",
    )


def test_marks_come_from_the_card_where_that_is_all(tmp_path):
    """As our own model card says it."""
    (tmp_path / "README.md").write_text(f"## Data\n\n3437 examples, `{DIGEST}`. Left out: 3.\n")

    assert read_marks(tmp_path, {"adapter": "x"}) == ("adapter:x", f"data:{DIGEST}")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"data": 3}', '{"data": {"digest": 3}}', "[" * 100_000])
def test_an_adapter_that_tells_nothing_is_its_own_lineage(tmp_path, text):
    """Whatever stands in its files."""
    (tmp_path / "training.json").write_text(text)

    assert read_marks(tmp_path, {"adapter": "x"}) == ("adapter:x",)
    assert read_marks(None, {"target": "openai", "model": "m"})[0].startswith("adapter:sha256:")
    assert read_marks(None, {"model": "m"}) != read_marks(None, {"model": "n"})


def test_a_lineage_hangs_together_over_others(ledger):
    """New data under the old recipe, then a new recipe for the new data: one family."""
    add(ledger, "adapter:1", "data:1", "recipe:1")
    add(ledger, "adapter:2", "data:2", "recipe:1")
    add(ledger, "adapter:9", "data:9", "recipe:9")
    add(ledger, "adapter:3", "data:2", "recipe:2")
    attempts = ledger.read()

    assert [one.adapter for one in find_lineage(attempts, ["recipe:2"])] == ["adapter:1", "adapter:2", "adapter:3"]
    assert [one.adapter for one in find_lineage(attempts, ["adapter:9"])] == ["adapter:9"]
    assert find_lineage(attempts, ["adapter:unknown"]) == []


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=3), max_size=12), st.integers(0, 12))
def test_a_lineage_is_a_connected_part(tmp_path, marks, asked):
    """Against a search over the graph of shared marks."""
    path = tmp_path / "graph"
    path.unlink(missing_ok=True)
    ledger = Ledger(path)
    for found in marks:
        add(ledger, *(f"m:{i}" for i in sorted(found)))
    reached = {i for i, found in enumerate(marks) if asked in found}
    todo = list(reached)
    while todo:
        here = marks[todo.pop()]
        new = {i for i, found in enumerate(marks) if i not in reached and found & here}
        reached |= new
        todo += new

    assert {one.number - 1 for one in find_lineage(ledger.read(), [f"m:{asked}"])} == reached


# Counting.


def test_consultations_and_luck_are_counted(ledger):
    """The same adapter again is no new chance; other profiles and lineages are told apart."""
    for name in ("1", "2", "2", "3"):
        add(ledger, f"adapter:{name}", "name:nano")
    add(ledger, "adapter:1", "name:nano", profile="iterate")
    add(ledger, "adapter:other")
    found = count_consultations(ledger.read(), ["name:nano"], PROVEN, metrics())
    (luck,) = found.luck
    once = pass_chance(50, fewest_right(50, 0.9), 0.9)

    assert (found.times, found.tries, found.all_times, found.all_tries) == (4, 3, 5, 4)
    assert (luck.n, luck.right, luck.once) == (50, 49, once)
    assert luck.by_now == pytest.approx(1 - (1 - once) ** 3)
    assert show_consultations(found) == (
        "Attempts: profile release was asked 4 times by 3 adapters of this lineage (5 times by 4 adapters in all). "
        "A model just under the bar of tool_selection passes it by luck with 3.4% each time, so by now with 9.8%."
    )
    assert json.loads(json.dumps(found.as_dict()))["luck"][0]["right"] == 49


def test_what_no_one_could_prove_has_no_luck():
    """Too few, only met, or not counted at all."""
    met = Profile("release", {"tool_selection": Bar(0.9, 1, Require.MET)}, {})
    both = Profile("release", {"negative_precision": Bar(0.9, 1, Require.PROVEN)}, {})

    assert count_consultations([], [], met, metrics()).luck == ()
    assert count_consultations([], [], PROVEN, metrics(28)).luck == ()
    assert count_consultations([], [], both, metrics()).luck == ()


def test_openings_of_the_sealed_suite_are_counted_by_its_digest(ledger):
    """A new suite starts at none."""
    profile = Profile("release", {}, {}, sealed=Sealed(DIGEST, {}))
    add(ledger, "adapter:1", suites={"crud": (1, DIGEST), SEALED_SUITE: (9, DIGEST)})
    add(ledger, "adapter:2", suites={"crud": (1, DIGEST), SEALED_SUITE: (9, "sha256:" + "b" * 64)})
    add(ledger, "adapter:3")
    found = count_consultations(ledger.read(), [], profile, metrics())

    assert found.sealed_times == 1
    assert show_consultations(found).endswith("The sealed suite was opened 1 time.")


def test_the_command_shows_the_ledger(ledger):
    """And says when it was changed."""
    path = str(ledger.path)
    missing = CliRunner().invoke(app, ["attempts", "--ledger", path])
    add(ledger, "adapter:sha256:" + "c" * 64, "data:1", opened=True)
    add(ledger, "adapter:sha256:" + "d" * 64, "data:1")
    shown = CliRunner().invoke(app, ["attempts", "--ledger", path])
    data = json.loads(CliRunner().invoke(app, ["attempts", "--ledger", path, "--json"]).stdout)
    ledger.path.write_text(ledger.path.read_text().replace('"open":true', '"open":false'))
    changed = CliRunner().invoke(app, ["attempts", "--ledger", path])

    assert (missing.exit_code, shown.exit_code, changed.exit_code) == (1, 0, 1)
    assert "lineage 1  sha256:dddddddddddd…  crud 60" in shown.stdout
    assert shown.stdout.endswith("2 attempts; the chain is whole\n")
    assert [one["open"] for one in data] == [True, False]
    assert "attempts.jsonl:1: the ledger was changed here" in changed.stderr
