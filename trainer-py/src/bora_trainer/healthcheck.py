"""`python -m bora_trainer.healthcheck`: exit status 0 when a trainer lives (with --ready: takes a run), else 1."""

import argparse
import json
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from bora_trainer.authentication import read_token
from bora_trainer.errors import TrainerError
from bora_trainer.transport_security import channel_credentials, is_loopback

SERVICE = "bora.trainer.v1.TrainerService"


def check(
    ready_file: Path, token_file: Path, service: str, seconds: float, tls: grpc.ChannelCredentials | None = None
) -> str:
    """The serving status of `service` ("" is the process itself), in the health protocol's words."""
    host, _, port = json.loads(ready_file.read_text(encoding="utf-8"))["address"].rpartition(":")
    here = is_loopback(host.strip("[]")) or host in ("0.0.0.0", "[::]")
    address = f"localhost:{port}" if here else f"{host}:{port}"  # a name that certificates hold
    with grpc.insecure_channel(address) if tls is None else grpc.secure_channel(address, tls) as channel:
        ask = channel.unary_unary(  # the generated stub's own call: its attributes have no types
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = ask(
            health_pb2.HealthCheckRequest(service=service),
            timeout=seconds,
            metadata=(("authorization", read_token(token_file).header),),
        )
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bora_trainer.healthcheck", description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--ready", action="store_true", help="ask whether it would take a run, not only if it lives")
    parser.add_argument(
        "--tls-ca", type=Path, help="PEM file with the CA of the trainer's certificate, where it has one"
    )
    parser.add_argument("--tls-certificate", type=Path, help="PEM file to show, where the trainer asks for one")
    parser.add_argument("--tls-key", type=Path, help="its private key")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds")
    options = parser.parse_args()
    try:
        tls = options.tls_ca and channel_credentials(options.tls_ca, options.tls_certificate, options.tls_key)
        service = SERVICE if options.ready else ""
        status = check(options.ready_file, options.token_file, service, options.timeout, tls)
    except (TrainerError, OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        return 1
    except grpc.RpcError as error:
        print(error, file=sys.stderr)
        return 1
    print(status)
    return 0 if status == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main())
