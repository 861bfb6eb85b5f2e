"""The reason of an erasure does not say who is forgotten, however it is written there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.vault.sealing import PatientDetails
from domain.vault.unnamed import without


def _cleaned(reason: str, *, name: str = "Xquirella", phone: str | None = None, mrn: str | None = None) -> str:
    return without([PatientDetails(name=name, phone=phone, mrn=mrn)], reason)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *(("Müller", each) for each in ("Müller", "MÜLLER", "Muller", "mueller", "MUELLER", "Mu\u0308ller")),
        *(("Mueller", each) for each in ("Müller", "Muller", "mueller")),
        *(("Élodie", each) for each in ("Élodie", "elodie", "ELODIE", "E\u0301lodie")),
        *(("Elodie", each) for each in ("Élodie", "élodie")),
        *(("Straße", each) for each in ("Straße", "STRASSE", "STRAẞE", "Strasse")),
        *(("O'Neill", each) for each in ("O'Neill", "ONeill", "oneill", "O\u2019Neill", "O NEILL", "Neill", "O-Neill")),
        *(("ONeill", each) for each in ("O'Neill", "O\u2019NEILL")),
        *(("Ødegård", each) for each in ("Odegard", "Oedegaard", "ØDEGÅRD", "odegaard")),
        *(("Jean-Luc", each) for each in ("Jean-Luc", "jean luc", "JeanLuc", "Luc", "Jean\u2010Luc")),
        *(("Łukasz", each) for each in ("Lukasz", "łukasz")),
        *(("Sue Rae", each) for each in ("Sue", "sue rae", "RAE", "SueRae")),
        *(("Ed Li", each) for each in ("ed", "Li", "ED LI", "EdLi")),
        *(("José María", each) for each in ("jose", "MARIA", "Jose Maria")),
        *(("राम कुमार", each) for each in ("राम", "कुमार", "राम कुमार")),
        *(("李明", each) for each in ("李明",)),
    ],
)
def test_a_name_is_taken_out_however_it_is_written(name: str, written: str) -> None:
    assert _cleaned(f"by letter, {written}: box 12", name=name) == "by letter, [erased]: box 12"


@pytest.mark.parametrize(
    ("phone", "written"),
    [
        *(
            ("+91 98765 43210", each)
            for each in (
                "+91 98765 43210", "98765 43210", "9876543210", "+91-98765-43210", "(98765) 43210", "919876543210",
                "0091 98765 43210", "098765-43210", "+91 (98765) 43.210", "98765/43210", "98765\u2011432 10",
                "+919876543210", "९८७६५ ४३२१०",
            )
        ),
        *(("9876543210", each) for each in ("98765 43210", "09876543210")),
        *(("919876543210", each) for each in ("98765 43210", "+91 98765 43210")),
        *(("0151 234567", each) for each in ("0151/234567", "151234567")),
        *(("+4912", each) for each in ("+4912", "+49-12", "4912")),
    ],
)  # fmt: skip
def test_a_phone_number_is_taken_out_however_it_is_written(phone: str, written: str) -> None:
    kept = _cleaned(f"by phone {written}, box 12", phone=phone)
    assert not re.search("[0-9९]{2}|[0-9९] [0-9९]", kept.removesuffix(", box 12")), kept
    assert kept.startswith("by phone ")
    assert kept.endswith("[erased]" + (" 43210" if "x" in phone else "") + ", box 12")


@pytest.mark.parametrize(
    ("mrn", "written"),
    [
        *(
            ("MRN-77Z-4410", each)
            for each in ("MRN-77Z-4410", "mrn 77z 4410", "mrn77z4410", "MRN/77Z/4410", "77z4410", "Mrn.77Z_4410")
        ),
        *(("A-0012345", each) for each in ("a0012345", "0012345", "12345", "A 0012345")),
        *(("M7", each) for each in ("m7", "M-7", "M 7")),
    ],
)
def test_an_mrn_is_taken_out_however_it_is_written(mrn: str, written: str) -> None:
    assert _cleaned(f"by letter, {written}: box 12", mrn=mrn) == "by letter, [erased]: box 12"


@pytest.mark.parametrize(
    "reason",
    [
        "asked for it, under article 17 of the GDPR, in a legal paragraph of 2025-11-17 09:30",
        "He called at noon; the surgery is paid. Cafe\u0301 — 12/2025, order no. 4711/25",
        "",
    ],
)
def test_a_reason_without_any_of_it_stays_as_it_is(reason: str) -> None:
    told = [
        PatientDetails(name="Sue Rae O'Neill-Müller", phone="+91 98765 43210", mrn="MRN-77Z-4410"),
        PatientDetails(name="Ed Li", phone="+4912", mrn="7"),
    ]
    assert without(told, reason) == reason


@pytest.mark.parametrize(
    ("name", "reason", "kept"),
    [
        ("Ed", "Ed's mother called", "[erased]'s mother called"),
        ("Rae Müller", "Raes Mutter, Müllers Sohn", "[erased]s Mutter, [erased]s Sohn"),
        ("李小龍", "李小龍要求", "[erased]要求"),
    ],
)
def test_what_stands_around_a_name_stays(name: str, reason: str, kept: str) -> None:
    assert _cleaned(reason, name=name) == kept


def _plainly(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


LETTERS = "abemnorsuAEKOUßüÜöäéÉñøØåçŁ"
NAMES = st.lists(st.text(LETTERS, min_size=3, max_size=9), min_size=1, max_size=3).map(" ".join)
NUMBERS = st.text("0123456789", min_size=5, max_size=14)
WAYS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    str.lower,
    str.title,
    lambda text: unicodedata.normalize("NFD", text),
    _plainly,
)
OTHERS = st.text("asked by ,.'-12()", max_size=20)


@given(NAMES, NUMBERS, st.data())
def test_no_plain_form_of_a_word_or_a_number_is_left(name: str, number: str, data: st.DataObject) -> None:
    separators = st.sampled_from(["", " ", "-", ") ", " / "])
    pieces = [
        *(data.draw(st.sampled_from(WAYS))(word) for word in name.split()),
        "".join(digit + data.draw(separators) for digit in number),
        *data.draw(st.lists(OTHERS, max_size=3)),
    ]
    reason = " ".join(data.draw(st.permutations(pieces)))
    kept = _plainly(_cleaned(reason, name=name, phone=number)).replace("[erased]", "|")
    assert not [word for word in name.split() if _plainly(word) in kept]
    assert number not in re.sub("[^0-9|]", "", kept)
