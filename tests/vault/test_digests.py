"""Keyed digests find what is personal, and hold none of it."""

from __future__ import annotations

import pytest

from domain.vault.digests import TOKEN_BYTES, Digests
from domain.vault.sealing import PatientDetails

SECRETS = {"search": b"s" * 32, "claim": b"c" * 32, "request": b"r" * 32}
OTHER = Digests(dict.fromkeys(SECRETS, b"x" * 32))


@pytest.fixture
def digests() -> Digests:
    return Digests(SECRETS)


@pytest.mark.parametrize("same", ["DOC001", "doc001", " Doc001 ", "doc001\t"])
def test_letter_case_and_outer_blanks_do_not_make_another_claim(digests: Digests, same: str) -> None:
    assert digests.claim("doctor code", same) == digests.claim("doctor code", "DOC001")


@pytest.mark.parametrize(("one", "other"), [("STRASSE", "straße"), ("ΟΔΟΣ", "οδός".replace("ό", "ο"))])
def test_letter_case_is_ignored_in_every_script(digests: Digests, one: str, other: str) -> None:
    assert digests.claim("mrn", one) == digests.claim("mrn", other)


def test_a_claim_is_of_one_kind_and_one_value(digests: Digests) -> None:
    claims = {digests.claim("mrn", "1"), digests.claim("mrn", "2"), digests.claim("doctor code", "1")}
    assert len(claims) == 3
    assert OTHER.claim("mrn", "1") not in claims


def test_a_request_key_belongs_to_its_actor(digests: Digests) -> None:
    assert digests.request_key("a", "key") != digests.request_key("b", "key")
    assert digests.request_key("a", "key") != digests.request_key("a", "KEY")
    assert digests.request_key("a", "key") != OTHER.request_key("a", "key")


def test_a_requests_fingerprint_is_of_every_byte_of_it(digests: Digests) -> None:
    assert digests.fingerprint(b'["CheckIn",{}]') == digests.fingerprint(b'["CheckIn",{}]')
    assert digests.fingerprint(b'["CheckIn",{}]') != digests.fingerprint(b'["CheckIn",{} ]')
    assert digests.fingerprint(b"") != digests.request_key("", "")


def _tokens(digests: Digests, name: str, phone: str | None = None, mrn: str | None = None) -> set[bytes]:
    return digests.search_tokens(PatientDetails(name=name, phone=phone, mrn=mrn))


def test_a_patient_is_found_by_the_beginning_of_any_word_of_the_name(digests: Digests) -> None:
    tokens = _tokens(digests, "Priya Raman")
    assert len(tokens) == len("priya") + len("raman")
    assert all(_tokens(digests, beginning) <= tokens for beginning in ("P", "Pri", "priya", "RAM", "raman priya"))
    assert _tokens(digests, "riya") - tokens


def test_people_search_as_they_type(digests: Digests) -> None:
    assert _tokens(digests, "nunez") == _tokens(digests, "NÚÑEZ") == _tokens(digests, "Nu\u0301n\u0303ez")


def test_a_phone_is_found_however_it_is_written(digests: Digests) -> None:
    with_phone = _tokens(digests, "P", phone="+91 98450-12345")
    assert _tokens(digests, "P", phone="(9198) 450") <= with_phone
    assert _tokens(digests, "P", phone="98450") - with_phone  # beginnings only


def test_a_patient_is_found_by_the_beginning_of_the_mrn(digests: Digests) -> None:
    assert _tokens(digests, "P", mrn="m-10") <= _tokens(digests, "P", mrn=" M-1042 ")


def _finds(digests: Digests, question: str, name: str, phone: str | None = None, mrn: str | None = None) -> bool:
    tokens = _tokens(digests, name, phone, mrn)
    return any(tokens >= set(reading) for reading in digests.question_tokens(question))


@pytest.mark.parametrize(
    "question", ["o'b", "O\u2019Brien", "obrien", "brien", "BRIEN-S", "smith", "o'brien-smith", "ann smi"]
)
def test_a_double_name_is_found_by_either_and_whatever_stands_between(digests: Digests, question: str) -> None:
    assert _finds(digests, question, "Ann O\u2019Brien-Smith")
    assert not _finds(digests, question, "Ann Brown-Smuts")


@pytest.mark.parametrize("question", ["mr 10", "MR 1042/b", "mr1042b", "MR-1042"])
def test_an_mrn_is_found_however_it_is_written(digests: Digests, question: str) -> None:
    assert _finds(digests, question, "P", mrn="MR 1042/B")
    assert not _finds(digests, question, "P", mrn="MR 2042/B")


def test_who_shares_the_first_letters_of_a_long_number_is_not_found_by_all_of_it(digests: Digests) -> None:
    assert _finds(digests, "HOSPITAL-2025-0001", "P", mrn="HOSPITAL-2025-0001")
    assert not _finds(digests, "HOSPITAL-2025-0001", "P", mrn="HOSPITAL-2025-0002")
    assert not _finds(digests, "+49 1511 2345678", "P", phone="+49 1511 2345679")
    assert not _finds(digests, "Constantinopoulos", "Constantinopolis")
    assert _finds(digests, "9" * 40, "P", mrn="9" * 40)


def test_every_word_of_a_long_name_is_a_name(digests: Digests) -> None:
    assert _finds(digests, "silva", "Maria da Conceição de Jesus dos Santos e Silva")


@pytest.mark.parametrize("name", ["-", "\U0001f642"])
def test_a_name_without_a_letter_is_found_too(digests: Digests, name: str) -> None:
    assert _finds(digests, name, name)


def test_tokens_hold_nothing_of_the_name_and_are_this_stores_own(digests: Digests) -> None:
    tokens = _tokens(digests, "Priya")
    assert {len(token) for token in tokens} == {TOKEN_BYTES}
    assert not any(b"pri" in token.lower() for token in tokens)
    assert tokens.isdisjoint(_tokens(OTHER, "Priya"))


def test_a_long_name_has_so_many_tokens_and_no_more(digests: Digests) -> None:
    assert len(_tokens(digests, " ".join(letter * 50 for letter in "abcdefghijklmnopqrstuvwxyz"))) == 20 * 40
    assert len(_tokens(digests, "-".join("abcdefghijklmnopqrstuvwxyz" * 4))) <= 20 * 40
