"""Lists which of the papers' networks, in which precision, fit into a frame's time.

table.plan(720, 1280, fps=30)            # on this machine, from a measured run
table.plan(720, 1280, fps=30, tops=4)    # on a device, an estimate from its data sheet

Papers offer networks by `PLAN_CANDIDATES` of their recipes, see `experiments.candidate`.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence

from restore_tf.errors import UserError
from restore_tf.experiments import experiment, papers
from restore_tf.export.plan import rates
from restore_tf.export.plan.rates import UTILISATION, Device, Machine, Network
from restore_tf.system.log import logger
from restore_tf.system.quiet import import_tensorflow

_MEASURED = 2  # networks that are measured at the asked size, at most
_MULTIPLE = 16  # fixed sizes are padded to it, and to the network's own multiple


@dataclasses.dataclass(frozen=True)
class Row:
    """The cost of one network in one engine.

    Attributes:
      network: which.
      engine: with its precision, one of `rates`' names.
      size: (height, width) of a frame in pixels, padded as the network needs it.
      runs: of the network for a frame.
      gmac: billions of multiply-adds a frame.
      ms: milliseconds a frame, predicted or measured.
      memory_mb: memory that running it adds to a process, in MB.
      over: `ms` over the time of a frame; at most 1 fits.
    """

    network: Network
    engine: str
    size: tuple[int, int]
    runs: int
    gmac: float
    ms: float
    memory_mb: float
    over: float

    @property
    def fps(self) -> float:
        """Frames a second."""
        return 1e3 / self.ms

    @property
    def fits(self) -> bool:
        """Whether it is fast enough."""
        return self.over <= 1

    def taking(self, ms: float) -> Row:
        """Returns the row with another time.

        Args:
          ms: milliseconds a frame.
        """
        return dataclasses.replace(self, ms=ms, over=self.over * ms / self.ms)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The result of `plan`.

    Attributes:
      heading: says whether the table's times are predicted or estimated.
      rows: every network in every engine, the fewest multiply-adds first; predicted.
      recommended: of those that fit, the one with the most multiply-adds in its fastest engine;
        where none fits, the one that comes closest.
      measured: the recommended one, measured at the requested size; None for an estimate from
        TOPS, or where it could not be run.
    """

    heading: str
    rows: tuple[Row, ...]
    recommended: Row
    measured: Row | None = None

    def __str__(self) -> str:
        return "\n".join(
            [self.heading, table(self.rows), _advice(self.measured or self.recommended)]
        )


def plan(
    height: int,
    width: int,
    fps: float,
    *,
    workdir: str | os.PathLike | None = None,
    model: str | None = None,
    tops: float | None = None,
    utilisation: float = UTILISATION,
) -> Plan:
    """Finds the networks that restore frames of a size in time, and recommends one.

    Args:
      height: of a frame, in pixels.
      width: of a frame, in pixels.
      fps: frames a second.
      workdir: a run whose network joins the table; the others are then of its paper.
      model: a paper's model, to leave out the other papers; None for all.
      tops: int8 operations a second of a device's data sheet, in 1e12, two for a multiply-add;
        nothing is measured then. None measures on this machine.
      utilisation: the share of `tops` that a network reaches, above 0, at most 1.

    Raises:
      UserError: a size, rate, TOPS or utilisation that cannot be, no run directory, or nothing
        could be measured.
    """
    _check(height, width, fps, tops, utilisation)
    import_tensorflow()  # before a recipe does, less quietly
    networks = candidates(model, workdir)
    costs = [rates.cost_of(network) for network in networks]
    size = height, width
    heading = f"{width}x{height} at {fps:g} frames/s: {1e3 / fps:.1f} ms a frame. "
    if tops is not None:
        rows = rows_of(networks, costs, Device(tops, utilisation), size, fps)
        heading += (
            f"ESTIMATE from {tops:g} TOPS, of which {utilisation:.0%} are assumed to be used; "
            "nothing was measured. MB: outputs of layers, in 8 bits."
        )
        return Plan(heading, tuple(rows), recommended(rows))
    machine = Machine(networks)
    for engine, (rate, name) in machine.sustained.items():
        logger.info("%s: %.3g GMAC/s measured here in %s.", engine, rate, name)
    for engine, reason in machine.left_out.items():
        logger.warning("%s: left out, %s.", engine, reason)
    rows = rows_of(networks, costs, machine, size, fps)
    best, measured = _measure_best(rows)
    heading += "Predicted from short runs on this machine:"
    return Plan(heading, tuple(rows), best, measured)


def candidates(model: str | None = None, workdir: str | os.PathLike | None = None) -> list[Network]:
    """Lists the networks that papers offer, the run's own one first.

    Args:
      model: as `plan`'s.
      workdir: as `plan`'s.

    Raises:
      UserError: no run directory, or a paper that offers no networks.
    """
    found = []
    if workdir is not None:
        recipe, _ = experiment.read(workdir)
        model = model or recipe.model
        found.append(Network("this run", recipe.model, dict(recipe.network)))
    for recipes in map(papers.find, papers.names() if model is None else [model]):
        offering = next(iter(recipes.VARIANTS))
        found += [
            Network(each.name, offering, each.network, each.counted, each.repeated)
            for each in getattr(recipes, "PLAN_CANDIDATES", ())
        ]
    if not found:
        raise UserError(f"--model {model}: its paper offers no networks to plan with; pass a run.")
    return found


def _check(height, width, fps, tops, utilisation):
    if min(height, width) < 1:
        raise UserError(f"--size {height}x{width}: expected sides of at least 1.")
    if not (fps > 0 and math.isfinite(fps)):
        raise UserError(f"--fps {fps}: expected a number above 0.")
    if tops is not None and not (tops > 0 and math.isfinite(tops)):
        raise UserError(f"--tops {tops}: expected a number above 0.")
    if not 0 < utilisation <= 1:
        raise UserError(f"--utilisation {utilisation}: expected a share above 0, at most 1.")


def rows_of(
    networks: Sequence[Network], costs: Sequence, times, size: tuple[int, int], fps: float
) -> list[Row]:
    """Returns every network in every engine, the fewest multiply-adds first.

    Args:
      networks: to list.
      costs: the `cost.Cost` of each.
      times: a `rates.Machine` or `rates.Device`.
      size: (height, width) of a frame in pixels.
      fps: frames a second.
    """
    rows = []
    for network, cost in zip(networks, costs, strict=True):
        multiple = math.lcm(_MULTIPLE, cost.size_multiple)
        padded = tuple(side + -side % multiple for side in size)
        pixels = math.prod(padded)
        gmac = pixels * cost.runs * cost.multiplications / 1e9
        for engine in times.engines:
            seconds = pixels * cost.runs * times.seconds(network, cost, engine)
            taken = pixels * times.bytes_per_pixel(network, cost, engine) / 1e6
            figures = gmac, 1e3 * seconds, taken, seconds * fps
            rows.append(Row(network, engine, padded, cost.runs, *figures))
    return sorted(rows, key=lambda row: row.gmac)


def recommended(rows: Sequence[Row]) -> Row:
    """Returns the row with the most multiply-adds that fits, else the one that comes closest.

    As a rule, more multiply-adds give better pictures; only training shows how good they are.

    Args:
      rows: at least one.
    """
    fitting = [row for row in rows if row.fits]
    if fitting:
        return max(fitting, key=lambda row: (row.gmac, -row.ms))
    return min(rows, key=lambda row: row.over)


def table(rows: Sequence[Row]) -> str:
    """Formats rows as a Markdown table: a line for each network, a column for each engine.

    Args:
      rows: from `rows_of`.
    """
    engines = list(dict.fromkeys(row.engine for row in rows))
    lines = [["network", "GMAC", *(f"{engine}, ms" for engine in engines), "frames/s", "MB", ""]]
    for network in dict.fromkeys(row.network.name for row in rows):
        mine = {row.engine: row for row in rows if row.network.name == network}
        best = min(mine.values(), key=lambda row: row.ms)
        verdict = f"fits: {', '.join(engine for engine in engines if mine[engine].fits)}"
        if not best.fits:
            verdict = f"{_number(best.over)} times too slow"
        times = [_number(mine[engine].ms) for engine in engines]
        cells = [_number(best.fps), f"{best.memory_mb:.0f}", verdict]
        lines.append([network, f"{best.gmac:.1f}", *times, *cells])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value):
    """With three digits, however large."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _measure_best(rows):
    """Measures the recommended row at the asked size; where it then does not fit, the next one.

    Returns:
      The row as predicted, and as measured; None where it could not be.
    """
    rows = list(rows)
    for attempt in range(_MEASURED):
        best = recommended(rows)
        name, (height, width) = f"{best.network.name}, {best.engine}", best.size
        found, reasons = rates.measure([(best.network, best.size)], [best.engine])
        if not found:
            reason = reasons[best.engine]
            logger.warning("%s: cannot be run at %dx%d (%s).", name, width, height, reason)
            rows.remove(best)
            continue
        (run,) = found[best.engine]
        ms = 1e3 * run.seconds * height * width * best.runs
        figures = _number(best.ms), _number(ms), width, height
        logger.info("%s: predicted %s ms, measured %s ms at %dx%d.", name, *figures)
        measured = best.taking(ms)
        if run.bytes_per_pixel:
            taken = run.bytes_per_pixel * height * width / 1e6
            measured = dataclasses.replace(measured, memory_mb=taken)
        if measured.fits or not best.fits or attempt == _MEASURED - 1:
            return best, measured
        off = ms / best.ms  # corrects the predictions of that engine
        rows = [row.taking(row.ms * off) if row.engine == best.engine else row for row in rows]
    return recommended(rows), None


def _advice(best):
    time = f"{_number(best.ms)} ms a frame, {_number(best.fps)} frames/s"
    time += f", {best.memory_mb:.0f} MB"
    if best.fits:
        return f"Recommended: {best.network.name}, {best.engine}: {time}."
    factor = math.sqrt(best.over)
    return (
        f"Nothing fits. Closest: {best.network.name}, {best.engine}: {time}, "
        f"{_number(best.over)} times too slow; sides {factor:.2g} times smaller would fit."
    )
