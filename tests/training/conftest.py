"""A tiny base; the tests must not need the shipped one, which is a product of what they test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llama import make_model, make_tokenizer


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that AutoModelForCausalLM and AutoTokenizer load."""
    folder = tmp_path_factory.mktemp("tiny-base")
    make_tokenizer().save_pretrained(folder)
    make_model().save_pretrained(folder)
    return folder
