"""From text to scored tokens, cut to the limit. Only real text is scored: never padding, a prompt or a BOS token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from bora_trainer.data.documents import Document
from bora_trainer.data.records import Record
from bora_trainer.errors import TrainerError

_BATCH = 1000  # texts a call: large enough for the tokenizer's threads, small enough for its offsets to fit in memory


@dataclass(frozen=True, slots=True)
class Tokenised:
    """A document and how many tokens the limit took from its end."""

    document: Document
    cut: int


@dataclass(frozen=True, slots=True)
class _Text:
    """Tokens of one text, and for each the number of characters of the text up to its end (None: not known)."""

    tokens: list[int]
    ends: list[int] | None


class Tokeniser:
    """Tokenises records with a model's own tokenizer; max_tokens is at least 2."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self._tokenizer, self._limit = tokenizer, max_tokens
        self._eos: int | None = tokenizer.eos_token_id  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(self, records: Sequence[Record], tasks: Sequence[int]) -> list[Tokenised]:
        """One Tokenised a record, in order; `tasks` are their task indices.

        Raises data_document_empty for a document with no scored token, before or after the cut.
        """
        done: list[Tokenised] = []
        for start in range(0, len(records), _BATCH):
            some = records[start : start + _BATCH]
            plain = [record.prompt is None for record in some]
            texts = self._encode([r.text for r in some if r.prompt is None], special=True)
            prompts = self._encode([r.prompt for r in some if r.prompt is not None], special=True)
            completions = self._encode([r.text for r in some if r.prompt is not None], special=False)
            for offset, (record, is_plain) in enumerate(zip(some, plain, strict=True)):
                task = tasks[start + offset]
                if is_plain:
                    done.append(self._plain(record, task, next(texts)))
                else:
                    done.append(self._completion(record, task, next(prompts), next(completions)))
        return done

    def _plain(self, record: Record, task: int, text: _Text) -> Tokenised:
        """All tokens but the first are scored; the tokenizer's own special tokens are kept, none is added."""
        if len(text.tokens) < 2:
            raise _empty(record, f"has {len(text.tokens)} tokens, and the first is not scored")
        if len(text.tokens) == 2 and text.tokens[1] == self._eos and text.ends is not None and text.ends[0] == 0:
            raise _empty(record, "has no text between its special tokens")
        tokens = text.tokens[: self._limit]
        document = Document(task, record.id, record.date, tuple(tokens), 1, self._characters(tokens, text.ends, 1))
        return Tokenised(document, len(text.tokens) - len(tokens))

    def _completion(self, record: Record, task: int, prompt: _Text, completion: _Text) -> Tokenised:
        """Prompt and completion are tokenised apart and joined; the completion and a closing EOS are scored."""
        head = prompt.tokens[:-1] if prompt.tokens and prompt.tokens[-1] == self._eos else prompt.tokens
        if not completion.tokens:
            raise _empty(record, "has an empty completion")
        whole = [*head, *completion.tokens, *([] if self._eos is None else [self._eos])]
        first = max(1, len(head))
        tokens = whole[: self._limit]
        if len(tokens) <= first:
            raise _empty(
                record, f"has {len(head)} prompt tokens; cut to {self._limit} nothing of its completion is left"
            )
        ends = None if completion.ends is None else [0] * len(head) + completion.ends + completion.ends[-1:]
        characters = self._characters(tokens, ends, first)
        return Tokenised(
            Document(task, record.id, record.date, tuple(tokens), first, characters), len(whole) - len(tokens)
        )

    def _characters(self, tokens: list[int], ends: list[int] | None, first: int) -> int:
        """Characters of the scored text: tokens[first:]."""
        if ends is not None:
            return ends[len(tokens) - 1] - ends[first - 1]
        return len(str(self._tokenizer.decode(tokens[first:], skip_special_tokens=True)))

    def _encode(self, texts: Sequence[str], special: bool):
        if not texts:
            return
        fast = bool(self._tokenizer.is_fast)
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=special,
            return_attention_mask=False,
            return_offsets_mapping=fast,
            truncation=False,
            verbose=False,  # long texts are cut and counted here, not warned about there
        )
        for index, tokens in enumerate(encoded["input_ids"]):  # pyright: ignore[reportArgumentType]
            yield _Text(tokens, _running_ends(encoded["offset_mapping"][index]) if fast else None)  # pyright: ignore


def _running_ends(offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Characters up to each token's end; special tokens, which have offsets (0, 0), add none."""
    ends, reached = [], 0
    for _, end in offsets:
        reached = max(reached, end)
        ends.append(reached)
    return ends


def _empty(record: Record, problem: str) -> TrainerError:
    return TrainerError(
        "data_document_empty",
        f"document {record.id!r} of task {record.task!r} {problem}",
        "remove the document, or raise data.maxTokens if its prompt is long",
    )


def share(part: int, whole: int) -> str:
    """A percentage for messages, never rounded to 0 when there is some."""
    return f"{max(1, math.floor(100 * part / whole + 0.5)) if part else 0}%"
