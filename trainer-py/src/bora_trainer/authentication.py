"""The bearer token that every call must carry, on loopback too: other users share the machine."""

import hmac
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from bora_trainer.errors import TrainerError
from bora_trainer.rich_errors import abort

TOKEN = re.compile(r"[\x21-\x7e]{16,}")
HEALTH_PREFIX = "/grpc.health."


class Token:
    """A secret that prints as `[redacted]`."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def admits(self, header: str | bytes | None) -> bool:
        """Whether an `authorization` header carries this token; the time taken does not tell how much of it fits."""
        given = header.encode() if isinstance(header, str) else header or b""
        return hmac.compare_digest(given, self.header.encode())

    @property
    def header(self) -> str:
        return f"Bearer {self._secret}"

    def __repr__(self) -> str:
        return "[redacted]"


def read_token(path: Path) -> Token:
    """The token in a file. Raises TrainerError `token_missing` when there is none of at least 16 characters."""
    try:
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainerError("token_missing", f"cannot read the token file: {error}", "see --token-file") from error
    if not TOKEN.fullmatch(secret):
        raise TrainerError(
            "token_missing",
            f"the token file {path.name} holds no token: {len(secret)} characters",
            "write at least 16 printable characters without blanks into it, mode 0600",
        )
    return Token(secret)


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Answers UNAUTHENTICATED to every call, health checks included, that does not carry the token.

    Every other call is a sign of life of whoever uses this trainer and told to `on_call`; a health check is none.
    """

    def __init__(self, token: Token, on_call: Callable[[], None]) -> None:
        self._token = token
        self._on_call = on_call

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        metadata = dict(handler_call_details.invocation_metadata or ())
        if self._token.admits(metadata.get("authorization")):
            if not handler_call_details.method.startswith(HEALTH_PREFIX):
                self._on_call()
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_refuse)


async def _refuse(request: Any, context: grpc.aio.ServicerContext) -> None:
    error = TrainerError(
        "unauthenticated", "the call carries no valid token", "send `authorization: Bearer <token>`", "controller"
    )
    await abort(context, error)
