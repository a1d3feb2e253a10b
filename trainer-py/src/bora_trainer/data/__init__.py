"""Documents by task and split, and the batches drawn from them. docs/method.md, sections 1 and 1.1."""

from bora_trainer.data.batches import PackedBatch, pack
from bora_trainer.data.dataset import load_dataset, source_files
from bora_trainer.data.documents import SPLITS, Dataset, Document, SourceFile, Split, TaskData, data_hash
from bora_trainer.data.permutation import choose
from bora_trainer.data.samplers import BatchSampler, TaskBatch, make_sampler

__all__ = [
    "SPLITS",
    "BatchSampler",
    "Dataset",
    "Document",
    "PackedBatch",
    "SourceFile",
    "Split",
    "TaskBatch",
    "TaskData",
    "choose",
    "data_hash",
    "load_dataset",
    "make_sampler",
    "pack",
    "source_files",
]
