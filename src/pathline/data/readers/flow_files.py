"""Flow fields in files: Middlebury's .flo and KITTI's 16-bit png."""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pathline.data.errors import DataError

MAGIC = 202021.25  # the first float32 of a .flo file, which reads "PIEH" as text
UNKNOWN = 1e9  # Middlebury marks unknown motion by components beyond this


def read_flo(path: str | Path) -> tuple[Tensor, Tensor]:
    """A .flo file: the flow (2, height, width) in pixels, 0 where it is unknown, and (height, width) where it is known.

    Format: float32 202021.25, int32 width, int32 height, then u and v of every pixel by rows, float32, little-endian.
    """
    content = Path(path).read_bytes()
    if len(content) < 12 or struct.unpack("<f", content[:4])[0] != MAGIC:
        raise DataError(
            f"{path}: not a .flo file (its first four bytes must read 202021.25); write it by Middlebury's rule"
        )
    width, height = struct.unpack("<ii", content[4:12])
    if width < 1 or height < 1 or len(content) != 12 + 8 * width * height:
        raise DataError(
            f"{path}: {width} x {height} pixels need {12 + 8 * max(width, 0) * max(height, 0)} bytes, but the file has "
            f"{len(content)}: copy it again"
        )
    values = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2)
    flow = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1).contiguous()
    valid = (flow.abs() < UNKNOWN).all(0)  # also False for nan
    return torch.where(valid, flow, torch.zeros(())), valid


def write_flo(path: str | Path, flow: Tensor, valid: Tensor | None = None) -> None:
    """Write flow (2, height, width) as .flo; where not `valid`, the mark of unknown motion."""
    _, height, width = flow.shape
    if valid is not None:
        flow = torch.where(valid, flow, torch.full((), 1e10))
    values = flow.detach().cpu().float().permute(1, 2, 0).contiguous().numpy().astype("<f4")
    Path(path).write_bytes(struct.pack("<fii", MAGIC, width, height) + values.tobytes())


def read_kitti(path: str | Path) -> tuple[Tensor, Tensor]:
    """KITTI's png of three 16-bit channels: u, v as (value - 32768) / 64 pixels, and whether they are known."""
    channels = _png16(Path(path))
    valid = torch.from_numpy(channels[..., 2] > 0)
    flow = torch.from_numpy((channels[..., :2].astype(np.float32) - 32768) / 64).permute(2, 0, 1).contiguous()
    return flow * valid, valid


def _png16(path: Path) -> np.ndarray:
    """A png of three 16-bit channels, (height, width, 3) uint16, which Pillow would cut to 8 bits.

    Rows are unfiltered by the five rules of the png standard (RFC 2083, section 6).
    """
    import zlib

    content = path.read_bytes()
    place, packed, head = 8, b"", None
    while content[:8] == b"\x89PNG\r\n\x1a\n" and place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", body)
        packed += body if kind == b"IDAT" else b""
        place += 12 + length
    if head is None or head[2:4] != (16, 2) or head[6] != 0:
        raise DataError(f"{path}: flow in a png has three 16-bit channels (KITTI's rule); write .flo instead")
    width, height = head[:2]
    pixel, stride = 6, 6 * width
    try:
        raw = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + stride)
    except (zlib.error, ValueError) as error:
        raise DataError(f"{path}: not a readable png ({error}); copy it again") from None
    rows = np.zeros((height, stride), np.uint8)
    above = np.zeros(stride, np.uint8)
    for row in range(height):
        above = rows[row] = _unfiltered(raw[row, 1:], above, int(raw[row, 0]), pixel)
    return rows.reshape(height, width, 3, 2).astype(np.uint16) @ np.array([256, 1], np.uint16)


def _unfiltered(row: np.ndarray, above: np.ndarray, rule: int, pixel: int) -> np.ndarray:
    if rule == 0:
        return row
    if rule == 2:
        return row + above
    values, over = row.reshape(-1, pixel).astype(np.int32), above.reshape(-1, pixel).astype(np.int32)
    if rule == 1:
        return (np.cumsum(values, 0) % 256).astype(np.uint8).reshape(-1)
    found = np.zeros_like(values)
    left = corner = np.zeros(pixel, np.int32)
    for column in range(len(values)):  # each pixel needs the one before
        if rule == 3:
            guess = (left + over[column]) // 2
        else:
            start = left + over[column] - corner
            far = np.abs(np.stack([start - left, start - over[column], start - corner]))
            guess = np.stack([left, over[column], corner])[far.argmin(0), np.arange(pixel)]
        left = found[column] = (values[column] + guess) % 256
        corner = over[column]
    return found.astype(np.uint8).reshape(-1)
