"""The registry: one state, whoever moves it and whenever it is killed."""

import json
import os
import random
import signal
import time

import pytest
from receipts import TIME, make_receipt, make_report, write_files

from harness.attestation import hash_folder
from harness.errors import DataError, SetupError, StoreError
from harness.registry import Entry, FolderRegistry, Move, replay_history

WHO = {"who": "ada@example", "when": TIME}


@pytest.fixture
def registry(tmp_path):
    return FolderRegistry(tmp_path / "registry")


def admit(registry, folder, alias="champion", **changes):
    with registry.stage(folder) as staged:
        return registry.promote(staged, make_receipt(folder, **changes), alias, **WHO)


def admit_new(registry, tmp_path, name, alias="champion"):
    """Promote an adapter of its own; its digest."""
    return admit(registry, write_files(tmp_path / name, name), alias).history[-1].adapter


def whole(registry):
    """The state, after comparing every adapter that an alias stands for with its receipt."""
    state = registry.read()
    for entry in state.aliases.values():
        registry.check_entry(entry)
    return state


def names(state):
    return {alias: entry.adapter for alias, entry in state.aliases.items()}


def test_a_promotion_moves_champion_and_keeps_the_one_before(registry, tmp_path):
    """And the history says who, when and on which receipt."""
    a, b = (admit_new(registry, tmp_path, name) for name in "ab")
    state = whole(registry)

    assert names(state) == {"champion": b, "previous": a}
    assert [(m.number, m.action, m.alias, m.who, m.when) for m in state.history] == [
        (1, "promote", "champion", "ada@example", TIME),
        (2, "promote", "champion", "ada@example", TIME),
    ]
    assert registry.read_receipt(state.history[0].receipt).adapter == a
    assert hash_folder(registry.adapter_path(b)) == hash_folder(tmp_path / "b")


def test_an_empty_registry_has_no_alias(registry):
    """And nothing to go back to."""
    assert registry.read().aliases == {}
    with pytest.raises(SetupError, match="no previous champion"):
        registry.rollback(**WHO)


def test_a_candidate_becomes_champion(registry, tmp_path):
    """Then it is a candidate no more."""
    a = admit_new(registry, tmp_path, "a", "candidate")
    assert names(registry.read()) == {"candidate": a}
    admit_new(registry, tmp_path, "a")

    assert names(whole(registry)) == {"champion": a}


def test_promoted_again_it_keeps_the_previous_one(registry, tmp_path):
    """A new receipt for the same bytes is no new champion."""
    a, b = (admit_new(registry, tmp_path, name) for name in "ab")
    state = admit(registry, tmp_path / "b", evidence="server")

    assert names(state) == {"champion": b, "previous": a}
    assert len({move.receipt for move in state.history}) == 3


def test_rollback_goes_back_step_by_step(registry, tmp_path):
    """Never to the one that was left."""
    a, b, c = (admit_new(registry, tmp_path, name) for name in "abc")

    assert names(registry.rollback(**WHO)) == {"champion": b, "previous": a}
    d = admit_new(registry, tmp_path, "d")
    assert names(registry.rollback(**WHO)) == {"champion": b, "previous": a}
    assert names(registry.rollback(**WHO)) == {"champion": a}
    with pytest.raises(SetupError, match="no previous champion"):
        registry.rollback(**WHO)
    assert [m.action for m in whole(registry).history].count("rollback") == 3
    assert registry.adapter_path(c).is_dir()
    assert registry.adapter_path(d).is_dir()


def test_rollback_refuses_a_changed_adapter(registry, tmp_path):
    """It names the file, and the champion stays."""
    a, b = (admit_new(registry, tmp_path, name) for name in "ab")
    (registry.adapter_path(a) / "adapter_model.safetensors").write_text("evil")

    with pytest.raises(DataError, match=r"adapter_model\.safetensors: changed"):
        registry.rollback(**WHO)
    assert names(registry.read()) == {"champion": b, "previous": a}


def test_rollback_moves_only_to_what_was_checked(registry, tmp_path):
    """Another process may have moved the aliases since."""
    for name in "ab":
        admit_new(registry, tmp_path, name)

    with pytest.raises(DataError, match="Another process"):
        registry.rollback(**WHO, expected=Entry("sha256:" + "0" * 64, "sha256:" + "0" * 64))


def test_an_alias_moves_only_with_a_receipt_of_these_bytes(registry, tmp_path):
    """A receipt of another adapter, one of a closed gate, and a copy that was swapped."""
    a, b = write_files(tmp_path / "a", "a"), write_files(tmp_path / "b", "b")
    with registry.stage(a) as staged:
        with pytest.raises(DataError, match=r"adapter_model\.safetensors: changed"):
            registry.promote(staged, make_receipt(b), "champion", **WHO)
        with pytest.raises(DataError, match="gate was closed"):
            registry.promote(staged, make_receipt(a, report=make_report(("bad",))), "champion", **WHO)
        (staged.path / "adapter_model.safetensors").write_text("swapped")
        with pytest.raises(DataError, match=r"adapter_model\.safetensors: changed"):
            registry.promote(staged, make_receipt(a), "champion", **WHO)
    with registry.stage(a) as staged, pytest.raises(SetupError, match="'previous' cannot be moved"):
        registry.promote(staged, make_receipt(a), "previous", **WHO)

    assert registry.read().aliases == {}
    assert list((registry.root / "staging").iterdir()) == []


def test_the_copy_counts_and_not_the_original(registry, tmp_path):
    """What happens to the folder after it was copied changes nothing."""
    a = write_files(tmp_path / "a", "a")
    receipt = make_receipt(a)
    with registry.stage(a) as staged:
        (a / "adapter_model.safetensors").write_text("later")
        registry.promote(staged, receipt, "champion", **WHO)

    assert (registry.check_entry(registry.read().aliases["champion"]) / "adapter_model.safetensors").read_text() == "a"


def test_links_never_get_in(registry, tmp_path):
    """Nor do they leave a copy behind."""
    a = write_files(tmp_path / "a")
    (a / "link").symlink_to("/etc/hostname")

    with pytest.raises(DataError, match="link is a link"), registry.stage(a):
        pass
    assert list((registry.root / "staging").iterdir()) == []


def test_a_damaged_copy_is_not_promoted_again(registry, tmp_path):
    """The same digest with other bytes in it is an alarm."""
    a = admit_new(registry, tmp_path, "a")
    (registry.adapter_path(a) / "extra" / "README.md").unlink()

    with pytest.raises(DataError, match=r"was changed: extra/README\.md: missing"):
        admit(registry, tmp_path / "a", evidence="server")


def test_an_edited_state_is_refused(registry, tmp_path):
    """Aliases follow from the history; one that was moved by hand does not."""
    for name in "ab":
        admit_new(registry, tmp_path, name)
    path = registry.root / "registry.json"
    good = json.loads(path.read_text())

    def edited(**changes):
        path.write_text(json.dumps({**good, **changes}))
        return pytest.raises(DataError, match=r"registry\.json (was edited|is damaged)")

    swapped = {"champion": good["aliases"]["previous"], "previous": good["aliases"]["champion"]}
    for changes in (
        {"aliases": swapped},
        {"history": good["history"][:1]},
        {"history": good["history"][::-1]},
        {"history": [good["history"][0], {**good["history"][1], "adapter": "../../etc"}]},
        {"format": 2},
        {"aliases": []},
    ):
        with edited(**changes):
            registry.read()
    path.write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        registry.read()


def test_a_changed_receipt_is_refused(registry, tmp_path):
    """Its name is its digest."""
    admit_new(registry, tmp_path, "a")
    entry = registry.read().aliases["champion"]
    registry.receipt_path(entry.receipt).write_bytes(make_receipt(write_files(tmp_path / "b", "b")))

    with pytest.raises(DataError, match="its bytes do not have its digest"):
        registry.check_entry(entry)


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "", "sha256:" + "A" * 64, "md5:" + "0" * 64])
def test_only_a_digest_becomes_a_path(registry, digest):
    """Whatever a file says."""
    with pytest.raises(DataError, match="is no digest"):
        registry.adapter_path(digest)


def test_find_receipt_takes_the_one_that_fits(registry, tmp_path):
    """Equal files first, then the fewest differences."""
    for name in "ab":
        admit_new(registry, tmp_path, name)
    files = hash_folder(tmp_path / "a")

    assert registry.find_receipt(files, "release").files == files
    (tmp_path / "a" / "new.txt").write_text("")
    assert registry.find_receipt(hash_folder(tmp_path / "a"), "release").files == files
    assert FolderRegistry(tmp_path / "none").find_receipt(files, "release") is None


def test_a_registry_that_cannot_be_written_says_so(tmp_path):
    """In one line."""
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="choose another with --registry"):
        admit_new(FolderRegistry(tmp_path / "file" / "registry"), tmp_path, "a")


@pytest.mark.parametrize("action", ["rollback", "promote", "delete"])
def test_an_impossible_history_is_none(action):
    """A rollback without a champion before, an alias that nobody moves, an unknown action."""
    alias = "previous" if action == "promote" else "champion"

    with pytest.raises(ValueError, match="move 1 is none"):
        replay_history([Move(1, action, alias, "sha256:" + "0" * 64, "sha256:" + "0" * 64, "", "")])


# Many processes, and the end of one at any moment.


def fork(work):
    """Run in a process of its own; the id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def test_processes_that_promote_at_once_end_in_one_state(registry, tmp_path):
    """Every move is in the history, once, and the aliases follow from it."""
    moves = 5
    folders = [[write_files(tmp_path / f"{p}-{i}", f"{p}-{i}") for i in range(moves)] for p in range(3)]
    receipts = {folder: make_receipt(folder) for group in folders for folder in group}

    def work(group):
        for folder in group:
            with registry.stage(folder) as staged:
                registry.promote(staged, receipts[folder], "champion", **WHO)

    children = [fork(lambda group=group: work(group)) for group in folders]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    state = whole(registry)
    assert len({move.adapter for move in state.history}) == len(state.history) == 3 * moves
    assert state.aliases["champion"].adapter == state.history[-1].adapter
    assert state.aliases["previous"].adapter == state.history[-2].adapter


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_promotion_leaves_the_old_or_the_new_state(registry, tmp_path, kills):
    """kill -9 at random moments, from the first copy to the last write; never a third state."""
    chance = random.Random(kills)
    admit_new(registry, tmp_path, "first")
    folder = write_files(tmp_path / "timed")
    receipt = make_receipt(folder)
    started = time.perf_counter()
    with registry.stage(folder) as staged:
        registry.promote(staged, receipt, "champion", **WHO)
    reach = 1.5 * (time.perf_counter() - started)  # follows the machine's load: half of the kills come too late
    endings = {"old": 0, "new": 0}
    for i in range(kills):
        folder = write_files(tmp_path / str(i), str(i))
        receipt, old = make_receipt(folder), registry.read()

        def work(folder=folder, receipt=receipt):
            with registry.stage(folder) as staged:
                registry.promote(staged, receipt, "champion", **WHO)

        child = fork(work)
        time.sleep(chance.uniform(0, reach))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = whole(registry)
        if state == old:
            endings["old"] += 1
            reach *= 1.1
        else:
            endings["new"] += 1
            reach *= 0.9
            assert state.history[:-1] == old.history
            assert state.aliases["previous"] == old.aliases["champion"]
            assert hash_folder(registry.adapter_path(state.aliases["champion"].adapter)) == hash_folder(folder)

    # What the killed ones left is gone with the next promotion.
    admit_new(registry, tmp_path, "last")
    assert list((registry.root / "staging").iterdir()) == []
    assert sum(endings.values()) == kills
    assert min(endings.values()) > 0, f"the moments were not spread: {endings}"
