"""Files of 16 bits a channel for tests, made without the code under test."""

import io
import struct
import zlib

import tifffile


def png16(planes, *chunks):
    """A PNG file of 16 bits a channel, by the specification."""
    height, width, bands = planes.reshape(*planes.shape[:2], -1).shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    rows = planes.astype(">u2").reshape(height, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )


def tiff16(planes, **options):
    """A TIFF file of 16 bits a channel, by tifffile."""
    buffer = io.BytesIO()
    photometric = options.pop("photometric", "rgb" if planes.ndim == 3 else "minisblack")
    if planes.ndim == 3 and planes.shape[2] == 4 and photometric == "rgb":
        options.setdefault("extrasamples", ["unassalpha"])
    tifffile.imwrite(
        buffer, planes, photometric=photometric, metadata=None, software=False, **options
    )
    return buffer.getvalue()
