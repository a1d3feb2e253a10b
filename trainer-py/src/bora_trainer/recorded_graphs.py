"""Work on a graphics card that is recorded once for each shape and then replayed: no launch is paid for again.

A recorded graph reads and writes the addresses it was recorded with. So inputs are copied into buffers of its own, its
result is copied out of one, and whatever else it touches must stay where it is until `forget`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bora_trainer.engine_support import refuse_without_graphs

Work = Callable[[Sequence[Tensor]], Tensor]
Replay = Callable[[], Tensor]

_MOST_GRAPHS = 32  # further shapes run unrecorded: each graph holds nodes for every kernel of a step


class Recorder(Protocol):
    """How work is run and recorded; `CudaGraphs` is the real one."""

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Does the work, once and for real, where what a recording must not do (loading libraries) is allowed."""
        ...

    def record(self, work: Callable[[], Tensor]) -> Replay:
        """Records the work without doing it. Every replay does it and returns the same tensor, newly filled."""
        ...


@dataclass(frozen=True, slots=True)
class _Graph:
    inputs: tuple[Tensor, ...]
    replay: Replay


class RecordedGraphs:
    """Does work by its key: the first time as it is, the second time recorded and replayed, from then on replayed.

    A shape that comes once is therefore never recorded. Work of one key must be the same but for the values of its
    inputs, of the same shapes and dtypes.
    """

    def __init__(self, recorder: Recorder, device: torch.device, most: int = _MOST_GRAPHS) -> None:
        self._recorder, self._device, self._most = recorder, device, most
        self._seen: set[Hashable] = set()
        self._graphs: dict[Hashable, _Graph] = {}

    def __len__(self) -> int:
        return len(self._graphs)

    def __call__(self, key: Hashable, inputs: Sequence[Tensor], work: Work) -> Tensor:
        """What `work` returns for `inputs` on the device, in a tensor of the caller's own.

        `inputs` may lie on the CPU, best in pinned memory. Whatever is raised, an allocation that fails say, forgets
        all graphs: their memory is free again.
        """
        try:
            if key not in self._graphs and (key not in self._seen or len(self._graphs) >= self._most):
                self._seen.add(key)
                given = [tensor.to(self._device, non_blocking=True) for tensor in inputs]
                return self._recorder.warm_up(lambda: work(given))
            if key not in self._graphs:
                buffers = tuple(torch.empty_like(tensor, device=self._device) for tensor in inputs)
                self._graphs[key] = _Graph(buffers, self._recorder.record(lambda: work(buffers)))
            graph = self._graphs[key]
            for buffer, tensor in zip(graph.inputs, inputs, strict=True):
                buffer.copy_(tensor, non_blocking=True)
            return graph.replay().clone()
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Lets all graphs go; nothing they wrote is touched."""
        self._seen.clear()
        self._graphs.clear()


class CudaGraphs:
    """Records with CUDA on a stream of its own; graphs share one pool of memory, as they run one after the other."""

    def __init__(self, device: torch.device) -> None:
        """Raises `TrainerError("engine_unsupported")` on a device that is no graphics card of CUDA."""
        refuse_without_graphs(device.type)
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        result.record_stream(current)
        return result

    def record(self, work: Callable[[], Tensor]) -> Replay:
        graph = torch.cuda.CUDAGraph()
        # "thread_local": the thread that writes checkpoints may wait for its own copy meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = work()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay
