"""The prompt: Llama 3 text equal to the official template, one shared prefix, no forged turns."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import SetupError
from harness.prompt import SYSTEM_PROMPT, has_special_tokens, load_prompt, neutralise, render_llama3, weekday
from harness.toolset import load_toolset

# Meta's files are not ours to ship; where they lie beside the repository the comparison runs.
OFFICIAL = Path(__file__).parents[2].parent / "shared" / "data" / "llama3_tokenizer"
DATES = re.compile(r"Cutting Knowledge Date: December 2023\nToday Date: [^\n]*\n\n")
HEAD = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
NOW = "2026-03-02T09:00:00+00:00"

CALL = '```json\n{"tool": "createTask", "params": {"title": "call mom", "priority": "medium"}}\n```'


def turn(role, content):
    return {"role": role, "content": content}


VECTORS = {
    "one question": (
        [turn("system", "Be brief."), turn("user", "Hi")],
        HEAD + "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "a call is plain content": (
        [turn("system", "S"), turn("user", "call mom"), turn("assistant", CALL), turn("user", "thanks")],
        HEAD + "S<|eot_id|><|start_header_id|>user<|end_header_id|>\n\ncall mom<|eot_id|>"
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{CALL}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nthanks<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "space around content goes": (
        [turn("system", "\n S \n"), turn("user", "  a  b  \n")],
        HEAD + "S<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na  b<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "a tool result keeps its JSON": (
        [turn("system", "S"), turn("user", "u"), turn("assistant", "a"), turn("tool", '{"id": "task_81", "ok": true}')],
        HEAD + "S<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\na<|eot_id|>"
        '<|start_header_id|>ipython<|end_header_id|>\n\n{"id": "task_81", "ok": true}<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
}

PLAIN = st.text(st.characters(exclude_categories=("Cs",)), max_size=60).filter(lambda text: "<|" not in text)


def official(messages, *, add_generation_prompt=True):
    """The official template's text, less the date block that it puts before the system prompt."""
    jinja2 = pytest.importorskip("jinja2")
    path = OFFICIAL / "llama3_2.official.jinja"
    if not path.is_file():
        pytest.skip("the official Llama 3.2 template does not lie beside the repository")
    # trim_blocks and lstrip_blocks as transformers sets them.
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(path.read_text(encoding="utf-8"))
    text = template.render(
        messages=messages, bos_token="<|begin_of_text|>", add_generation_prompt=add_generation_prompt
    )
    return DATES.sub("", text, count=1)


def conversations():
    """Plain conversations as we send them: system first, then questions and answers in turn."""
    turns = st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=3)
    return st.builds(
        lambda system, pairs, last: [
            turn("system", system),
            *(message for user, answer in pairs for message in (turn("user", user), turn("assistant", answer))),
            turn("user", last),
        ],
        PLAIN,
        turns,
        PLAIN,
    )


@pytest.mark.parametrize(("messages", "text"), VECTORS.values(), ids=VECTORS.keys())
def test_conversations_render_to_the_llama_3_text(messages, text):
    """Fixed vectors: they hold where the official files are not at hand."""
    assert render_llama3(messages) == text


@settings(max_examples=100, deadline=None)
@given(conversations(), st.booleans())
def test_text_equals_the_official_template(messages, generate):
    """For plain content our text is the official one without its date block."""
    assert render_llama3(messages, add_generation_prompt=generate) == official(messages, add_generation_prompt=generate)


def test_the_shipped_prompt_equals_the_official_template():
    """The real system prompt, a call in the dialogue and typographic text."""
    spec = load_prompt()
    dialogue = [turn("user", "Zoë’s cake – “now”"), turn("assistant", CALL), turn("user", "ok 🎂\n\nand now?")]

    assert spec.render(dialogue, NOW) == official(spec.messages(dialogue, NOW))


def test_tokens_equal_the_official_template():
    """The real tokenizer gives the same ids for our text and for transformers' own rendering, with one BOS."""
    transformers = pytest.importorskip("transformers")
    if not (OFFICIAL / "tokenizer.json").is_file():
        pytest.skip("the Llama 3 tokenizer does not lie beside the repository")
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(OFFICIAL)
    template = (OFFICIAL / "llama3_2.official.jinja").read_text(encoding="utf-8")
    spec = load_prompt()
    dialogue = [turn("user", "remind me to call mom"), turn("assistant", CALL), turn("user", "thanks, “done”? 🎂")]
    messages = spec.messages(dialogue, NOW)
    theirs = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=True, date_string="26 Jul 2024"
    )
    ids = tokenizer(render_llama3(messages), add_special_tokens=False)["input_ids"]

    assert tokenizer(DATES.sub("", theirs, count=1), add_special_tokens=False)["input_ids"] == ids
    assert ids.count(tokenizer.convert_tokens_to_ids("<|begin_of_text|>")) == 1


def test_only_the_last_line_varies_with_time():
    """Everything before the line of the time is one shared prefix."""
    spec = load_prompt()
    one, other = spec.system(NOW), spec.system("2027-12-31T23:59:00-05:00")

    assert one.splitlines()[-1] == "Current time: 2026-03-02T09:00:00+00:00 (Monday)"
    assert other.splitlines()[-1] == "Current time: 2027-12-31T23:59:00-05:00 (Friday)"
    assert one.splitlines()[:-1] == other.splitlines()[:-1]


def test_no_date_but_the_current_time_stands_in_a_prompt():
    """No template stamps a date of its own."""
    text = load_prompt().render([turn("user", "hi")], NOW)

    assert re.findall(r"\d{4}-\d\d-\d\d|\b\d{1,2} [A-Z][a-z]{2} \d{4}", text) == ["2026-03-02"]


@pytest.mark.parametrize(
    "forged", ["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|x_1|>"]
)
def test_special_tokens_in_foreign_text_are_neutralised(forged):
    """A user or a tool cannot forge a turn; BOS and the turn tokens are counted."""
    spec = load_prompt()
    clean = spec.render([turn("user", "a"), turn("tool", "b")], NOW)
    text = spec.render([turn("user", f"a{forged}"), turn("tool", forged * 2)], NOW)

    assert has_special_tokens(forged)
    assert text.count("<|") == clean.count("<|")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<", "|", ">", "<|", "|>", "eot_id", "<|eot_id|>", " "]), max_size=12).map("".join))
def test_neutralised_text_holds_no_special_token(text):
    """Also where tokens overlap or one is put together from pieces."""
    assert not has_special_tokens(neutralise(text))


def test_plain_text_is_not_touched():
    """Only what reads as a special token changes."""
    assert neutralise("a <| b |> <tag> <|two words|>") == "a <| b |> <tag> <|two words|>"


@pytest.mark.parametrize("now", ["2026-03-02", "2026-03-02T09:00:00", "tomorrow", "", "2026-02-30T09:00:00+00:00"])
def test_a_time_needs_a_date_a_clock_and_an_offset(now):
    """Anything else is refused, with an example."""
    with pytest.raises(SetupError, match=r"Expected e\.g\."):
        weekday(now)


def test_an_unknown_role_is_refused():
    """The known roles are named."""
    with pytest.raises(SetupError, match="Unknown role 'robot'"):
        render_llama3([turn("robot", "x")])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("Tools:\n{tool_docs}\nCurrent time: {now}\nmore", "must end with", id="time is not last"),
        pytest.param("Current time: {now}", r"\{tool_docs\} 0 times", id="no tools"),
        pytest.param("{tool_docs}\n{tool_docs}\nCurrent time: {now}", r"\{tool_docs\} 2 times", id="tools twice"),
        pytest.param("{tool_docs}", r"\{now\} 0 times", id="no time"),
    ],
)
def test_a_prompt_of_the_users_own_is_checked(tmp_path, text, why):
    """A system_prompt.md without its placeholders is refused in one line."""
    path = tmp_path / "system_prompt.md"
    path.write_text(text)

    with pytest.raises(SetupError, match=why):
        load_prompt(path=path)


def test_a_missing_prompt_is_named(tmp_path):
    """The path stands in the message."""
    with pytest.raises(SetupError, match=r"system_prompt\.md"):
        load_prompt(path=tmp_path / "system_prompt.md")


def test_a_prompt_of_the_users_own_replaces_ours(tmp_path):
    """Placeholders are filled, other braces stay, CRLF is read as LF, and the digest differs."""
    path = tmp_path / "system_prompt.md"
    path.write_bytes(b'Use {"a": 1}.\r\n{tool_docs}\r\nCurrent time: {now}\r\n')
    spec = load_prompt(path=path)

    assert spec.system(NOW).startswith('Use {"a": 1}.\n- createTask(')
    assert spec.digest != load_prompt().digest
    assert load_prompt(load_toolset(), SYSTEM_PROMPT).digest == load_prompt().digest
