"""Recipes: what is read, and one line per wrong entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SetupError
from training import recipe as recipes
from training.recipe import BASES, Recipe, base_name, find_base, load_recipe

SHIPPED = sorted((Path(recipes.__file__).parent / "recipes").glob("*.toml"))
HEAD = 'name = "x"\nbase = "toolgate/nano-base"\n'


@pytest.mark.parametrize("path", SHIPPED, ids=[path.name for path in SHIPPED])
def test_every_shipped_recipe_is_read(path: Path):
    """Recipes of the repository pass their own check and name a base without a path of some machine."""
    recipe = load_recipe(path)

    assert recipe.alpha == 2 * recipe.rank
    assert base_name(recipe) == recipe.base


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param('name = "x"\n', ["base is missing. Give toolgate/nano-base"], id="missing"),
        pytest.param(HEAD + "rank = 64\n", ["rank = 64 is not possible", "16 is usual"], id="rank"),
        pytest.param(HEAD + 'epochs = "3"\n', ["epochs = '3' is not possible", "whole number from 1 to 50"], id="type"),
        pytest.param(HEAD + "ranks = 8\n", ["unknown entry ranks. Known here: name, base, rank"], id="unknown"),
        pytest.param(HEAD + 'packing = "tight"\n', ["packing = 'tight'", "once per batch"], id="choice"),
        pytest.param(
            HEAD + "[data.generator]\ncounts = 3\n",
            ["unknown entry data.generator.counts. Known here: count, seed, mix"],
            id="inner table",
        ),
        pytest.param(HEAD + "rank = 0\ndropout = 1\n", ["rank = 0", "dropout = 1"], id="two at once"),
        pytest.param(HEAD + "batch_size = 4\nmicro_batch_size = 8\n", ["micro_batch_size = 8 is above"], id="micro"),
        pytest.param(HEAD + "rank = \n", ["is not TOML"], id="not TOML"),
    ],
)
def test_a_wrong_entry_is_answered_with_what_is_possible(tmp_path: Path, text, lines):
    """Each wrong entry is one line: the value, the reason, what to give instead."""
    file = tmp_path / "r.toml"
    file.write_text(text)

    with pytest.raises(SetupError) as caught:
        load_recipe(file)

    message = str(caught.value)
    assert all(line in message for line in lines)
    assert all(line.startswith(str(file)) for line in message.splitlines())


def test_a_missing_recipe_names_the_shipped_ones(tmp_path: Path):
    """A wrong path is answered with the recipes that exist."""
    with pytest.raises(SetupError, match=r"Recipes of training/recipes: .*nano\.toml"):
        load_recipe(tmp_path / "r.toml")


def test_an_integer_serves_as_a_number():
    """TOML's 1 is a fine value where 1.0 is meant; 1.5 is no count of epochs."""
    assert Recipe(name="x", base="b", max_grad_norm=1).max_grad_norm == 1.0


def test_the_digest_follows_every_entry():
    """Changing any entry, also in the data, gives another digest; spelling out a default does not."""
    plain = Recipe(name="x", base="b")

    assert plain.digest == Recipe(name="x", base="b", rank=16).digest
    assert plain.digest != Recipe(name="x", base="b", rank=8).digest
    assert plain.digest != Recipe.model_validate({"name": "x", "base": "b", "data": {"repeat": 2}}).digest


def test_a_base_is_found_by_its_name_or_its_folder(tmp_path: Path, tiny_base: Path):
    """--base wins; a hub id stays as it is; a folder without config.json is refused."""
    named, hub = Recipe(name="x", base=next(iter(BASES))), Recipe(name="x", base="org/model")

    assert find_base(named, tiny_base) == tiny_base
    assert find_base(hub, None) == "org/model"
    with pytest.raises(SetupError, match=r"config\.json is missing"):
        find_base(named, tmp_path)
    with pytest.raises(SetupError, match="No base in"):
        find_base(Recipe(name="x", base=str(tmp_path)), None)


def test_an_adapter_never_carries_a_path(tmp_path: Path):
    """The name of a base that is given by its folder is the folder's name."""
    assert base_name(Recipe(name="x", base=str(tmp_path / "my-base"))) == "my-base"
