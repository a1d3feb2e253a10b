"""`python -m bora_trainer.healthcheck`: exit status 0 when a trainer lives (with --ready: takes a run), else 1."""

import argparse
import json
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from bora_trainer.authentication import read_token
from bora_trainer.errors import TrainerError

SERVICE = "bora.trainer.v1.TrainerService"


def check(ready_file: Path, token_file: Path, service: str, seconds: float) -> str:
    """The serving status of `service` ("" is the process itself), in the health protocol's words."""
    address = json.loads(ready_file.read_text(encoding="utf-8"))["address"]
    with grpc.insecure_channel(address) as channel:
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
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds")
    options = parser.parse_args()
    try:
        status = check(options.ready_file, options.token_file, SERVICE if options.ready else "", options.timeout)
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
