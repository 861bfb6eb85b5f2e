"""Why a watch ends by itself. Everything else is tried again."""

from __future__ import annotations


class WatchEnded(Exception):
    """However often it is asked, the server will not show this."""


class Unaskable(ValueError):
    """No server can be asked in this way."""


class NotAdmitted(WatchEnded):
    """The server refuses the connection. `status`: HTTP's, or 1008 where it closed one that was made."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(f"the server refuses the connection: {why}")


class Rejected(WatchEnded):
    """The server does not accept the subscription. `code` is the contract's, such as `invalid_date`."""

    def __init__(self, code: str, why: str) -> None:
        self.code = code
        super().__init__(f"the server rejects the subscription: {why} ({code})")


class NotUnderstood(WatchEnded):
    """The server says what this release of the client cannot read."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the server says what this client cannot read: {why}")
