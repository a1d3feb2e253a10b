"""One frozen model, many adapter rows: forward and backward of all rows of a micro-batch at once.

Shapes: G rows (K fits x D tasks), P weights a row, N packed rows of a micro-batch, T tokens, H hidden size, M scored
positions, R rank, I in, O out. Row n of a micro-batch is read through adapter row `row_index[n]`.

The engine replaces the target modules of the model it is given until `close`. Rows meet nowhere: the likelihood
gradient of a row is exactly 0 for another row's documents. Nothing waits for the device inside `accumulate`.
docs/method.md, section 2.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bora_trainer import attention
from bora_trainer.adapters.attached import AttachedAdapters
from bora_trainer.adapters.lora import Lora
from bora_trainer.attention_install import install
from bora_trainer.compiled_layers import compile_layers, release
from bora_trainer.cross_entropy import OutputEmbedding, nats_of_targets
from bora_trainer.data.batches import PackedBatch
from bora_trainer.device_batch import DeviceBatch, sent, widened
from bora_trainer.errors import TrainerError
from bora_trainer.frozen_prefix import FrozenPrefix
from bora_trainer.fused_base import FusedBase
from bora_trainer.models import LoadedModel
from bora_trainer.output_embedding import find_output_embedding
from bora_trainer.spec import AdapterSpec

RowIndex = range | Sequence[int]
StoredStates = Callable[[PackedBatch], Tensor]

_MOST_EVEN = 8  # documents may be of one length by chance, and each shape costs

# Gradients are views of the flat tensor on purpose: one update runs over all of them.
warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")


class Engine:
    """Attaches adapter rows to a loaded model.

    Raises `TrainerError("unmatched_module")` when the targets match nothing, `TrainerError("model_unsupported")` when
    the model's logits are not those of its output embedding.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        adapter: AdapterSpec,
        *,
        plain_attention: bool = False,
        plain_adapters: bool = False,
        plain_base: bool = False,
        buckets: bool = False,
        compiled: bool = False,
    ) -> None:
        """References for the fast paths, which tests hold to them. `plain_attention`: the model's own, over whole rows
        with a mask, even where `attention` could do. `plain_adapters`: torch's own operations and autograd.
        `plain_base`: the base's own norms and rotations.

        `buckets`: micro-batches are padded so that few shapes occur (device_batch.py). `compiled`: the layers run
        through torch.compile (compiled_layers.py); raises `TrainerError("engine_unsupported")` where they cannot.
        """
        self.loaded = loaded
        self.buckets = buckets
        self._even: set[torch.Size] = set()
        self.lora = Lora.of(loaded.model, adapter)
        self.layout = self.lora.layout
        self.parameters_per_row = self.layout.parameters
        self._body: nn.Module = loaded.model.base_model
        self._output = find_output_embedding(loaded.model)
        self._device = next(loaded.model.parameters()).device
        self._longest = _longest_document(loaded.model.config)
        self._refuse_targets_outside_body()
        self._adapters = AttachedAdapters(loaded.model, self.lora, plain=plain_adapters)
        self.attends_documents = not plain_attention and install(loaded.model)
        # Rows of unequal length are then read without pads; references and buckets keep their rectangle.
        self.end_to_end = self.attends_documents and not buckets and not plain_adapters
        self.prefix = FrozenPrefix.of(loaded.model, self.lora.modules)
        self._stored: StoredStates | None = None
        # A compiler fuses them itself.
        self._fused = FusedBase({}) if plain_base or compiled else FusedBase.of(loaded.model)
        # Layers below the adapters are passed over once their states are stored; exchanged forwards stay uncompiled.
        below = self.prefix.layers if self.prefix is not None else ()
        self._compiled = compile_layers(loaded.model, self.lora.modules, beside=below) if compiled else []

    @property
    def fused_parts(self) -> list[str]:
        """Which parts of the base are computed by fused_base.py."""
        return self._fused.parts

    @property
    def output_embedding(self) -> OutputEmbedding:
        """What turns hidden states into logits."""
        return self._output

    def initial(self, seed: int) -> Tensor:
        """The start of every row of a fit, [P], float32 on the CPU. docs/method.md, section 5."""
        return self.lora.initial(seed)

    def accumulate(
        self, rows_GP: Tensor, gradient_GP: Tensor, batch: PackedBatch, row_index: RowIndex, weights_N: Tensor
    ) -> Tensor:
        """Adds d(sum_n weights_n nats_n)/d rows to `gradient_GP` and returns the unweighted nats_n, [N], detached.

        nats_n is the sum over the scored tokens of packed row n. Raises `TrainerError("document_too_long")`.
        """
        assert len(row_index) == batch.tokens.shape[0], "one adapter row for each packed row"
        inputs, states = self.prepared(batch)
        inputs = inputs.to(self._device)
        return self.accumulate_sent(rows_GP, gradient_GP, inputs, states, row_index, weights_N)

    def accumulate_sent(
        self,
        rows_GP: Tensor,
        gradient_GP: Tensor,
        inputs: DeviceBatch,
        states: Tensor | None,
        row_index: RowIndex,
        weights_N: Tensor,
    ) -> Tensor:
        """`accumulate` of what `prepared` gave and the device holds. Of the CPU nothing is read but sizes."""
        span = _span(row_index)
        if isinstance(span, slice):
            return self._accumulate(rows_GP[span], gradient_GP[span], inputs, states, weights_N)
        index = sent(span, rows_GP.device)
        rows_NP = rows_GP.index_select(0, index)
        gradient_NP = torch.zeros_like(rows_NP)
        nats_N = self._accumulate(rows_NP, gradient_NP, inputs, states, weights_N)
        gradient_GP.index_add_(0, index, gradient_NP)
        return nats_N

    def prepared(self, batch: PackedBatch) -> tuple[DeviceBatch, Tensor | None]:
        """What the device is to read, still on the CPU; on the device the states below the adapters, where stored.

        Raises as `accumulate`.
        """
        self._refuse_long_documents(batch)
        lengths, buckets = None, self.buckets and not self._stays_even(batch)
        if buckets:
            batch = widened(batch)
        elif self.end_to_end and batch.pads and batch.scored_tokens:
            lengths, batch = batch.lengths_of_rows, batch.end_to_end()
        states = self._stored(batch) if self.prefix is not None and self._stored is not None else None
        return DeviceBatch.of(batch, lengths, buckets=buckets), states

    @torch.no_grad()
    def nats(self, rows_GP: Tensor | None, batch: PackedBatch, row_index: RowIndex) -> list[float]:
        """Nats of each document, in the order of `batch.documents`; `rows_GP` None: the base model alone."""
        assert len(row_index) == batch.tokens.shape[0], "one adapter row for each packed row"
        inputs, states = self.prepared(batch)
        inputs = inputs.to(self._device)
        rows_NP = None if rows_GP is None else _selected(rows_GP, row_index)
        with self._adapters.reading(rows_NP, inputs.rows):
            nats_M = self._forward(inputs, states)
        sums = torch.zeros(inputs.shape.documents + 1, dtype=torch.float64, device=self._device)
        return sums.index_add_(0, inputs.document_M, nats_M.double()).tolist()[: sum(map(len, batch.documents))]

    @torch.no_grad()
    def states_below(self, batch: PackedBatch) -> Tensor:
        """What enters the lowest adapted layer, [N, T, H]. Only where there is a `prefix`; raises as `alone` there."""
        assert self.prefix is not None, "no layer lies below the adapters"
        self._refuse_long_documents(batch)
        with self.prefix.alone() as below:
            self._hidden(DeviceBatch.of(batch).to(self._device))
        assert below.states is not None
        return below.states

    def start_from(self, stored: StoredStates | None) -> None:
        """From now on the layers below the adapters are not computed but read; None: computed again.

        `stored` gives `states_below` of a micro-batch that lies on the CPU.
        """
        self._stored = stored

    def close(self) -> None:
        """Gives the model its own modules and attention back."""
        release(self._compiled)
        self._fused.release()
        if self.attends_documents:
            attention.switch(self.loaded.model, self.loaded.attention)
        self._adapters.detach()

    def _stays_even(self, batch: PackedBatch) -> bool:
        """Whether a rectangle without pads is read as it is, in spite of buckets: of the first few shapes alone."""
        if batch.is_even and len(self._even) < _MOST_EVEN:
            self._even.add(batch.tokens.shape)
        return batch.is_even and batch.tokens.shape in self._even

    def _refuse_targets_outside_body(self) -> None:
        inside = {id(module) for module in self._body.modules()}
        outside = [name for name in self.lora.modules if id(self.loaded.model.get_submodule(name)) not in inside]
        if outside:
            raise TrainerError(
                "unmatched_module",
                f"{', '.join(outside)} is the output embedding, which stays frozen",
                "choose targets among the decoder layers' modules",
            )

    def _refuse_long_documents(self, batch: PackedBatch) -> None:
        longest = max((len(document.tokens) for row in batch.documents for document in row), default=0)
        if self._longest is not None and longest > self._longest:
            raise TrainerError(
                "document_too_long",
                f"a document has {longest} tokens, the model attends to {self._longest}",
                f"set data.maxTokens to at most {self._longest}",
            )

    def _accumulate(
        self, rows_NP: Tensor, gradient_NP: Tensor, inputs: DeviceBatch, states: Tensor | None, weights_N: Tensor
    ) -> Tensor:
        """`accumulate_sent` for rows that lie in the order of the batch."""
        with self._adapters.reading(rows_NP, inputs.rows, gradient_NP):
            nats_M = self._forward(inputs, states)
            if nats_M.numel() > 0:
                weights_N1 = F.pad(sent(weights_N, self._device).to(nats_M.dtype), (0, 1))
                nats_M.backward(weights_N1.index_select(0, inputs.row_M))
        nats_N1 = torch.zeros(len(rows_NP) + 1, dtype=torch.float64, device=self._device)
        return nats_N1.index_add_(0, inputs.row_M, nats_M.detach().double())[:-1]

    def _forward(self, inputs: DeviceBatch, states: Tensor | None) -> Tensor:
        """Nats of the scored tokens, [M]."""
        from_states = nullcontext()
        if states is not None:
            assert self.prefix is not None
            from_states = self.prefix.passed_over(states)
        with from_states:
            hidden_NTH = self._hidden(inputs)
        read_MH = hidden_NTH.flatten(0, 1).index_select(0, inputs.read_M)
        return nats_of_targets(read_MH, inputs.target_M, self._output)

    def _hidden(self, inputs: DeviceBatch) -> Tensor:
        """The last hidden states, [N, T, H]."""
        read = {"input_ids": inputs.tokens_NT, "position_ids": inputs.positions_NT, "use_cache": False}
        if self.attends_documents:
            with attention.attending(inputs.layout):
                return self._body(**read)[0]
        mask = attention.plain_attention_mask(inputs.segments_NT, self.loaded.attention, self.loaded.dtype)
        return self._body(**read, attention_mask=mask)[0]


def _selected(rows_GP: Tensor, row_index: RowIndex) -> Tensor:
    """[N, P]: a view where the rows are neighbours."""
    span = _span(row_index)
    return rows_GP[span] if isinstance(span, slice) else rows_GP.index_select(0, sent(span, rows_GP.device))


def _span(row_index: RowIndex) -> slice | Tensor:
    """A slice where the rows are neighbours in order: only then a tensor of all rows is a view."""
    first = row_index[0]
    if list(row_index) == list(range(first, first + len(row_index))):
        return slice(first, first + len(row_index))
    return torch.tensor(list(row_index))


def _longest_document(config: object) -> int | None:
    """Tokens to which every layer attends with a plain causal mask: the context, or a sliding window if shorter."""
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    limits = [limit for limit in (getattr(config, "max_position_embeddings", None), window) if limit]
    return min(limits, default=None)
