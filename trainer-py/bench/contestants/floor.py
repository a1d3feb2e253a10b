"""The floor: the frozen base alone, forward and backward to its input, for the same real tokens.

The same attention, cross-entropy, dtype and micro-batches as ours; no adapter, no update. No trainer of adapters in all
layers can be faster with this base code.
"""

from __future__ import annotations

from bench.contestants import Setting
from bora_trainer import attention
from bora_trainer.cross_entropy import nats_of_targets
from bora_trainer.data.batches import pack
from bora_trainer.output_embedding import find_output_embedding


class Floor:
    name = "floor"
    share = 1.0
    note = ""

    def __init__(self, setting: Setting) -> None:
        workload, cell = setting.workload, setting.workload.cell
        self._model = cell.shape.model(setting.dtype, setting.device)
        self._output = find_output_embedding(self._model)
        assert attention.install(self._model)
        rows = [workload.documents(task) for _ in range(cell.fits) for task in range(cell.tasks)]
        size = setting.rows_per_micro_batch
        self._batches = [pack(rows[start : start + size]).to(setting.device) for start in range(0, len(rows), size)]

    def step(self) -> None:
        for batch in self._batches:
            inputs = self._model.get_input_embeddings()(batch.tokens).detach().requires_grad_()
            layout = attention.DocumentLayout.of(batch.lengths, batch.tokens.shape[1], inputs.device)
            with attention.attending(layout):
                hidden = self._model.base_model(inputs_embeds=inputs, position_ids=batch.positions, use_cache=False)[0]
            row, place = batch.scored.nonzero(as_tuple=True)
            nats_of_targets(hidden[row, place - 1], batch.tokens[row, place], self._output).sum().backward()
