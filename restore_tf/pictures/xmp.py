"""Edits Adobe's XMP packets in place: entries about content that is not kept are removed.

Packets are edited as text: parsed and rewritten, they would lose comments, order and padding.
"""

from __future__ import annotations

import re

_HDR_NOTES = "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/"
# Namespace: its names for content behind the picture (a gain map, a video, depth).
_CLAIMS = {
    **dict.fromkeys(_HDR_NOTES, r"[\w.-]+"),
    "http://ns.google.com/photos/1.0/container/": r"[\w.-]+",
    "http://ns.google.com/photos/1.0/container/item/": r"[\w.-]+",
    "http://ns.google.com/photos/1.0/camera/": r"(?:Motion|MicroVideo)[\w.-]*",
    "http://ns.oplus.com/photos/1.0/camera/": r"[\w.-]*(?:Motion|Video|OLive)[\w.-]*",
    "http://ns.xiaomi.com/photos/1.0/camera/": r"XMPMeta",
}
# What extended packets hold, and the note that there are some.
_EXTENDED = {
    "http://ns.adobe.com/xmp/note/": r"HasExtendedXMP",
    "http://ns.google.com/photos/1.0/depthmap/": r"[\w.-]+",
    "http://ns.google.com/photos/1.0/image/": r"[\w.-]+",
    "http://ns.google.com/photos/1.0/audio/": r"[\w.-]+",
}
_LONGEST = 2**20  # bytes; in longer packets the search, quadratic at worst, could take minutes
_PROFILE_NAME = b"sRGB IEC61966-2.1"


def upright(xmp: bytes) -> bytes:
    """Returns a packet for the picture turned upright.

    Args:
      xmp: the packet.
    """
    return re.sub(rb"(tiff:Orientation(?:\s*=\s*[\"']|>\s*))[2-8]", rb"\g<1>1", xmp)


def as_srgb(xmp: bytes) -> bytes:
    """Returns a packet for pixels that were converted to sRGB.

    Args:
      xmp: the packet.
    """
    xmp = re.sub(rb"(exif:ColorSpace(?:\s*=\s*[\"']|>\s*))\d+", rb"\g<1>1", xmp)
    return re.sub(
        rb"(photoshop:ICCProfile(?:\s*=\s*[\"']|>))[^\"'<]*", rb"\g<1>" + _PROFILE_NAME, xmp
    )


def speaks_of_gain_map(xmp: bytes) -> bool:
    """Whether a packet states that the file holds an HDR gain map.

    Args:
      xmp: the packet, or other bytes of the file.
    """
    return any(namespace.encode() in xmp for namespace in _HDR_NOTES) or b'"GainMap"' in xmp


def is_split(xmp: bytes) -> bool:
    """Whether a packet states that extended packets continue it.

    Args:
      xmp: the packet.
    """
    return b"HasExtendedXMP" in xmp


def without_claims(xmp: bytes) -> bytes:
    """Returns a packet without entries about gain maps, videos or depth, which are not kept.

    Args:
      xmp: the packet; one of more than 1 MiB comes back as it is.
    """
    if len(xmp) > _LONGEST:
        return xmp
    claims = _CLAIMS | (_EXTENDED if is_split(xmp) else {})
    found = [(prefix, names) for uri, names in claims.items() for prefix in _prefixes(xmp, uri)]
    for prefix, names in found:
        xmp = _without(xmp, f"{prefix}:{names}")
    for prefix, _ in found:
        if not re.search(rb"[<\s/]%s:" % prefix.encode(), xmp):  # declared, and not used any more
            xmp = _without(xmp, f"xmlns:{prefix}")
    return xmp


def _prefixes(xmp, namespace):
    uri = re.escape(namespace.encode())
    found = re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + uri + rb"[\"']", xmp)
    return {re.escape(prefix).decode() for prefix in found}  # as patterns


def _without(xmp, names):
    """Takes out attributes and elements of these names."""
    pattern = names.encode()
    xmp = re.sub(rb"\s+" + pattern + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
    element = rb"<(" + pattern + rb")(?=[\s/>])(?:[^<>/]|/(?!>))*(?:/>|>.*?</\1\s*>)"
    return re.sub(element, b"", xmp, flags=re.DOTALL)
