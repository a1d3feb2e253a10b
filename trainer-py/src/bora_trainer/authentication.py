"""The bearer token that every call must carry, on loopback too: other users share the machine."""

import contextlib
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from bora_trainer.errors import TrainerError
from bora_trainer.rich_errors import abort

logger = logging.getLogger(__name__)
TOKEN = re.compile(r"[\x21-\x7e]{16,}")
HASH_PREFIX = "sha256:"
HASHED = re.compile(rf"{HASH_PREFIX}[0-9a-f]{{64}}")
HEALTH_PREFIX = "/grpc.health."


class Token:
    """A secret to send, which prints as `[redacted]`."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    @property
    def header(self) -> str:
        return f"Bearer {self._secret}"

    def __repr__(self) -> str:
        return "[redacted]"


def read_token(path: Path) -> Token:
    """The first token in a file, to be sent. Raises TrainerError `token_missing` when it holds none in clear."""
    in_clear = [line for line in _lines(path) if not line.startswith(HASH_PREFIX)]
    if not in_clear:
        raise TrainerError(
            "token_missing",
            f"{path.name} holds hashes alone, and a hash cannot be sent",
            "name the caller's token file",
        )
    return Token(in_clear[0])


class TokenFile:
    """The tokens that callers may send, one a line, in clear or as `sha256:<hex>`, which no reader of the file can use.

    The file is read again when it changes: for a rotation write the new token beside the old one, move the callers,
    take the old one out. While the file cannot be read or holds no token, nobody is admitted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = _identity(path)
        self._digests = _digests(path)

    def admits(self, header: str | bytes | None) -> bool:
        """Whether an `authorization` header carries one of them; the time taken does not tell how much of it fits."""
        self._follow()
        given = header.encode() if isinstance(header, str) else header or b""
        secret = given.removeprefix(b"Bearer ") if given.startswith(b"Bearer ") else b""
        digest = hashlib.sha256(secret).digest()
        return any([hmac.compare_digest(digest, known) for known in self._digests])

    def _follow(self) -> None:
        identity = _identity(self._path)
        if identity == self._read_at:
            return
        self._read_at = identity
        try:
            self._digests = _digests(self._path)
            logger.info("%s changed: %d tokens are admitted", self._path.name, len(self._digests))
        except TrainerError as error:
            self._digests = []
            logger.error("no call is admitted: %s", error.message)

    def __repr__(self) -> str:
        return "[redacted]"


def _identity(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None


def _digests(path: Path) -> list[bytes]:
    return [
        bytes.fromhex(line.removeprefix(HASH_PREFIX))
        if line.startswith(HASH_PREFIX)
        else hashlib.sha256(line.encode()).digest()
        for line in _lines(path)
    ]


def _lines(path: Path) -> list[str]:
    """Raises TrainerError `token_missing` when there is none, or one that is too short, with its line number alone."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainerError("token_missing", f"cannot read the token file: {error}", "see --token-file") from error
    numbered = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    bad = [
        number for number, line in numbered if not (HASHED if line.startswith(HASH_PREFIX) else TOKEN).fullmatch(line)
    ]
    if bad or not numbered:
        where = (
            f"line {bad[0]} of the token file {path.name} is none" if bad else f"the token file {path.name} is empty"
        )
        raise TrainerError(
            "token_missing",
            where,
            "write at least 16 printable characters without blanks, or sha256: and 64 hexadecimal digits; mode 0600",
        )
    return [line for _, line in numbered]


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Answers UNAUTHENTICATED to every call, health checks included, that does not carry a token.

    Every other call is a sign of life of whoever uses this trainer and told to `on_call`; a health check is none.
    `health_token` is made at the start for this machine's own health checks and good for nothing else.
    """

    def __init__(self, tokens: TokenFile, on_call: Callable[[], None]) -> None:
        self._tokens = tokens
        self._on_call = on_call
        self.health_token = secrets.token_urlsafe(32)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        header = dict(handler_call_details.invocation_metadata or ()).get("authorization")
        of_health = handler_call_details.method.startswith(HEALTH_PREFIX)
        if of_health and self._is_health_token(header):
            return await continuation(handler_call_details)
        if self._tokens.admits(header):
            if not of_health:
                self._on_call()
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_refuse)

    def _is_health_token(self, header: str | bytes | None) -> bool:
        given = header.encode() if isinstance(header, str) else header or b""
        return hmac.compare_digest(given, f"Bearer {self.health_token}".encode())


async def _refuse(request: Any, context: grpc.aio.ServicerContext) -> None:
    error = TrainerError(
        "unauthenticated", "the call carries no valid token", "send `authorization: Bearer <token>`", "controller"
    )
    await abort(context, error)
