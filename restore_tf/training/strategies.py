"""Distribution strategies by name, and a process's place among workers."""

from __future__ import annotations

import json
import os

import numpy as np
import tensorflow as tf

from restore_tf.errors import UserError
from restore_tf.training.messages import first_line

STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu")


def make_strategy(name: str, tpu: str = "") -> tf.distribute.Strategy:
    """Returns the tf.distribute strategy of that name.

    TensorFlow wants a multi-worker strategy before anything else is computed: call this first.

    Args:
      name: one of `STRATEGIES`. "auto" is "multiworker" where TF_CONFIG names several workers,
        "mirrored" with several GPUs, else "one".
      tpu: name or address of the TPU; "" for the one this virtual machine has.

    Raises:
      UserError: an unknown name, or one that this machine or TF_CONFIG has no devices for.
    """
    if name not in STRATEGIES:
        raise UserError(f"--strategy {name}: expected one of {', '.join(STRATEGIES)}.")
    if name == "auto":
        name = "multiworker" if len(_cluster()) > 1 else "auto"
    if name == "multiworker":
        return _multiworker()
    if name == "tpu":
        return _tpu(tpu)
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise UserError(
            "--strategy mirrored: only one device here; use --strategy one, or split the CPU into "
            "several virtual devices with --virtual_devices 2."
        )
    # TensorFlow's collectives for CPUs mix up two strategies of one process; copying does not.
    copying = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([device.name for device in devices], copying)


def _cluster() -> list[str]:
    """Returns the addresses of the workers in TF_CONFIG; none where it is not set."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return []
    try:
        content = json.loads(text)
        cluster, task = content["cluster"], content["task"]
        workers = [host for job in ("chief", "worker") for host in cluster.get(job, [])]
        cluster[task["type"]][int(task["index"])]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise UserError(
            'TF_CONFIG: expected {"cluster": {"worker": ["host:port", …]}, "task": {"type": '
            f'"worker", "index": 0}}}}, got {text[:200]}'
        ) from None
    return workers


def _multiworker():
    if not _cluster():
        raise UserError(
            "--strategy multiworker: TF_CONFIG is not set; it names the workers and this one's "
            "place among them. To try it on this machine alone: --local_workers 2."
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"--strategy multiworker: {first_line(error)} (is every address of TF_CONFIG right, "
            "and its port free?)"
        ) from None


def _tpu(name):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu=name)
        return tf.distribute.TPUStrategy(resolver)
    # Without a TPU the resolver asks for one over the network, and fails in many ways.
    except Exception as error:
        raise UserError(
            f"--strategy tpu: no TPU reached ({first_line(error)}); pass its name as --tpu."
        ) from None


def worker_count(strategy) -> int:
    """Returns how many processes train together.

    Args:
      strategy: a tf.distribute strategy.
    """
    resolver = strategy.cluster_resolver
    if resolver is None or isinstance(strategy, tf.distribute.TPUStrategy):
        return 1
    jobs = resolver.cluster_spec().as_dict()
    return sum(len(jobs.get(job, ())) for job in ("chief", "worker")) or 1


def is_chief(strategy) -> bool:
    """Returns whether this process writes the files.

    Args:
      strategy: a tf.distribute strategy.
    """
    return strategy.extended.should_checkpoint


def from_chief(strategy):
    """Returns a function that gives every worker the chief's values.

    The function takes a list of tensors or numbers, of the same shapes on every worker, and returns
    as many NumPy arrays: those of the first replica. All workers must call it at the same point: it
    also makes them wait for each other.

    Args:
      strategy: a tf.distribute strategy.
    """

    def one_replica(*tensors):
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group, 0)
        mine = [tf.where(first, tensor, tf.zeros_like(tensor)) for tensor in tensors]
        # One by one: together they would have to be of one type.
        return [context.all_reduce(tf.distribute.ReduceOp.SUM, tensor) for tensor in mine]

    @tf.function(autograph=False)
    def all_replicas(*tensors):
        return strategy.run(one_replica, args=tensors)

    def agree(values):
        results = all_replicas(*map(tf.convert_to_tensor, values))
        return [strategy.experimental_local_results(result)[0].numpy() for result in results]

    return agree


def share_state(strategy, state) -> None:
    """Copies the chief's state to every worker: only the chief reads the run directory.

    Args:
      strategy: a tf.distribute strategy.
      state: the `State`, made under the strategy.
    """
    if worker_count(strategy) == 1:
        return
    variables, numbers = state.variables(), state.numbers()
    arrays = [variable.numpy() for variable in variables]
    arrays += [np.asarray(number) for number in numbers.values()]
    arrays = from_chief(strategy)(arrays)
    for variable, value in zip(variables, arrays[: len(variables)], strict=True):
        variable.assign(value)
    state.set_numbers(dict(zip(numbers, arrays[len(variables) :], strict=True)))


def any_of(strategy):
    """Returns a function that says for each of several wishes whether any worker has it.

    The function takes a list of booleans and returns as many. All workers must call it at the same
    point.

    Args:
      strategy: a tf.distribute strategy.
    """
    if worker_count(strategy) == 1:
        return lambda wishes: [bool(wish) for wish in wishes]

    @tf.function(autograph=False)
    def total(wishes):
        sums = strategy.run(lambda: tf.identity(wishes))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    return lambda wishes: [bool(count) for count in total(tf.cast(wishes, tf.float32)).numpy()]
