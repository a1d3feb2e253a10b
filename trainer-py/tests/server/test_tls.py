"""Off loopback: nothing answers without TLS, the right CA, the right certificate, and the token; ZeroMQ included."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import zmq
from trainer_under_test import TOKEN, TrainerUnderTest, bearer, refusal, spec

from bora.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from bora_trainer.errors import TrainerError
from bora_trainer.healthcheck import check
from bora_trainer.transport_security import TlsFiles, channel_credentials, server_credentials

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl, which makes the certificates, is not here"
)


class Authority:
    """A CA that openssl made, and certificates of it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.ca, self._ca_key = folder, folder / "ca.pem", folder / "ca-key.pem"
        openssl("req", "-x509", *KEY, "-keyout", self._ca_key, "-out", self.ca, "-subj", "/CN=test CA", "-days", "2")

    def issue(self, name: str) -> tuple[Path, Path]:
        certificate, key, request = (self.folder / f"{name}{end}" for end in (".pem", "-key.pem", ".csr"))
        openssl(
            "req",
            *KEY,
            "-keyout",
            key,
            "-out",
            request,
            "-subj",
            f"/CN={name}",
            "-addext",
            "subjectAltName=DNS:localhost",
        )
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._ca_key, "-CAcreateserial", "-days", "2",
                "-copy_extensions", "copy", "-out", certificate)  # fmt: skip
        return certificate, key


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def protected(launch: Callable[..., TrainerUnderTest], authority: Authority, tmp_path: Path) -> TrainerUnderTest:
    """A trainer on every interface, with mutual TLS."""
    certificate, key = authority.issue("trainer")
    return launch(
        *("--host", "0.0.0.0", "--tls-certificate", str(certificate), "--tls-key", str(key)),
        *("--tls-client-ca", str(authority.ca), "--data-root", str(tmp_path), "--model-root", str(tmp_path)),
    ).connect()


def port_of(trainer: TrainerUnderTest) -> int:
    return int(trainer.ready["address"].rpartition(":")[2])


def describe(channel: grpc.Channel, token: str = TOKEN) -> trainer_pb2.DescribeResponse:
    with channel:
        stub = trainer_pb2_grpc.TrainerServiceStub(channel)
        return stub.Describe(trainer_pb2.DescribeRequest(), metadata=bearer(token), timeout=5)


def test_with_certificate_and_token_it_answers_without_either_it_does_not(
    protected: TrainerUnderTest, authority: Authority, tmp_path: Path
) -> None:
    assert protected.ready["address"].startswith("0.0.0.0:")
    address = f"localhost:{port_of(protected)}"
    mine = authority.issue("controller")
    good = channel_credentials(authority.ca, *mine)
    assert describe(grpc.secure_channel(address, good)).api_version == "1.0"
    wrong_token = lambda: describe(grpc.secure_channel(address, good), "another-token-of-enough-characters")  # noqa: E731
    assert refusal(wrong_token)[0] == "UNAUTHENTICATED"
    assert check(protected.ready_file, "", 10) == "SERVING"  # by its own certificate

    stranger = Authority(tmp_path / "stranger")
    for channel in (
        grpc.insecure_channel(address),
        grpc.secure_channel(address, channel_credentials(authority.ca, None, None)),  # no certificate
        grpc.secure_channel(address, channel_credentials(authority.ca, *stranger.issue("controller"))),  # of another CA
        grpc.secure_channel(address, channel_credentials(stranger.ca, *mine)),  # which does not trust the trainer
    ):
        with pytest.raises(grpc.RpcError) as refused:
            describe(channel)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]


def test_raw_bytes_get_no_answer_and_do_no_harm(protected: TrainerUnderTest, authority: Authority) -> None:
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(range(256)) * 64):
        with socket.create_connection(("localhost", port_of(protected)), 5) as raw:
            raw.settimeout(10)
            raw.sendall(said)
            heard = b""
            try:
                raw.shutdown(socket.SHUT_WR)
                while part := raw.recv(4096):
                    heard += part
            except OSError:
                pass  # it hung up first
            assert len(heard) < 64, "at most a TLS alert"
    good = channel_credentials(authority.ca, *authority.issue("controller"))
    assert describe(grpc.secure_channel(f"localhost:{port_of(protected)}", good)).api_version == "1.0"


def test_live_events_are_for_the_admitted_key_alone(protected: TrainerUnderTest, authority: Authority) -> None:
    good = channel_credentials(authority.ca, *authority.issue("controller"))
    protected.channel = grpc.secure_channel(f"localhost:{port_of(protected)}", good)
    protected.stub = trainer_pb2_grpc.TrainerServiceStub(protected.channel)
    mine, described = zmq.curve_keypair(), protected.call("Describe")
    endpoint = described.events_endpoint.replace("0.0.0.0", "127.0.0.1")

    def subscribe(keys: tuple[bytes, bytes] | None) -> zmq.Socket[bytes]:
        subscriber: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        subscriber.setsockopt(zmq.LINGER, 0)
        if keys is not None:
            subscriber.curve_publickey, subscriber.curve_secretkey = keys
            subscriber.curve_serverkey = described.events_public_key.encode()
        subscriber.connect(endpoint)
        subscriber.subscribe(b"")
        return subscriber

    run = spec(steps=2_000)
    run.model.path = ""
    run.model.package = "tiny"
    protected.start(run, subscriber_key=mine[0])
    known, stranger, plain = subscribe(mine), subscribe(zmq.curve_keypair()), subscribe(None)
    assert known.poll(10_000)
    assert not stranger.poll(300) and not plain.poll(300)
    for subscriber in (known, stranger, plain):
        subscriber.close()


@pytest.mark.parametrize("arguments", [("--tls-certificate", "x"), ("--tls-key", "x"), ("--tls-client-ca", "x")])
def test_half_a_pair_is_a_usage_error(arguments: tuple[str, str], tmp_path: Path) -> None:
    files = ("--run-root", tmp_path, "--token-file", tmp_path / "token", "--ready-file", tmp_path / "ready")
    ended = subprocess.run(
        [sys.executable, "-m", "bora_trainer", *map(str, files), *arguments], capture_output=True, text=True
    )
    assert ended.returncode == 2 and "belong together" in ended.stderr


def test_files_that_are_no_pem_are_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("trainer")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for files, named in (
        (TlsFiles(empty, key), "empty.pem"),
        (TlsFiles(key, key), "trainer-key.pem"),
        (TlsFiles(certificate, tmp_path / "gone.pem"), "gone.pem"),
        (TlsFiles(certificate, key, empty), "empty.pem"),
    ):
        with pytest.raises(TrainerError, match=f"tls_unreadable.*{named}"):
            server_credentials(files)
