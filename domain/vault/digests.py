"""Keyed digests: they find what is personal without holding it."""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from domain.vault.sealing import PatientDetails

TOKEN_BYTES: Final = 16
LONGEST_BEGINNING: Final = 40
"""A phone number or an mrn is found by all of it: many share their first letters, and are not asked for."""
WORDS_INDEXED: Final = 20


class Digests:
    """`secrets` are the store's own (see MasterKey.fresh_secrets)."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._search, self._claim, self._request = secrets["search"], secrets["claim"], secrets["request"]

    def claim(self, kind: str, value: str) -> bytes:
        """The name under which one holder claims `value`; neither letter case nor outer blanks make another,
        nor does another way to write the same letters."""
        return _digest(self._claim, kind, unicodedata.normalize("NFKC", value.strip()).casefold())

    def request_key(self, actor: str, key: str) -> bytes:
        return _digest(self._request, "key", actor, key)

    def fingerprint(self, request: bytes) -> bytes:
        return hmac.digest(self._request, b"body\0" + request, "sha256")

    def search_tokens(self, details: PatientDetails) -> set[bytes]:
        """One token for each beginning of each word of the name, of the phone number and of the mrn."""
        return {_digest(self._search, beginning)[:TOKEN_BYTES] for beginning in _beginnings(details)}

    def question_tokens(self, question: str) -> list[list[bytes]]:
        """Each of the lists is one reading of the question: a patient who has all its tokens is an answer.

        `ana pet` asks for two words of a name; `+49 151` also for a number that begins with 49151.
        """
        words = [_bare(word)[:LONGEST_BEGINNING] for word in plain(question).split()]
        number = _number(question)[:LONGEST_BEGINNING]
        readings = [words, [number]] if number and words != [number] else [words]
        return [[_digest(self._search, word)[:TOKEN_BYTES] for word in reading] for reading in readings if reading]


def _digest(key: bytes, *parts: str) -> bytes:
    return hmac.digest(key, "\0".join(parts).encode(), "sha256")


def _beginnings(details: PatientDetails) -> Iterator[str]:
    words = [start for word in plain(details.name).split() for start in _starts(word)][:WORDS_INDEXED]
    words.extend(_number(number) for number in (details.phone, details.mrn) if number)
    for word in words:
        for length in range(1, min(len(word), LONGEST_BEGINNING) + 1):
            yield word[:length]


def _starts(word: str) -> list[str]:
    """A word from each of its parts on: `o'brien-smith` is looked for as `obrien-s` and as `smith`, too."""
    parts = _parts(word)
    return ["".join(parts[first:]) for first in range(len(parts))] or [word]


def _bare(word: str) -> str:
    """A word as it is looked for: there are many hyphens and apostrophes, and nobody tells them apart."""
    return "".join(_parts(word)) or word


def _parts(text: str) -> list[str]:
    """What is between blanks, punctuation and signs."""
    return "".join(" " if unicodedata.category(letter)[0] in "PS" else letter for letter in text).split()


def _number(text: str) -> str:
    """Without the blanks, dashes and brackets that people put into numbers."""
    return "".join(_parts(plain(text)))


def plain(text: str) -> str:
    """Without letter case and accents: people search as they type."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
