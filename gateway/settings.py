"""What `daysheet serve` can be told. Every option has an environment variable DAYSHEET_<NAME>."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import platformdirs
import tzlocal

MOST_WORKERS: Final = 64
"""Each keeps a read model of its own: beyond the cores of one machine, more of them only cost memory."""


class SettingsError(Exception):
    """The server cannot run with these settings."""


class CannotListen(SettingsError):
    """The address is not this machine's, or the port is somebody else's."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        super().__init__(f"cannot listen on {host}:{port}: {reason}")


def default_data_dir() -> Path:
    """Where the embedded database and the keys live when nothing else is said."""
    if os.name == "posix" and os.geteuid() == 0:
        # Root's home is closed to the user that PostgreSQL has to run as.
        return Path("/var/lib/daysheet")
    return platformdirs.user_data_path("daysheet", appauthor=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str = "127.0.0.1"
    port: int = 8000
    database_url: str | None = None
    data_dir: Path = field(default_factory=default_data_dir)
    timezone: str | None = None
    allow_origin: tuple[str, ...] = ()
    demo: bool = False
    workers: int = 1
    worker: int = 0
    """Which of several workers this process is, from 1. A process that serves alone is 0."""
    downtime_dir: Path | None = None
    """Where downtime sheets are written; None: there are none."""
    master_key: str | None = field(default=None, repr=False)
    erasures: str | None = field(default=None, repr=False)
    """A path, or a URL, which may hold a password."""
    ledger_key: str | None = field(default=None, repr=False)
    checkpoint_dir: Path | None = None

    def __post_init__(self) -> None:
        if not is_loopback(self.host):
            raise SettingsError(
                f"--host {self.host} can be reached from other machines, and this server knows no tokens yet: "
                "it listens on loopback only (127.0.0.1, ::1, localhost)"
            )
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"--port {self.port} is no port: 0 to 65535")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise SettingsError(f"--workers {self.workers} cannot be: 1 to {MOST_WORKERS}")
        if self.database_url is not None and not _is_database_url(self.database_url):
            raise SettingsError("--database-url is no address such as postgresql://user:password@host/database")
        if self.erasures is not None and not _is_path_or_web_address(self.erasures):
            raise SettingsError("--erasures is neither a file nor an address such as https://host/erasures")
        if self.erasures is not None and self.demo:
            raise SettingsError("--erasures is not for --demo: nobody made up has to be forgotten for good")

    @property
    def folder(self) -> Path:
        """The demo's made-up hospital never mixes with a real one."""
        return self.data_dir / "demo" if self.demo else self.data_dir

    @property
    def key_file(self) -> Path:
        return self.folder / "master.key"

    @property
    def is_first(self) -> bool:
        """Whether this process does what only one of several workers may do."""
        return self.worker <= 1

    def zone_name(self) -> str:
        """The IANA name asked for, or the system's. Raises SettingsError."""
        name = self.timezone or tzlocal.get_localzone_name() or "UTC"
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise SettingsError(f"--timezone {name} is no IANA time zone, such as Asia/Kolkata") from None
        return name


def _is_database_url(url: str) -> bool:
    """What asyncpg can take apart. It holds a password, so whatever is wrong with it, it is not shown."""
    try:
        parts = urlsplit(url)
        for host in parts.netloc.rpartition("@")[2].split(","):  # a primary and its standbys
            urlsplit(f"//{host}").port  # noqa: B018 - raises ValueError
    except ValueError:
        return False
    return parts.scheme in ("postgresql", "postgres")


def _is_path_or_web_address(place: str) -> bool:
    if "://" not in place:
        return bool(place.strip()) and "\0" not in place
    try:
        parts = urlsplit(place)
        parts.port  # noqa: B018 - raises ValueError
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost."})


@lru_cache(maxsize=256)  # Asked with every request.
def is_loopback(host: str) -> bool:
    """Whether a host, named or numbered (IPv6 with or without brackets), is this machine alone."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
