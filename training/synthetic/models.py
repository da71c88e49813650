"""What a model costs, which settings it takes, and whose output must not be trained on.

Covers: list prices of Claude models, the cost of a reply's tokens, settings that a model would answer with status 400,
refusing OpenAI's models and servers.
Does not cover: discounts, taxes, prompt caching (never asked for), models on other clouds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import SetupError

PRICES_FROM = "https://platform.claude.com/docs/en/about-claude/pricing and the models' pages beside it"
PRICES_READ = "2026-11-22"
BATCH_SHARE = 0.5  # a batch costs half


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def cost(self, tokens_in: int, tokens_out: int, *, batch: bool = False) -> float:
        """US dollars."""
        return (tokens_in * self.input + tokens_out * self.output) / 1e6 * (BATCH_SHARE if batch else 1)


@dataclass(frozen=True, slots=True)
class ClaudeModel:
    """A row of the table."""

    price: Price
    thinks: bool = True  # thinks unless told not to, and the thinking is paid as output
    effort: bool = True  # takes output_config.effort
    sampling: bool = False  # takes a temperature, with the API version of 2023 alone


CLAUDE = {
    "claude-fable-5-1": ClaudeModel(Price(10, 50)),
    "claude-opus-5-5": ClaudeModel(Price(4, 20)),
    "claude-sonnet-5-5": ClaudeModel(Price(2, 10)),
    "claude-haiku-5-5": ClaudeModel(Price(0.10, 0.50)),  # prompts up to 100,000 tokens; ours have about 3,000
    "claude-opus-5": ClaudeModel(Price(5, 25)),
    "claude-sonnet-5": ClaudeModel(Price(2, 10)),
    "claude-opus-4-8": ClaudeModel(Price(5, 25), thinks=False),
    "claude-opus-4-7": ClaudeModel(Price(5, 25), thinks=False),
    "claude-opus-4-6": ClaudeModel(Price(5, 25), thinks=False, sampling=True),
    "claude-sonnet-4-6": ClaudeModel(Price(3, 15), thinks=False, sampling=True),
    "claude-opus-4-5": ClaudeModel(Price(5, 25), thinks=False, sampling=True),
    "claude-haiku-4-5": ClaudeModel(Price(1, 5), thinks=False, effort=False, sampling=True),
}
DEFAULT_MODEL = "claude-sonnet-5-5"
EFFORTS = ("low", "medium", "high", "xhigh", "max")

OPENAI_TERMS = (
    "OpenAI's terms of use forbid to use its models' output to develop models that compete with them. "
    "Use Claude, or serve an open model yourself and give --base-url and --model"
)
_OPENAI_HOSTS = ("openai.com", "openai.azure.com", "chatgpt.com", "oaiusercontent.com")
# A maker's name before a slash is looked at as well: "openai/…" on any router.
_OPENAI_MODELS = re.compile(
    r"^(openai|azure)/|(^|/)(ft:)?(chat-?)?gpt-?(\d|oss|image|realtime|audio|latest)|(^|/)(chatgpt|codex|davinci|babbage|"
    r"text-(davinci|curie|babbage|ada)|o\d(-|$|:))",
    re.IGNORECASE,
)
_DAY = re.compile(r"-20\d{6}$")


def find_claude(model: str) -> ClaudeModel | None:
    """The row of a Claude model, with or without the day in its name; None for one that the table does not know."""
    return CLAUDE.get(_DAY.sub("", model))


def read_price(text: str | None, model: str, *, hosted_here: bool) -> Price:
    """The price to reckon with: ``IN/OUT`` as given, else the table's; a server of one's own costs nothing.

    Raises:
        SetupError: the text is no price, or nobody knows what the model costs.
    """
    if text is not None:
        try:
            first, second = (float(part) for part in text.split("/"))
            if not (0 <= first < 1e6 and 0 <= second < 1e6):
                raise ValueError
        except ValueError:
            raise SetupError(
                f"--price {text!r} is no price. Give dollars per million tokens, input/output: --price 2/10."
            ) from None
        return Price(first, second)
    if hosted_here:
        return Price(0, 0)
    known = find_claude(model)
    if known is None:
        raise SetupError(
            f"No price is known for {model!r}, so no budget can be kept. Known: {', '.join(CLAUDE)}. "
            "For another one give its price in dollars per million tokens, e.g. --price 2/10."
        )
    return known.price


def check_settings(model: str, temperature: float | None, effort: str | None, *, hosted_here: bool) -> None:
    """Refuse, before anything is paid, what the model would answer with status 400.

    Raises:
        SetupError: a setting that this model does not take.
    """
    if temperature is not None and not 0 <= temperature <= (2 if hosted_here else 1):
        raise SetupError(f"--temperature {temperature:g} is not between 0 and {2 if hosted_here else 1}.")
    if effort is not None and effort not in EFFORTS:
        raise SetupError(f"--effort {effort!r} is unknown. Possible: {', '.join(EFFORTS)}.")
    if hosted_here:
        if effort is not None:
            raise SetupError("--effort is a setting of Claude. Leave it out with --base-url.")
        return
    known = find_claude(model)
    if temperature is not None and known is not None and not known.sampling:
        takers = ", ".join(name for name, row in CLAUDE.items() if row.sampling)
        raise SetupError(
            f"{model} takes no --temperature (Claude 4.7 and later answer it with status 400). "
            f"Leave it out and vary --style, or choose one of {takers}."
        )
    if effort is not None and known is not None and not known.effort:
        raise SetupError(f"{model} takes no --effort. Leave it out.")


def refuse_openai(model: str, base_url: str | None = None) -> None:
    """Stop where the output would be OpenAI's.

    Raises:
        SetupError: the model's name or the server's is OpenAI's; says why that is refused.
    """
    host = (urlsplit(base_url).hostname or "") if base_url else ""
    if any(host == name or host.endswith("." + name) for name in _OPENAI_HOSTS):
        raise SetupError(f"Refused: {host} serves OpenAI's models. {OPENAI_TERMS}.")
    if _OPENAI_MODELS.search(model):
        raise SetupError(f"Refused: {model!r} names a model of OpenAI. {OPENAI_TERMS}.")
