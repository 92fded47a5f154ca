"""Interactions: honest splits, what is refused, files in any order of columns, and negatives that nobody has."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

import pathline as pl
from pathline.data import DataError, Interactions
from pathline.data.sets import load
from pathline.data.unseen import Unseen


def shop(users: int = 40, items: int = 30, each: int = 10, seed: int = 0, times: bool = True) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    item = torch.rand(users, items, generator=generator).topk(each, 1).indices.flatten()
    time = torch.rand(users * each, generator=generator, dtype=torch.float64) if times else None
    return Interactions(user=torch.arange(users).repeat_interleave(each), item=item, time=time, name="shop")


def pairs(data: Interactions) -> set[tuple[int, int]]:
    return set(zip(data.user.tolist(), data.item.tolist(), strict=True))


# -- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["last", "random"])
def test_parts_are_disjoint_complete_and_of_every_user(how: str) -> None:
    data = replace(shop(), hold_out=how)
    split = data.split(3)
    parts = [pairs(part) for part in (split.train, split.validation, split.test)]
    assert parts[0] | parts[1] | parts[2] == pairs(data) and sum(map(len, parts)) == len(data)
    for part in (split.validation, split.test):
        assert torch.equal(torch.bincount(part.user), torch.ones(40, dtype=torch.int64)), "a tenth of ten rows each"


def test_by_time_everything_a_user_is_tested_on_comes_after_what_it_is_learned_from() -> None:
    split = shop().split(0)
    assert shop().protocol == "last" and shop(times=False).protocol == "random"
    latest = torch.zeros(40, dtype=torch.float64).scatter_reduce(0, split.train.user, split.train.time, "amax")
    assert bool((split.validation.time > latest[split.validation.user]).all())
    between = torch.zeros(40, dtype=torch.float64).index_put((split.validation.user,), split.validation.time)
    assert bool((split.test.time > between[split.test.user]).all())


def test_what_is_learned_from_does_not_change_with_what_is_held_out() -> None:
    """The training part is the same whatever the held-out rows say: nothing of them leaks into it."""
    data = shop()
    test = pairs(data.split(0).test)
    held = torch.tensor([(u, i) in test for u, i in zip(data.user.tolist(), data.item.tolist(), strict=True)])
    other = data.item.clone()
    for row in held.nonzero().flatten().tolist():
        free = set(range(30)) - {i for u, i in pairs(replace(data, item=other)) if u == int(data.user[row])}
        other[row] = min(free)
    changed = replace(data, item=other)
    assert pairs(changed) != pairs(data)
    assert changed.split(0).train.fingerprint() == data.split(0).train.fingerprint()


def test_what_came_before_is_known_to_the_parts_that_come_after() -> None:
    split = shop().split(0)
    assert split.train.known is None
    known = [set(zip(*part.known.tolist(), strict=True)) for part in (split.validation, split.test)]
    assert known[0] == pairs(split.train) and known[1] == pairs(split.train) | pairs(split.validation)
    assert not known[1] & pairs(split.test)


def test_rows_of_one_time_are_held_out_at_random() -> None:
    data = replace(shop(), time=torch.zeros(400, dtype=torch.float64))
    tests = [pairs(data.split(seed).test) for seed in (0, 1)]
    assert tests[0] != tests[1] and tests[0] == pairs(data.split(0).test)


def test_a_user_with_few_rows_is_only_learned_from() -> None:
    data = Interactions(user=torch.tensor([0, 0, 0, 0, 1, 1]), item=torch.tensor([0, 1, 2, 3, 0, 1]), name="few")
    split = data.split()
    assert set(split.test.user.tolist()) == {0} and (split.train.user == 1).sum() == 2
    with pytest.raises(DataError, match="few: no user has the 3 interactions"):
        Interactions(user=torch.tensor([0, 1]), item=torch.tensor([0, 1]), name="few").split()


def test_published_parts_are_kept_and_validation_comes_from_the_training_part() -> None:
    data = shop(times=False)
    parts = torch.zeros(400, dtype=torch.int64)
    parts[::10] = 2
    split = replace(data, parts=parts).split(0)
    assert pairs(split.test) == pairs(data.take(torch.arange(0, 400, 10)))
    assert len(split.validation) == 40 and len(split.validation.user.unique()) == 40


def test_a_threshold_says_what_is_positive() -> None:
    rated = replace(shop(), rating=torch.arange(400) % 5 + 1.0, threshold=4.0)
    assert int(rated.positive.sum()) == 160 and rated.describe()["positive_from"] == 4.0
    assert bool(shop().positive.all()) and shop().describe()["positive_from"] == "every row"
    with pytest.raises(DataError, match="a threshold of 4 needs ratings"):
        replace(shop(), threshold=4.0)


def test_a_pair_that_is_there_twice_is_named() -> None:
    with pytest.raises(DataError, match=r"twice: user 'b' has item 'y' twice"):
        Interactions(
            user=torch.tensor([0, 1, 1]),
            item=torch.tensor([0, 1, 1]),
            users=("a", "b"),
            items=("x", "y"),
            name="twice",
        )


def test_one_row_of_every_user_is_learned_from_whatever_the_shares() -> None:
    few = Interactions(
        user=torch.arange(6).repeat_interleave(3),
        item=(torch.arange(6)[:, None] + torch.arange(3)).flatten(),
        shares=(0.45, 0.5),
        name="few",
    )
    split = few.split(0)
    for part in (split.train, split.validation, split.test):
        assert torch.bincount(part.user).tolist() == [1] * 6
    with pytest.raises(DataError, match=r"shares are \(0.5, 0.5\); give two that .* add up to below 1"):
        replace(few, shares=(0.5, 0.5))


def test_where_everybody_has_everything_there_is_nothing_to_split() -> None:
    with pytest.raises(DataError, match=r"one: the one user 'ann' has every item \(4 in all\)"):
        Interactions(user=torch.zeros(4).long(), item=torch.arange(4), users=("ann",), name="one").split()
    full = Interactions(user=torch.arange(3).repeat_interleave(4), item=torch.arange(4).repeat(3), name="full")
    with pytest.raises(DataError, match="full: each of the 3 users has every item"):
        full.split()


def test_a_name_that_stands_for_two_is_refused() -> None:
    with pytest.raises(DataError, match="twins: two users are named 'a'; give each user a name of its own"):
        Interactions(user=torch.tensor([0, 1]), item=torch.tensor([0, 0]), users=("a", "a"), name="twins")


# -- files ------------------------------------------------------------------------------------------------------------


def written(folder: Path, text: str, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_columns_are_known_by_name_in_any_order(tmp_path: Path) -> None:
    path = written(tmp_path, "stars,when,Movie_ID,note,userId\n5,3,007,x,ann\n1,2,7,,bob\n4,1,007,z,bob\n")
    data = pl.read(path, room="recommend", threshold=4, time_column="when")
    assert data.users == ("ann", "bob") and data.items == ("007", "7"), "names stay as they are written"
    assert data.rating.tolist() == [5, 1, 4] and data.time.tolist() == [3, 2, 1] and data.positive.tolist() == [1, 0, 1]
    plain = pl.read(written(tmp_path, "item,user\na,b\nc,b\n"), room="recommend")
    assert plain.rating is None and plain.time is None and plain.items == ("a", "c")


def test_names_of_other_people_s_columns_are_understood(tmp_path: Path) -> None:
    books = pl.read(
        written(tmp_path, "User-ID,ISBN,Book-Rating\n276725,034545104X,0\n276726,0155061224,5\n"), room="recommend"
    )
    assert books.items == ("034545104X", "0155061224") and books.rating.tolist() == [0, 5]
    films = pl.read(written(tmp_path, "userId,movieId,title,rating,timestamp\n1,2,Jumanji,3.5,11\n"), room="recommend")
    assert films.items == ("2",), "an id is plainer than a title"
    assert films.rating.tolist() == [3.5] and films.time.tolist() == [11]


def test_columns_of_any_name_may_be_named(tmp_path: Path) -> None:
    text = "wer,was,wie,wann,user\nann,x,5,3,0\nbob,x,-1,2,0\n"
    named = {"user_column": "wer", "item_column": "was", "rating_column": "wie", "time_column": "wann"}
    data = pl.read(written(tmp_path, text), room="recommend", **named)
    assert data.users == ("ann", "bob") and data.rating.tolist() == [5, -1] and data.time.tolist() == [3, 2]
    for wrong, said in (
        ({**named, "item_column": "what"}, "there is no column 'what'; the file has wer, was"),
        ({**named, "item_column": "wer"}, "column 'wer' cannot be two things"),
        ({"user_column": "wer"}, "no other column is named item .* name yours with --item-column"),
        ({**named, "interval": 3.0}, "not read with --interval; leave it out"),
    ):
        with pytest.raises(DataError, match=said):
            pl.read(written(tmp_path, text), room="recommend", **wrong)


def test_names_that_differ_in_blanks_only_are_one(tmp_path: Path) -> None:
    data = pl.read(written(tmp_path, "user,item\nann ,x\nann,y\n bob,x\n"), room="recommend")
    assert data.users == ("ann", "bob") and data.user.tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="row 3: user 'ann' has item 'x' a second time, after row 2"):
        pl.read(written(tmp_path, "user,item\nann ,x\nann,x\n"), room="recommend")


def test_numbers_of_a_parquet_file_are_names_and_a_gap_among_them_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"user": [7, 3], "item": [1, 1]}).to_parquet(tmp_path / "n.parquet")
    assert pl.read(tmp_path / "n.parquet", room="recommend").users == ("7", "3")
    pd.DataFrame({"user": ["a", None], "item": [1, 1]}).to_parquet(tmp_path / "n.parquet")
    with pytest.raises(DataError, match="row 3, column 'user': the user is missing"):
        pl.read(tmp_path / "n.parquet", room="recommend")


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("r.tsv", "user\titem\tuser\na\tx\tb\n", "row 1: two columns are named 'user'"),
        ("r.tsv", "", "the file is empty; it needs a header row"),
        ("r.tsv", "user\titem\trating\na\tx\t3\nb\ty\n", "row 3, column 'rating': the cell is empty"),
        ("r.csv", "user;item\na;x\n", "separated by ';', but csv by commas"),
        ("r.csv", "user,item,rating\na,x,4\na,y,NaN\n", "row 3, column 'rating': 'NaN' is no finite number"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        pl.read(written(tmp_path, text, name), room="recommend")
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_dates_become_seconds_and_other_formats_read_alike(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,time\na,x,2024-01-01\na,y,2024-01-02 12:00\n")
    data = pl.read(path, room="recommend")
    assert (data.time[1] - data.time[0]).item() == 36 * 3600
    tabs = written(tmp_path, "user_id:token\titem_id:token\trating:float\na\tx\t3\n", "r.inter")
    pd.DataFrame({"user": ["a"], "item": ["x"], "rating": [3]}).to_parquet(tmp_path / "r.parquet")
    for other in (tabs, tmp_path / "r.parquet"):
        assert pl.read(other, room="recommend").rating.tolist() == [3]


@pytest.mark.parametrize(
    "text, said",
    [
        ("user,product_name\na,x\n", "no column is named item"),
        ("user,item,user_id\na,x,1\n", "columns user and user_id could both be the user; say which with --user-column"),
        ("user,item\na,x\n,y\n", "row 3, column 'user': the user is missing"),
        ("user,item\na,x\nb, \n", "row 3, column 'item': the item is missing"),
        (
            "user,item,rating\na,x,4\na,y,good\n",
            "row 3, column 'rating': 'good' is no finite number; write the rating or remove the row",
        ),
        ("user,item,rating\na,x,4\na,y,\n", "row 3, column 'rating': the cell is empty"),
        ("user,item,rating\na,x,inf\n", "row 2, column 'rating': 'inf' is no finite number"),
        ("user,item,time\na,x,1\na,y,soon\n", "row 3, column 'time': 'soon' is not a time"),
        ("user,item\na,x\nb,x\na,x\n", "row 4: user 'a' has item 'x' a second time, after row 2; .*--duplicates"),
        ("user,item\na,x\nb\n", "row 3: it has 1 of 2 columns"),
        ("user,item\n", "there is a header but no data row"),
        ("", "the file is empty"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        pl.read(written(tmp_path, text), room="recommend")
    assert "\n" not in str(caught.value) and "r.csv" in str(caught.value)


def test_of_several_rows_of_a_pair_one_may_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,rating\na,x,1\na,x,5\nb,x,2\n")
    for kept, ratings in (("first", [1, 2]), ("last", [5, 2])):
        assert pl.read(path, room="recommend", duplicates=kept).rating.tolist() == ratings
    with pytest.raises(DataError, match="duplicates is 'sum'; choose first or last"):
        pl.read(path, room="recommend", duplicates="sum")
    with pytest.raises(DataError, match="no rating reaches the threshold of 6; the highest is 5"):
        pl.read(path, room="recommend", duplicates="last", threshold=6)


# -- built-in sets ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("recbole") is None, reason="recbole, in which the file ships, is not installed")
def test_movielens_is_100000_ratings_with_times() -> None:
    data = load("movielens-100k")
    assert (len(data), len(data.users), len(data.items)) == (100_000, 943, 1682) and data.protocol == "last"
    assert torch.bincount(data.rating.long()).tolist()[1:] == [6110, 11370, 27145, 34174, 21201], "as in its README"


def test_movielens_without_its_package_and_the_network_says_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pathline.data import rating_sets

    monkeypatch.setattr(rating_sets, "find_spec", lambda name: None)
    monkeypatch.setattr(rating_sets, "TIMEOUT", 1)
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="pip install --no-deps recbole"):
        load("movielens-100k")


def test_the_archive_of_its_owner_reads_like_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import io

    from pathline.data import rating_sets

    monkeypatch.setattr(rating_sets, "find_spec", lambda name: None)
    monkeypatch.setattr(
        rating_sets, "_archive", lambda: io.BytesIO(b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    )
    data = load("movielens-100k")
    assert data.users == ("186", "196") and data.items == ("242", "302") and data.user.tolist() == [1, 0]


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    from pathline.data.readers.pickled import read_places

    path = tmp_path / "m.pkl"
    path.write_bytes(b"cos\nsystem\n(S'echo harm > " + str(tmp_path / "harm").encode() + b"'\ntR.")
    with pytest.raises(DataError, match=r"not a pickle of one sparse matrix of scipy .*os\.system"):
        read_places(path)
    assert not (tmp_path / "harm").exists()


def test_a_pickled_matrix_must_be_one_whose_entries_lie_in_it(tmp_path: Path) -> None:
    import pickle

    from scipy.sparse import coo_matrix

    from pathline.data.readers.pickled import read_places

    path = tmp_path / "m.pkl"
    matrix = coo_matrix([[0.0, 2], [1, 0]])
    path.write_bytes(pickle.dumps(matrix))
    row, column, shape = read_places(path)
    assert row.tolist() == [0, 1] and column.tolist() == [1, 0] and shape == (2, 2)
    matrix.coords[1][0] = 7
    for wrong in (matrix, matrix.data, coo_matrix([[1.0]]).tocsr()):
        path.write_bytes(pickle.dumps(wrong))
        with pytest.raises(DataError, match="not a pickle of one sparse matrix"):
            read_places(path)


def test_matrices_of_another_width_are_one_set(tmp_path: Path) -> None:
    import pickle

    from scipy.sparse import coo_matrix

    from pathline.data.rating_sets import purchases

    for name, matrix in (("a", [[1.0, 1, 0], [0, 1, 1]]), ("b", [[0.0, 0], [1, 0]])):
        (tmp_path / name).write_bytes(pickle.dumps(coo_matrix(matrix)))
    data = purchases([tmp_path / "a", tmp_path / "b"])
    assert pairs(data) == {(0, 0), (0, 1), (1, 1), (1, 2), (1, 0)} and data.parts.tolist() == [0, 0, 0, 0, 2]


# -- negatives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_a_negative_is_never_had_and_follows_its_law(kind: str) -> None:
    data = shop(6, 12, 5)
    unseen = Unseen(data.user, data.item, 6, 12)
    users = torch.arange(6).repeat_interleave(20_000)
    drawn = unseen.draw(users, torch.Generator().manual_seed(0), kind)
    assert not bool(unseen.has(users, drawn).any())
    count = torch.zeros(6, 12).index_put((users, drawn), torch.ones(len(users)), accumulate=True) / 20_000
    weight = torch.ones(12) if kind == "uniform" else torch.bincount(data.item, minlength=12).float() ** 0.75
    free = torch.ones(6, 12).index_put((data.user, data.item), torch.zeros(len(data))) * weight
    law = free / free.sum(1, keepdim=True)
    assert float((count - law).abs().max()) < 4.5 * (0.25 / 20_000) ** 0.5


def test_who_has_everything_gets_any_item() -> None:
    unseen = Unseen(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), 2, 2)
    drawn = unseen.draw(torch.tensor([0] * 50 + [1] * 50), torch.Generator().manual_seed(0))
    assert set(drawn[:50].tolist()) == {0, 1} and set(drawn[50:].tolist()) == {1}
