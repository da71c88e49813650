"""The client against a real server on loopback: retries, codes, broken answers, and a token that never shows."""

import logging
import traceback

import pytest
from api_server import (
    ACCOUNT,
    MODELS,
    TOKEN,
    ApiServer,
    cut_short,
    do_and_drop,
    drip,
    drop,
    echo_token,
    hang,
    limited,
    refuse,
    reply_with,
)

from deploy.api import Credentials, Finetune, WorkersAI, check_model, load_credentials
from harness.errors import SetupError
from harness.targets.workers_ai_codes import CODES, ApiError

MODEL = MODELS[0]


@pytest.fixture
def server():
    with ApiServer() as one:
        yield one


@pytest.fixture
def api(server):
    with server.client() as one:
        yield one


def test_a_run_keeps_the_slashes_and_tells_what_it_cost(server, api):
    """The path holds the model's name as it is; %2F has no route."""
    answer = api.run(MODEL, {"prompt": "hi", "raw": True})

    assert answer.text == "I am the base."
    assert (answer.prompt_tokens, answer.completion_tokens, answer.neurons) == (10, 5, 0.25)
    assert server.asked == [f"POST /client/v4/accounts/{ACCOUNT}/ai/run/{MODEL}"]


def test_the_flat_list_and_the_documented_ones_are_read(server, api):
    """The live API gives a flat list; OpenAPI says an object, the documentation a list in a list."""
    entry = {"id": "a", "name": "n", "model": MODEL, "created_at": "2026-09-19 18:18:39.465"}
    for result in ([entry], entry, [[entry]]):
        server.fail("GET .*/finetunes", reply_with(200, {"success": True, "result": result}))
        assert api.list_finetunes() == [Finetune("a", "n", MODEL, "", "2026-09-19 18:18:39.465")]
    server.fail("GET .*/finetunes", reply_with(200, {"success": True, "result": "?"}))
    with pytest.raises(ApiError, match="without a list"):
        api.list_finetunes()


def test_times_are_read_with_and_without_an_offset():
    live = Finetune("a", "n", MODEL, created="2026-09-19 18:18:39.465").when
    documented = Finetune("a", "n", MODEL, created="2026-09-19T18:18:39.465Z").when

    assert live == documented
    assert Finetune("a", "n", MODEL, created="yesterday").when < live


def test_a_model_list_that_never_ends_is_left(server, api):
    """The published Python client asks such a server for ever."""
    server.models = [{"name": f"@cf/a/m{i}", "properties": []} for i in range(50)]

    assert len(api.list_models()) == 50
    assert len(server.asked) == 2


@pytest.mark.parametrize("fault", [reply_with(500, b"<h1>oops</h1>"), drop, cut_short, limited(3040), limited(971)])
def test_what_passes_is_asked_again(server, api, fault):
    """A server error, a dropped or cut answer, no capacity, and a rate limit."""
    server.fail("POST .*/run/", fault, fault)

    assert api.run(MODEL, {"prompt": "hi"}).text == "I am the base."
    assert len(server.asked) == 3


def test_the_daily_neurons_are_not_asked_again(server, api):
    """3036 is a 429 as well, and stays until midnight; not even Retry-After changes that."""
    server.fail("POST .*/run/", limited(3036, Retry_After="0"), limited(3036))

    with pytest.raises(ApiError, match="10,000 free neurons") as caught:
        api.run(MODEL, {"prompt": "hi"})
    assert len(server.asked) == 1
    assert (caught.value.status, caught.value.code, caught.value.refused) == (429, 3036, False)


def test_retry_after_is_waited_for_and_a_long_one_is_told(server):
    """What the server asks for counts, up to a minute."""
    waited = []
    with server.client(sleep=waited.append) as api:
        server.fail("POST .*/run/", limited(3040, Retry_After="7"))
        api.run(MODEL, {"prompt": "hi"})
        server.fail("POST .*/run/", limited(3040, Retry_After="3600"))
        with pytest.raises(ApiError, match="out of capacity"):
            api.run(MODEL, {"prompt": "hi"})

    assert waited == [7.0]


@pytest.mark.parametrize("code", [5005, 3030, 5033, 3037, 3039, 5007])
def test_codes_are_said_in_words_with_a_next_step(server, api, code):
    """No code is asked again, and each has its meaning and its fix."""
    server.fail("POST .*/run/", reply_with(*refuse(400, code, "AiError: AiError: raw words")))

    with pytest.raises(ApiError) as caught:
        api.run(MODEL, {"prompt": "hi", "lora": "x"})
    meaning, fix = CODES[code]
    assert meaning in str(caught.value)
    assert fix in str(caught.value)
    assert "raw words" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(reply_with(403, b"<html>Forbidden</html>"), "token is refused", id="page with 403"),
        pytest.param(reply_with(400, b"<html>Bad</html>"), "a page instead of JSON", id="page"),
        pytest.param(reply_with(302, b"", Location="http://127.0.0.1:9/"), "no JSON object", id="redirect"),
        pytest.param(reply_with(200, {"success": True, "result": {"response": {"a": 1}}}), "without text", id="object"),
        pytest.param(reply_with(200, {"success": False, "errors": ["?"]}), "failed \\(200\\)", id="no success"),
        pytest.param(hang, "no whole answer within 0.3 s", id="hang"),
        pytest.param(drip, "no whole answer within 0.3 s", id="slow body"),
    ],
)
def test_a_broken_answer_is_one_clear_line(server, fault, said):
    server.fail("POST .*/run/", *[fault] * 9)
    with server.client(timeout=0.3) as api, pytest.raises(ApiError, match=said) as caught:
        api.run(MODEL, {"prompt": "hi"})

    assert len(str(caught.value).splitlines()) == 1


def test_a_creation_is_never_repeated(server, api):
    """Each one takes a place of 100; whether the first arrived is for the caller to find out."""
    server.fail("POST .*/finetunes$", do_and_drop)
    with pytest.raises(ApiError, match="dropped the connection") as caught:
        api.create_finetune(MODEL, "n", "d")

    assert caught.value.sent
    assert not caught.value.refused
    assert [tune["name"] for tune in server.tunes.values()] == ["n"]


def test_nobody_there_is_told_and_nothing_was_sent():
    nobody = WorkersAI(Credentials(ACCOUNT, TOKEN, "http://127.0.0.1:9"), backoff=0.001)
    with pytest.raises(ApiError, match=r"127\.0\.0\.1:9 refused the connection") as caught, nobody:
        nobody.create_finetune(MODEL, "n", "d")

    assert not caught.value.sent


def test_deleting_what_is_gone_is_no_error_and_no_route_is_told(server, api):
    made = api.create_finetune(MODEL, "n", "d")
    api.delete_finetune(made.id)
    api.delete_finetune(made.id)
    server.can_delete = False
    with pytest.raises(ApiError) as caught:
        api.delete_finetune(made.id)

    assert caught.value.no_route


def test_permission_to_write_is_found_without_creating(server, api):
    api.check_write()
    server.may_write = False
    with pytest.raises(ApiError, match="without Workers AI Write"):
        api.check_write()

    assert server.tunes == {}


@pytest.mark.parametrize(
    "fault", [echo_token, reply_with(*refuse(400, 1, f"bad token {TOKEN}")), drop, cut_short, hang]
)
def test_the_token_is_in_no_error_log_or_repr(server, caplog, fault):
    """Not even when the server sends it back, nor in the exceptions that an error came from."""
    caplog.set_level(logging.DEBUG)
    server.fail("POST", *[fault] * 9)
    with server.client(timeout=0.2) as api:
        with pytest.raises(ApiError) as caught:
            api.run(MODEL, {"prompt": "hi"})
        shown = [repr(api), repr(api.credentials), str(api.credentials), caplog.text, str(vars(api))]

    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert not [text for text in shown if TOKEN in text]


def test_netrc_does_not_replace_the_token(server, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with server.client() as api:
        api.list_finetunes()

    assert server.headers[0]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CLOUDFLARE_API_TOKEN": ""}, "CLOUDFLARE_API_TOKEN is not set"),
        ({"CLOUDFLARE_ACCOUNT_ID": "../x"}, "CLOUDFLARE_ACCOUNT_ID is '../x'"),
        ({"CLOUDFLARE_API_TOKEN": "two words"}, "odd characters"),
        ({"CLOUDFLARE_API_BASE_URL": "ftp://x"}, "no address of an API"),
        ({"CLOUDFLARE_API_BASE_URL": "http://api.example.org"}, "in clear to api.example.org"),
    ],
)
def test_wrong_settings_are_one_line_without_the_token(changes, said):
    environment = {"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": TOKEN, **changes}
    with pytest.raises(SetupError, match=said) as caught:
        load_credentials(environment)

    assert "two words" not in str(caught.value)


def test_settings_are_read_from_the_environment():
    found = load_credentials({"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": TOKEN + "\n"})

    assert (found.account, found.token) == (ACCOUNT, TOKEN)
    assert found.base_url == "https://api.cloudflare.com/client/v4"
    assert not found.local


@pytest.mark.parametrize(
    "name", ["", "llama", "@cf/../x", "@cf/a/..", "@cf/a/b/c", "@cf/a%2Fb/c", "@cf/a/b?x=1", "@cf/a/b\n"]
)
def test_only_a_model_name_gets_into_a_path(name):
    with pytest.raises(SetupError, match="is no model of Workers AI"):
        check_model(name)
