"""Checkpoints and keys are what C2SP says they are: other tools read ours, and we read theirs."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from domain.ledger.checkpoint import MOST_CHARACTERS, Checkpoint, NoCheckpoint, VerifierKey, sign
from domain.ledger.keys import SigningKey, WrongLedgerKey, read_signing_key
from gateway.settings import Settings
from tests.ledger.sealing import ANOTHER_KEY, KEY

ORIGIN = "daysheet/3f0e/event"
ROOT = bytes(range(32))
OURS = VerifierKey(ORIGIN, KEY.public)
A_SEED = base64.b64encode(b"k" * 32).decode()

# The example of Go's golang.org/x/mod/sumdb/note, whose format C2SP wrote down; and a log that has used it for years.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_SAID = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NEUMANN_SIGNED = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
GOLANG = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"


@pytest.mark.parametrize("text", [NEUMANN, GOLANG, str(OURS)])
def test_verifier_keys_are_read_and_written_as_others_do(text: str) -> None:
    assert str(VerifierKey.of(text)) == text
    assert str(VerifierKey.of(f"{text}\n")) == text


def test_a_signature_that_another_implementation_made_holds() -> None:
    key = VerifierKey.of(NEUMANN)
    raw = base64.b64decode(NEUMANN_SIGNED)
    note = Checkpoint("", 0, b"", NEUMANN_SAID, ((key.name, raw[:4], raw[4:]),))
    assert note.signed_by(key)
    assert not Checkpoint("", 0, b"", NEUMANN_SAID + b" ", note.signatures).signed_by(key)


def test_a_checkpoint_is_three_lines_a_blank_one_and_a_signature() -> None:
    note = sign(KEY, ORIGIN, 1234, ROOT)
    origin, size, root, blank, signature, end = note.split("\n")
    assert (origin, size, base64.b64decode(root), blank, end) == (ORIGIN, "1234", ROOT, "", "")
    dash, name, encoded = signature.split(" ")
    assert (dash, name) == ("\N{EM DASH}", ORIGIN)
    raw = base64.b64decode(encoded)
    assert (raw[:4], len(raw)) == (OURS.id, 68)


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    read = Checkpoint.of(sign(KEY, ORIGIN, 1234, ROOT))
    assert (read.origin, read.size, read.root) == (ORIGIN, 1234, ROOT)
    assert read.names(OURS)
    assert read.signed_by(OURS)
    other = VerifierKey(ORIGIN, ANOTHER_KEY.public)
    assert not read.names(other)
    assert not read.signed_by(other)


@pytest.mark.parametrize(("old", "new"), [("\n1234\n", "\n1235\n"), (ORIGIN + "\n1", "daysheet/3f0f/event\n1")])
def test_a_checkpoint_that_was_changed_is_not_signed(old: str, new: str) -> None:
    read = Checkpoint.of(sign(KEY, ORIGIN, 1234, ROOT).replace(old, new, 1))
    assert read.names(OURS)
    assert not read.signed_by(OURS)


def test_others_may_add_lines_and_signatures() -> None:
    note = sign(KEY, ORIGIN, 1234, ROOT)
    witnessed = note + "\N{EM DASH} witness.example " + base64.b64encode(b"1234" + bytes(72)).decode() + "\n"
    assert Checkpoint.of(witnessed).signed_by(OURS)
    text, _, below = note.partition("\n\n")
    extended = Checkpoint.of(f"{text}\nan extension\n\n{below}")
    assert (extended.size, extended.root) == (1234, ROOT)
    assert not extended.signed_by(OURS)  # It was signed without it.


GOOD = sign(KEY, ORIGIN, 1234, ROOT)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        "whole",
        GOOD.replace("\n\n", "\n"),
        GOOD.replace("\n1234\n", "\n01234\n"),
        GOOD.replace("\n1234\n", "\n-1\n"),
        GOOD.replace("\n1234\n", "\n１２\n"),
        GOOD.replace("\n1234\n", f"\n{10**30}\n"),
        GOOD.replace("\n1234\n", "\n"),
        GOOD.replace(base64.b64encode(ROOT).decode(), "AAAA"),
        GOOD.rstrip("\n"),
        GOOD + "more\n",
        GOOD.replace("\N{EM DASH} ", "- "),
        f"\n{GOOD}",
        "x" * (MOST_CHARACTERS + 1),
    ],
)
def test_what_is_no_checkpoint_is_told_to_be_none(note: str) -> None:
    with pytest.raises(NoCheckpoint):
        Checkpoint.of(note)


@pytest.mark.parametrize(
    "text", ["", "a", "a+b+c", NEUMANN.replace("c74f20a3", "c74f20a4"), NEUMANN[:-4], f"x{NEUMANN}", GOLANG + "+"]
)
def test_what_is_no_verifier_key_is_told_to_be_none(text: str) -> None:
    with pytest.raises(NoCheckpoint):
        VerifierKey.of(text)


# --- the signing key -----------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.key"


def test_the_first_start_makes_a_signing_key_that_only_its_owner_reads(file: Path) -> None:
    made = read_signing_key(None, file, may_make=True)
    assert made is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    for may_make in (True, False):
        again = read_signing_key(None, file, may_make=may_make)
        assert again is not None
        assert again.public == made.public


def test_a_store_that_has_a_key_gets_no_new_one(file: Path) -> None:
    assert read_signing_key(None, file, may_make=False) is None
    assert not file.exists()


def test_a_signing_key_that_is_given_is_written_nowhere(file: Path) -> None:
    given = read_signing_key(f" {A_SEED}\n", file, may_make=True)
    assert given is not None
    assert given.public == KEY.public
    assert not file.parent.exists()


@pytest.mark.parametrize("text", ["", "no key", A_SEED[:-4], A_SEED + A_SEED, "é" * 44])
def test_what_holds_no_signing_key_is_named_and_not_shown(file: Path, text: str) -> None:
    with pytest.raises(WrongLedgerKey) as caught:
        read_signing_key(text, file, may_make=True)
    assert str(caught.value) == "DAYSHEET_LEDGER_KEY does not hold a ledger key: 32 bytes as base64"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    with pytest.raises(WrongLedgerKey, match=f"{file} does not hold a ledger key"):
        read_signing_key(None, file, may_make=True)


def test_a_folder_in_which_no_key_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, and no folder")
    with pytest.raises(WrongLedgerKey, match=r"ledger\.key cannot be made .*: or set DAYSHEET_LEDGER_KEY"):
        read_signing_key(None, tmp_path / "data" / "ledger.key", may_make=True)


def test_a_signing_key_tells_nothing_of_itself() -> None:
    assert "k" * 8 not in repr(SigningKey.of(b"k" * 32))
    assert A_SEED not in repr(Settings(ledger_key=A_SEED))
