"""`python -m bora_trainer`: starts a trainer on this machine. Prints one error with code and hint, and exits 2."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # read when grpc is imported; the child is started by fork and exec

from bora_trainer.child_process import CHILD_COMMAND
from bora_trainer.errors import TrainerError
from bora_trainer.process import Options, TrainerProcess
from bora_trainer.transport_security import TlsFiles

LEASE_MS = 60_000


def parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bora_trainer", description="Serves one trainer over gRPC.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; off loopback only with TLS and roots"
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 (the default) takes any free one")
    parser.add_argument("--events-port", type=int, default=0, help="ZeroMQ port of live events; 0 takes any free one")
    parser.add_argument("--tls-certificate", type=Path, help="PEM file with this trainer's certificate chain")
    parser.add_argument("--tls-key", type=Path, help="PEM file with its private key")
    parser.add_argument("--tls-client-ca", type=Path, help="PEM file; callers must then show a certificate of this CA")
    parser.add_argument("--run-root", type=Path, required=True, help="folder for runs: event files, checkpoints")
    parser.add_argument(
        "--token-file", type=Path, required=True, help="file with the tokens that callers may send, one a line"
    )
    parser.add_argument("--ready-file", type=Path, required=True, help="written as JSON once calls are answered")
    parser.add_argument("--data-root", type=Path, help="when given, data paths are relative and stay below it")
    parser.add_argument("--model-root", type=Path, help="when given, model paths are relative and stay below it")
    parser.add_argument("--adapter-root", type=Path, help="when given, adapter folders are relative and stay below it")
    parser.add_argument("--exit-when-orphaned", action="store_true", help="exit when no one calls for a lease's time")
    parser.add_argument("--lease-ms", type=int, default=LEASE_MS, help="that time while no run is held")
    options = vars(parser.parse_args(arguments))
    certificate, key, client_ca = (options.pop(f"tls_{name}") for name in ("certificate", "key", "client_ca"))
    if (certificate is None) != (key is None) or (certificate is None and client_ca is not None):
        parser.error("--tls-certificate and --tls-key belong together; --tls-client-ca needs both")
    tls = None if certificate is None else TlsFiles(certificate, key, client_ca)
    return Options(**options, tls=tls)


async def serve(options: Options, child_command: Sequence[str]) -> None:
    await TrainerProcess(options, child_command).serve()


def main(arguments: Sequence[str] | None = None, child_command: Sequence[str] = CHILD_COMMAND) -> int:
    """Exit status 0 after a drain, 2 when it could not start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(serve(parse(arguments), child_command))
    except TrainerError as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
