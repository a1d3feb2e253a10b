"""No call without the token; no port another machine could reach; no second trainer on a port."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from trainer_under_test import TOKEN, TrainerUnderTest, bearer, refusal

from bora.trainer.v1 import trainer_pb2
from bora_trainer.authentication import read_token
from bora_trainer.errors import TrainerError
from bora_trainer.healthcheck import SERVICE, check
from bora_trainer.process import refuse_public

SERVICE_METHODS = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].methods
METHODS = [f"/{SERVICE}/{method.name}" for method in SERVICE_METHODS] + ["/grpc.health.v1.Health/Check"]


def test_every_method_refuses_a_wrong_or_missing_token(trainer: TrainerUnderTest) -> None:
    assert len(METHODS) == 10
    for method in METHODS:
        streaming = any(m.server_streaming for m in SERVICE_METHODS if method.endswith(f"/{m.name}"))
        kind = trainer.channel.unary_stream if streaming else trainer.channel.unary_unary
        call = kind(method, request_serializer=bytes, response_deserializer=bytes)
        for metadata in (None, bearer(TOKEN[:-1]), bearer(TOKEN + "x"), bearer(""), (("authorization", TOKEN),)):
            status, _, info = refusal(lambda c=call, m=metadata: c(b"", metadata=m, timeout=10))
            assert (status, info.reason) == ("UNAUTHENTICATED", "unauthenticated"), (method, metadata)


def test_the_token_is_never_shown_and_a_poor_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for content in ("", "short", "sixteen characters with blanks"):
        file.write_text(content)
        with pytest.raises(TrainerError, match="token_missing"):
            read_token(file)
    with pytest.raises(TrainerError, match="token_missing"):
        read_token(tmp_path / "nowhere")
    file.write_text(TOKEN + "\n")
    assert f"{read_token(file)}{read_token(file)!r}" == "[redacted]" * 2


def test_only_loopback_is_served() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        refuse_public(host)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example", ""):
        with pytest.raises(TrainerError, match="bind_refused"):
            refuse_public(host)


def test_what_cannot_be_bound_ends_with_a_code_and_status_2(
    trainer: TrainerUnderTest, launch: Callable[..., TrainerUnderTest]
) -> None:
    port = trainer.ready["address"].rpartition(":")[2]
    for arguments, code in ((("--port", port), "port_taken"), (("--host", "0.0.0.0"), "bind_refused")):
        second = launch(*arguments)
        assert second.process.wait(20) == 2
        assert f"error {code}:" in second.log.read_text() and "hint:" in second.log.read_text()
        assert not second.ready_file.exists()


def test_ready_is_private_and_health_answers_with_the_token(trainer: TrainerUnderTest) -> None:
    assert trainer.ready_file.stat().st_mode & 0o777 == 0o600
    assert trainer.ready["pid"] == trainer.process.pid and trainer.ready["startTime"] > 0
    assert check(trainer.ready_file, trainer.token_file, "", 10) == "SERVING"
    assert check(trainer.ready_file, trainer.token_file, SERVICE, 10) == "SERVING"
    trainer.token_file.write_text("another-token-of-enough-characters")
    with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
        check(trainer.ready_file, trainer.token_file, "", 10)
