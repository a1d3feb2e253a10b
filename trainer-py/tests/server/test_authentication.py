"""No call without the token; no port another machine could reach; no second trainer on a port."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from trainer_under_test import TOKEN, TrainerUnderTest, bearer, refusal

from bora.trainer.v1 import trainer_pb2
from bora_trainer.authentication import TokenFile, read_token
from bora_trainer.errors import TrainerError
from bora_trainer.healthcheck import SERVICE, check
from bora_trainer.transport_security import TlsFiles, refuse_unprotected

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
    poor = ("", "\n", "short", "sixteen characters with blanks", "sha256:abc", f"{TOKEN}\nshort", "ünïcödé-token-äöü")
    for content in poor:
        file.write_text(content)
        for read in (read_token, TokenFile):
            with pytest.raises(TrainerError, match="token_missing") as refused:
                read(file)
            assert not content.strip() or content.splitlines()[0] not in str(refused.value)
    with pytest.raises(TrainerError, match="token_missing"):
        TokenFile(tmp_path / "nowhere")
    file.write_text(TOKEN + "\n")
    assert f"{read_token(file)}{read_token(file)!r}{TokenFile(file)!r}" == "[redacted]" * 3


def test_a_hash_admits_its_token_and_cannot_be_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    tokens = TokenFile(file)
    assert tokens.admits(f"Bearer {TOKEN}") and tokens.admits(f"Bearer {TOKEN}".encode())
    for header in (None, "", "Bearer ", f"Bearer {TOKEN}x", TOKEN, f"bearer {TOKEN}", f"Bearer {file.read_text()}"):
        assert not tokens.admits(header), header
    with pytest.raises(TrainerError, match="hashes alone"):
        read_token(file)


def test_tokens_are_rotated_without_a_restart(trainer: TrainerUnderTest) -> None:
    old, new = bearer(TOKEN), bearer("the-next-token-of-enough-characters")
    describe = lambda metadata: trainer.stub.Describe(trainer_pb2.DescribeRequest(), metadata=metadata, timeout=10)  # noqa: E731
    assert refusal(lambda: describe(new))[0] == "UNAUTHENTICATED"
    trainer.token_file.write_text(f"{TOKEN}\nthe-next-token-of-enough-characters\n")
    assert describe(old).api_version == describe(new).api_version
    trainer.token_file.write_text("the-next-token-of-enough-characters\n")
    assert describe(new).api_version
    assert refusal(lambda: describe(old))[0] == "UNAUTHENTICATED"
    trainer.token_file.write_text("")  # torn: nobody, until it is whole again
    assert refusal(lambda: describe(new))[0] == "UNAUTHENTICATED"
    trainer.token_file.write_text(TOKEN)
    assert describe(old).api_version
    assert TOKEN not in trainer.log.read_text()


def test_only_loopback_is_served_without_protection(tmp_path: Path) -> None:
    tls = TlsFiles(tmp_path / "certificate", tmp_path / "key")
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        refuse_unprotected(host, None, None, None)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example", ""):
        refuse_unprotected(host, tls, tmp_path, tmp_path)
        for lacking, have in (
            ("--tls-certificate", (None, tmp_path, tmp_path)),
            ("--data-root", (tls, None, tmp_path)),
            ("--model-root", (tls, tmp_path, None)),
        ):
            with pytest.raises(TrainerError, match=f"bind_refused.*without {lacking}"):
                refuse_unprotected(host, *have)


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
    assert check(trainer.ready_file, "", 10) == "SERVING"
    assert check(trainer.ready_file, SERVICE, 10) == "SERVING"
    of_health = bearer(trainer.ready["healthToken"])  # which is good for health alone
    call = lambda: trainer.stub.Describe(trainer_pb2.DescribeRequest(), metadata=of_health, timeout=10)  # noqa: E731
    assert refusal(call)[0] == "UNAUTHENTICATED"
    other = trainer.ready_file.with_name("other.json")
    other.write_text(json.dumps(trainer.ready | {"healthToken": "another"}))
    with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
        check(other, "", 10)
