"""Only text is scored; what the limit cuts is counted; characters are those of the scored text."""

from typing import Any

import pytest
from texts import BOS, EOS, LETTERS, byte_tokenizer, letter_tokenizer

from bora_trainer.data.records import Record
from bora_trainer.data.tokens import Tokenised, Tokeniser, share
from bora_trainer.errors import TrainerError


def ids(text: str) -> tuple[int, ...]:
    return tuple(LETTERS.index(letter) + 2 for letter in text)


def tokenise(record: Record, limit: int = 8, **tokenizer: bool) -> Tokenised:
    return Tokeniser(letter_tokenizer(**tokenizer), limit)([record], [3])[0]


def plain(text: str) -> Record:
    return Record("a", "7", "2001-01-01", text)


def pair(prompt: str, completion: str) -> Record:
    return Record("a", "7", "", completion, prompt)


def test_all_but_the_first_token_of_a_text_is_scored():
    done = tokenise(plain("cabbage"))
    assert done.document.tokens == ids("cabbage")
    assert (done.document.scored_from, done.document.scored, done.document.characters, done.cut) == (1, 6, 6, 0)
    assert (done.document.task, done.document.id, done.document.date) == (3, "7", "2001-01-01")


def test_a_bos_token_is_never_scored_and_the_whole_text_then_is():
    done = tokenise(plain("cab"), bos=True)
    assert done.document.tokens == (BOS, *ids("cab"))
    assert (done.document.scored, done.document.characters) == (3, 3)


def test_the_cut_is_counted():
    done = tokenise(plain("abcdefghijk"))
    assert (done.document.tokens, done.cut, done.document.characters) == (ids("abcdefgh"), 3, 7)


def test_completion_and_eos_are_scored_and_the_prompt_is_not():
    done = tokenise(pair("abc", "de"))
    assert done.document.tokens == (*ids("abcde"), EOS)
    assert (done.document.scored_from, done.document.scored, done.document.characters) == (3, 3, 2)
    with_bos = tokenise(pair("abc", "de"), bos=True, eos_appended=True)
    assert with_bos.document.tokens == (BOS, *ids("abcde"), EOS) and with_bos.document.scored_from == 4


def test_nothing_predicts_the_first_token_of_a_completion_without_a_prompt():
    done = tokenise(pair("", "abc"))
    assert (done.document.tokens, done.document.scored_from) == ((*ids("abc"), EOS), 1)
    assert done.document.characters == 2


def test_a_completion_is_cut_at_its_end():
    done = tokenise(pair("abcdef", "ghi"))
    assert (done.document.tokens, done.cut, done.document.scored) == (ids("abcdefgh"), 2, 2)


@pytest.mark.parametrize(
    ("record", "options", "words"),
    [
        (plain(""), {}, "has 0 tokens"),
        (plain("???"), {}, "has 0 tokens"),
        (plain("a"), {}, "has 1 tokens"),
        (plain(""), {"bos": True}, "has 1 tokens"),
        (plain("!"), {"bos": True, "eos_appended": True}, "has no text between its special tokens"),
        (pair("abc", ""), {}, "has an empty completion"),
        (pair("abcdefgh", "ij"), {}, "has 8 prompt tokens; cut to 8 nothing of its completion is left"),
    ],
)
def test_a_document_with_nothing_to_score_is_named(record: Record, options: dict[str, Any], words: str):
    with pytest.raises(TrainerError) as raised:
        tokenise(record, **options)
    assert raised.value.code == "data_document_empty"
    assert "document '7' of task 'a'" in raised.value.message and words in raised.value.message


def test_texts_and_pairs_keep_their_order_over_several_calls_of_the_tokenizer():
    records = [plain("ab" + LETTERS[i % 26]) if i % 3 else pair("ab", LETTERS[i % 26]) for i in range(2100)]
    done = Tokeniser(letter_tokenizer(), 8)(records, list(range(2100)))
    assert [one.document.task for one in done] == list(range(2100))
    assert [one.document.tokens[2] for one in done] == [2 + i % 26 for i in range(2100)]
    assert [one.document.scored_from for one in done] == [1 if i % 3 else 2 for i in range(2100)]


def test_characters_are_letters_not_bytes():
    """A letter of several tokens counts once, where its last token ends or begins."""
    text = "aæø🎭b"
    whole = Tokeniser(byte_tokenizer(), 50)([plain(text)], [0])[0].document
    assert len(whole.tokens) == 1 + 2 + 2 + 4 + 1 and whole.characters == 4


def test_characters_without_offsets_are_those_of_the_decoded_text(monkeypatch: pytest.MonkeyPatch):
    """Tokenizers in pure Python give no offsets."""
    tokenizer = letter_tokenizer()
    monkeypatch.setattr(type(tokenizer), "is_fast", False)
    done = Tokeniser(tokenizer, 8)([plain("abcdefghijk"), pair("abc", "de")], [0, 1])
    assert [(one.document.characters, one.document.scored) for one in done] == [(7, 7), (2, 3)]


def test_shares_are_never_rounded_to_nothing():
    assert [share(0, 9), share(1, 900), share(1, 3), share(9, 9)] == ["0%", "1%", "33%", "100%"]
