"""The server's side of the child: start by fork and exec in a process group of its own, pipes, signals, its end."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import psutil

from bora_trainer import frames
from bora_trainer.child import Job
from bora_trainer.errors import TrainerError
from bora_trainer.heap import with_kept_memory

CHILD_COMMAND = (sys.executable, "-m", "bora_trainer.child")
READ_BYTES = 1 << 16
GROUP_GONE_SECONDS = 10.0
# Everything else stays with the server, so that no secret of its environment reaches code that reads foreign files.
PASSED_NAMES = (
    "PATH HOME USER LANG LC_ALL TZ TMPDIR PYTHONPATH VIRTUAL_ENV LD_LIBRARY_PATH LD_PRELOAD GLIBC_TUNABLES "
    "XDG_CACHE_HOME "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy "
    "SYSTEMROOT TEMP TMP"
)
PASSED_PREFIXES = ("BORA_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "KMP_", "GOMP_", "TORCH_", "PYTORCH_", "HF_")


class ChildProcess:
    """One child and its process group. Made by `launch`."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> None:
        self._process = process
        self._reader = reader
        self._decoder = frames.FrameDecoder()
        self._oom_kills = cgroup_oom_kills()
        self.pid = process.pid

    async def batches(self) -> AsyncIterator[list[frames.Frame]]:
        """Messages as they arrive, all that are there at once; ends when the child closed its pipe.

        What a killed child left unfinished is dropped.
        """
        while (batch := await self.next_batch()) is not None:
            yield batch

    async def next_batch(self) -> list[frames.Frame] | None:
        """The next of `batches`, None at their end. Loses nothing when it is cancelled."""
        while data := await self._reader.read(READ_BYTES):
            if batch := self._decoder.feed(data):
                return batch
        return None

    async def send(self, kind: int, payload: bytes) -> None:
        """A further frame on the child's stdin; nothing when it has ended, which its pipe tells."""
        assert self._process.stdin is not None
        self._process.stdin.write(frames.encode_frame(kind, payload))
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.drain()

    def ask_to_stop(self) -> None:
        """SIGTERM: drop the unfinished step, save the last whole one, end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL to the whole group, now; returns when all of it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()

    async def wait(self) -> int:
        """Exit status (minus the signal, if one ended it), when the leader and every process of its group are gone."""
        status = await self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        deadline = asyncio.get_running_loop().time() + GROUP_GONE_SECONDS
        while group_members(self.pid):
            if asyncio.get_running_loop().time() > deadline:
                raise TrainerError(
                    "device_error",
                    f"processes {group_members(self.pid)} of the child's group survive SIGKILL",
                    "they hang in the kernel; the machine needs a look",
                    "infra",
                )
            await asyncio.sleep(0.05)
        return status

    def memory_bytes(self) -> int:
        """Resident memory; 0 when it has ended."""
        try:
            return psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            return 0

    def ending(self, status: int) -> TrainerError:
        """Why a child that ended with `status` said nothing about it."""
        if status < 0 and cgroup_oom_kills() > self._oom_kills:
            return TrainerError("out_of_memory", "the kernel ended the training process for memory", domain="oom")
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return TrainerError(
            "child_killed", f"the training process ended {how}", "see child.log in the run's folder", "infra"
        )


async def launch(command: Sequence[str], job: Job, request: bytes, log: Path) -> ChildProcess:
    """Starts a child on `job`; what it prints is appended to `log`.

    Its stdin stays open as long as this process lives: its end is how the child learns that the server is gone.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    read_end, write_end = os.pipe()
    try:
        with open(log, "ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--output",
                str(write_end),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(write_end,),
                start_new_session=True,
                env=child_environment(os.environ),
            )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
    )
    child = ChildProcess(process, reader)
    await child.send(frames.JOB, job.to_json())
    await child.send(frames.REQUEST, request)
    return child


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the server's environment a child gets, and how its memory is kept."""
    names = PASSED_NAMES.split()
    passed = {key: value for key, value in environment.items() if key in names or key.startswith(PASSED_PREFIXES)}
    return with_kept_memory(passed)


def group_members(group: int) -> list[int]:
    """Living processes of a group; zombies hold no memory and no device and do not count."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    members: list[int] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def cgroup_oom_kills() -> int:
    """Processes of this control group that the kernel ended for memory so far; 0 where there are no cgroups (v2)."""
    try:
        relative = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        lines = (Path("/sys/fs/cgroup") / relative / "memory.events").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
