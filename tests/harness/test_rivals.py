"""Promotion beside a champion, with a ledger and with a sealed suite."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from receipts import write_files
from typer.testing import CliRunner

from harness.cases import digest_cases, load_cases
from harness.cli import app
from harness.ledger import Ledger
from harness.scoring import gold_reply
from harness.toolset import load_toolset

JUDGED = ["--cases", "cases.jsonl", "--gate", "gate.toml"]
COUNT = 8
NO = "No."


def line(suite: str, number: int, title: str) -> dict[str, object]:
    return {
        "id": f"{suite}-{number:03}",
        "suite": suite,
        "messages": [{"role": "user", "content": f"remind me to {title}"}],
        "now": "2026-03-02T09:00:00+00:00",
        "expect": [{"tool": "createTask", "params": {"title": [title], "priority": ["medium"]}}],
        "tags": [],
        "why": "a test of promotion",
        "source": "hand-written",
    }


def write_cases(path: str, suite: str, verb: str) -> list:
    lines = [line(suite, i, f"{verb} thing {i}") for i in range(COUNT)]
    Path(path).write_text("".join(json.dumps(one) + "\n" for one in lines))
    return load_cases(Path(path))


def write_gate(*lines: str) -> None:
    bar = '{bar = 0.5, min_n = 4, require = "met"}'
    text = f"[profiles.release]\nmetrics.tool_selection = {bar}\nmax_regressions.selection = 1\n"
    Path("gate.toml").write_text("\n".join([text, *lines]))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Open cases and sealed ones, recordings, two adapters of one lineage and one without any."""
    monkeypatch.chdir(tmp_path)
    toolset = load_toolset()
    cases, sealed = write_cases("cases.jsonl", "selection", "buy"), write_cases("sealed.jsonl", "hidden", "sell")
    gold = {case.id: gold_reply(case, toolset) for case in [*cases, *sealed]}
    record("gold", gold)
    record("two", gold, "selection-000", "selection-001")
    record("other", gold, "selection-002")
    record("leaky", gold, *(case.id for case in sealed[:5]))
    Path("base.json").write_text('{"*": "I cannot do that."}')
    write_gate()
    for name in ("first", "second", "third"):
        write_files(tmp_path / name, name)
        if name != "third":
            (tmp_path / name / "training.json").write_text('{"data": {"digest": "sha256:d"}}')
    return sealed


def record(name: str, gold: dict[str, str], *wrong: str) -> None:
    Path(f"{name}.json").write_text(json.dumps(gold | dict.fromkeys(wrong, NO)))


def promote(adapter: str, replies: str, *args: str):
    asked = [*JUDGED, "--target", "replay", "--base-replies", "base.json", "--run-store", "store", "--unsigned"]
    command = ["promote", adapter, *asked, "--replies", f"{replies}.json", *args]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def beside(name: str) -> list[str]:
    return ["--champion-replies", f"{name}.json"]


def statement() -> dict:
    state = json.loads(Path("registry/registry.json").read_text())
    digest = state["aliases"]["champion"]["receipt"].removeprefix("sha256:")
    return json.loads(base64.b64decode(json.loads(Path(f"registry/receipts/{digest}.json").read_bytes())["payload"]))


def setting(name: str) -> dict:
    (found,) = [one for one in statement()["predicate"]["configuration"] if one["name"] == name]
    return found


def test_the_first_champion_has_nobody_beside_it(world):
    """Only the base, which answers nothing rightly."""
    result = promote("first", "gold", "--json")
    data = json.loads(result.stdout)

    assert result.exit_code == 0, result.output
    assert data["champion"] is None
    assert (data["base"]["before"], data["base"]["after"]) == (0, COUNT)
    assert data["verdict"] == "open"


def test_a_candidate_may_lose_no_more_than_the_limit(world):
    """One case is within it; two are not, whatever else was fixed. Flips are listed both ways."""
    promote("first", "other")
    refused = promote("second", "two", *beside("other"), "--json")
    data = json.loads(refused.stdout)
    allowed = promote("second", "other", *beside("gold"))

    assert refused.exit_code == 8
    assert [flip["case"] for flip in data["champion"]["broken"]] == ["selection-000", "selection-001"]
    assert [flip["case"] for flip in data["champion"]["fixed"]] == ["selection-002"]
    (reason,) = data["reasons"]
    assert reason.startswith("champion: selection loses 2 cases that the champion gets right, at most 1 may be: sel")
    assert allowed.exit_code == 0, allowed.output
    assert "Against the champion: 8 cases in both runs, right before 8, after 7" in allowed.stdout
    assert "  broken: selection-002  right -> missed_call" in allowed.stdout
    assert setting("champion")["annotations"] == {"broken": "1", "fixed": "0", "p": "1"}


def test_a_champion_that_cannot_be_asked_closes_the_gate(world):
    """Where limits are set; else it is a note."""
    promote("first", "gold")
    refused = promote("second", "gold")
    write_gate()
    Path("gate.toml").write_text(Path("gate.toml").read_text().replace("max_regressions.selection = 1", ""))
    noted = promote("second", "gold")

    assert refused.exit_code == 8
    assert "champion: not compared: target 'replay' does not load it from its bytes" in refused.stdout
    assert noted.exit_code == 0, noted.output
    assert "champion: not compared" in noted.stdout


def test_the_champion_itself_is_not_its_own_rival(world):
    """Promoted again it gets a new receipt."""
    promote("first", "gold")
    again = promote("first", "gold")

    assert again.exit_code == 0, again.output
    assert "Champion: it is this adapter." in again.stdout


def test_a_closed_gate_asks_neither_champion_nor_sealed_suite(world):
    """They cost, and a sealed suite is worn out by every look."""
    seal(world)
    record("bad", {}, *(f"selection-{i:03}" for i in range(COUNT)))
    result = promote("second", "bad", "--sealed", "sealed.jsonl", "--json")
    data = json.loads(result.stdout)

    assert result.exit_code == 8
    assert (data["champion"], data["base"], data["attempts"]["sealed_times"]) == (None, None, 0)


def test_every_attempt_is_in_the_ledger(world):
    """Also the refused ones, before anyone hears of the result; the receipt holds the last seal."""
    record("bad", {}, *(f"selection-{i:03}" for i in range(COUNT)))
    promote("first", "bad")
    promote("third", "bad")
    result = promote("second", "gold", "--json")
    attempts = Ledger(Path("store/attempts.jsonl")).read()
    found = json.loads(result.stdout)["attempts"]

    assert [one.open for one in attempts] == [False, False, True]
    assert attempts[2].suites == {"selection": (COUNT, digest_cases(load_cases(Path("cases.jsonl"))))}
    assert (found["times"], found["tries"], found["all_times"]) == (2, 2, 3)
    assert setting("attempts")["annotations"] == {"count": "3"}
    assert "sha256:" + setting("attempts")["digest"]["sha256"] == attempts[2].seal


def test_a_changed_ledger_is_told_first(world):
    """Exit status 9, and nothing is measured."""
    promote("first", "gold")
    path = Path("store/attempts.jsonl")
    path.write_text(path.read_text().replace('"open":true', '"open":false'))
    result = promote("second", "gold")

    assert result.exit_code == 9
    assert "attempts.jsonl:1: the ledger was changed here" in result.stderr


def test_a_cut_ledger_is_noted(world):
    """The champion's receipt remembers."""
    promote("first", "gold")
    kept = promote("second", "gold", *beside("gold"))
    Path("store/attempts.jsonl").unlink()
    cut = promote("third", "gold", *beside("gold"), "--ledger", "shared/ledger.jsonl")

    assert "does not hold the attempts" not in kept.stdout
    assert cut.exit_code == 0, cut.output
    assert "note: shared/ledger.jsonl does not hold the attempts that the champion's receipt counted (2)" in cut.stdout


def test_an_adapter_that_does_not_act_asked_nothing(world):
    """Its attempt is none."""
    result = promote("first", "gold", "--base-replies", "gold.json")

    assert result.exit_code == 8
    assert not Path("store/attempts.jsonl").exists()


def seal(cases, min_cases: int = COUNT, digest: str = "") -> None:
    write_gate(
        "[profiles.release.sealed]",
        f'digest = "{digest or digest_cases(cases)}"\nmin_cases = {min_cases}',
        'metrics.tool_selection = {bar = 0.5, min_n = 4, require = "met"}',
    )


def test_a_sealed_suite_has_bars_of_its_own(world):
    """Right on every open case does not help; what it asks stays out of output, receipt and store."""
    seal(world)
    result = promote("first", "leaky", "--sealed", "sealed.jsonl")
    passed = promote("first", "gold", "--sealed", "sealed.jsonl")
    told = passed.output + json.dumps(statement()) + "".join(p.read_text() for p in Path("store").rglob("*.json*"))

    assert result.exit_code == 8
    assert "sealed suite: tool_selection: 3/8 = 0.3750 is not above the bar 0.5." in result.stdout
    assert passed.exit_code == 0, passed.output
    assert "tool_selection (sealed)" in passed.stdout
    assert "The sealed suite was opened 2 times." in passed.stdout
    assert setting("sealed suite")["digest"]["sha256"] == digest_cases(world).removeprefix("sha256:")
    assert "hidden-0" not in told + result.output
    assert "sell thing" not in told + result.output


def test_a_receipt_is_verified_without_the_sealed_suite(world):
    """gate.toml names its digest; the cases are elsewhere."""
    seal(world)
    promote("first", "gold", "--sealed", "sealed.jsonl")
    Path("sealed.jsonl").unlink()
    result = CliRunner().invoke(app, ["verify", "first", *JUDGED, "--unsigned"])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("change", "args", "status", "told"),
    [
        pytest.param({}, [], 4, "Give --sealed PATH", id="no path"),
        pytest.param({}, ["--sealed", "none"], 4, "No sealed cases at none", id="no file"),
        pytest.param(None, ["--sealed", "sealed.jsonl"], 4, "names no sealed suite", id="not asked for"),
        pytest.param({"digest": "sha256:" + "0" * 64}, ["--sealed", "sealed.jsonl"], 9, "not hold", id="other cases"),
        pytest.param({"min_cases": 9}, ["--sealed", "sealed.jsonl"], 8, "8 cases are too few", id="too few"),
        pytest.param({}, ["--sealed", "gate.toml"], 9, "a line is no case", id="no cases"),
        pytest.param({}, ["--curtail"], 4, "A receipt needs every case", id="curtailed"),
        pytest.param({}, ["--champion-option", "x"], 4, "--champion-option 'x' is no NAME=VALUE", id="option"),
    ],
)
def test_what_is_no_sealed_suite_promotes_nothing(world, change, args, status, told):
    """Each with its own exit status and one line."""
    if change is not None:
        seal(world, **change)
    result = promote("first", "gold", *args)

    assert result.exit_code == status, result.output
    assert told in result.output
    assert not Path("registry/registry.json").exists()


@pytest.mark.parametrize("same", ["id", "question"])
def test_an_open_question_is_not_sealed(world, same):
    """Else what was trained on counts as unseen."""
    number, title = (0, "sell a thing") if same == "id" else (900, "buy thing 3")
    Path("sealed.jsonl").write_text(json.dumps(line("selection", number, title)) + "\n")
    seal(load_cases(Path("sealed.jsonl")), min_cases=1)
    result = promote("first", "gold", "--sealed", "sealed.jsonl")

    assert result.exit_code == 9
    assert "1 sealed cases have an id or a question of the open suites" in result.stderr


def test_a_sealed_case_without_a_reply_is_not_named(world):
    """Its id would end up in a log."""
    seal(world)
    replies = json.loads(Path("gold.json").read_text())
    Path("some.json").write_text(json.dumps({k: v for k, v in replies.items() if k != "hidden-003"}))
    result = promote("first", "some", "--sealed", "sealed.jsonl")

    assert result.exit_code == 8
    assert "sealed suite: 1 of 8 cases were not measured." in result.stdout
    assert "hidden-003" not in result.output


def test_the_seal_command_prints_what_gate_toml_needs(world):
    """And no case."""
    result = CliRunner().invoke(app, ["seal", "sealed.jsonl"])
    data = json.loads(CliRunner().invoke(app, ["seal", "sealed.jsonl", "--json"]).stdout)
    Path("none.jsonl").write_text("")

    assert result.stdout == f'digest = "{digest_cases(world)}"\nmin_cases = {COUNT}\n'
    assert data == {"digest": digest_cases(world), "cases": COUNT}
    assert CliRunner().invoke(app, ["seal", "none.jsonl"]).exit_code == 1
