"""Tables of strings and their rewards as environments: a user's file, and the built-in ones."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pathline.data.errors import DataError
from pathline.data.tables import numbers, require_columns

if TYPE_CHECKING:
    from pathline.sims.environments import Strings

STRING_NAMES = ("string", "sequence", "object")
REWARD_NAMES = ("reward", "score", "y")
FLOOR_SHARE = 0.01  # of the least listed reward above 0: what a string that nobody measured is worth


def strings_from_table(
    table: pd.DataFrame,
    file: str,
    *,
    alphabet: str | None = None,
    growth: str = "end",
    floor: float | None = None,
    exponent: float = 1.0,
    **fields: Any,
) -> "Strings":
    """Columns string and reward: objects are all strings over the letters that occur, of the lengths that occur
    between the shortest and the longest.

    alphabet: letters in an order of your own, also ones that do not occur; by default those that occur, sorted
    growth:   "end" builds strings from left to right, "both" at either end
    floor:    reward of strings that are not listed, and the least reward of those that are; by default 1 percent of
              the least listed reward above 0
    exponent: beta of R = reward^beta; more favours the best

    Raises:
        DataError: naming the file, row and column of a reward that is no number or negative, an empty or repeated
            string, or a letter that is not of `alphabet`.
    """
    from pathline.sims.environments import Strings

    text, worth = (_column(table, file, names) for names in (STRING_NAMES, REWARD_NAMES))
    reward = numbers(table[[worth]], file)[:, 0]
    if (reward < 0).any():
        row = int((reward < 0).argmax())
        raise DataError(
            f"{file}, row {row + 2}, column '{worth}': the reward {reward[row]:g} is negative; add a constant, or give "
            "exp(score)"
        )
    words = table[text].fillna("").astype(str).str.strip()
    _refuse_words(words, file, text, alphabet)
    letters = alphabet or "".join(sorted(set("".join(words))))
    if floor is None:
        if not (reward > 0).any():
            raise DataError(f"{file}, column '{worth}': every reward is 0, so there is nothing to build")
        floor = FLOOR_SHARE * float(reward[reward > 0].min())
    if not (math.isfinite(floor) and floor > 0):
        raise DataError(f"{file}: the floor is {floor:g}; it is a reward, and must be above 0")
    lengths = words.str.len()
    longest = int(lengths.max())
    return Strings(
        alphabet=letters,
        shortest=int(lengths.min()),
        longest=longest,
        growth=growth,
        letters=letters_of(words.tolist(), letters, longest),
        rewards=torch.tensor(reward, dtype=torch.float32),
        floor=floor,
        exponent=exponent,
        name=Path(file).stem,
        **fields,
    )


def _column(table: pd.DataFrame, file: str, names: tuple[str, ...]) -> str:
    """The column that has one of `names`, whatever its case."""
    found = [name for name in table.columns if str(name).strip().lower() in names]
    if not found:
        require_columns(table, file, (names[0],))
    return str(found[0])


def _refuse_words(words: pd.Series, file: str, column: str, alphabet: str | None) -> None:
    """Raise a `DataError` for the first string that is empty, there twice, or not of the alphabet."""
    where = f"{file}, row {{}}, column '{column}'"
    if (words == "").any():
        row = int((words == "").to_numpy().argmax())
        raise DataError(f"{where.format(row + 2)}: the string is empty")
    twice = words.duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        first = int((words == words.iloc[row]).to_numpy().argmax())
        raise DataError(
            f"{where.format(row + 2)}: '{words.iloc[row]}' is there already, in row {first + 2}; keep one of them"
        )
    if alphabet is not None:
        strange = ~words.map(lambda word: set(word) <= set(alphabet)).to_numpy(bool)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(f"{where.format(row + 2)}: '{words.iloc[row]}' has letters that are not among '{alphabet}'")


def letters_of(words: list[str], alphabet: str, longest: int) -> torch.Tensor:
    """(words, longest) int64: letters 1 .. K of `alphabet`, 0 beyond a word's end."""
    points = np.zeros((len(words), longest), dtype=np.uint32)
    if words:
        points = np.array(words, dtype=f"<U{longest}").view(np.uint32).reshape(len(words), longest)
    place = np.zeros(int(points.max(initial=0)) + 1 + max(map(ord, alphabet)), dtype=np.int64)
    place[[ord(letter) for letter in alphabet]] = np.arange(1, len(alphabet) + 1)
    return torch.from_numpy(place[points])


# -- the built-in tables ----------------------------------------------------------------------------------------------

# how the file numbers bases: with any other order SIX6's own motif GTATCA would be among its weak binders
BASES = "ACGT"
BLOCKS = "0123456789a"


def tfbind8(path: Path) -> "Strings":
    """Measured binding of the factor SIX6 to the weaker half of all DNA 8-mers, both strands alike: 0 to 0.44.

    The stronger half is not in the file: its 32,768 strings have the floor as their reward here, which says that nobody
    measured them and not that they bind weakly. It is a real table to build on, and no oracle of good binders.
    """
    from pathline.data.readers.pickled import read_arrays
    from pathline.sims.environments import Strings

    table = read_arrays(path)
    bases, first = np.unique(
        table["x"], axis=0, return_index=True
    )  # the 130 that are their own other strand stand twice
    letters = torch.from_numpy(bases.astype(np.int64)) + 1
    rewards = torch.from_numpy(table["y"].astype(np.float32))[first, 0]
    return Strings(alphabet=BASES, shortest=8, longest=8, letters=letters, rewards=rewards, floor=1e-3, exponent=3.0)


def qm9_strings(path: Path) -> "Strings":
    """All strings of five of eleven molecular blocks with their scores, -2.8 to 17.4, grown at both ends; scores
    below 0.001 count as 0.001, and R = score^5."""
    from pathline.data.readers.pickled import read_arrays
    from pathline.sims.environments import Strings

    table = read_arrays(path)
    rewards = torch.tensor([float(value) for value in table.values()])
    letters = letters_of(list(table), BLOCKS, 5)
    return Strings(
        alphabet=BLOCKS,
        shortest=5,
        longest=5,
        growth="both",
        letters=letters,
        rewards=rewards,
        floor=1e-3,
        exponent=5.0,
    )
