"""What the reason of an erasure may not say: it stays readable for ever, so it must not name who is forgotten."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from domain.vault.digests import plain
from domain.vault.sealing import PatientDetails

ERASED: Final = "[erased]"
SHORTEST_WORD: Final = 2
SHORTEST_NUMBER: Final = 5
"""Letters of a word, digits of a number, that are taken out of an erasure's reason. A shorter number, if it stands
alone."""
SHORTEST_LOCAL_NUMBER: Final = 7
"""The same of a phone number whose first digits may be a country code, or not."""
LONGEST_COUNTRY_CODE: Final = 3
_APOSTROPHES: Final = "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u2018\u2019\u201b\u2032\uff07"
_PLAINER: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "đ": "d", "þ": "th", "ł": "l", "ħ": "h", "ı": "i"}
)
"""Letters that Unicode does not take apart."""
_STANDS_FOR_AN_ACCENT: Final = ("ae", "oe", "ue", "aa")


def without(known: Iterable[PatientDetails], reason: str) -> str:
    """The reason stays readable for ever, so it must not say who is forgotten, however that is written.

    Rather a word too many is taken out than one too few. Where there is nothing to take out, it stays as it is.
    """
    text = unicodedata.normalize("NFC", reason)
    found = sorted(span for details in known for span in _personal(details, text))
    if not found:
        return reason
    # In one go, or a name such as "Ed" would be found again in what stands for the one before.
    kept: list[str] = []
    end = 0
    for start, stop in found:
        if start > end or not kept:
            kept.append(text[end:start])
        end = max(end, stop)
    return ERASED.join([*kept, text[end:]])


def _personal(details: PatientDetails, text: str) -> Iterator[tuple[int, int]]:
    """From where to where the text names this patient. The same part may come more than once."""
    name = unicodedata.normalize("NFC", details.name)
    apart = ["".join(letter if _is_letter(letter) else " " for letter in word) for word in name.split()]
    words = {name, *name.split(), *apart, *" ".join(apart).split()}
    # Letter for letter, such as "A*", which has too few letters for what comes after.
    for written in (name, *name.split(), details.phone, details.mrn):
        if written and len(written) > 1 and not written.isalnum():
            literally = re.escape(unicodedata.normalize("NFC", written))
            yield from (match.span() for match in re.finditer(literally, text, flags=re.IGNORECASE))
    for bare in (False, True):
        folded = _folded(text, bare=bare)
        for word in words:
            yield from _words(_folded(word, bare=bare).letters.split(), folded)
    folded = _folded(text)
    for number in _numbers(details):
        yield from _number(number, folded)


@dataclass(frozen=True, slots=True)
class _Folded:
    """A text in plain letters, digits and blanks, and where each of them stands in it."""

    text: str
    letters: str
    places: list[tuple[int, int]]

    def found(self, pattern: str, *, alone: bool) -> Iterator[tuple[int, int]]:
        """`alone`: not as a part of a longer word or number."""
        for match in re.finditer(pattern, self.letters):
            start, end = self.places[match.start()][0], self.places[match.end() - 1][1]
            if not alone or not any(map(_is_letter, self.text[max(start - 1, 0) : start] + self.text[end : end + 1])):
                yield start, end


def _folded(text: str, *, bare: bool = False) -> _Folded:
    """Without letter case, accents, apostrophes and dashes. `bare`: what stands for an accent goes with it, so
    that Müller, Mueller and Muller are one."""
    letters = ""
    places: list[tuple[int, int]] = []
    for at, character in enumerate(text):
        if character in _APOSTROPHES or unicodedata.category(character) in ("Pd", "Cf"):
            continue
        for letter in plain(character).translate(_PLAINER):
            if bare and letters[-1:] + letter in _STANDS_FOR_AN_ACCENT:
                places[-1] = (places[-1][0], at + 1)
            else:
                digit = unicodedata.decimal(letter, None)
                letters += str(digit) if digit is not None else letter if _is_letter(letter) else " "
                places.append((at, at + 1))
        if unicodedata.combining(character) and places:
            places[-1] = (places[-1][0], at + 1)
    return _Folded(text, letters, places)


def _words(pieces: list[str], folded: _Folded) -> Iterator[tuple[int, int]]:
    """Two letters, or such as A.B, only alone, where a script has letter case: one without it may have no blanks."""
    letters = "".join(pieces)
    if len(letters) >= SHORTEST_WORD:
        short = len(pieces) > 1 or len(letters) == SHORTEST_WORD
        yield from folded.found(" *".join(map(re.escape, pieces)), alone=short and letters.upper() != letters)


def _number(number: str, folded: _Folded) -> Iterator[tuple[int, int]]:
    """With blanks, brackets and such between its digits, and what is dialled before it."""
    pattern = "(?:0 {0,3})*" + " {0,3}".join(map(re.escape, number))
    for start, end in folded.found(pattern, alone=len(number) < SHORTEST_NUMBER):
        yield start - folded.text[:start].endswith("+"), end


def _numbers(details: PatientDetails) -> set[str]:
    """The phone number and the mrn, also without what people leave out: a country code, letters, zeros before."""
    numbers = set()
    if details.phone:
        digits = "".join(filter(str.isdecimal, _folded(details.phone).letters))
        least = SHORTEST_NUMBER if details.phone.lstrip().startswith(("+", "00")) else SHORTEST_LOCAL_NUMBER
        significant = _significant(digits)
        without_code = (_significant(significant[length:]) for length in range(1, LONGEST_COUNTRY_CODE + 1))
        numbers |= {significant, *(number for number in without_code if len(number) >= least)}
    if details.mrn:
        mrn = _folded(details.mrn).letters.replace(" ", "")
        parts = (mrn.lstrip("".join(filter(str.isalpha, mrn))), *re.findall("[0-9]+", mrn))
        numbers |= {mrn, *(_significant(part) for part in parts if len(part) >= SHORTEST_NUMBER)}
    return {number for number in numbers if len(number) >= SHORTEST_WORD}


def _significant(number: str) -> str:
    """Without the zeros before it, if that leaves enough of it."""
    stripped = number.lstrip("0")
    return stripped if len(stripped) >= SHORTEST_NUMBER else number


def _is_letter(character: str) -> bool:
    """Or a digit, or a sign that belongs to a letter."""
    return unicodedata.category(character)[0] in "LMN"
