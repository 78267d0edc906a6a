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


def train_links(name: str, output: str | os.PathLike, steps: int | None, values, join) -> int:
    """Trains the links that are not trained yet, joins them and prints what each of them adds.

    After an interruption, the same command resumes.

    Args:
      name: of the recipe.
      output: the chain's run directory; its links' are below it.
      steps: of each link's training, None for the recipes' own.
      values: the command's flags: the data's folders, and those of the table.
      join: makes a chain of (links, output).

    Returns:
      The exit code.

    Raises:
      UserError: no such recipe, or an output of another chain.
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
    return chain_table.write_table(output, values)


def _words(dataset, link, workdir, links, steps):
    """The command that trains a link."""
    words = ["train.py", f"--model={link.model}", f"--recipe={link.recipe}"]
    words += [f"--dataset={dataset}", f"--config={link.config}", f"--workdir={workdir}"]
    words += [f"--set={assignment}" for assignment in link.overrides]
    if links:
        words.append(f"--chain={','.join(links)}")
    return words + ([] if steps is None else [f"--steps={steps}"])


def _is_trained(workdir):
    """Whether a training is complete, and was not stopped by a signal."""
    recipe, _ = experiments.read(workdir)
    done = run_directory.checkpoint_step(workdir, not training_plan.other_backend())
    return done is not None and done >= recipe.steps
