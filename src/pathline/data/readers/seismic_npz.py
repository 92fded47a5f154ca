"""Records as PhaseNet's authors publish them: npz archives with `data`, `itp`, `its` and `channels`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathline.data.errors import DataError
from pathline.data.readers.npz import read_npz
from pathline.data.waveforms import PHASES, Waveforms, waveforms_of

RATE = 100.0  # samples a second of these files
KEYS = (("itp", "p_idx"), ("its", "s_idx"))


def read_phasenet_npz(path: str | Path, **options: Any) -> Waveforms:
    """One archive as a container of one record."""
    return read_phasenet_files([Path(path)], name=Path(path).stem, **options)


def read_phasenet_files(paths: list[Path], name: str, **options: Any) -> Waveforms:
    """Archives as one container, a record each.

    data:     (samples, 3) or (samples, stations = 1, 3), components E, N, Z at 100 samples a second
    itp, its: samples of the P and S arrivals, as one number or a list of them; NaN and absent mean none
    channels: codes joined by "_" (optional); the file's name begins with network and station ("NC_MEM_...")
    t0:       time of the first sample as text (optional)
    options:  fields of `Waveforms`
    """
    records, picks, stations, channels, begins = [], [], [], [], []
    for path in paths:
        arrays = read_npz(path)
        if "data" not in arrays:
            raise DataError(f"{path}: there is no array 'data'; the archive has {', '.join(arrays) or 'none'}")
        data = np.asarray(arrays["data"])
        data = data[:, 0] if data.ndim == 3 and data.shape[1] == 1 else data
        if data.ndim != 2 or data.shape[1] != 3 or data.dtype.kind not in "fiu":
            raise DataError(
                f"{path}: data has shape {tuple(arrays['data'].shape)} of {data.dtype}; expected numbers of shape "
                "(samples, 3), components E, N, Z"
            )
        records.append(torch.from_numpy(np.ascontiguousarray(data.T.astype(np.float32))))
        picks.append(tuple(_samples(arrays, keys, path, len(data)) for keys in KEYS))
        match = re.match(r"([A-Za-z0-9]{1,2})_([A-Za-z0-9]{1,5})_", path.name)
        stations.append(f"{match[1]}.{match[2]}" if match else path.stem)
        channels.append(str(arrays["channels"]) if "channels" in arrays else "")
        begins.append(_seconds(str(arrays["t0"]), path) if "t0" in arrays else float("nan"))
    return waveforms_of(
        records,
        picks,
        rate=RATE,
        station=tuple(stations),
        channels=tuple(channels) if any(channels) else (),
        begins=torch.tensor(begins, dtype=torch.float64),
        name=name,
        **options,
    )


def _samples(arrays: dict[str, np.ndarray], keys: tuple[str, str], path: Path, length: int) -> torch.Tensor:
    for key in keys:
        if key in arrays:
            array = np.asarray(arrays[key])
            if array.dtype.kind not in "fiu":
                raise DataError(f"{path}: '{key}' holds {array.dtype}, not sample numbers")
            samples = torch.tensor(array.astype(float)).flatten()
            samples = samples[torch.isfinite(samples)]
            if len(samples) and not 0 <= float(samples.min()) <= float(samples.max()) < length:
                phase = PHASES[KEYS.index(keys)]
                raise DataError(
                    f"{path}: a {phase} arrival at sample {samples.max():g} is outside of 0 .. {length - 1}"
                )
            return samples
    return torch.zeros(0)


def _seconds(text: str, path: Path) -> float:
    import pandas as pd

    try:
        return float(pd.Timestamp(text).timestamp())
    except ValueError:
        raise DataError(f"{path}: t0 is '{text}'; write it as 2019-07-04T17:00:00.000") from None
