"""Annotated single cells (.h5ad), read and written by anndata: cells with a time in `obs`, as populations.

Coordinates are an embedding of `obsm`. Without one, genes are reduced here: counts are brought to 10,000 a cell and
log(1 + x) is taken, then come the principal components of the training part alone, so that neither test cells nor the
held-out time have a say in the coordinates they are judged in.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pathline.data.errors import DataError
from pathline.data.population_tables import snapshots_from_arrays, the_time_column, times_of_labels
from pathline.data.snapshots import Snapshots

if TYPE_CHECKING:
    import anndata

COMPONENTS = 5
COUNTS_PER_CELL = 10_000
MASSES = "relative_mass"  # uns: one number per time


def read_h5ad(path: str | Path, **options: Any) -> Snapshots:
    """The cells of a file as populations; options as in `snapshots_of_cells`."""
    anndata = _anndata(path)
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        cells = anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata raise whatever they met
        raise DataError(f"{path}: not a readable h5ad file ({str(error).splitlines()[0]})") from None
    return snapshots_of_cells(cells, str(path), **options)


def snapshots_of_cells(
    cells: "anndata.AnnData",
    file: str = "cells",
    *,
    time_column: str | None = None,
    embedding: str | None = None,
    components: int | None = None,
    like: str | None = None,
    **fields: Any,
) -> Snapshots:
    """An AnnData as populations.

    time_column: of `obs`; by default one that is called time, day, ...
    embedding:   of `obsm`; by default X_pca if there, else principal components of the training part
    components:  how many leading columns to keep; by default all of an embedding, and 5 principal components
    like:        another h5ad file, by whose training part the genes are reduced
    """
    name = the_time_column(list(map(str, cells.obs.columns)), f"{file}, obs", time_column)
    times = times_of_labels(cells.obs[name], file, name)
    if embedding is None and "X_pca" in cells.obsm:
        embedding = "X_pca"
    if embedding is None:
        values = _expression(cells.X, file)
        if like is not None and like.endswith(".h5ad") and Path(like).is_file():
            source = _anndata(like).read_h5ad(like)
            if list(source.var_names) != list(cells.var_names):
                raise DataError(f"{file}: its genes are not those of {like}, which the run learned from")
            own = the_time_column(list(map(str, source.obs.columns)), f"{like}, obs", time_column)
            rows = _training_rows(times_of_labels(source.obs[own], like, own), like, fields)
            training = _expression(source.X, like)[rows]
        else:
            training = values[_training_rows(times, file, fields)]
        positions = _principal_components(values, training, components or COMPONENTS)
        columns = tuple(f"pc{i + 1}" for i in range(positions.shape[1]))
    else:
        if embedding not in cells.obsm:
            there = ", ".join(cells.obsm) or "nothing"
            raise DataError(f"{file}: obsm has no '{embedding}'; it holds {there}")
        positions = np.asarray(cells.obsm[embedding], dtype=np.float64)[:, :components]
        columns = tuple(f"{embedding.removeprefix('X_')}{i + 1}" for i in range(positions.shape[1]))
    mass = None
    if MASSES in cells.uns:
        given, moments = np.asarray(cells.uns[MASSES], dtype=float), np.unique(times)
        if given.shape != moments.shape:
            raise DataError(f"{file}: uns['{MASSES}'] has {given.size} numbers for {len(moments)} times")
        mass = given[np.searchsorted(moments, times)]
    return snapshots_from_arrays(positions, times, file, mass=mass, columns=columns, **fields)


def to_anndata(data: Snapshots) -> "anndata.AnnData":
    """The populations as an AnnData: times in obs['time'], coordinates as X and obsm['X_pathline'], masses in uns."""
    anndata = _anndata(data.name)
    obs = pd.DataFrame({"time": data.times[data.snapshot].numpy()}, index=_names(range(len(data))))
    columns = data.columns or tuple(f"x{i + 1}" for i in range(data.dims))
    cells = anndata.AnnData(X=data.positions.numpy(), obs=obs, var=pd.DataFrame(index=_names(columns)))
    cells.obsm["X_pathline"] = data.positions.numpy()
    cells.uns[MASSES] = data.masses.numpy()
    return cells


def write_h5ad(table: pd.DataFrame, path: str | Path) -> None:
    """A table of predicted cells as an AnnData: coordinates as X and obsm['X_pathline'], all other columns in obs."""
    anndata = _anndata(path)
    others = [name for name in table.columns if name in ("cell", "time", "log_weight")]
    coordinates = table.drop(columns=others)
    obs = table[others].set_axis(_names(range(len(table))), axis=0)
    values = coordinates.to_numpy(np.float32)
    cells = anndata.AnnData(X=values, obs=obs, var=pd.DataFrame(index=_names(coordinates.columns)))
    cells.obsm["X_pathline"] = values
    cells.write_h5ad(path)


def _names(values: Any) -> pd.Index:
    """An index of plain strings: anndata does not write those of pandas' own string type yet."""
    return pd.Index([str(value) for value in values], dtype=object)


def _anndata(path: str | Path) -> Any:
    try:
        import anndata
    except ModuleNotFoundError:
        raise DataError(f"{path}: annotated cells need anndata; pip install 'pathline[cells]'") from None
    return anndata


def _training_rows(times: np.ndarray, file: str, fields: dict[str, Any]) -> np.ndarray:
    """Rows that `split` will put into the training part: it looks at times alone, so row numbers can stand in."""
    numbered = snapshots_from_arrays(np.arange(len(times), dtype=float)[:, None], times, file, **fields)
    rows: np.ndarray = numbered.split().train.positions[:, 0].long().numpy()
    return rows


def _expression(genes: Any, file: str) -> np.ndarray:
    """X as an array; whole numbers are counts, of which the logarithm per 10,000 is taken."""
    from scipy import sparse

    if genes is None:
        raise DataError(f"{file}: there is neither an embedding in obsm nor a matrix X to reduce")
    values: np.ndarray = np.asarray(genes.toarray() if sparse.issparse(genes) else genes, dtype=np.float64)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{file}: X[{row}, {column}] is {values[row, column]}; fill it or remove the cell")
    if (values >= 0).all() and (values == np.rint(values)).all():
        values = np.log1p(COUNTS_PER_CELL * values / np.maximum(values.sum(1, keepdims=True), 1))
    return values


def _principal_components(values: np.ndarray, training: np.ndarray, components: int) -> np.ndarray:
    """Scores of all cells on the leading components of the training cells: (cells, components)."""
    centre = training.mean(0)
    _, _, axes = np.linalg.svd(training - centre, full_matrices=False)
    kept = axes[:components]
    largest = np.take_along_axis(kept, np.abs(kept).argmax(1)[:, None], 1)
    scores: np.ndarray = (values - centre) @ (kept * np.sign(largest)).T  # the largest entry is positive: one sign
    return scores
