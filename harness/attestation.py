"""The receipt: digests and a verdict in a signed statement, and the check that names what differs.

Covers: hashing an adapter folder (links and path tricks are refused), ed25519 keys, the statement (in-toto Statement
v1, predicate test-result v0.1), its DSSE envelope, comparing a receipt with the bytes and the configuration at hand.
Does not cover: measuring and deciding (promotion), where receipts and adapters are kept (registry), whether the replies
were really the adapter's: that is what ``evidence`` says, and whoever holds a trusted key answers for it.

In the statement a test is a case (``case/ID``) or a bar (``metric/NAME``). As in pytest a wrong answer is a measurement
and so a warned test; a failed test is a bar that closes the gate, or a case that was not measured.

A receipt has exactly one spelling: a file that says the same in other bytes was edited and is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cases import digest_cases
from harness.errors import DataError, SetupError
from harness.gate import Gate, select_cases
from harness.prompt import PromptSpec
from harness.report import Report, decision_dict, latency_dict
from harness.toolset import digest_json
from harness.types import Case, Verdict

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
FORMAT = 1
PROFILE = "release"
SECRET_KEY, PUBLIC_KEY = "toolgate.key", "toolgate.pub"  # names of files
MAX_FILES, MAX_DEPTH = 10_000, 16
MAX_RECEIPT = 32 << 20  # bytes; one of 1,000 cases has a tenth of a megabyte
CHUNK = 1 << 20
SEALED = ("gate.toml", "case ids", "toolset", "system prompt", "decoding")  # and cases/SUITE
# Facts about where it was measured: a difference is said, and is no reason to refuse.
REMARKED = ("packages",)
HEX = re.compile(r"[0-9a-f]{64}")


# Adapter folders.


def hash_folder(folder: Path) -> dict[str, str]:
    """Relative POSIX path -> hex sha256 of every file in a folder, read now and never from a cache.

    Raises:
        SetupError: there is no folder, or a file cannot be read.
        DataError: the folder holds a link, something that is not a plain file, or a name that could mislead.
    """
    found = {}
    for name, handle in open_files(folder):
        with os.fdopen(handle, "rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    if not found:
        raise SetupError(f"{folder} holds no file. Give a folder with an adapter.")
    return found


def open_files(folder: Path) -> Iterable[tuple[str, int]]:
    """Each file of a folder with an open descriptor, which the caller closes; no link is followed anywhere.

    Raises:
        SetupError, DataError: as ``hash_folder``.
    """
    if folder.is_symlink():
        raise DataError(f"{folder} is a link. Give the folder itself: {folder.resolve()}.")
    if not folder.is_dir():
        raise SetupError(f"No adapter folder at {folder}. Give a folder with an adapter.")
    spellings: dict[str, str] = {}
    try:
        for place, folders, names, handle in os.fwalk(folder, follow_symlinks=False, onerror=_raise):
            folders.sort()
            inner = Path(place).relative_to(folder)
            for name in (*folders, *sorted(names)):
                path = (inner / name).as_posix()
                _check_name(folder, path, spellings)
                kind = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
                if stat.S_ISLNK(kind):
                    raise DataError(f"{folder / path} is a link. Copy what it points to into the folder.")
                if stat.S_ISDIR(kind):
                    continue
                if not stat.S_ISREG(kind):
                    raise DataError(f"{folder / path} is no plain file. Remove it from the folder.")
                # O_NONBLOCK: what became a pipe since must not hold us up.
                yield path, os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
    except OSError as error:
        raise SetupError(
            f"Cannot read {error.filename or folder}: {error.strerror}. Check the folder and its permissions."
        ) from None


def digest_files(files: Mapping[str, str]) -> str:
    """``sha256:<hex>`` of a folder: its paths and the digests of its files."""
    return digest_json(sorted(files.items()))


def differences(sealed: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One line per name that is missing, extra or changed; empty when both are the same."""
    lines = []
    for name in sorted(sealed.keys() | found.keys()):
        if name not in found:
            lines.append(f"{name}: missing; sealed as {_short(sealed[name])}")
        elif name not in sealed:
            lines.append(f"{name}: extra; the receipt does not know it")
        elif sealed[name] != found[name]:
            lines.append(f"{name}: changed; sealed as {_short(sealed[name])}, found {_short(found[name])}")
    return lines


# Keys.


def generate_keys(folder: Path) -> tuple[Path, Path, str]:
    """Make an ed25519 key pair; the paths of the secret key (mode 0600) and the public one, and the key's id.

    Raises:
        SetupError: a key is there already, or the folder cannot be written. Nothing is overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from securesystemslib.signer import CryptoSigner

    secret, public = folder / SECRET_KEY, folder / PUBLIC_KEY
    for path in (secret, public):
        if path.is_symlink() or path.exists():
            raise SetupError(f"{path} is there already and is not overwritten. Give another folder.")
    key = Ed25519PrivateKey.generate()
    signer = CryptoSigner(key)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(secret, signer.private_bytes, 0o600)
        _write_new(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    except OSError as error:
        raise SetupError(f"Cannot write keys into {folder}: {error.strerror}. Give another folder.") from None
    return secret, public, signer.public_key.keyid


def load_signer(path: Path) -> CryptoSigner:
    """Read a secret key.

    Raises:
        SetupError: it cannot be read, others than its owner may read it, or it is no ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(CHUNK)
    except OSError as error:
        raise SetupError(f"Cannot read the key {path}: {error.strerror}. Make one with keygen --out DIR.") from None
    if mode & 0o077:
        raise SetupError(f"{path} may be read by others ({mode & 0o777:04o}). Run: chmod 600 {path}")
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SetupError(f"{path} is no ed25519 key without password in PEM. Make one with keygen --out DIR.")
    return CryptoSigner(key)


def load_trusted(folder: Path) -> list[SSlibKey]:
    """The public keys in a folder: every ``*.pub``.

    Raises:
        SetupError: there is none, or one is no ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    if not folder.is_dir():
        raise SetupError(f"No folder of trusted keys at {folder}. Put the {PUBLIC_KEY} of keygen into one.")
    keys = {}
    for path in sorted(folder.glob("*.pub")):
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise SetupError(f"{path} is no public key in PEM: {error}. Remove it or mend it.") from None
        if not isinstance(key, Ed25519PublicKey):
            raise SetupError(f"{path} is no ed25519 key. Remove it; keygen makes ed25519 keys.")
        found = SSlibKey.from_crypto(key)
        keys[found.keyid] = found
    if not keys:
        raise SetupError(f"{folder} holds no *.pub. Put the {PUBLIC_KEY} of keygen there.")
    return list(keys.values())


# Writing a receipt.


@dataclass(frozen=True, slots=True)
class Setting:
    """One part of the configuration: ``digest`` is hex sha256, ``facts`` are shown and explain it."""

    name: str
    digest: str
    facts: Mapping[str, str] = field(default_factory=dict)


def describe_settings(
    gate: Gate, profile: str, cases: Sequence[Case], prompt: PromptSpec, decoding: Mapping[str, int]
) -> list[Setting]:
    """What a receipt seals beside the adapter, as it is at hand now; ``cases`` are all, the profile selects.

    Raises:
        SetupError: the gate has no such profile.
    """
    asked = select_cases(gate.profile(profile), cases)
    settings = [
        Setting("gate.toml", _bare(gate.digest)),
        Setting("case ids", digest_ids(case.id for case in asked), {"count": str(len(asked))}),
    ]
    for suite in sorted({case.suite for case in asked}):
        of_suite = [case for case in asked if case.suite == suite]
        settings.append(Setting(f"cases/{suite}", _bare(digest_cases(of_suite)), {"count": str(len(of_suite))}))
    settings += [
        Setting("toolset", _bare(prompt.toolset.digest)),
        Setting("system prompt", _bare(prompt.digest)),
        describe_facts("decoding", {name: str(value) for name, value in decoding.items()}),
    ]
    return settings


def describe_facts(name: str, facts: Mapping[str, str]) -> Setting:
    """A setting whose digest is that of the facts themselves."""
    return Setting(name, _bare(digest_json(sorted(facts.items()))), dict(facts))


def digest_ids(ids: Iterable[str]) -> str:
    """Hex sha256 of the expected case ids; their order does not matter, a doubled id does."""
    return _bare(digest_json(sorted(ids)))


def expected_tests(gate: Gate, profile: str, cases: Sequence[Case]) -> list[str]:
    """The names of all tests that a receipt of this profile must account for."""
    chosen = gate.profile(profile)
    return [f"case/{c.id}" for c in select_cases(chosen, cases)] + [f"metric/{name}" for name in chosen.metrics]


def build_statement(
    files: Mapping[str, str],
    report: Report,
    settings: Sequence[Setting],
    *,
    liveness: Mapping[str, object],
    evidence: str,
    time: str,
) -> dict[str, Any]:
    """The statement about one decided run.

    ``evidence`` says what ties the replies to the adapter: bytes (loaded here from the files), server or recording.
    """
    decision = report.decision
    if decision is None or not files:
        raise ValueError("A statement needs a decision and files.")
    by_state: dict[str, list[str]] = {"passed": [], "warned": [], "failed": []}
    states = {Verdict.RIGHT: "passed", Verdict.WRONG: "warned", Verdict.ERROR: "failed"}
    for outcome in report.outcomes:
        by_state[states[outcome.verdict]].append(f"case/{outcome.case_id}")
    closing = {row.metric for row in decision.rows if row.reason}
    for name in dict.fromkeys(row.metric for row in decision.rows):
        by_state["failed" if name in closing else "passed"].append(f"metric/{name}")
    latency = {name: value for name, value in latency_dict(report.metrics).items() if name != "seconds"}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": files[name]}} for name in sorted(files)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": "PASSED" if decision.open else "FAILED",
            "configuration": [_descriptor(setting) for setting in settings],
            **{f"{state}Tests": sorted(tests) for state, tests in by_state.items()},
            # The predicate type leaves room for fields of a producer.
            "toolgate": {
                "format": FORMAT,
                "adapter": digest_files(files),
                "profile": decision.profile,
                "time": time,
                "evidence": evidence,
                "target": report.about.get("target", ""),
                "decision": decision_dict(report),
                "metrics": report.metrics.as_dict(),
                "latency": latency,
                "liveness": dict(liveness),
            },
        },
    }


def seal_statement(statement: Mapping[str, Any], signer: CryptoSigner | None) -> bytes:
    """The bytes of a receipt: the statement in a DSSE envelope; without a signer it is unsigned."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(_encode(statement), PAYLOAD_TYPE, {})
    if signer is not None:
        envelope.sign(signer)
    return _encode(envelope.to_dict()) + b"\n"


# Reading and checking a receipt.


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that was read; nothing in it is checked beyond its form."""

    data: bytes
    statement: Mapping[str, Any]
    files: Mapping[str, str]
    settings: Mapping[str, Setting]
    tests: Mapping[str, tuple[str, ...]]  # passed, warned, failed

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of the file."""
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    @property
    def adapter(self) -> str:
        """``sha256:<hex>`` of the adapter that it is about."""
        return digest_files(self.files)

    @property
    def about(self) -> Mapping[str, Any]:
        """What Toolgate says beyond the predicate's own fields."""
        return dict(self.statement["predicate"]["toolgate"])

    @property
    def profile(self) -> str:
        """The profile that it was decided by."""
        return str(self.about["profile"])


def read_receipt(data: bytes) -> Receipt:
    """Read the bytes of a receipt.

    Raises:
        DataError: they are no receipt, or not in the one spelling that a receipt has.
    """
    from securesystemslib.dsse import Envelope

    if len(data) > MAX_RECEIPT:
        raise DataError(f"The receipt has {len(data)} bytes; at most {MAX_RECEIPT} are read. Promote again.")
    try:
        envelope = Envelope.from_dict(_decode(data))
        statement = _decode(envelope.payload)
        again = Envelope(_encode(statement), envelope.payload_type, envelope.signatures)
        predicate = statement["predicate"]
        files = _read_digests(statement["subject"])
        settings = {
            name: Setting(name, digest, _facts(item))
            for (name, digest), item in zip(
                _read_digests(predicate["configuration"]).items(), predicate["configuration"], strict=True
            )
        }
        tests = {
            state: tuple(str(test) for test in predicate[f"{state}Tests"]) for state in ("passed", "warned", "failed")
        }
        about = predicate["toolgate"]
        kinds = (statement["_type"], statement["predicateType"], envelope.payload_type, about["format"])
        complete = bool(files) and all(isinstance(about[key], str) for key in ("profile", "time", "evidence", "target"))
        decision = (about["decision"]["open"], predicate["result"], about["decision"]["reasons"])
    except Exception as error:  # noqa: BLE001  # foreign bytes may break the libraries in any way
        raise DataError(f"This is no receipt: {type(error).__name__}: {str(error)[:200]}. Promote again.") from None
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE, PAYLOAD_TYPE, FORMAT) or not complete:
        raise DataError(f"This is no receipt of this version of Toolgate: {kinds}. Promote again.")
    if _encode(again.to_dict()) + b"\n" != data:
        raise DataError("The receipt is not spelled as Toolgate writes it: it was edited. Promote again.")
    if decision not in ((True, "PASSED", []), (False, "FAILED", decision[2])) or (decision[0] and tests["failed"]):
        raise DataError("The receipt contradicts itself: result, decision and failed tests do not agree.")
    return Receipt(data, statement, files, settings, tests)


def find_signer(receipt: Receipt, trusted: Sequence[SSlibKey]) -> str:
    """The id of the trusted key that signed; empty when none of them did.

    Raises:
        DataError: the receipt has signatures, and none of a trusted key holds.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    envelope = Envelope.from_dict(_decode(receipt.data))
    if not envelope.signatures:
        return ""
    try:
        return next(iter(envelope.verify(list(trusted), 1)))
    except (VerificationError, ValueError):
        ids = ", ".join(keyid[:16] for keyid in envelope.signatures)
        known = ", ".join(key.keyid[:16] for key in trusted) or "none"
        raise DataError(f"signature: none of a trusted key (signed by {ids}; trusted: {known})") from None


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found: ``differing`` evidence, ``refusals`` of the gate, and ``notes`` that refuse nothing."""

    differing: tuple[str, ...]
    refusals: tuple[str, ...]
    notes: tuple[str, ...]
    signer: str  # empty when unsigned
    receipt: Receipt | None = None  # None when it could not be read

    @property
    def verified(self) -> bool:
        """True exactly when nothing differs and the gate was open."""
        return not self.differing and not self.refusals


def verify(
    adapter: Path,
    data: bytes,
    *,
    trusted: Sequence[SSlibKey] | None,
    settings: Sequence[Setting] | None = None,
    tests: Sequence[str] | None = None,
    profile: str = PROFILE,
    packages: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Verification:
    """Compare a receipt with an adapter's bytes and with the configuration at hand.

    ``files`` are the folder's hashes where the caller has just taken them. ``trusted`` None accepts an unsigned
    receipt, and says so in the notes. ``settings`` and ``tests`` None leave the configuration unchecked, for a place
    that has no cases: the notes say so as well.

    Raises:
        SetupError: there is no adapter to look at.
    """
    try:
        receipt = read_receipt(data)
    except DataError as error:
        return Verification((f"receipt: {error}",), (), (), "")
    differing, notes, signer = _check_signature(receipt, trusted)
    try:
        differing += differences(receipt.files, hash_folder(adapter) if files is None else files)
    except DataError as error:
        differing.append(f"adapter: {error}")
    if receipt.about["adapter"] != receipt.adapter:
        differing.append("adapter: the receipt's digest is not that of its files")
    if receipt.profile != profile:
        differing.append(f"profile: the receipt is of {receipt.profile!r}, asked for is {profile!r}")
    if settings is None or tests is None:
        notes.append("gate.toml, cases, toolset and prompt were not compared")
    else:
        differing += _check_settings(receipt, settings)
        differing += _check_tests(receipt, tests)
    if packages is not None:
        notes += _compare_packages(receipt, packages)
    if receipt.about["evidence"] != "bytes":
        notes.append(
            f"evidence is {receipt.about['evidence']!r}: nothing ties the replies of target "
            f"{receipt.about['target']!r} to the adapter's bytes"
        )
    decision = receipt.about["decision"]
    refusals = [] if decision["open"] else [str(reason) for reason in decision["reasons"]] or ["the gate was closed"]
    return Verification(tuple(differing), tuple(refusals), tuple(notes), signer, receipt)


def _check_signature(receipt: Receipt, trusted: Sequence[SSlibKey] | None) -> tuple[list[str], list[str], str]:
    try:
        signer = find_signer(receipt, trusted or ())
    except DataError as error:
        if trusted is not None:
            return [str(error)], [], ""
        return [], ["UNSIGNED: its signature was not checked, as asked"], ""
    if signer:
        return [], [], signer
    if trusted is not None:
        return ["signature: missing; the receipt is unsigned"], [], ""
    return [], ["UNSIGNED: the receipt has no signature, accepted as asked"], ""


def _check_settings(receipt: Receipt, settings: Sequence[Setting]) -> list[str]:
    found = {setting.name: setting.digest for setting in settings}
    sealed = {
        name: setting.digest
        for name, setting in receipt.settings.items()
        if name in SEALED or name in found or name.startswith("cases/")
    }
    return differences(sealed, found)


def _check_tests(receipt: Receipt, tests: Sequence[str]) -> list[str]:
    told = Counter(test for group in receipt.tests.values() for test in group)
    wanted = Counter(tests)
    lines = [f"{name}: not in the receipt, though it is asked for" for name in wanted if name not in told]
    lines += [f"{name}: in the receipt, though it is not asked for" for name in told if name not in wanted]
    lines += [f"{name}: more than once" for name in told if told[name] > 1 or wanted[name] > 1]
    return sorted(lines)


def _compare_packages(receipt: Receipt, packages: Mapping[str, str]) -> list[str]:
    lines = []
    for name in REMARKED:
        sealed = receipt.settings[name].facts if name in receipt.settings else {}
        lines += [
            f"{package} was {sealed[package]} and is {packages[package]} here"
            for package in sorted(sealed.keys() & packages.keys())
            if sealed[package] != packages[package]
        ]
    return lines


def _descriptor(setting: Setting) -> dict[str, Any]:
    body: dict[str, Any] = {"name": setting.name, "digest": {"sha256": setting.digest}}
    if setting.facts:
        body["annotations"] = dict(sorted(setting.facts.items()))
    return body


def _facts(item: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in item.get("annotations", {}).items()}


def _read_digests(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        name, digest = item["name"], item["digest"]
        if not isinstance(name, str) or name in found or list(digest) != ["sha256"]:
            raise ValueError(f"{str(name)[:80]!r} is named twice or has no sha256")
        if not HEX.fullmatch(digest["sha256"]):
            raise ValueError(f"{name[:80]!r} has a digest that is none")
        found[name] = digest["sha256"]
    return found


def _encode(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _decode(data: bytes) -> dict[str, Any]:
    value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def _check_name(folder: Path, path: str, spellings: dict[str, str]) -> None:
    if not path.isprintable() or "\\" in path or any(0xD800 <= ord(c) <= 0xDFFF for c in path):
        raise DataError(f"{folder} holds the name {path!a}, which can mislead. Rename it to plain characters.")
    if path.count("/") > MAX_DEPTH:
        raise DataError(f"{folder} is nested deeper than {MAX_DEPTH} folders. Give the adapter's own folder.")
    # On another file system these would be one file.
    plain = unicodedata.normalize("NFC", path).casefold()
    if plain in spellings:
        raise DataError(f"{folder} holds {path} and {spellings[plain]}, which some systems take for one. Rename one.")
    if len(spellings) >= MAX_FILES:
        raise DataError(f"{folder} holds more than {MAX_FILES} files. Give the adapter's own folder.")
    spellings[plain] = path


def _write_new(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)


def _raise(error: OSError) -> None:
    raise error


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _short(digest: str) -> str:
    return f"sha256:{digest[:12]}…"
