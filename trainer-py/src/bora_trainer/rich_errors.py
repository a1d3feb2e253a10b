"""TrainerError as a gRPC status: code, message, and google.rpc.Status with ErrorInfo in the trailers.

`ErrorInfo.reason` is our code (docs/errors.md), `ErrorInfo.domain` names this service, and `metadata` holds `hint` and
`domain` (who is at fault: user, oom, infra, controller).
"""

from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from bora_trainer.errors import TrainerError

SERVICE_DOMAIN = "trainer.bora"

# All of it travels in trailers, of which clients take 8 KiB; a value that a message repeats may be longer.
MESSAGE_BYTES, HINT_BYTES = 1_500, 500

STATUS_BY_CODE = {
    "artifact_corrupt": grpc.StatusCode.DATA_LOSS,
    "artifact_unknown": grpc.StatusCode.NOT_FOUND,
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "checkpoint_missing": grpc.StatusCode.FAILED_PRECONDITION,
    "child_killed": grpc.StatusCode.ABORTED,
    "disk_full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "internal": grpc.StatusCode.INTERNAL,
    "path_refused": grpc.StatusCode.PERMISSION_DENIED,
    "run_unknown": grpc.StatusCode.NOT_FOUND,
    "stale_attempt": grpc.StatusCode.FAILED_PRECONDITION,
    "stopping": grpc.StatusCode.FAILED_PRECONDITION,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
}
# Never UNAVAILABLE: clients repeat such calls by themselves, and none of our faults goes away by that.
STATUS_BY_DOMAIN = {
    "user": grpc.StatusCode.INVALID_ARGUMENT,
    "oom": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "infra": grpc.StatusCode.INTERNAL,
    "controller": grpc.StatusCode.FAILED_PRECONDITION,
}


def status_of(error: TrainerError) -> grpc.Status:
    """The status that carries `error` whole: code, message, hint and domain."""
    info = error_details_pb2.ErrorInfo(
        reason=error.code,
        domain=SERVICE_DOMAIN,
        metadata={"hint": _cut(error.hint, HINT_BYTES), "domain": error.domain},
    )
    detail = any_pb2.Any()
    detail.Pack(info)
    code = STATUS_BY_CODE.get(error.code, STATUS_BY_DOMAIN[error.domain])
    number: int = code.value[0]
    return rpc_status.to_status(
        status_pb2.Status(code=number, message=_cut(error.message, MESSAGE_BYTES), details=[detail])
    )


def _cut(text: str, most: int) -> str:
    """At most so many bytes of UTF-8, and a sign where something was left out."""
    encoded = text.encode("utf8", "replace")
    return text if len(encoded) <= most else f"{encoded[:most].decode('utf8', 'ignore')}… ({len(text)} characters)"


async def abort(context: grpc.aio.ServicerContext, error: TrainerError) -> NoReturn:
    """Ends the call with `error`."""
    status = status_of(error)
    await context.abort(status.code, status.details, tuple(status.trailing_metadata))
    raise AssertionError("abort returned")  # it always raises; this tells the type checker so
