"""Predicts how long a network takes: on this machine from short runs, on a device from its TOPS.

A network's time is modelled as a constant for each multiply-add plus one for each output value of
its convolutions; the second dominates where layers are narrow. Both follow from runs of two small
networks of its paper (`PLAN_PROBES` of the paper's recipes), for each engine and precision. Where
a paper names none, one run of the network itself gives the time of a multiply-add.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.experiments import experiment, papers
from restore_tf.export import jobs

TENSORFLOW, LITE_FLOAT, LITE_INT8 = "TensorFlow float32", "LiteRT float32", "LiteRT int8"
DEVICE = "device int8"
LITE_KINDS = {LITE_FLOAT: "float32", LITE_INT8: "uint8"}

# An assumption, not measured on a device. A maker of NPUs states 20 to 40 percent on GPUs and about
# 50 at best on NPUs (Expedera in Semiconductor Engineering, "Next-Generation AI: Transitioning
# Inference From The Cloud To The Edge"); restoration networks have few channels at full resolution,
# which use wide units badly.
UTILISATION = 0.2
# Memory of layers' outputs in int8, in bytes per pixel and channel at full resolution, where a
# paper's recipes do not say (`PLAN_INT8_BYTES`).
_INT8_BYTES = 20.0
_PROBE_SIDE = 128  # pixels, likewise

# XNNPACK, LiteRT's CPU kernels, keeps a pointer for every position that a kernel larger than 1x1
# reads, for any precision and number of channels: most of the memory of narrow networks.
_POINTER = 8

SECONDS = 1.5  # of each run


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that may fit.

    Attributes:
      name: for the table.
      model: as --model names it.
      arguments: of the constructor.
      counted: as `Candidate`'s.
      repeated: as `Candidate`'s.
    """

    name: str
    model: str
    arguments: Mapping[str, Any]
    counted: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    repeated: float = 1.0

    @property
    def paper(self) -> str:
        """The module of its paper."""
        return experiment.paper_of(self.model)

    def build(self):
        """Returns the Keras network with random weights."""
        recipe = experiment.load_recipe(self.model, next(iter(experiment.recipes_of(self.model))))
        return experiment.build(dataclasses.replace(recipe, network=self.arguments))


def cost_of(network: Network):
    """Returns the `Cost` of a network; networks that are counted alike are counted once.

    Args:
      network: to count.
    """
    arguments = json.dumps({**network.arguments, **network.counted}, sort_keys=True)
    return _counted(network.model, arguments).repeated(network.repeated)


@functools.cache
def _counted(model, arguments):
    from restore_tf.export.plan import cost

    return cost.count(Network("", model, json.loads(arguments)).build())


def probes_of(network: Network) -> list[tuple[Network, int]]:
    """Returns the networks that a paper's speed is measured with.

    Args:
      network: of the paper.

    Returns:
      (network, side of the square picture in pixels) of each.
    """
    recipes = papers.find(network.model)
    model = next(iter(recipes.VARIANTS))
    probes = getattr(recipes, "PLAN_PROBES", ())
    if probes:
        return [(Network(f"{model} {dict(each)}", model, each), side) for each, side in probes]
    return [(network, _PROBE_SIDE + -_PROBE_SIDE % cost_of(network).size_multiple)]


@dataclasses.dataclass(frozen=True)
class Device:
    """Times on a device, estimated from its TOPS.

    Attributes:
      tops: int8 operations a second in 1e12, two for a multiply-add.
      utilisation: the share of them that is used, above 0, at most 1.
    """

    tops: float
    utilisation: float = UTILISATION
    engines = (DEVICE,)

    def seconds(self, network: Network, cost, engine: str) -> float:
        """Returns the time of one run, in seconds per pixel.

        Args:
          network: not used.
          cost: the network's `Cost`.
          engine: not used.
        """
        return 2 * cost.multiplications / (self.tops * 1e12 * self.utilisation)

    def bytes_per_pixel(self, network: Network, cost, engine: str) -> float:
        """Returns the memory of layers' outputs, in bytes per pixel.

        Args:
          network: whose paper may state `PLAN_INT8_BYTES`.
          cost: the network's `Cost`.
          engine: not used.
        """
        recipes = papers.find(network.model)
        return getattr(recipes, "PLAN_INT8_BYTES", _INT8_BYTES) * cost.widest


@dataclasses.dataclass(frozen=True)
class Rate:
    """The speed of one engine with the networks of one paper.

    Attributes:
      multiplication: seconds for one multiply-add.
      value: seconds for one output value of a convolution.
      bytes_per_channel: memory of layers' outputs per pixel and channel at full resolution.
    """

    multiplication: float
    value: float
    bytes_per_channel: float


class Machine:
    """Times on this machine, from runs of small networks of the same papers.

    Args:
      networks: to predict; their papers' probes are measured when this is constructed.

    Raises:
      UserError: nothing could be measured.

    Attributes:
      engines: those that could be measured.
      rates: {engine: {paper: `Rate`}}.
      sustained: {engine: (GMAC/s, in which small network)}.
      left_out: {engine: why it could not be measured}.
    """

    def __init__(self, networks: Sequence[Network]):
        probes = {network.paper: probes_of(network) for network in reversed(networks)}
        together = [probe for each in probes.values() for probe in each]
        costs = [cost_of(network) for network, _ in together]
        sizes = [(network, (side, side)) for network, side in together]
        self.rates, self.sustained = {}, {}
        measured, self.left_out = measure(sizes, (TENSORFLOW, *LITE_KINDS))
        if not measured:
            reason = next(iter(self.left_out.values()))
            raise UserError(f"--plan: nothing could be measured ({reason}).")
        for engine, runs in measured.items():
            found = list(zip(together, costs, runs, strict=True))
            self.rates[engine] = {
                paper: _rate(*zip(*[(c, r) for probe, c, r in found if probe in mine], strict=True))
                for paper, mine in probes.items()
            }
            (network, _), counted, run = max(found, key=lambda each: each[1].multiplications)
            self.sustained[engine] = counted.multiplications / run.seconds / 1e9, network.name
        self.engines = tuple(self.rates)

    def seconds(self, network: Network, cost, engine: str) -> float:
        """Returns the time of one run, in seconds per pixel.

        Args:
          network: to run.
          cost: its `Cost`.
          engine: one of `engines`.
        """
        rate = self.rates[engine][network.paper]
        return rate.multiplication * cost.multiplications + rate.value * cost.values

    def bytes_per_pixel(self, network: Network, cost, engine: str) -> float:
        """Returns the memory of one run, in bytes per pixel.

        Args:
          network: to run.
          cost: its `Cost`.
          engine: one of `engines`.
        """
        if engine == TENSORFLOW:
            return cost.tensorflow_bytes
        rate = self.rates[engine][network.paper]
        return _POINTER * cost.taps + rate.bytes_per_channel * cost.widest


def _rate(costs, runs):
    """The `Rate` that the runs of a paper's probes say, narrowest first."""
    times = fit(costs[:2], [run.seconds for run in runs[:2]])
    held = [
        run.bytes_per_pixel - _POINTER * cost.taps for cost, run in zip(costs, runs, strict=True)
    ]
    more = costs[-1].widest - costs[0].widest
    # What does not grow with the width is weights, code and pages: too little to predict.
    growth = (held[-1] - held[0]) / more if more else held[0] / costs[0].widest
    return Rate(*times, max(0.0, growth))


def fit(costs: Sequence, seconds: Sequence[float]) -> tuple[float, float]:
    """Fits the times of a multiply-add and of an output value to networks' times.

    Neither is negative: where the solution would be, the other one accounts for all of the slower
    network's time. Of a single network, the multiply-adds account for all of it.

    Args:
      costs: the `Cost` of one or two different networks.
      seconds: each network's time per pixel.

    Returns:
      Seconds for a multiply-add, seconds for an output value.
    """
    counts = np.array([[cost.multiplications, cost.values] for cost in costs])
    if len(counts) == 1:
        return float(seconds[0] / counts[0, 0]), 0.0
    multiplication, value = np.linalg.solve(counts, np.asarray(seconds)).tolist()
    if multiplication >= 0 and value >= 0:
        return multiplication, value
    slower = int(np.argmax(seconds))
    alone = seconds[slower] / counts[slower]
    return (float(alone[0]), 0.0) if value < 0 else (0.0, float(alone[1]))


@dataclasses.dataclass(frozen=True)
class Run:
    """A measurement of one network in one engine.

    Attributes:
      seconds: of one run, per pixel, the median.
      bytes_per_pixel: memory that it added to the process; 0 where it was not measured.
    """

    seconds: float
    bytes_per_pixel: float = 0.0


def measure(
    networks: Sequence[tuple[Network, tuple[int, int]]], engines: Sequence[str]
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Measures networks with random weights on pictures of noise.

    Args:
      networks: (network, (height, width) of the picture in pixels) of each.
      engines: of `TENSORFLOW` and `LITE_KINDS`.

    Returns:
      {engine: a `Run` for each network} of the engines that run all of them; {engine: why not} of
      the others.
    """
    kinds = [LITE_KINDS[engine] for engine in engines if engine in LITE_KINDS]
    with tempfile.TemporaryDirectory(prefix="restore_tf_") as folder:
        given = [
            {"model": network.model, "arguments": dict(network.arguments), "size": size}
            for network, size in networks
        ]
        seconds = SECONDS if TENSORFLOW in engines else 0
        try:
            prepared = jobs.run_in_process(
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
        runs.append(
            jobs.run_in_process("plan.probe", "run_file", Path(folder), file=file, seconds=SECONDS)
        )
    return runs


def _runs(networks, found):
    return [
        Run(run["seconds"] / (size[0] * size[1]), run.get("bytes_per_pixel", 0.0))
        for (_, size), run in zip(networks, found, strict=True)
    ]
