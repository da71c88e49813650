"""What the repository promises about itself: its commands, its tree, its pins, and what must not be in it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAX_FILE = 33 * 2**20  # the embedded base is the largest file, with at most 32 MiB
PAGES = ("README.md", "docs/guide.md")
CORE = ("numpy", "peft", "pytest", "rapidfuzz", "safetensors", "scipy", "tokenizers", "torch", "transformers")


@cache
def tracked_files() -> tuple[Path, ...]:
    """What a clone holds: every file that .gitignore does not leave out. It needs no git."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = [".git", *(line.strip("/") for line in lines if line and not line.startswith("#"))]
    found = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [Path(folder, name) for name in names if not any(fnmatch(name, pattern) for pattern in ignored)]
    return tuple(found)


def read_pins() -> dict[str, str]:
    """Package to exact version, of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def shell_commands(page: str) -> list[str]:
    """Every line of every shell block of a page, without comments; `a && b` is two commands."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [part.strip() for line in lines if line for part in line.split("&&")]


@cache
def help_of(*command: str) -> str:
    """The help text of a command of ours; fails when it has none."""
    wide = {**os.environ, "COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}  # a narrow table would cut options off
    words = [sys.executable, "-m", *command, "--help"]
    result = subprocess.run(words, cwd=ROOT, env=wide, capture_output=True, check=False, text=True)
    assert result.returncode == 0, f"{' '.join(command)} --help: {result.stderr or result.stdout}"
    return result.stdout


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


COMMANDS = [(page, command) for page in PAGES for command in shell_commands(page)]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS])
def test_every_command_of_the_pages_exists(page, command):
    """Each program, subcommand, option and input file that a page names is there."""
    words = shlex.split(command)
    match words:
        case ["make", *targets]:
            assert set(targets) <= make_targets()
            return
        case ["python", "-m", ("harness" | "training" | "deploy") as package, subcommand, *_]:
            text = help_of(package, subcommand)
        case ["python", "-m", module, *_]:
            text = help_of(module)
        case ["pytest", *_]:
            text = help_of("pytest")
        case ["pip" | ".venv/bin/pip", "install", *_]:
            assert next(w for w in words if w.startswith(".["))[2:-1] in PROJECT["project"]["optional-dependencies"]
            return
        case ["python3", "-m", "venv", *_] | ["export", *_] | [".", *_]:
            return
        case _:
            pytest.fail(f"{page} has a command that this test does not know: {command}")
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.partition('=')[0])}\b", text), f"{word} is no option of: {command}"
        elif re.match(r"(evals|training|harness|deploy)/", word):
            assert any(ROOT.glob(word)), f"{command}: {word} is missing"


def test_the_readme_names_the_two_commands_and_the_way_by_hand():
    commands = shell_commands("README.md")

    assert {"make eval", "make test", "pytest evals/ --target=local"} <= set(commands)
    assert "pip install -c constraints.txt -e '.[local]'" in commands


def test_the_tree_of_the_readme_is_the_tree_of_the_repository():
    block = re.search(r"## The tree\s+```text\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    parents: list[str] = []
    missing = []
    for line in block[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name]
        path = ROOT.joinpath(*parents)
        if not (path.is_dir() if name.endswith("/") else path.is_file()):
            missing.append("".join(parents))

    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, "docs/decisions/README.md"])
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_no_file_names_a_path_of_somebodys_machine():
    machine = re.compile(rb"(?<![\w.:/])/(?:work|root|opt|tmp/tg|home/\w+|Users/\w+)/")
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content[:4096]:
            found += [f"{path.relative_to(ROOT)}: {m.group().decode()}" for m in machine.finditer(content)]

    assert found == []


def test_installing_names_no_package_index():
    """Where packages come from is a setting of the machine."""
    for name in ("constraints.txt", "Makefile", ".ci/run", ".github/workflows/ci.yml", "pyproject.toml"):
        assert not re.search(r"index-url|find-links|https?://", (ROOT / name).read_text(encoding="utf-8")), name


def test_no_file_is_too_large_for_a_repository():
    large = {str(p.relative_to(ROOT)): p.stat().st_size for p in tracked_files() if p.stat().st_size > MAX_FILE}

    assert large == {}


def test_the_licence_is_there_and_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")

    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_begins_with_the_version_of_the_project():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert headings[:1] == [PROJECT["project"]["version"]]


def test_the_log_has_the_newest_entry_first():
    dates = re.findall(r"^## (\d{4}-\d\d-\d\d) · ", (ROOT / "docs/LOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert dates
    assert dates == sorted(dates, reverse=True)


def test_the_list_of_decisions_is_the_folder():
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))

    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def test_the_layers_are_the_modules_on_disk():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["harness"]]
    listed = [name.strip() for layer in layers for name in layer.split("|")]
    found = {path.stem for path in (ROOT / "harness").glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")}

    assert sorted(listed) == sorted(found)


def test_every_requirement_is_pinned_within_its_range():
    project = PROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [r for r in (Requirement(text) for texts in lists for text in texts) if r.name != project["name"]]
    pins = read_pins()

    assert [str(r) for r in wanted if not r.specifier.contains(pins.get(canonicalize_name(r.name), "0"))] == []


@pytest.mark.parametrize("package", CORE)
def test_what_runs_is_what_is_pinned(package):
    """Numbers are compared between runs, so CI and people measure with the same versions."""
    try:
        found = version(package)
        torch = version("torch")
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    if "+cu" in torch:
        pytest.skip(f"torch {torch}: a GPU machine brings its own builds")

    assert found.partition("+")[0] == read_pins()[package]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["eval", "test", "check", "train", "clean", "help"])
def test_make_knows_what_to_do(target):
    """Each target can be planned, and help names it."""
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}}
    plan, listed = (
        subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, check=False, text=True)
        for words in (["-n", target], ["help"])
    )

    assert plan.returncode == 0, plan.stderr
    assert f"make {target} " in listed.stdout


def test_ci_can_be_run():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)
