"""NumPy archives (.npz); pickled objects inside are refused."""

import zipfile
from pathlib import Path

import numpy as np

from pathline.data.errors import DataError


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of the archive by name."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path}: this is a single array (.npy); save it with numpy.savez under a name")
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable npz archive ({error})") from None
    except ValueError:
        raise DataError(
            f"{path}: the archive holds Python objects, which are not read; save plain number arrays"
        ) from None
