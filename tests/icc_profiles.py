"""Colour profiles for tests, made by hand: version 2 of the ICC specification, a few tags each."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)

# Red, green, blue in XYZ under D50, a column each, as the owners of these colour spaces give them.
ADOBE_RGB = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
GAMMA = 563 / 256  # Adobe RGB's


def rgb(name, colours, gamma=GAMMA):
    """A matrix profile: linear light by a power, then XYZ by a matrix."""
    tags = {f"{c}XYZ": _xyz(colours[:, i]) for i, c in enumerate("rgb")}
    return _profile(name, b"RGB ", tags | {f"{c}TRC": _curve(gamma) for c in "rgb"})


def gray(name, gamma=1.8):
    """A gray profile with a power as its curve."""
    return _profile(name, b"GRAY", {"kTRC": _curve(gamma)})


def cmyk(name, paper):
    """A printer's profile by a table of corners: no ink gives `paper` (an 8-bit L), any ink black.

    The 8-bit table (lut8Type) has two points an axis, interpolated between.
    """
    identity = bytes(range(256))
    matrix = b"".join(_fixed(v) for v in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    corners = [(paper, 128, 128)] + [(0, 128, 128)] * 15
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix
    table += identity * 4 + bytes(v for corner in corners for v in corner) + identity * 3
    return _profile(name, b"CMYK", {"A2B0": table, "A2B1": table}, pcs=b"Lab ", kind=b"prtr")


def to_srgb(values, colours, gamma=GAMMA):
    """The same colours as sRGB in [0, 1], by the formulas (IEC 61966-2-1 for the last step)."""
    linear = np.asarray(values) ** gamma @ colours.T @ np.linalg.inv(SRGB).T
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _profile(name, space, tags, pcs=b"XYZ ", kind=b"mntr"):
    text = name.encode() + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {"desc": description, "cprt": b"text\0\0\0\0none\0", "wtpt": _xyz(D50)} | tags
    start, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for signature, content in tags.items():
        table += struct.pack(">4sII", signature.encode(), start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI4s4s4s6H4s", start + len(data), 0x02100000, kind, space, pcs,
                       2000, 1, 1, 0, 0, 0, b"acsp")  # fmt: skip
    head += bytes(28) + b"".join(_fixed(v) for v in D50)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + data


def _fixed(value):
    return struct.pack(">i", round(value * 65536))


def _xyz(values):
    return b"XYZ \0\0\0\0" + b"".join(_fixed(v) for v in values)


def _curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
