"""Lists end to end: the places that a selection of them occupies."""

import torch

from pathline.graph.ragged import entries_of


def test_entries_of_rows_are_those_of_the_rows_also_repeated_and_empty_ones():
    place, entry = entries_of(torch.tensor([0, 2, 2, 5]), torch.tensor([2, 1, 0, 2]))
    assert place.tolist() == [0, 0, 0, 2, 2, 3, 3, 3] and entry.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
