"""What one training run is: a TOML file, checked before anything is loaded.

Covers: the entries, their limits, one line per wrong entry, where a named base lies.
Does not cover: carrying it out (training.sft).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import harness
from harness.errors import SetupError
from harness.toolset import digest_json

# Names that stay the same on every machine, as adapters carry them in base_model_name_or_path.
BASES = {"toolgate/nano-base": Path(harness.__file__).parent / "embedded" / "nano-base"}


class Strict(BaseModel):
    """A table without unknown keys, of plain types, that cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GeneratorPart(Strict):
    """How many examples the generator adds."""

    count: Annotated[int, Field(ge=0, description="a whole number of examples, 0 for none")] = 0
    seed: Annotated[int, Field(ge=0, description="a whole number; another one gives other examples")] = 0
    mix: Annotated[
        dict[str, Annotated[float, Field(ge=0, strict=False)]] | None,
        Field(description="a share per kind, e.g. {single = 0.5, negative = 0.2}; left out = the generator's own"),
    ] = None


class DataPart(Strict):
    """What the training set is made of."""

    handcrafted: Annotated[bool, Field(description="true or false: take training/handcrafted/*.jsonl")] = True
    repeat: Annotated[
        int,
        Field(ge=1, le=20, description="how often a hand-written example comes per epoch, 1 to 20; 1 or 2 is usual"),
    ] = 1
    recombine: Annotated[
        bool, Field(description="true or false: hand-written examples with other titles, places, people, weeks")
    ] = False
    unread: Annotated[
        float, Field(gt=0, le=1, strict=False, description="a share above 0: of what the nano base has not read")
    ] = 1.0
    read: Annotated[
        dict[str, Annotated[float, Field(ge=0, le=1, strict=False)]] | None,
        Field(description="shares per kind of what the nano base has read, e.g. {general = 0.5}; left out = all"),
    ] = None
    generator: Annotated[GeneratorPart, Field(description="a table [data.generator] with count, seed and mix")] = (
        GeneratorPart()
    )


class Recipe(Strict):
    """One run. The descriptions are what a wrong entry is answered with."""

    name: Annotated[str, Field(min_length=1, description="a text that names the adapter in its model card")]
    base: Annotated[
        str,
        Field(min_length=1, description=f"{', '.join(BASES)}, a hub id, or a folder (then adapters carry its name)"),
    ]
    rank: Annotated[
        int, Field(ge=1, le=32, description="a whole number from 1 to 32, the most that Workers AI takes; 16 is usual")
    ] = 16
    alpha: Annotated[int, Field(ge=1, le=128, description="a whole number from 1 to 128; twice the rank is usual")] = 32
    dropout: Annotated[
        float, Field(ge=0, lt=1, strict=False, description="a number from 0 to below 1; 0.05 is usual")
    ] = 0.05
    target_modules: Annotated[
        Literal["all-linear"], Field(description='"all-linear": every linear layer but the output head')
    ] = "all-linear"
    learning_rate: Annotated[
        float, Field(gt=0, le=0.1, strict=False, description="a number above 0; 2e-4 for a 3B base, 2e-3 for nano")
    ] = 2e-4
    schedule: Annotated[
        Literal["cosine", "linear", "constant_with_warmup"],
        Field(description='how the learning rate falls: "cosine", "linear" or "constant_with_warmup"'),
    ] = "cosine"
    warmup: Annotated[
        float,
        Field(ge=0, le=0.5, strict=False, description="the share of steps in which it rises, 0 to 0.5; 0.06 is usual"),
    ] = 0.06
    weight_decay: Annotated[float, Field(ge=0, lt=1, strict=False, description="a number from 0 to below 1")] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0, strict=False, description="a number above 0; 1.0 is usual")] = 1.0
    epochs: Annotated[int, Field(ge=1, le=50, description="a whole number from 1 to 50; 2 or 3 is usual")] = 3
    batch_size: Annotated[
        int, Field(ge=1, le=1024, description="examples per optimiser step, 1 to 1024; 16 or 32 is usual")
    ] = 16
    micro_batch_size: Annotated[
        int | None,
        Field(
            ge=1, le=1024, description="examples per forward pass, at most batch_size; lower it when memory runs out"
        ),
    ] = None
    max_length: Annotated[
        int, Field(ge=64, le=131072, description="tokens of the longest example, 64 to 131072; longer ones are refused")
    ] = 2048
    packing: Annotated[
        Literal["shared_prefix", "padded"],
        Field(description='"shared_prefix" (the system prompt once per batch) or "padded" (once per example)'),
    ] = "shared_prefix"
    precision: Annotated[
        Literal["fp32", "bf16"],
        Field(description='"fp32", or "bf16" (autocast; for a GPU, or a CPU with bf16 instructions)'),
    ] = "fp32"
    seed: Annotated[int, Field(ge=0, description="a whole number; the same seed gives the same adapter")] = 0
    data: Annotated[DataPart, Field(description="a table [data] with handcrafted, repeat and generator")] = DataPart()

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of all entries, defaults included."""
        return digest_json(self.model_dump(mode="json"))


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        SetupError: the file is missing, is not TOML, or has wrong entries (one line for each).
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        shipped = ", ".join(sorted(p.name for p in (Path(__file__).parent / "recipes").glob("*.toml")))
        raise SetupError(f"Cannot read {path}: {error.strerror}. Recipes of training/recipes: {shipped}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} is not TOML: {error}. See training/recipes/nano.toml.") from None
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise SetupError("\n".join(f"{path}: {_explain(found)}" for found in error.errors())) from None
    if recipe.micro_batch_size is not None and recipe.micro_batch_size > recipe.batch_size:
        raise SetupError(
            f"{path}: micro_batch_size = {recipe.micro_batch_size} is above batch_size = {recipe.batch_size}. "
            "A batch is made of micro batches: lower one or raise the other."
        )
    return recipe


def find_base(recipe: Recipe, given: Path | None) -> Path | str:
    """Where the base is loaded from: ``--base``, the place of a known name, a folder, or a hub id."""
    if given is not None:
        if not (given / "config.json").is_file():
            raise SetupError(f"No base in {given} (config.json is missing). Give a folder that transformers can load.")
        return given
    place = BASES.get(recipe.base, Path(recipe.base))
    if (place / "config.json").is_file():
        return place
    if recipe.base in BASES:
        raise SetupError(f"The base {recipe.base} is not at {place}. Restore it, or give its folder with --base.")
    if place.is_absolute() or place.exists() or recipe.base.count("/") != 1:
        raise SetupError(
            f"No base in {recipe.base} (config.json is missing). Known: {', '.join(BASES)}; or use --base."
        )
    return recipe.base


def base_name(recipe: Recipe) -> str:
    """The name of the base that an adapter carries: never a path of this machine."""
    return Path(recipe.base).name if Path(recipe.base).is_absolute() or recipe.base.startswith(".") else recipe.base


def _explain(found: Any) -> str:
    place, kind = found["loc"], found["type"]
    name = ".".join(map(str, place))
    model: type[BaseModel] = Recipe
    description = ""
    for part in place:
        field = model.model_fields.get(str(part))
        if field is None:
            break
        description = field.description or ""
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    if kind == "missing":
        return f"{name} is missing. Give {description}."
    if kind == "extra_forbidden":
        return f"unknown entry {name}. Known here: {', '.join(model.model_fields)}."
    return f"{name} = {found['input']!r} is not possible: {found['msg']}. Give {description}."
