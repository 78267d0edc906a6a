"""How long a network takes, predicted: on this machine from short runs, on a device from its TOPS.

A network's time is taken to be a constant for each multiply-add of its convolutions plus one for
each value that they give out; the second is most of it where layers are narrow. Both follow from
runs of two small networks, for each engine and precision. MPRNet does more between its
convolutions: a third run says by how much that makes it slower.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import jobs

TENSORFLOW, LITE_FLOAT, LITE_INT8 = "TensorFlow float32", "LiteRT float32", "LiteRT int8"
DEVICE = "device int8"
LITE_KINDS = {LITE_FLOAT: "float32", LITE_INT8: "uint8"}

# An assumption, measured on no device. A maker of NPUs speaks of 20 to 40 percent on GPUs and about
# 50 at best on NPUs (Expedera in Semiconductor Engineering, "Next-Generation AI: Transitioning
# Inference From The Cloud To The Edge"); ours have few channels at full resolution, which fill wide
# units badly.
UTILISATION = 0.2
# Bytes per pixel and unit of width for what layers give out in int8, as LiteRT lays it out.
_INT8_BYTES = {"srn": 11.0, "mprnet": 20.0}

# XNNPACK, LiteRT's CPU kernels, keeps a pointer for every place that a kernel larger than 1x1 looks
# at, whatever the precision and the number of channels: most of the memory of narrow networks.
_POINTER = 8

_SECONDS = 1.5  # of each run


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that may fit.

    Attributes:
      name: for the table.
      model: as --model names it.
      arguments: of the constructor.
    """

    name: str
    model: str
    arguments: Mapping[str, Any]

    @property
    def family(self) -> str:
        """The paper's short name: srn, mprnet."""
        return self.model.split("_")[0]

    @property
    def width(self) -> int:
        """Filters at full resolution."""
        return self.arguments.get("width") or self.arguments.get("n_feat") or 32

    @property
    def runs_per_picture(self) -> int:
        """A gray network restores the three colours one by one."""
        return 3 if self.arguments.get("channels") == 1 else 1

    def build(self, **changes):
        """Returns the Keras network, its weights freshly drawn."""
        recipe = experiment.load_recipe(self.model, next(iter(experiment.recipes_of(self.model))))
        arguments = {**self.arguments, **changes}
        return experiment.build(dataclasses.replace(recipe, network=arguments))


# What is run, and on pictures of which side.
_SRN_PROBES = [
    (Network(f"SRN width {width}", "srn", {"width": width, "scales": 1, "res_blocks": 1}), 256)
    for width in (8, 32)
]
_MPRNET = {"n_feat": 40, "scale_unetfeats": 20, "scale_orsnetfeats": 16, "stages": 1}
_MPRNET_PROBE = (Network("MPRNet n_feat 40, 1 stage", "mprnet", _MPRNET), 128)


@dataclasses.dataclass(frozen=True)
class Device:
    """Times on a device of which only its TOPS are known.

    Attributes:
      tops: int8 operations a second in 1e12, two for a multiply-add.
      utilisation: the share of them that is used.
    """

    tops: float
    utilisation: float = UTILISATION
    engines = (DEVICE,)

    def seconds(self, network: Network, cost, engine: str) -> float:
        """Of one run, per pixel."""
        return 2 * cost.multiplications / (self.tops * 1e12 * self.utilisation)

    def bytes_per_pixel(self, network: Network, cost, engine: str) -> float:
        """Memory of what layers give out."""
        return _INT8_BYTES[network.family] * network.width


@dataclasses.dataclass(frozen=True)
class Rate:
    """How fast one engine is.

    Attributes:
      multiplication: seconds for one multiply-add.
      value: seconds for one value that a convolution gives out.
      slower: by family, what its networks take beyond that, as a factor.
      bytes_per_width: by family, memory per pixel and unit of width for what layers give out.
    """

    multiplication: float
    value: float
    slower: dict[str, float]
    bytes_per_width: dict[str, float]


class Machine:
    """Times on this machine, from runs of small networks.

    Attributes:
      engines: those that could be measured.
      rates: {engine: `Rate`}.
      sustained: {engine: GMAC/s in the wider of the two small SRN}.
      left_out: {engine: why it could not be measured}.
    """

    def __init__(self, families: Sequence[str]):
        from restore_tf.export.plan import cost

        probes = _SRN_PROBES + ([_MPRNET_PROBE] if "mprnet" in families else [])
        costs = [cost.count(network.build()) for network, _ in probes]
        sizes = [(network, (side, side)) for network, side in probes]
        self.rates, self.sustained = {}, {}
        measured, self.left_out = measure(sizes, (TENSORFLOW, *LITE_KINDS))
        if not measured:
            reason = next(iter(self.left_out.values()))
            raise UserError(f"--plan: nothing could be measured ({reason}).")
        for engine, runs in measured.items():
            self.rates[engine] = _rate(probes, costs, runs)
            self.sustained[engine] = costs[1].multiplications / runs[1].seconds / 1e9
        self.engines = tuple(self.rates)

    def seconds(self, network: Network, cost, engine: str) -> float:
        """Of one run, per pixel."""
        rate = self.rates[engine]
        time = rate.multiplication * cost.multiplications + rate.value * cost.values
        return time * rate.slower[network.family]

    def bytes_per_pixel(self, network: Network, cost, engine: str) -> float:
        """Memory of one run."""
        if engine == TENSORFLOW:
            return cost.tensorflow_bytes
        arena = self.rates[engine].bytes_per_width[network.family] * network.width
        return _POINTER * cost.taps + arena


def _rate(probes, costs, runs):
    multiplication, value = fit(costs[:2], [run.seconds for run in runs[:2]])
    # What does not grow with the width is weights, code and pages: too little to predict.
    held = [
        run.bytes_per_pixel - _POINTER * cost.taps for cost, run in zip(costs, runs, strict=True)
    ]
    (narrow, side), (wide, _) = probes[:2]
    growth = max(0.0, (held[1] - held[0]) / (wide.width - narrow.width))
    fixed = max(0.0, held[0] - growth * narrow.width) * side**2
    rate = Rate(multiplication, value, {"srn": 1.0}, {"srn": growth})
    for (network, side), cost, run, bytes_ in zip(
        probes[2:], costs[2:], runs[2:], held[2:], strict=True
    ):
        expected = multiplication * cost.multiplications + value * cost.values
        rate.slower[network.family] = run.seconds / expected
        arena = (bytes_ - fixed / side**2) / network.width
        rate.bytes_per_width[network.family] = max(growth, arena)
    return rate


def fit(costs: Sequence, seconds: Sequence[float]) -> tuple[float, float]:
    """Returns seconds for a multiply-add and for a value, from two networks' times per pixel.

    Neither is below zero: where the two times would have it so, all of the slower network's time is
    the other's.
    """
    counts = np.array([[cost.multiplications, cost.values] for cost in costs])
    multiplication, value = np.linalg.solve(counts, np.asarray(seconds)).tolist()
    if multiplication >= 0 and value >= 0:
        return multiplication, value
    slower = int(np.argmax(seconds))
    alone = seconds[slower] / counts[slower]
    return (float(alone[0]), 0.0) if value < 0 else (0.0, float(alone[1]))


@dataclasses.dataclass(frozen=True)
class Run:
    """What was measured of one network in one engine.

    Attributes:
      seconds: of one run, per pixel, the median.
      bytes_per_pixel: what it took beyond what the process held; 0 where it was not looked at.
    """

    seconds: float
    bytes_per_pixel: float = 0.0


def measure(
    networks: Sequence[tuple[Network, tuple[int, int]]], engines: Sequence[str]
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Runs networks of drawn weights on pictures of noise, each (height, width).

    Returns:
      For each engine that runs all of them one `Run` each; and why the other engines do not.
    """
    kinds = [LITE_KINDS[engine] for engine in engines if engine in LITE_KINDS]
    with tempfile.TemporaryDirectory(prefix="restore_tf_") as folder:
        given = [
            {"model": network.model, "arguments": dict(network.arguments), "size": size}
            for network, size in networks
        ]
        seconds = _SECONDS if TENSORFLOW in engines else 0
        try:
            prepared = jobs.run(
                "plan.probe",
                "prepare",
                Path(folder),
                networks=given,
                kinds=kinds,
                seconds=seconds,
                folder=folder,
            )
        except jobs.Failed as error:
            return {}, dict.fromkeys(engines, str(error))
        found, reasons = {}, {}
        for engine in engines:
            try:
                runs = prepared if engine == TENSORFLOW else _run_files(engine, prepared, folder)
                found[engine] = _runs(networks, runs)
            except jobs.Failed as error:
                reasons[engine] = str(error)
    return found, reasons


def _run_files(engine, prepared, folder):
    kind, runs = LITE_KINDS[engine], []
    for number, network in enumerate(prepared):
        if kind in network["failed"]:
            raise jobs.Failed(network["failed"][kind])
        file = str(Path(folder) / f"{number}_{kind}.tflite")
        runs.append(jobs.run("plan.probe", "run_file", Path(folder), file=file, seconds=_SECONDS))
    return runs


def _runs(networks, found):
    return [
        Run(run["seconds"] / (size[0] * size[1]), run.get("bytes_per_pixel", 0.0))
        for (_, size), run in zip(networks, found, strict=True)
    ]
