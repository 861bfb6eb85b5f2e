"""Files that appear in one step, complete and on disk: whoever looks sees the old one, or the new one, never half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

UNFINISHED: Final = ".unfinished"
"""What the name of a file ends in that is being written, or was when the power went."""


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """To write into; it takes its name when the body is left in good order, and is gone otherwise. Mode 0600: what is
    written here is about patients. Blocks. Raises OSError."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", suffix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
