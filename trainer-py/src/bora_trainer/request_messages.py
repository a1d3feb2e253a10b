"""Requests become messages here, so that bytes that are none are refused with a code of ours.

gRPC's own server would end such a call with UNKNOWN, which callers take for a fault of the trainer.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from bora_trainer.errors import TrainerError
from bora_trainer.rich_errors import abort


class MessageInterceptor(grpc.aio.ServerInterceptor):
    """Reads the one request of a call inside the call."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.request_deserializer is None:
            return handler
        read, write = handler.request_deserializer, handler.response_serializer
        if not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(_answer(handler.unary_unary, read), None, write)
        answers = _answers if inspect.isasyncgenfunction(handler.unary_stream) else _answer
        return grpc.unary_stream_rpc_method_handler(answers(handler.unary_stream, read), None, write)


def _answer(method: Callable[..., Awaitable[Any]], read: Callable[[bytes], Any]) -> Callable[..., Awaitable[Any]]:
    async def call(payload: bytes, context: grpc.aio.ServicerContext) -> Any:
        return await method(await _message(payload, read, context), context)

    return call


def _answers(method: Callable[..., Any], read: Callable[[bytes], Any]) -> Callable[..., AsyncIterator[Any]]:
    async def call(payload: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        async with contextlib.aclosing(method(await _message(payload, read, context), context)) as answers:
            async for answer in answers:
                yield answer

    return call


async def _message(payload: bytes, read: Callable[[bytes], Any], context: grpc.aio.ServicerContext) -> Any:
    try:
        return read(payload)
    except DecodeError as error:
        problem = TrainerError(
            "spec_invalid", f"the request, {len(payload)} bytes, is no message of its call: {error}",
            "use the same version of BoRA on both sides",
        )  # fmt: skip
        await abort(context, problem)
