"""`python -m bora_trainer.healthcheck`: exit status 0 when a trainer lives (with --ready: takes a run), else 1.

Everything it needs stands in the ready file, which only the trainer's user can read: the address, a token for health
checks alone, and the trainer's own certificate, shown where the trainer asks callers for one.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from bora_trainer.errors import TrainerError
from bora_trainer.json_text import parse_json
from bora_trainer.transport_security import channel_credentials, is_loopback

SERVICE = "bora.trainer.v1.TrainerService"


def check(ready_file: Path, service: str, seconds: float, ca: Path | None = None) -> str:
    """The serving status of `service` ("" is the process itself), in the health protocol's words.

    `ca` is the CA of the trainer's certificate when it is not the one that callers' certificates come from.
    """
    ready = _ready(ready_file)
    with _channel(ready, ca) as channel:
        ask = channel.unary_unary(  # the generated stub's own call: its attributes have no types
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = ask(
            health_pb2.HealthCheckRequest(service=service),
            timeout=seconds,
            metadata=(("authorization", f"Bearer {ready['healthToken']}"),),
        )
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def _ready(file: Path) -> dict[str, Any]:
    """What a trainer wrote of itself. Raises ValueError for what no trainer writes, OSError without the file."""
    match parse_json(file.read_text(encoding="utf-8")):
        case {"address": str(), "healthToken": str(), "tls": None} as ready:
            return ready
        case {"address": str(), "healthToken": str(), "tls": {"certificate": str(), "key": str()} as tls} as ready:
            if isinstance(tls.setdefault("client_ca", None), str | None):
                return ready
    raise ValueError(f"{file} says nothing that a trainer would write")


def _channel(ready: dict[str, Any], ca: Path | None) -> grpc.Channel:
    host, _, port = ready["address"].rpartition(":")
    here = is_loopback(host.strip("[]")) or host in ("0.0.0.0", "[::]")
    address = f"localhost:{port}" if here else f"{host}:{port}"  # a name that certificates hold
    tls = ready["tls"]
    if tls is None:
        return grpc.insecure_channel(address)
    trusted = ca or (tls["client_ca"] and Path(tls["client_ca"]))
    if trusted is None:
        raise TrainerError(
            "tls_unreadable", "the trainer asks callers for no certificate, so its CA is not known", "give --tls-ca"
        )
    return grpc.secure_channel(address, channel_credentials(trusted, Path(tls["certificate"]), Path(tls["key"])))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bora_trainer.healthcheck", description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--ready", action="store_true", help="ask whether it would take a run, not only if it lives")
    parser.add_argument(
        "--tls-ca", type=Path, help="PEM file with the CA of the trainer's certificate, if it is another"
    )
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds")
    options = parser.parse_args()
    try:
        status = check(options.ready_file, SERVICE if options.ready else "", options.timeout, options.tls_ca)
    except (TrainerError, OSError, ValueError, KeyError, grpc.RpcError) as error:
        print(error, file=sys.stderr)
        return 1
    print(status)
    return 0 if status == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main())
