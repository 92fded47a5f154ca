"""NumPy archives (.npz) and single arrays (.npy); pickled objects inside are refused."""

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
                raise DataError(f"{path}: this is a single array; name the file .npy")
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable npz archive ({error})") from None
    except ValueError:
        raise DataError(
            f"{path}: the archive holds Python objects, which are not read; save plain number arrays"
        ) from None


def read_npy(path: str | Path) -> dict[str, np.ndarray]:
    """The one array of the file, under the name 'values'."""
    path = Path(path)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable npy file ({error})") from None
    except ValueError:
        raise DataError(f"{path}: not an array of numbers in the npy format; save one with numpy.save") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: this is an archive of arrays; name the file .npz")
    return {"values": array}
