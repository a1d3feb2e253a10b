"""Who may reach the trainer over a network: nobody without TLS, a token, and roots that bound what can be read.

On loopback none of this is needed but the token. With a client CA the caller must hold a certificate of it too (mutual
TLS). docs/security.md says who is trusted with what.
"""

import contextlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc

from bora_trainer.errors import TrainerError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the trainer's certificate chain, its key, and the CA whose certificates callers must show."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name other than localhost could be anywhere."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def refuse_unprotected(host: str, tls: TlsFiles | None, data_root: Path | None, model_root: Path | None) -> None:
    """Raises TrainerError `bind_refused`, naming what is missing, for an address that other machines could reach."""
    if is_loopback(host):
        return
    have = {
        "--tls-certificate and --tls-key": tls is not None,
        "--data-root": data_root is not None,
        "--model-root": model_root is not None,
    }
    missing = [option for option, there in have.items() if not there]
    if missing:
        raise TrainerError(
            "bind_refused",
            f"refusing to listen on {host!r}, which other machines may reach, without {', '.join(missing)}",
            "use 127.0.0.1, or give what is missing; `bora certs` makes certificates",
        )


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Raises TrainerError `tls_unreadable` when a file cannot be read or holds no PEM block of its kind."""
    pair = (_pem(files.key, "PRIVATE KEY"), _pem(files.certificate, "CERTIFICATE"))
    client_ca = files.client_ca and _pem(files.client_ca, "CERTIFICATE")
    return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)


def channel_credentials(ca: Path, certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    """Of a caller that trusts `ca` alone. Raises TrainerError `tls_unreadable`."""
    return grpc.ssl_channel_credentials(
        _pem(ca, "CERTIFICATE"), key and _pem(key, "PRIVATE KEY"), certificate and _pem(certificate, "CERTIFICATE")
    )


def _pem(path: Path, kind: str) -> bytes:
    """The file's bytes; gRPC itself would say of a wrong one only that the handshake failed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainerError(
            "tls_unreadable", f"cannot read {path.name}: {error.strerror}", "check path and mode"
        ) from error
    if f"{kind}-----".encode() not in content or b"-----BEGIN " not in content:
        raise TrainerError(
            "tls_unreadable",
            f"{path.name} ({len(content)} bytes) holds no PEM block {kind}",
            "`bora certs` makes such files",
        )
    return content
