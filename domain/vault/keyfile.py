"""The file that holds the master keys: one a line as base64, the newest first. Mostly it is one line.

It is replaced whole, never written into, and what it says is on disk before anything relies on it: a vault whose key
is lost in a power cut is a vault lost. Retired keys go into a file beside it: a backup from before needs them still.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
RETIRED_SUFFIX: Final = ".retired"


class MalformedKeys(Exception):
    """What should hold master keys holds something else; the message names the place, and never its content."""


def decoded(text: str, source: str) -> list[bytes]:
    """The keys in a text, between blanks or line breaks: at least one. Raises MalformedKeys."""
    keys = [_decoded(word) for word in text.split()]
    if not keys or None in keys:
        raise MalformedKeys(f"{source} does not hold a master key: {KEY_BYTES} bytes as base64")
    return [key for key in keys if key is not None]


def _decoded(word: str) -> bytes | None:
    try:
        key = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


class KeyFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def retired(self) -> KeyFile:
        """Where the keys go that nothing in the store needs any more. No server reads it."""
        return KeyFile(self.path.with_name(self.path.name + RETIRED_SUFFIX))

    def read(self) -> list[bytes]:
        """Raises FileNotFoundError, MalformedKeys."""
        return decoded(self.path.read_text(encoding="ascii", errors="replace"), str(self.path))

    def make(self) -> None:
        """The first key of a new store. It appears in one step, whole; of two servers that make one at once, the
        first's is the one."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A rename would replace the key that another server has just begun to use.
        with _written(self.path, [secrets.token_bytes(KEY_BYTES)]) as unnamed, suppress(FileExistsError):
            os.link(unnamed, self.path)

    def add_new(self) -> None:
        """One more, before those that are there."""
        _replace(self.path, [secrets.token_bytes(KEY_BYTES), *self.read()], like=self.path)

    def retire(self, retired: Collection[bytes]) -> None:
        """Move these keys to the file beside, where they are before they are gone from here."""
        keys, aside = self.read(), self.retired
        kept_aside = aside.read() if aside.path.exists() else []
        leaving = [key for key in keys if key in retired and key not in kept_aside]
        _replace(aside.path, [*leaving, *kept_aside], like=self.path)
        _replace(self.path, [key for key in keys if key not in retired], like=self.path)
        _clear_up(aside.path)
        _clear_up(self.path)


def _replace(path: Path, keys: list[bytes], *, like: Path) -> None:
    """With the owner and the mode of `like`: whoever could read the keys still can."""
    path = path.resolve()  # The folder may hold a link to where secrets are mounted.
    model = like.stat()
    with _written(path, keys) as unnamed:
        unnamed.chmod(model.st_mode & 0o777)
        if (model.st_uid, model.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(unnamed, model.st_uid, model.st_gid)
        unnamed.replace(path)


def _clear_up(path: Path) -> None:
    """Files that never got their name, since somebody was killed: whoever destroys a key must not miss one."""
    path = path.resolve()
    for unnamed in path.parent.glob(f".{path.name}-*"):
        unnamed.unlink()


@contextmanager
def _written(path: Path, keys: list[bytes]) -> Iterator[Path]:
    """A file beside `path`, mode 0600, to be given that name; what the body does to the folder is on disk after it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.writelines(base64.b64encode(key) + b"\n" for key in keys)
            out.flush()
            os.fsync(out.fileno())
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):  # It may have been given the name by a rename.
            os.unlink(name)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
