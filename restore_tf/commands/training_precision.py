"""`train.py --precision auto`: the precision a run was started with, else the faster one."""

from __future__ import annotations

import dataclasses

from restore_tf.experiments import experiment as experiments
from restore_tf.system.log import logger
from restore_tf.training.options import AUTO


def recorded(workdir, run: experiments.Run) -> experiments.Run:
    """Returns the run with its recorded precision, where --precision auto resumes one.

    Args:
      workdir: the run directory.
      run: the command's `Run`.
    """
    if run.precision != AUTO or not (workdir / experiments.FILE_NAME).exists():
        return run
    precision = experiments.read(workdir)[1].precision
    logger.info("precision: %s, as the run was started with.", precision)
    return dataclasses.replace(run, precision=precision)


def decided(plan, options, make_engine) -> tuple:
    """Returns the plan and the options with the training's precision; measures it if need be.

    Args:
      plan: the `training_plan.Plan`.
      options: the training's `Options`.
      make_engine: returns the training's engine from (experiment, `Options`).
    """
    precision = plan.run.precision
    if precision == AUTO:
        from restore_tf.training.fastest_precision import faster

        precision, reason = faster(make_engine, plan.experiment, options)
        logger.info("precision: %s", reason)
        plan = dataclasses.replace(plan, run=dataclasses.replace(plan.run, precision=precision))
    return plan, dataclasses.replace(options, precision=precision)
