"""`restore-tf doctor`: lists installed packages, this machine's features and fetched weights."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from absl import flags
from packaging.requirements import Requirement

from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.system import quiet
from restore_tf.system.version import PACKAGE, version

USAGE = """Checks the installation: versions, extras, processor, accelerators and weights.
  restore-tf doctor
Exit code 1 if a package that every command needs is missing or of a wrong version."""

SOMETHING_MISSING = 1

# Processor features that decide how fast 16 and 8 bits are, as Linux names them.
FEATURES = "avx2 fma avx512f avx512_vnni avx512_bf16 amx_bf16 amx_int8 asimd bf16 i8mm".split()
_CPUINFO = Path("/proc/cpuinfo")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_doctor, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    return flags.FlagValues()


def _doctor(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; doctor takes none.")
    print(f"{PACKAGE} {version()}, Python {platform.python_version()}, {sys.executable}")
    problems = _print_packages()
    _print_machine()
    _print_devices()
    _print_weights()
    for problem in problems:
        print(f"missing: {problem}")
    return SOMETHING_MISSING if problems else 0


def requirements() -> dict[str, list[Requirement]]:
    """Returns {extra: its packages}; those under "" are needed by every command.

    Raises:
      UserError: the package itself is not installed.
    """
    try:
        lines = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"{PACKAGE}: not installed, so what it needs is not known; pip install -e . in its "
            "folder."
        ) from None
    found: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, lines):
        found.setdefault(_extra(requirement), []).append(requirement)
    return found


def _extra(requirement):
    """The extra of a requirement: the one with which its marker is true."""
    names = importlib.metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    marker = requirement.marker
    if marker is None or marker.evaluate({"extra": ""}):
        return ""
    return next((name for name in names if marker.evaluate({"extra": name})), "")


def check_requirement(requirement: Requirement) -> tuple[bool, str]:
    """Checks a requirement.

    Args:
      requirement: a package and its versions.

    Returns:
      Whether it is met, and the installed version or the problem.
    """
    try:
        installed = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False, "not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return True, installed
    return False, f"{installed}, expected {requirement.specifier}"


def _print_packages() -> list[str]:
    """Prints every package; returns the problems of the required ones."""
    needed = requirements()
    print("\nPackages")
    states = {str(r.name): check_requirement(r) for r in needed.pop("", [])}
    for name, (_, text) in states.items():
        print(f"  {name:28} {text}")
    print("\nExtras")
    for extra, wanted in sorted(needed.items()):
        checked = [(r.name, *check_requirement(r)) for r in wanted]
        lacking = [f"{name} {text}" for name, met, text in checked if not met]
        install = f"; pip install '{PACKAGE}[{extra}]'" if lacking else ""
        print(f"  {extra:12} {', '.join(lacking) or 'installed'}{install}")
    return [f"{name} {text}" for name, (met, text) in states.items() if not met]


def _print_machine():
    memory = psutil.virtual_memory()
    print("\nMachine")
    print(f"  {platform.system()} {platform.release()}, {platform.machine()}")
    print(f"  {_processor()}, {os.cpu_count()} cores")
    print(f"  {memory.total / 2**30:.1f} GiB of memory, {memory.available / 2**30:.1f} free")
    has = processor_features()
    if has is None:
        print("  processor features: not known on this system")
        return
    print(f"  has {' '.join(name for name in FEATURES if name in has) or 'none of the features'}")
    sixteen = {"avx512_bf16", "amx_bf16", "bf16"} & has
    print(f"  bfloat16 in hardware: {'yes' if sixteen else 'no; --precision bfloat16 is slow'}")


def processor_features() -> set[str] | None:
    """Returns the processor's features by their names in Linux; None if unknown."""
    words = {line.split()[0] for line in _cpuinfo() if line.strip()}
    if not words & {"flags", "Features"}:
        return None
    lines = [line for line in _cpuinfo() if line.startswith(("flags", "Features"))]
    return set(lines[0].partition(":")[2].split())


def _cpuinfo() -> list[str]:
    return _CPUINFO.read_text(errors="replace").splitlines() if _CPUINFO.is_file() else []


def _processor():
    names = (line for line in _cpuinfo() if line.startswith("model name"))
    return next(names, "").partition(":")[2].strip() or platform.processor() or "processor"


def _print_devices():
    print("\nKeras")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    print(f"  backend {backend} (KERAS_BACKEND)")
    try:
        quiet.import_tensorflow()
        import tensorflow as tf
    except ImportError as error:
        print(f"  TensorFlow cannot be imported ({error})")
        return
    accelerators = [
        d.name for kind in ("GPU", "TPU") for d in tf.config.list_physical_devices(kind)
    ]
    print(f"  TensorFlow sees {', '.join(accelerators) or 'no GPU: it computes on the processor'}")


def _print_weights():
    print("\nWeights")
    for line in _weights():
        print(f"  {line}")


def _weights() -> Iterator[str]:
    from restore_tf.weights import published

    for name, entry in published.all_published().items():
        here = entry.shipped is not None or published.is_here(name)
        how = str(published.path(name)) if here else f"restore-tf weights fetch {name}"
        yield f"{name:28} {'here' if here else 'not fetched'}: {how}"


if __name__ == "__main__":
    sys.exit(main())
