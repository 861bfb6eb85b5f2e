"""All that a database holds, made readable as far as it can be without a key: what a thief of a backup would read."""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
from pathlib import Path
from typing import Final

from domain.postgres.cluster import _programs_for

_HEX: Final = re.compile(rb"\\\\?x((?:[0-9a-f]{2})+)")
_BASE64: Final = re.compile(rb'"([A-Za-z0-9+/]{8,}={0,2})"')


def everything_in(url: str) -> bytes:
    """A dump as text, then every bytea decoded, then whatever is base64 inside those."""
    pg_dump = _programs_for(Path("none")) / "pg_dump"
    dump = subprocess.run([pg_dump, f"--dbname={url}"], check=True, capture_output=True, timeout=60).stdout
    decoded = [bytes.fromhex(found.decode()) for found in _HEX.findall(dump)]
    inner = [_unwrapped(found) for data in decoded for found in _BASE64.findall(data)]
    return b"\n".join([dump, *decoded, *inner])


def _unwrapped(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def finds(haystack: bytes, text: str) -> bool:
    """Whether a text stands there, in any letter case, in UTF-8 or UTF-16, plainly or as base64 or hex of itself."""
    lower = haystack.lower()  # of ASCII alone, as these are bytes
    for spelt in (text, text.lower(), text.upper(), text.title()):
        plain = spelt.encode()
        shapes = (plain, spelt.encode("utf-16-le"), spelt.encode("utf-16-be"), plain.hex().encode())
        if any(shape.lower() in lower for shape in (*shapes, base64.b64encode(plain).rstrip(b"=")[:-1])):
            return True
    return False
