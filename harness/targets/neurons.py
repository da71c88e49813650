"""What asking Workers AI costs: an estimate before, the sum of what the replies said after.

Covers: prices of the models we ask, neurons to dollars, an estimate without a tokenizer, a meter for many threads.
Does not cover: the 10,000 neurons a day that are free, since other users of the account may have used them.

Prices as Cloudflare's pages had them in 2026-11. An adapter costs nothing extra: seen live, 38 + 8 tokens cost 0.4195
neurons, which is the base's price.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

# Neurons per million tokens: of the prompt, of the reply.
PRICES = {
    "@cf/meta/llama-3.2-3b-instruct": (4_625, 30_475),
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast": (26_668, 204_805),
}
DOLLARS = 0.011 / 1000  # per neuron
# Llama 3's tokenizer makes 417 tokens of our prompt to a short question (1,720 characters), and 50 of a usual call.
CHARACTERS = 4.1  # per token
REPLY_TOKENS = 50


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking will cost: ``likely`` with usual replies, ``most`` where each reply is as long as it may be."""

    requests: int
    prompt_tokens: int
    likely: float | None  # neurons; None where the model's price is not known
    most: float | None

    def __str__(self) -> str:
        """One line for a person."""
        asked = f"{self.requests} requests, about {self.prompt_tokens:,} tokens of prompts"
        return f"{asked}: about {show_cost(self.likely)}, at most {show_cost(self.most)}"


def count_neurons(model: str, prompt_tokens: int, reply_tokens: int) -> float | None:
    """The price of so many tokens; None where the model's price is not known."""
    price = PRICES.get(model)
    return None if price is None else (prompt_tokens * price[0] + reply_tokens * price[1]) / 1e6


def estimate_cost(model: str, texts: Iterable[str], max_tokens: int) -> Estimate:
    """What asking these prompts would cost; nobody is asked."""
    sizes = [round(len(text) / CHARACTERS) for text in texts]
    known, count = sum(sizes), len(sizes)
    likely = count_neurons(model, known, count * min(REPLY_TOKENS, max_tokens))
    return Estimate(count, known, likely, count_neurons(model, known, count * max_tokens))


def show_cost(neurons: float | None) -> str:
    """Neurons and dollars, before anything that is free."""
    if neurons is None:
        return "an unknown number of neurons"
    return f"{neurons:,.1f} neurons (${neurons * DOLLARS:.4f})"


class Meter:
    """Sums up what replies cost, from many threads."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.replies = self.prompt_tokens = self.reply_tokens = 0
        self.untold = 0  # replies whose neurons the API did not tell; the price list stands in
        self.neurons: float | None = 0.0
        self._lock = threading.Lock()

    def add(self, prompt_tokens: int, reply_tokens: int, neurons: float | None) -> float | None:
        """Count one reply; its neurons, None where neither the API nor the price list tells them."""
        found = count_neurons(self.model, prompt_tokens, reply_tokens) if neurons is None else neurons
        with self._lock:
            self.replies += 1
            self.prompt_tokens += prompt_tokens
            self.reply_tokens += reply_tokens
            self.untold += neurons is None
            self.neurons = None if self.neurons is None or found is None else self.neurons + found
        return found

    def __str__(self) -> str:
        """One line for a person."""
        tokens = f"{self.prompt_tokens:,} + {self.reply_tokens:,} tokens"
        untold = f"; {self.untold} replies did not tell their neurons, the price list did" if self.untold else ""
        return f"{self.replies} replies of {self.model}, {tokens}: {show_cost(self.neurons)}{untold}"
