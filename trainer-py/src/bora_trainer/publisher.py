"""Live copy of the events over ZeroMQ: a PUB socket that drops for slow readers and never stalls the trainer.

Always encrypted (CURVE): the server's key pair is made at start, its public key travels by authenticated gRPC, and only
the orchestrators' keys that came the same way are admitted. Readers find gaps by `seq` and re-read them over gRPC.
"""

import queue
import threading

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from bora_trainer.errors import TrainerError

HIGH_WATER_MARK = 10_000
KEY_LENGTH = 40  # Z85
ZAP_DOMAIN = "bora"


class AdmittedKeys:
    """The CURVE keys that may subscribe, as the authenticator asks for them (it compares Z85)."""

    def __init__(self) -> None:
        self._keys: frozenset[bytes] = frozenset()

    def admit_only(self, key: bytes) -> None:
        self._keys = frozenset((key,))

    def callback(self, domain: str, key: bytes) -> bool:
        return key in self._keys


class Publisher:
    """Frames `[run_id, Event]`, the bytes of the event log. One thread owns the socket, fed by a queue."""

    def __init__(self, host: str, port: int = 0) -> None:
        if not zmq.has("curve"):
            raise TrainerError("environment_missing", "this libzmq has no CURVE", "install pyzmq from its wheel")
        public, self._secret = zmq.curve_keypair()
        self.public_key = public.decode()
        self._admitted = AdmittedKeys()
        self._queue: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self._context = zmq.Context()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain=ZAP_DOMAIN, credentials_provider=self._admitted)
        socket = self._bind(host, port, public)
        self.endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._thread = threading.Thread(target=self._send_all, args=(socket,), name="publisher")
        self._thread.start()

    def admit(self, key: bytes) -> None:
        """From now on only this key may connect. Raises TrainerError `spec_invalid` when it is no Z85 key."""
        try:
            valid = len(key) == KEY_LENGTH and len(z85.decode(key)) == 32
        except (KeyError, ValueError):
            valid = False
        if not valid:
            raise TrainerError(
                "spec_invalid", f"subscriber_key has {len(key)} bytes and is no Z85 CURVE key", "send 40 Z85 characters"
            )
        self._admitted.admit_only(key)

    def publish(self, run_id: str, event: bytes) -> None:
        self._queue.put((run_id.encode(), event))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._authenticator.stop()
        self._context.term()

    def _bind(self, host: str, port: int, public: bytes) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.PUB)
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = public, self._secret
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 2_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6_000)
        socket.setsockopt(zmq.IPV6, ":" in host)
        address = f"tcp://{f'[{host}]' if ':' in host else host}:{port or '*'}"
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close()
            self._authenticator.stop()
            self._context.term()
            raise TrainerError(
                "port_taken", f"cannot publish events on {address}: {error}", "choose another port"
            ) from error
        return socket

    def _send_all(self, socket: zmq.Socket[bytes]) -> None:
        while (message := self._queue.get()) is not None:
            socket.send_multipart(message)
        socket.close()
