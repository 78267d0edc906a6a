"""`restore-tf chain`: joins runs and steps into one run, which applies them in order."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import chain_recipe, chain_table, cli
from restore_tf.commands.flags import data as data_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import outputs, quiet

USAGE = """Joins runs, published weights and steps into one run, which every command takes.
  restore-tf chain RUN RUN unsharp:2:1.5:3 --output CHAIN
Trains the links of a package's chain in turn; the same command resumes it when interrupted:
  restore-tf chain --recipe repair --output CHAIN
Prints what each link adds or costs, in dB, on the chain's data or another set:
  restore-tf chain --table CHAIN [--dataset gopro --data_dir DIR/GOPRO_Large]"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_chain, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("output", None, "the chain's run directory")
    flags.DEFINE_boolean(
        "eight_bit",
        False,
        "round and clip to 8 bits between the links, as files would",
        flag_values=values,
    )
    string("recipe", None, "train the links of this chain and join them, such as repair")
    flags.DEFINE_integer(
        "steps",
        None,
        "--recipe: training steps of each link; the recipes' own by default",
        1,
        flag_values=values,
    )
    string("table", None, "a chain: print its table of links, and write table.csv into it")
    data_flags.define(values, "--table: the chain's")
    string("split", "test", "--table: train, validation or test")
    flags.DEFINE_integer(
        "limit",
        None,
        "--table: score only the first N pictures; all by default",
        1,
        flag_values=values,
    )
    return values


def _chain(links, values):
    if values.table is not None:
        if links or values.output is not None:
            raise UserError("--table: takes only the chain; leave links and --output out.")
        return chain_table.write_table(values.table, values)
    if values.recipe is not None:
        return _by_recipe(links, values)
    if not links:
        raise UserError("no links; name runs, published weights or steps such as unsharp:2:1.5:3.")
    if values.output is None:
        raise UserError("--output: missing; expected the run directory to make.")
    join(links, values.output, values.eight_bit)
    print(f"Next: python restore.py PICTURE --workdir {values.output} --output DIR")
    return 0


def _by_recipe(links, values):
    """Trains and joins the chain that --recipe names."""
    if links:
        raise UserError(f"{links[0]}: --recipe has its own links; leave these out.")
    if values.output is None:
        raise UserError("--output: missing; expected the run directory to make.")
    _check_output(Path(values.output))

    def make(links, output):
        join(links, output, values.eight_bit)

    return chain_recipe.train_links(values.recipe, values.output, values.steps, values, make)


def join(links: Sequence[str], output: str | os.PathLike, eight_bit: bool = False) -> None:
    """Makes a chain's run directory, or replaces it.

    Args:
      links: as the command takes them; paths are relative to the current folder.
      output: the run directory. Relative paths are stored relative to it.
      eight_bit: round and clip to 8 bits between the links.

    Raises:
      UserError: a link that does not exist, has no weights or does not fit the others; an output
        that another command wrote. Nothing is written then.
    """
    output = Path(output)
    outputs.check_folder(output)
    _check_output(output)
    quiet.import_tensorflow()
    from restore_tf.weights import chains

    recipe, run = chains.record(links)
    named = {link: _relative(link, output) for link in links}
    network = {**recipe.network, "links": [named[link] for link in links], "eight_bit": eight_bit}
    run = experiments.Run.from_json(
        {**run.to_json(), "links": {named[link]: digest for link, digest in run.links.items()}}
    )
    with outputs.staged(output, [experiments.FILE_NAME]) as staging:
        experiments.write(staging, dataclasses.replace(recipe, network=network), run)
    names, scale = chains.names(links), chains.make(links).output_scale
    larger = f", {scale} times as large" if scale > 1 else ""
    print(f"{output}: {' -> '.join(names)}{larger}.")


def _check_output(output):
    """Refuses a run directory that is not a chain: its record would be replaced."""
    if not (output / experiments.FILE_NAME).exists():
        return
    recipe, run = experiments.read(output)
    if recipe.model != "chain" or not run.links:
        raise UserError(f"{output}: is a run of {recipe.model}; pass another --output.")


def _relative(link, output):
    """A relative path, made relative to the chain's folder; anything else as it is."""
    from restore_tf.networks.steps import is_step

    if is_step(link) or os.path.isabs(link) or not os.path.exists(link):
        return link
    return os.path.relpath(os.path.abspath(link), os.path.abspath(output))
