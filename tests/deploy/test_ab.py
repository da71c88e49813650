"""The comparison with a large model: what is counted, what it costs, and that a kill loses nothing."""

import json
from dataclasses import asdict

import pytest
from api_server import CALL, MODELS, ApiServer, limited
from emulated import TOKEN, edit_json, running, write_adapter, write_base
from test_parity import NO_FENCE, OTHER_PLACE, OTHER_TOOL, write_case
from typer.testing import CliRunner

from deploy.ab import RECORD, SIDES, UNFINISHED, compare_models, comparison_dict, judge_sides, table_rows
from deploy.api import Answer, Credentials
from deploy.cli import RIVAL, app
from harness.cases import parse_case
from harness.errors import TargetError
from harness.prompt import load_prompt
from harness.targets import Decoding
from harness.targets.remote import GoneError

NAME = "toolgate-0123456789ab-01234567"
PROMPT, DECODING = load_prompt(), Decoding()


def cases(count: int):
    return [parse_case(write_case(number)) for number in range(count)]


def answer(text: str, seconds: float = 1.0, neurons: float | None = 2.0) -> Answer:
    return Answer(text, 100, 50, neurons, seconds)


def judge(adapter: list[Answer], rival: list[Answer]):
    asked = cases(len(adapter))
    answers = {
        (case.id, side): found
        for side, list_ in zip(SIDES, (adapter, rival), strict=True)
        for case, found in zip(asked, list_, strict=True)
    }
    return judge_sides(asked, answers, PROMPT, DECODING, {side: {} for side in SIDES}, ())


class Recorded:
    """A side with fixed replies, which counts what it was asked; ``fail`` maps the count to an error."""

    def __init__(self, name: str, text: str, fail: dict[int, Exception] | None = None, order: list | None = None):
        self.identity = {"model": name}
        self.asked: list[str] = []
        self._text, self._fail, self._order = text, fail or {}, order if order is not None else []

    def ask(self, prompt, decoding):
        self.asked.append(prompt.case_id)
        self._order.append(self.identity["model"])
        if len(self.asked) in self._fail:
            raise self._fail[len(self.asked)]
        return answer(self._text)


def test_each_quality_is_counted_and_paired():
    """Validity over attempts, tools and whole answers over all prompts; p is McNemar's exact."""
    adapter = [answer(CALL)] * 6 + [answer(OTHER_PLACE)]
    rival = [answer(NO_FENCE)] * 3 + [answer("No.")] + [answer(OTHER_TOOL)] * 2 + [answer(CALL)]
    rows = {row.name: row for row in judge(adapter, rival).rows}
    valid, tools, right = (rows[name] for name in ("json_validity", "right tools, or rightly none", "right answer"))

    assert (valid.adapter.k, valid.adapter.n, valid.rival.k, valid.rival.n) == (7, 7, 3, 6)
    assert (valid.only_adapter, valid.only_rival, valid.p) == (3, 0, 0.25)
    assert (tools.adapter.k, tools.rival.k, tools.only_adapter, tools.only_rival) == (7, 1, 6, 0)
    assert (right.adapter.k, right.rival.k, right.only_adapter, right.only_rival) == (6, 1, 6, 1)
    assert right.p == pytest.approx(2 * (1 + 7) / 2**7)


def test_latency_is_paired_by_the_sign_test():
    """Equal times count for neither."""
    found = judge([answer(CALL, 1.0)] * 6, [answer(CALL, 3.0)] * 5 + [answer(CALL, 1.0)])
    faster = next(row for row in found.rows if row.name == "faster")

    assert (faster.only_adapter, faster.only_rival, faster.p) == (5, 0, 2 * 0.5**5)
    assert found.costs["rival"].latency.p50 == 3.0


def test_cost_is_of_a_thousand_requests_and_not_guessed():
    found = judge([answer(CALL, neurons=2.0)] * 2, [answer(CALL, neurons=20.0), answer(CALL, neurons=None)])
    rows = {row[0]: row[1:] for row in table_rows(found)}

    assert found.costs["adapter"].dollars == pytest.approx(2.0 * 0.011)
    assert found.costs["rival"].neurons is None
    assert rows["cost per 1,000 requests"] == ("$0.0220 (2.00 neurons each)", "not told", "")
    assert rows["tokens per request"][:2] == ("100 + 50", "100 + 50")
    assert json.loads(json.dumps(comparison_dict(found)))["prompts"] == 2


def test_both_are_asked_all_prompts_in_turns(tmp_path):
    """Who is first changes, so that a warm connection or cache helps neither."""
    order = []
    sides = [Recorded("small", CALL), Recorded("large", "No.")]
    for side in sides:
        ask = side.ask
        side.ask = lambda prompt, decoding, ask=ask, side=side: (order.append(side.identity["model"]), ask(prompt, 0))[
            1
        ]
    found = compare_models(cases(3), *sides, PROMPT, DECODING, tmp_path / UNFINISHED)

    assert order == ["small", "large", "large", "small", "small", "large"]
    assert found.prompts == 3
    assert found.replies["selection-000"] == {"adapter": CALL, "rival": "No."}


@pytest.mark.parametrize("damage", ["", "half a li", '{"case": "selection-000"}\n'])
def test_an_ended_comparison_goes_on_where_it_was(tmp_path, damage):
    """Nothing is paid twice; a line that a kill cut is dropped, a broken file is begun anew."""
    path = tmp_path / UNFINISHED
    first = [Recorded("small", CALL, {4: GoneError("no neurons")}), Recorded("large", CALL)]
    with pytest.raises(TargetError, match="no neurons"):
        compare_models(cases(6), *first, PROMPT, DECODING, path)
    with path.open("a") as file:
        file.write(damage)
    second = [Recorded("small", CALL), Recorded("large", CALL)]
    found = compare_models(cases(6), *second, PROMPT, DECODING, path)

    assert found.prompts == 6
    broken = damage.endswith("\n")
    assert second[0].asked == [case.id for case in cases(6)][0 if broken else 3 :]
    assert len(second[1].asked) == (6 if broken else 2)


def test_another_comparison_takes_nothing_from_an_unfinished_one(tmp_path):
    first = [Recorded("small", CALL), Recorded("large", CALL)]
    compare_models(cases(2), *first, PROMPT, DECODING, tmp_path / UNFINISHED)
    second = [Recorded("smaller", CALL), Recorded("large", CALL)]
    compare_models(cases(2), *second, PROMPT, DECODING, tmp_path / UNFINISHED)

    assert len(second[0].asked) == 2


def test_a_prompt_that_only_one_answers_is_not_compared(tmp_path):
    sides = [Recorded("small", CALL, {1: TargetError("too long")}), Recorded("large", CALL)]
    found = compare_models(cases(3), *sides, PROMPT, DECODING, tmp_path / UNFINISHED)

    assert found.prompts == 2
    assert found.unmeasured == ("selection-000: adapter: too long",)


def test_failures_in_a_row_end_it(tmp_path):
    sides = [Recorded("small", CALL), Recorded("large", CALL, {n: TargetError("500") for n in range(99)})]
    sides[0].ask = sides[1].ask
    with pytest.raises(TargetError, match="500"):
        compare_models(cases(50), *sides, PROMPT, DECODING, tmp_path / UNFINISHED)
    assert len(sides[1].asked) == 5


def test_an_answer_survives_its_way_through_the_file():
    assert Answer(**json.loads(json.dumps(asdict(answer(CALL))))) == answer(CALL)


@pytest.fixture
def server(monkeypatch, tmp_path):
    with ApiServer() as one:
        for name, value in one.environment.items():
            monkeypatch.setenv(name, value)
        with one.client() as api:
            made = api.create_finetune(MODELS[0], NAME, "d")
        one.files[made.id] = {"adapter_config.json": b"", "adapter_model.safetensors": b""}
        (tmp_path / "cases.jsonl").write_text("".join(write_case(number) + "\n" for number in range(12)))
        yield one


def compare(tmp_path, *more: str):
    places = ["--cases", str(tmp_path / "cases.jsonl"), "--state", str(tmp_path / "deployments")]
    return CliRunner().invoke(app, ["ab", NAME, *places, *more])


def test_ten_prompts_are_the_default_and_the_large_model_gets_no_adapter(server, tmp_path):
    """20 requests; the estimate comes first, the table says what each costs."""
    result = compare(tmp_path)
    place = tmp_path / "deployments" / server.credentials.place / NAME
    record = json.loads((place / RECORD).read_text())
    bodies = [json.loads(body) for line, body in zip(server.asked, server.bodies, strict=True) if "/run/" in line]
    models = [line.rpartition("/run/")[2] for line in server.asked if "/run/" in line]

    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"estimate for {MODELS[0]}: 10 requests")
    assert f"estimate for {RIVAL}: 10 requests" in result.stderr
    assert [("lora" in body) == (model == MODELS[0]) for body, model in zip(bodies, models, strict=True)] == [True] * 20
    assert "json_validity                 10/10 (100%" in result.stdout
    assert "only one: 10 : 0, p = 0.00195" in result.stdout
    assert (record["kind"], record["prompts"], record["name"]) == ("toolgate-ab", 10, NAME)
    assert not (place / UNFINISHED).exists()
    assert server.credentials.token not in result.output + json.dumps(record)


def test_a_dry_comparison_asks_nothing(server, tmp_path):
    result = compare(tmp_path, "--dry", "--json", "--sample", "0")
    found = json.loads(result.stdout)

    assert found[RIVAL]["requests"] == 12
    assert found[RIVAL]["likely"] > 5 * found[MODELS[0]]["likely"]
    assert not any("/run/" in line for line in server.asked)


def test_a_comparison_that_ran_out_of_neurons_goes_on(server, tmp_path):
    server.faults += [("/run/", lambda handler: False)] * 7 + [("/run/", limited(3036))]
    refused = compare(tmp_path)
    server.asked.clear()
    result = compare(tmp_path, "--json")

    assert refused.exit_code == 1
    assert "10,000 free neurons" in refused.stderr
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["prompts"] == 10
    assert sum("/run/" in line for line in server.asked) == 13


@pytest.mark.slow
def test_the_command_works_against_the_emulator(tmp_path, monkeypatch):
    """Real replies of two tiny models, one of them under the large one's name, and a capacity fault on the way."""
    base = write_base(tmp_path / "base", max_position_embeddings=4096)
    adapter = write_adapter(tmp_path / "adapter", base)
    edit_json(adapter / "adapter_config.json", model_type="llama")
    (tmp_path / "cases.jsonl").write_text("".join(write_case(number) + "\n" for number in range(2)))
    with running(tmp_path / "state", base) as client:
        client.upload(adapter, NAME)
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", client.account)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
        monkeypatch.setenv("CLOUDFLARE_API_BASE_URL", client.api)
        client.plan("429-3040", on="run")
        result = compare(tmp_path, "--json")
        record = json.loads(result.stdout)
        place = Credentials(client.account, TOKEN, client.api).place

    assert result.exit_code == 0, result.output
    assert record["prompts"] == 2
    assert record["costs"]["rival"]["neurons"] > 5 * record["costs"]["adapter"]["neurons"]
    assert (tmp_path / "deployments" / place / NAME / RECORD).is_file()
