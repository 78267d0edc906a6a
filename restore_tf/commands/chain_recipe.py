"""`restore-tf chain --recipe NAME`: trains the links of a chain in turn, and joins them."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

from restore_tf.commands import chain_table, train, training_plan
from restore_tf.commands.flags.data import FOLDERS
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers, run_directory
from restore_tf.experiments.chain_recipe import Link
from restore_tf.system import outputs

LINKS = "links"  # folder of the runs inside the chain's


def run(name: str, output: str | os.PathLike, steps: int | None, values, join) -> int:
    """Trains what is not trained yet, joins the links and prints what each of them adds.

    Interrupted, the same command goes on where it was.

    Args:
      name: of the recipe.
      output: the chain's run directory; its links' are below.
      steps: of each link, None for the recipes' own.
      values: the flags: of the data's folders, and of the table.
      join: makes a chain of (links, output).

    Raises:
      UserError: no such recipe, or an output that is not of such a chain.
    """
    recipe, output = papers.chain(name), Path(output)
    outputs.check_folder(output)
    begin, links = time.monotonic(), []
    print(f"{name}: {recipe.summary}; {len(recipe.links)} links.", flush=True)
    for number, link in enumerate(recipe.links, 1):
        if not isinstance(link, Link):
            links.append(link)
            continue
        workdir = os.path.relpath(output / LINKS / f"{number}_{link.model}")
        words = _words(recipe.dataset, link, workdir, links, steps)
        words += [f"--{flag}={values[flag].value}" for flag in FOLDERS if values[flag].value]
        print(f"\nLink {number} of {len(recipe.links)}: {shlex.join(words)}", flush=True)
        code = train.main(words)
        if code or not _is_trained(workdir):
            return code
        links.append(workdir)
    print(f"\nAll links are trained; this took {(time.monotonic() - begin) / 60:.1f} minutes.")
    join(links, output)
    return chain_table.run(output, values)


def _words(dataset, link, workdir, links, steps):
    """The command that trains a link."""
    words = ["train.py", f"--model={link.model}", f"--recipe={link.recipe}"]
    words += [f"--dataset={dataset}", f"--config={link.config}", f"--workdir={workdir}"]
    words += [f"--set={assignment}" for assignment in link.overrides]
    if links:
        words.append(f"--chain={','.join(links)}")
    return words + ([] if steps is None else [f"--steps={steps}"])


def _is_trained(workdir):
    """Whether a training came to its end, and was not stopped by a signal."""
    recipe, _ = experiments.read(workdir)
    done = run_directory.checkpoint_step(workdir, not training_plan.other_backend())
    return done is not None and done >= recipe.steps
