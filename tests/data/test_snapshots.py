"""Populations at times: splits that leave the held-out time to the test alone, and files of cells in every form."""

import numpy as np
import pandas as pd
import pytest
import torch

from pathline.core.source import open_data
from pathline.data import DataError, Measurements, read, snapshots_of

GENERATOR = torch.Generator().manual_seed(0)


def populations(counts=(30, 40, 50, 60, 90), **fields):
    """Cells whose two coordinates are their time and their number: nobody can hide where it came from."""
    clouds = [torch.stack([torch.full((n,), float(k)), torch.arange(n).float()], 1) for k, n in enumerate(counts)]
    return snapshots_of(clouds, name="cells", **fields)


def test_the_middle_time_is_in_the_test_part_alone_and_nobody_is_in_two_parts():
    data = populations()
    parts = data.split(3)
    assert data.held_out() == 2
    for part in (parts.train, parts.validation):
        assert part.times.tolist() == [0, 1, 3, 4] and 2.0 not in part.positions[:, 0]
    assert (parts.test.positions[:, 0] == 2).sum() == 50 and parts.test.times.tolist() == [0, 1, 2, 3, 4]
    everyone = torch.cat([part.positions for part in (parts.train, parts.validation, parts.test)])
    assert len(torch.unique(everyone, dim=0)) == len(data) == len(everyone)
    assert torch.equal(parts.train.positions, data.split(3).train.positions)
    assert not torch.equal(parts.train.positions, data.split(4).train.positions)


def test_parts_keep_the_relative_masses_of_the_whole():
    data = populations()
    for part in (data.split().train, data.split().test):
        kept = [data.times.tolist().index(t) for t in part.times.tolist()]
        torch.testing.assert_close(part.masses, data.masses[kept], rtol=0, atol=0)
    given = populations((10, 10, 10), mass=torch.tensor([1.0, 2.0, 8.0])).split()
    assert given.train.masses.tolist() == [1, 8]


@pytest.mark.parametrize(("hold_out", "times"), [("none", [0, 1, 2, 3, 4]), ("1", [0, 2, 3, 4]), (3.0, [0, 1, 2, 4])])
def test_any_inner_time_or_none_can_be_held_out(hold_out, times):
    assert populations(hold_out=hold_out).split().train.times.tolist() == times


def test_two_times_are_all_learned_from():
    assert populations((10, 10)).split().train.times.tolist() == [0, 1]


def test_a_batch_knows_the_times_of_its_cells():
    data = snapshots_of([torch.zeros(3, 1), torch.ones(4, 1)], [0.5, 2.0])
    batch = data.gather(torch.tensor([0, 6]))
    assert batch.times.tolist() == [0.5, 2.0] and batch.snapshot.tolist() == [0, 1] and batch.positions[1, 0] == 1


def test_the_fingerprint_sees_positions_times_and_masses():
    marks = {
        populations().fingerprint(),
        populations(mass=torch.arange(1.0, 6)).fingerprint(),
        populations(times=[0.0, 1, 2, 3, 5]).fingerprint(),
        populations((30, 40, 50, 60, 91)).fingerprint(),
    }
    assert len(marks) == 4 and populations().fingerprint() in marks


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"times": [0.0, 2, 1, 3, 4]}, "do not increase"),
        ({"mass": torch.tensor([1.0, 0, 1, 1, 1])}, "one number above 0"),
        ({"hold_out": "4"}, "have others before and after"),
        ({"hold_out": "late"}, "choose 'middle', 'none' or one of the times 1, 2, 3"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(fields, message):
    with pytest.raises(DataError, match=message):
        populations(**fields)
    with pytest.raises(DataError, match=r"2 cells at time 1 cannot be split"):
        populations((9, 2, 9), hold_out="none").split()


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"day": np.repeat([0, 2, 7], [10, 12, 20]), "a": rng.normal(size=42), "b": rng.normal(size=42)})


def test_a_table_of_cells_is_read_and_its_mass_column_is_the_size_of_the_population(table, tmp_path):
    table.to_csv(tmp_path / "cells.csv", index=False)
    data = read(tmp_path / "cells.csv", "Snapshots")
    assert data.times.tolist() == [0, 2, 7] and data.counts.tolist() == [10, 12, 20] and data.columns == ("a", "b")
    assert data.masses.tolist() == [1, 1.2, 2]
    table.assign(mass=table["day"].map({0: 50, 2: 100, 7: 25})).to_csv(tmp_path / "cells.csv", index=False)
    assert read(tmp_path / "cells.csv", "Snapshots").masses.tolist() == [1, 2, 0.5]
    renamed = table.rename(columns={"day": "hours after"})
    renamed.to_parquet(tmp_path / "cells.parquet")
    assert open_data(str(tmp_path / "cells.parquet"), "transport", time_column="hours after").times.tolist() == [
        0,
        2,
        7,
    ]


def test_tables_that_cannot_be_meant_are_refused(table, tmp_path):
    path = tmp_path / "cells.csv"

    def refused(changed, message, **options):
        changed.to_csv(path, index=False)
        with pytest.raises(DataError, match=message):
            read(path, "Snapshots", **options)

    refused(table.rename(columns={"day": "when"}), "--time-column")
    refused(table, "missing column hour", time_column="hour")
    refused(
        table.assign(a=table["a"].astype(object).where(table.index != 4, "x")), "row 6, column 'a': 'x' is not a num"
    )
    refused(table.assign(mass=np.arange(42)), "rows of time 0 disagree")
    refused(table[["day"]], "no column of coordinates")


def test_arrays_and_sensor_readings_are_read_too(tmp_path):
    np.savez(tmp_path / "cells.npz", positions=np.arange(12.0).reshape(6, 2), times=np.array([0, 0, 1, 1, 1, 1]))
    assert read(tmp_path / "cells.npz", "Snapshots").counts.tolist() == [2, 4]
    np.savez(tmp_path / "timeless.npz", positions=np.arange(12.0).reshape(6, 2))
    with pytest.raises(DataError, match="'times'"):
        read(tmp_path / "timeless.npz", "Snapshots")
    (tmp_path / "birds.csv").write_text("time,x,y,density,u,v\n0,1,2,0.5,1,0\n0,3,2,,0,1\n1,1,2,0.4,,\n")
    birds = read(tmp_path / "birds.csv", "Snapshots")
    assert isinstance(birds, Measurements) and len(birds) == 3 and birds.columns == ("x", "y")
    assert torch.isnan(birds.density).tolist() == [False, True, False]
    assert torch.isnan(birds.velocity).all(1).tolist() == [False, False, True]
    (tmp_path / "flat.csv").write_text("time,x,y,density,u\n0,1,2,0.5,1\n")
    with pytest.raises(DataError, match="2 columns of coordinates"):
        read(tmp_path / "flat.csv", "Snapshots")


def test_all_readings_of_a_sensor_fall_into_one_part():
    places = torch.rand(20, 2).repeat_interleave(7, 0)
    data = Measurements(
        positions=places,
        times=torch.arange(7.0).repeat(20),
        density=torch.ones(140),
        velocity=torch.zeros(140, 2),
    )
    parts = data.split()
    sets = [{tuple(p) for p in part.positions.tolist()} for part in (parts.train, parts.validation, parts.test)]
    assert [len(s) for s in sets] == [16, 2, 2] and not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    with pytest.raises(DataError, match="density below 0"):
        Measurements(positions=places, times=data.times, density=-data.density, velocity=data.velocity)


def annotated(counts_per_gene=8):
    anndata = pytest.importorskip("anndata")
    rng = np.random.default_rng(1)
    rates = rng.gamma(2.0, 3.0, size=(60, counts_per_gene))
    obs = pd.DataFrame(
        {"day": pd.Categorical.from_codes(np.repeat([0, 1, 2], 20), pd.Index(["D0", "D2.5", "D4"], dtype=object))},
        index=pd.Index(list(map(str, range(60))), dtype=object),
    )
    var = pd.DataFrame(index=pd.Index([f"g{i}" for i in range(counts_per_gene)], dtype=object))
    return anndata.AnnData(X=rng.poisson(rates).astype(np.float32), obs=obs, var=var)


def test_annotated_cells_bring_an_embedding_and_times_in_words():
    from pathline.data.readers.h5ad import snapshots_of_cells, to_anndata

    cells = annotated()
    cells.obsm["X_pca"] = np.random.default_rng(2).normal(size=(60, 4))
    data = snapshots_of_cells(cells)
    assert data.times.tolist() == [0, 2.5, 4] and data.columns == ("pca1", "pca2", "pca3", "pca4")
    assert snapshots_of_cells(cells, components=2).dims == 2
    again = snapshots_of_cells(to_anndata(data), embedding="X_pathline")
    assert torch.equal(again.positions, data.positions) and torch.equal(again.masses, data.masses)
    with pytest.raises(DataError, match=r"obsm has no 'X_umap'; it holds X_pca"):
        snapshots_of_cells(cells, embedding="X_umap")


def test_counts_are_reduced_by_the_training_cells_alone():
    from pathline.data.readers.h5ad import snapshots_of_cells

    cells = annotated()
    data = snapshots_of_cells(cells, components=3)
    train = data.split().train
    logged = np.log1p(10_000 * cells.X / cells.X.sum(1, keepdims=True))
    rows = [int(np.flatnonzero((data.positions == p).all(1))[0]) for p in train.positions]
    assert len(rows) == 24 and not any(20 <= row < 40 for row in rows)
    axes = np.linalg.svd(logged[rows] - logged[rows].mean(0), full_matrices=False)[2][:3]
    expected = np.abs((logged - logged[rows].mean(0)) @ axes.T)
    np.testing.assert_allclose(np.abs(data.positions.numpy()), expected, atol=1e-4)
    held = cells.copy()
    held.X[20:40] += 5  # the held-out day and nothing else
    changed = snapshots_of_cells(held, components=3)
    torch.testing.assert_close(changed.split().train.positions, train.positions)


def test_another_file_is_reduced_as_the_file_of_the_run_was(tmp_path):
    from pathline.data.readers.h5ad import read_h5ad

    cells = annotated()
    cells.write_h5ad(tmp_path / "a.h5ad")
    cells[40:].copy().write_h5ad(tmp_path / "b.h5ad")
    whole, late = read_h5ad(tmp_path / "a.h5ad"), read_h5ad(tmp_path / "b.h5ad", like=str(tmp_path / "a.h5ad"))
    torch.testing.assert_close(late.positions, whole.positions[40:])
    cells[:, :5].copy().write_h5ad(tmp_path / "c.h5ad")
    with pytest.raises(DataError, match="its genes are not those of"):
        read_h5ad(tmp_path / "c.h5ad", like=str(tmp_path / "a.h5ad"))
    (tmp_path / "d.h5ad").write_text("no")
    with pytest.raises(DataError, match="not a readable h5ad file"):
        read_h5ad(tmp_path / "d.h5ad")
