"""The life of a trainer process: bind, say that it is ready, serve, leave when told to or when no one is left."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # pyright: ignore[reportAttributeAccessIssue]

from bora.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from bora_trainer.authentication import TokenFile, TokenInterceptor
from bora_trainer.child_process import CHILD_COMMAND
from bora_trainer.errors import TrainerError
from bora_trainer.leases import Lease
from bora_trainer.publisher import Publisher
from bora_trainer.request_messages import MessageInterceptor
from bora_trainer.run_keeper import RunKeeper
from bora_trainer.server import TrainerService
from bora_trainer.transport_security import TlsFiles, is_loopback, refuse_unprotected, server_credentials

logger = logging.getLogger(__name__)
SERVICE = trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name
GRACE_SECONDS = 2.0
LOOK_SECONDS = 0.5  # a call may also shorten the time that is left
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),  # otherwise a second trainer could take the same port unnoticed
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; see __main__.py."""

    host: str
    port: int
    run_root: Path
    token_file: Path
    ready_file: Path
    data_root: Path | None
    model_root: Path | None
    adapter_root: Path | None
    exit_when_orphaned: bool
    lease_ms: int
    events_port: int = 0
    tls: TlsFiles | None = None


class TrainerProcess:
    """Everything that lives as long as the process. `child_command` is another one only in tests of the protocol."""

    def __init__(self, options: Options, child_command: Sequence[str] = CHILD_COMMAND) -> None:
        refuse_unprotected(options.host, options.tls, options.data_root, options.model_root)
        self._options = options
        self._token = TokenFile(options.token_file)
        self._credentials = options.tls and server_credentials(options.tls)
        options.run_root.mkdir(parents=True, exist_ok=True)
        self._publisher = Publisher(options.host, options.events_port)
        self._contact = Lease(options.lease_ms)
        self._keeper = RunKeeper(
            options.run_root.resolve(), self._publisher, child_command, options.data_root, options.model_root,
            options.adapter_root or (None if is_loopback(options.host) else options.run_root),
        )  # fmt: skip
        self._service = TrainerService(self._keeper, self._publisher, self._contact, tuple(child_command))
        self._health = health_aio.HealthServicer()
        self._told_to_leave = asyncio.Event()

    async def serve(self) -> None:
        """Runs until SIGTERM or SIGINT or, with --exit-when-orphaned, until no one has called for a lease's time.

        Leaving means: no new runs, the held one drained to its checkpoint, its last event on disk and published.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_leave.set)
        gate = TokenInterceptor(self._token, self._contact.renew)
        server = grpc.aio.server(interceptors=[gate, MessageInterceptor()], options=CHANNEL_OPTIONS)
        watching: list[asyncio.Task[None]] = []
        try:
            trainer_pb2_grpc.add_TrainerServiceServicer_to_server(self._service, server)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
            address = self._bind(server)
            await self._service.probe_devices()
            await server.start()
            await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
            watching = [asyncio.create_task(self._report_health())]
            if self._options.exit_when_orphaned:
                watching.append(asyncio.create_task(self._leave_when_orphaned()))
            self._contact.renew()
            self._write_ready(address, gate.health_token)
            await self._told_to_leave.wait()
            await self._drain()
        finally:
            for task in watching:
                task.cancel()
            await server.stop(GRACE_SECONDS)
            await asyncio.to_thread(self._publisher.close)

    def _bind(self, server: grpc.aio.Server) -> str:
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        address = f"{host}:{self._options.port}"
        try:
            if self._credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._credentials)
        except RuntimeError:
            port = 0
        if port == 0:
            raise TrainerError("port_taken", f"cannot listen on {address}", "choose another port, or 0 for any")
        return f"{host}:{port}"

    async def _drain(self) -> None:
        self._keeper.stopping = True
        await self._health.enter_graceful_shutdown()
        if self._keeper.held is not None:
            self._keeper.held.drain()
            await self._keeper.held.ended.wait()

    async def _leave_when_orphaned(self) -> None:
        while True:
            held = self._keeper.held
            if held is not None and held.active:
                await held.ended.wait()  # its lease lapses by itself, and the run drains
                continue
            left = max(self._contact.remaining, held.lease.remaining if held is not None else 0.0)
            if left == 0.0 and not self._service.occupied:
                logger.info("no one has called for %.1f s; leaving", self._contact.milliseconds / 1000)
                self._told_to_leave.set()
                return
            await asyncio.sleep(min(left or LOOK_SECONDS, LOOK_SECONDS))

    async def _report_health(self) -> None:
        while not self._keeper.stopping:
            held = self._keeper.held
            free = held is None or not held.active
            serving = health_pb2.HealthCheckResponse.SERVING if free else health_pb2.HealthCheckResponse.NOT_SERVING
            await self._health.set(SERVICE, serving)
            await asyncio.sleep(1.0)

    def _write_ready(self, address: str, health_token: str) -> None:
        tls = self._options.tls
        ready = {
            "address": address,
            "pid": os.getpid(),
            "instanceId": self._service.instance_id,
            "startTime": process_start_time(os.getpid()),
            "healthToken": health_token,
            "tls": tls and {name: path and str(path.resolve()) for name, path in asdict(tls).items()},
        }
        write_private(self._options.ready_file, json.dumps(ready) + "\n")


def process_start_time(pid: int) -> int:
    """When a process started, to tell it from a later one with the same pid.

    On Linux clock ticks since boot (field 22 of /proc/PID/stat, the same however the wall clock moves), elsewhere
    milliseconds since 1970.
    """
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return int(psutil.Process(pid).create_time() * 1000)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner reads, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
