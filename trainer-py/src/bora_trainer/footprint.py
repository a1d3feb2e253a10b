"""What a step needs of its device's memory, known before anything is trained. docs/performance.md, Memory.

Rows and fits are counted from the optimiser's own tensors; activations and logits are measured on one micro-batch of
the real engine, so that the figures follow whatever the engine keeps.

Symbols: K fits, D tasks, G = K * D rows, P weights a row; T tokens of a micro-batch, pads included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from bora_trainer.allocations import peak_of, resident_bytes, resident_peak_of, return_free_memory
from bora_trainer.cross_entropy import nats_of_targets, positions_at_once
from bora_trainer.data import Document, PackedBatch, pack
from bora_trainer.engine import Engine
from bora_trainer.hierarchical_adam import HierarchicalAdam

_PROBE_TOKENS = 256  # of the micro-batch that is measured; activations are proportional to it
_MOST_POSITIONS = 16384  # of a micro-batch
_BEST = 4  # bytes a weight: the rows, and Theta, of the best evaluation
_WEIGHTS = 8  # a row of the optimiser whose tensors are counted


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes. `activation` is the backward's peak, `kept` what the forward has taken when the logits are computed.

    `working`: the cross-entropy's temporaries, whatever the micro-batch; on a GPU its chunk of logits too. `process`:
    the interpreter, its libraries, the data and that chunk, which a CPU keeps; 0 on a device with memory of its own.
    """

    base: int
    per_row: int
    per_fit: int
    activation_per_token: int
    kept_per_token: int
    working: int
    process: int

    def resident(self, fits: int, tasks: int) -> int:
        """What is there all the time."""
        return self.process + self.base + fits * self.per_fit + fits * tasks * self.per_row

    def micro_batch(self, tokens: int) -> int:
        """What comes and goes with a micro-batch of so many tokens, pads included."""
        return max(self.activation_per_token * tokens, self.kept_per_token * tokens + self.working)

    def peak(self, fits: int, tasks: int, tokens: int) -> int:
        """Of a step."""
        return self.resident(fits, tasks) + self.micro_batch(tokens)


def measure(engine: Engine, document_tokens: int) -> Footprint:
    """The footprint with documents of `document_tokens` tokens: attention keeps more for longer ones.

    The engine must have run once: the process is then as large as its libraries make it. Raises as the engine's
    `accumulate`.
    """
    device = engine.loaded.model.device
    positions = min(_MOST_POSITIONS, positions_at_once(engine.output_embedding))
    _logits_peak(engine, positions)  # what it keeps on a CPU belongs to the process
    return_free_memory()
    base = storage_bytes([*engine.loaded.model.parameters(), *engine.loaded.model.buffers()])
    per_row, per_fit = _optimiser_bytes(engine.layout.weights)
    process = max(0, resident_bytes() - base) if device.type == "cpu" else 0
    count = max(1, _PROBE_TOKENS // document_tokens)
    tokens = count * document_tokens
    backward = _step_peak(engine, _probe(count, document_tokens, scored=1))
    with_logits = _step_peak(engine, _probe(count, document_tokens, scored=document_tokens - 1))
    logits = _logits_peak(engine, count * (document_tokens - 1))
    kept = min(backward, max(0, with_logits - logits))
    working = _logits_peak(engine, positions)
    return Footprint(base, per_row, per_fit, -(-backward // tokens), -(-kept // tokens), working, process)


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Of distinct storages: tied weights once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _optimiser_bytes(weights: int) -> tuple[int, int]:
    """Of a row, and of a fit beside its rows: counted on an optimiser of one fit, and the best step's copies."""
    one, two = _counted(1), _counted(2)
    row, fit = two - one, 2 * one - two
    return (row // _WEIGHTS + _BEST) * weights, (fit // _WEIGHTS + _BEST) * weights


def _counted(tasks: int) -> int:
    settings = {"loss_scale": 1.0, "betas": (0.9, 0.999), "epsilon": 1e-8}
    optimiser = HierarchicalAdam(torch.zeros(1, _WEIGHTS), [1.0], tasks, **settings)
    optimiser.step(0.0)  # compiled now: its code belongs to the process
    of_weights = (
        value for value in vars(optimiser).values() if isinstance(value, Tensor) and value.is_floating_point()
    )
    return storage_bytes(of_weights)


def _probe(documents: int, tokens: int, *, scored: int) -> PackedBatch:
    """One document a row; tokens are those that every vocabulary has."""
    words = tuple(1 + i % 2 for i in range(tokens))
    # Every other a token shorter: rows of unequal length take copies that a rectangle does not.
    rows = []
    for n in range(documents):
        less = n % 2 if tokens > 2 else 0
        rows.append([Document(0, str(n), "", words[less:], tokens - max(1, scored), tokens - less)])
    return pack(rows)


def _step_peak(engine: Engine, batch: PackedBatch) -> int:
    """Beyond rows and gradients, which are counted."""
    rows = len(batch.documents)
    device = engine.loaded.model.device
    rows_NP = torch.stack([engine.initial(0)] * rows).to(device)
    # filled: pages of zeros are not there before somebody writes to them
    gradient_NP, ones_N = torch.full_like(rows_NP, 1e-9), torch.ones(rows, device=device)
    return resident_peak_of(lambda: engine.accumulate(rows_NP, gradient_NP, batch, range(rows), ones_N), device)


def _logits_peak(engine: Engine, positions: int) -> int:
    """While the nats of so many positions are computed, beyond what is kept for the backward."""
    output = engine.output_embedding
    device, size = output.weight_VH.device, output.weight_VH.shape[1]
    hidden_MH = torch.ones(positions, size, dtype=engine.loaded.dtype, device=device, requires_grad=True)
    targets_M = torch.zeros(positions, dtype=torch.int64, device=device)
    peak, kept = peak_of(lambda: nats_of_targets(hidden_MH, targets_M, output), device)
    return peak - kept
