"""The server's side of a child that answers one request after another: it keeps the base loaded between them.

It is started with the first request and ended when nothing has been asked for two minutes, or when a run needs its
memory. A request whose caller has gone is dropped, the child stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

from bora.trainer.v1 import event_pb2
from bora_trainer import frames
from bora_trainer.child import Job
from bora_trainer.child_process import ChildProcess, launch
from bora_trainer.errors import TrainerError
from bora_trainer.held_run import told

logger = logging.getLogger(__name__)
KEPT_SECONDS = 120.0
DROP_SECONDS = 10.0  # a token takes a fraction of one; a child that does not let go of a request by then is killed


class LastingChild:
    """At most one child of one kind; requests wait for each other. `command` as in `launch`."""

    def __init__(self, command: Sequence[str], kind: str, kept_seconds: float = KEPT_SECONDS) -> None:
        self._command = command
        self._kind = kind
        self._kept_seconds = kept_seconds
        self._turn = asyncio.Lock()
        self._asked = 0
        self._child: _Answering | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether a request is being answered, or waits for its turn."""
        return self._asked > 0

    async def answers(self, request: bytes) -> AsyncGenerator[bytes, None]:
        """What the child answers, as it comes. Raises what it reports, or why it ended without a word.

        Closing the generator, or cancelling whoever reads it, drops the request.
        """
        self._asked += 1
        try:
            async with self._turn:
                self._stay()
                if self._child is None or self._child.ended:
                    self._child = await _Answering.start(self._command, self._kind, request)
                else:
                    await self._child.send(frames.REQUEST, request)
                try:
                    async for payload in self._child.answers():
                        yield payload
                finally:
                    await self._settle(self._child)
        finally:
            self._asked -= 1

    async def end(self) -> None:
        """The child's process group is gone when this returns; a request in hand ends with child_killed."""
        self._stay()
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    async def _settle(self, child: _Answering) -> None:
        """Lets the child finish with the request whatever became of its reader, then counts the time it is kept."""
        try:
            async with asyncio.timeout(DROP_SECONDS):
                await child.drop()
        except BaseException:
            await child.kill()
            raise
        finally:
            if child.ended and self._child is child:
                self._child = None
            else:
                self._idle = asyncio.get_running_loop().call_later(self._kept_seconds, self._end_idle)

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _end_idle(self) -> None:
        if not self.busy:
            task = asyncio.get_running_loop().create_task(self.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


class _Answering:
    """A living child and the request it is at."""

    def __init__(self, child: ChildProcess, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._child = child
        self._folder = folder
        self._frames: deque[frames.Frame] = deque()
        self._at_work = True
        self.ended = False

    @classmethod
    async def start(cls, command: Sequence[str], kind: str, request: bytes) -> _Answering:
        folder = tempfile.TemporaryDirectory(prefix="bora-")
        try:
            return cls(await launch(command, Job(kind), request, Path(folder.name) / "child.log"), folder)
        except BaseException:
            folder.cleanup()
            raise

    async def send(self, kind: int, payload: bytes) -> None:
        self._at_work = self._at_work or kind == frames.REQUEST
        await self._child.send(kind, payload)

    async def answers(self) -> AsyncIterator[bytes]:
        while (frame := await self._next()).kind == frames.ANSWER:
            yield frame.payload
        self._at_work = False
        if frame.kind == frames.FAILURE:
            logger.info("%s", self._log())
            error = told(event_pb2.Failure.FromString(frame.payload))
            if error.domain != "user":
                await self.kill()  # it is ending itself
            raise error

    async def drop(self) -> None:
        """Returns when the child has closed the request in hand."""
        if not self._at_work or self.ended:
            return
        await self.send(frames.DROP, b"")
        with contextlib.suppress(TrainerError):
            async for _ in self.answers():
                pass

    async def kill(self) -> None:
        self.ended = True
        await self._child.kill()
        self._folder.cleanup()

    async def _next(self) -> frames.Frame:
        while not self._frames:
            batch = await self._child.next_batch()
            if batch is None:
                raise await self._silence()
            self._frames.extend(batch)
        return self._frames.popleft()

    async def _silence(self) -> TrainerError:
        """Why the child closed its pipe."""
        status = await self._child.wait()
        logger.error("a child ended while it was asked:\n%s", self._log())
        await self.kill()
        return self._child.ending(status)

    def _log(self) -> str:
        with contextlib.suppress(OSError):
            return (Path(self._folder.name) / "child.log").read_text(errors="replace")[-8192:]
        return ""
