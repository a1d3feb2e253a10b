"""The floor: the frozen base alone, forward and backward to its input, for the same real tokens.

The same attention, norms, cross-entropy, dtype and micro-batches as ours; no adapter, no update. No trainer of adapters
in all layers can be faster with this base code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.contestants import Setting
from bora_trainer import attention
from bora_trainer.attention_install import install
from bora_trainer.cross_entropy import nats_of_targets
from bora_trainer.data.batches import pack
from bora_trainer.device_batch import DeviceBatch
from bora_trainer.fused_base import FusedBase
from bora_trainer.output_embedding import find_output_embedding
from bora_trainer.recorded_graphs import CudaGraphs, Replay


class Floor:
    name = "floor"
    share = 1.0
    note = ""

    def __init__(self, setting: Setting) -> None:
        workload, cell = setting.workload, setting.workload.cell
        self._model = cell.shape.model(setting.dtype, setting.device)
        self._output = find_output_embedding(self._model)
        assert install(self._model)
        FusedBase.of(self._model)
        rows = [workload.documents(task) for _ in range(cell.fits) for task in range(cell.tasks)]
        size = setting.rows_per_micro_batch
        packed = (pack(rows[start : start + size]) for start in range(0, len(rows), size))
        self._batches = [DeviceBatch.of(batch).to(torch.device(setting.device)) for batch in packed]

    def step(self) -> None:
        for batch in self._batches:
            inputs = self._model.get_input_embeddings()(batch.tokens_NT).detach().requires_grad_()
            read = {"inputs_embeds": inputs, "position_ids": batch.positions_NT, "use_cache": False}
            with attention.attending(batch.layout):
                hidden = self._model.base_model(**read)[0].flatten(0, 1)
            nats_of_targets(hidden.index_select(0, batch.read_M), batch.target_M, self._output).sum().backward()


class FloorRecorded(Floor):
    """The floor without its launches: what recorded graphs of ours are to be held to."""

    name = "floor, recorded"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._recorder = CudaGraphs(torch.device(setting.device))
        self._done = torch.zeros(1, device=setting.device)
        self._replay: Replay | None = None
        self._recorder.warm_up(self._work)

    def step(self) -> None:
        if self._replay is None:
            self._replay = self._recorder.record(self._work)
        self._replay()

    def _work(self) -> Tensor:
        super().step()
        return self._done
