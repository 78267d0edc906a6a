#!/usr/bin/env python3
"""Forward and training-step time and peak memory on a GPU, without TensorFlow, beside PyTorch.

Engines, each in a process of its own for every network, mode, size and type of numbers:

- jax: our network on Keras' JAX backend, one compiled function a step.
- keras_torch: our network on Keras' PyTorch backend, eager.
- torch_eager, torch_compile: the same network in PyTorch's stock layers (pytorch_peers.py),
  channels_last, as it is and through torch.compile.

Before anything is timed, ours and PyTorch's get the same weights and must give the same images,
loss and gradients. Every step ends with a number read back to the host. What a step reaches is
also given as a share of the rate at which this very device multiplies large matrices.

Without a GPU everything runs on the CPU. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import forward  # networks, command line and tables in the same style
import numpy as np

# {engine: what the tables call it}
ENGINES = {
    "jax": "Keras on JAX",
    "keras_torch": "Keras on PyTorch",
    "torch_eager": "PyTorch",
    "torch_compile": "PyTorch, compiled",
}
OURS, PEERS = ("jax", "keras_torch"), ("torch_eager", "torch_compile")
LOSSES = {"SRN": "multi_scale_squared_error", "MPRNet": "charbonnier_edge"}  # the papers'
LEARNING_RATE, EPSILON = 1e-4, 1e-8
TRAINING_COST = 3  # forward, gradient of the weights, gradient of the features

MATRIX_SIDES = {"gpu": (4096, 8192, 12288), "cpu": (512, 1024, 2048)}
PRODUCTS = 8  # matrix products for each number that is read back
WARM_UP = 2
GRADIENT_TOLERANCE = 1e-3  # norm of the difference, as a share of the gradient's, of each weight
OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemory|RESOURCE_EXHAUSTED|can't allocate memory|Unable to allocate|"
    r"MemoryError|bad_alloc|ALLOC_FAILED",
    re.IGNORECASE,
)


def _loss_name(case):
    return LOSSES[forward.NETWORKS[case["network"]][0]]


def _keras_model(case):
    import keras

    if case["dtype"] == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    kind, arguments = forward._arguments(case)
    model = getattr(importlib.import_module(forward.HOMES[kind]), kind)(**arguments)
    random = np.random.default_rng(0)

    def initial(_, shape, dtype=None):
        values = random.normal(0, 0.5 / math.sqrt(math.prod(shape[:-1])), shape)
        return keras.ops.convert_to_tensor(values, dtype)

    # JAX would compile the initialisers for every shape, and the network's own build, which runs
    # it, operation by operation: a minute for each process.
    kinds = (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal)
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(mock.patch.object(kind, "__call__", initial))
        model.built = True
        model(keras.KerasTensor((1, model.size_multiple, model.size_multiple, model.channels)))
    return model


def _set_jax_precision(float32):
    """Chooses what float32 products are made in; returns what is in force."""
    import jax

    if float32 != "default":
        # JAX's "default" is TF32 where there are tensor cores.
        wanted = {"tf32": "default", "highest": "highest"}[float32]
        jax.config.update("jax_default_matmul_precision", wanted)
    return {"jax_default_matmul_precision": jax.config.jax_default_matmul_precision}


def _set_torch_precision(float32):
    """Chooses what float32 products are made in; returns what is in force."""
    import torch

    backends = torch.backends
    if float32 != "default":
        backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = float32 == "tf32"
    return {
        "matmul.allow_tf32": backends.cuda.matmul.allow_tf32,
        "cudnn.allow_tf32": backends.cudnn.allow_tf32,
    }


def _torch_device():
    import torch

    torch.backends.cudnn.benchmark = True  # XLA tries its convolutions too
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def jax_engine(case):
    """Builds our network; returns a function from two NumPy batches to a step on JAX."""
    import jax

    precision = _set_jax_precision(case["float32"])
    model = _keras_model(case)

    def prepare(images, sharp):
        images, sharp = jax.device_put(images), jax.device_put(sharp)
        trainable = [variable.value for variable in model.trainable_variables]
        rest = [variable.value for variable in model.non_trainable_variables]
        if case["mode"] == "train":
            step, state = _jax_training(model, _loss_name(case), rest)
            compiled = step.lower(trainable, state, images, sharp).compile()
            run = _jax_trainer(compiled, trainable, state, images, sharp)
        else:
            compiled = jax.jit(_jax_forward(model)).lower(trainable, rest, images).compile()

            def run():
                _, mean = compiled(trainable, rest, images)
                return float(mean)

        run.details = {"precision": precision, **_jax_details(compiled)}
        return run

    return prepare


def _jax_forward(model):
    from keras import ops

    def restore(trainable, rest, images):
        stages, _ = model.stateless_call(trainable, rest, images, training=False)
        return stages[-1], ops.mean(stages[-1])

    return restore


def _jax_training(model, loss_name, rest):
    """Returns the compiled training step, which takes its state over, and Adam's variables."""
    import jax
    import keras

    from restore_tf.networks import losses

    loss = losses.get(loss_name)
    optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=EPSILON)
    optimizer.build(model.trainable_variables)

    def loss_of(trainable, images, sharp):
        stages, _ = model.stateless_call(trainable, rest, images, training=True)
        return keras.ops.mean(loss(sharp, stages))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(trainable, state, images, sharp):
        value, gradients = jax.value_and_grad(loss_of)(trainable, images, sharp)
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        return value, trainable, state

    return step, [variable.value for variable in optimizer.variables]


def _jax_trainer(compiled, trainable, state, images, sharp):
    smallest = min(range(len(trainable)), key=lambda index: trainable[index].size)

    def run():
        nonlocal trainable, state
        value, trainable, state = compiled(trainable, state, images, sharp)
        np.asarray(trainable[smallest])  # of the updated weights, so that the update is timed too
        return float(value)

    return run


def _jax_details(compiled):
    """What XLA says of its program: the convolutions' layouts and the memory that it plans."""
    details = {"compile_peak_mb": _device_peak_mb("jax")}
    text = compiled.as_text() or ""
    layouts = collections.Counter(re.findall(r"dim_labels=([\w>\-]+)", text))
    details["layouts"] = dict(layouts.most_common())
    plan = compiled.memory_analysis()
    if plan is not None:
        parts = ("argument", "output", "temp")
        total = sum(getattr(plan, f"{part}_size_in_bytes") for part in parts)
        details["plan_mb"] = (total - plan.alias_size_in_bytes) / 1e6
    return details


def keras_torch_engine(case):
    """Builds our network; returns a function from two NumPy batches to a step on PyTorch."""
    import torch
    from keras import ops

    _torch_device()
    precision = _set_torch_precision(case["float32"])
    model = _keras_model(case)

    def prepare(images, sharp):
        images, sharp = ops.convert_to_tensor(images), ops.convert_to_tensor(sharp)
        if case["mode"] == "train":
            run = _keras_torch_trainer(model, _loss_name(case), images, sharp)
        else:

            @torch.inference_mode()
            def run():
                return model(images, training=False)[-1].mean().item()

        run.details = {"precision": precision}
        return run

    return prepare


def _keras_torch_trainer(model, loss_name, images, sharp):
    """A step as Keras' own training on PyTorch makes it."""
    import keras
    import torch

    from restore_tf.networks import losses

    loss = losses.get(loss_name)
    optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=EPSILON)
    optimizer.build(model.trainable_variables)
    weights = model.trainable_variables

    def run():
        model.zero_grad()
        value = loss(sharp, model(images, training=True)).mean()
        value.backward()
        with torch.no_grad():
            optimizer.apply([weight.value.grad for weight in weights], weights)
        return value.item()

    return run


def torch_eager_engine(case):
    """Builds PyTorch's network; returns a function from two NumPy batches to a step."""
    return _torch_engine(case, lambda function: function)


def torch_compile_engine(case):
    """As `torch_eager_engine`, through torch.compile."""
    import torch

    return _torch_engine(case, torch.compile)


def _torch_engine(case, compiler):
    import torch

    device = _torch_device()
    precision = _set_torch_precision(case["float32"])
    model = _peer(case, device)
    low = case["dtype"] == "bfloat16"
    cast = functools.partial(torch.autocast, device.type, torch.bfloat16, enabled=low)

    def prepare(images, sharp):
        images, sharp = (_channels_last(x, device) for x in (images, sharp))
        if case["mode"] == "train":
            run = _torch_trainer(model, _loss_name(case), cast, compiler, images, sharp)
        else:
            network = compiler(model)

            @torch.inference_mode()
            def run():
                with cast():
                    restored = network(images)[-1]
                return restored.float().mean().item()

        run.details = {"precision": precision}
        return run

    return prepare


def _channels_last(images, device):
    import torch

    # Axes in PyTorch's order over unmoved numbers: this is channels_last.
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2)


def _peer(case, device):
    import torch

    from benchmarks import pytorch_peers

    kind, arguments = forward._arguments(case)
    return getattr(pytorch_peers, kind)(**arguments).to(device, memory_format=torch.channels_last)


def _torch_trainer(model, loss_name, cast, compiler, images, sharp):
    import torch

    on_gpu = images.device.type == "cuda"
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, eps=EPSILON, fused=on_gpu)

    @compiler
    def loss_of(images, sharp):
        with cast():
            stages = model(images)
        return torch_loss(loss_name, stages, sharp)

    def run():
        adam.zero_grad()
        value = loss_of(images, sharp)
        value.backward()
        adam.step()
        return value.item()

    return run


def torch_loss(name: str, stages, sharp):
    """The losses of `restore_tf.networks.losses` in PyTorch's operations, meaned over the batch.

    Args:
      name: "multi_scale_squared_error" or "charbonnier_edge".
      stages: (batch, channels, height, width) each, as the networks of pytorch_peers.py return.
      sharp: of the last stage's shape.

    Returns:
      One number, in float32.
    """
    from torch.nn import functional

    stages = [stage.float() for stage in stages]
    if name == "multi_scale_squared_error":
        targets = [sharp[..., :: 2**k, :: 2**k] for k in reversed(range(len(stages)))]
        return sum(map(functional.mse_loss, stages, targets))
    edges = _laplacian(sharp)
    return sum(
        _charbonnier(stage - sharp) + 0.05 * _charbonnier(_laplacian(stage) - edges)
        for stage in stages
    )


def _charbonnier(difference):
    return (difference.square() + 1e-3**2).sqrt().mean()


def _laplacian(images):
    import torch

    mask = torch.zeros(images.shape[2:], device=images.device)
    mask[::2, ::2] = 4
    return images - _gaussian(_gaussian(images) * mask)


def _gaussian(images):
    import torch
    from torch.nn import functional

    line = torch.tensor((0.05, 0.25, 0.4, 0.25, 0.05), device=images.device)
    channels = images.shape[1]
    kernel = torch.outer(line, line).expand(channels, 1, 5, 5)
    images = functional.pad(images, (2, 2, 2, 2), mode="replicate")
    return functional.conv2d(images, kernel, groups=channels)


def measure(case: dict) -> dict:
    """Times one engine in this process, and reads its peak memory.

    On a GPU the peak is the framework's own count of bytes in use, weights included: PyTorch's
    after the warm-up, JAX' since the process began, as JAX cannot set it back. On a CPU it is
    Linux' mark for the process, after the warm-up, above what it held with the built network.

    Returns:
      seconds of each run, first_seconds (compiling and the first run), value (the number read
      back last), memory_mb, and what the engine says of itself.
    """
    engine = case["engine"]
    prepare = globals()[f"{engine}_engine"](case)
    random = np.random.default_rng(0)
    shape = (case["batch"], *case["size"], forward._channels(case))
    batches = [random.random(shape, np.float32) for _ in range(2)]
    baseline = forward._memory("VmRSS")
    start = time.perf_counter()
    run = prepare(*batches)
    run()
    first = time.perf_counter() - start
    for _ in range(WARM_UP - 1):
        run()
    _reset_peak(engine)
    seconds = []
    while not seconds or (len(seconds) < case["runs"] and sum(seconds) < case["seconds"]):
        start = time.perf_counter()
        value = run()
        seconds.append(time.perf_counter() - start)
    if not math.isfinite(value):
        raise ValueError(f"the number read back is {value}")
    memory = _device_peak_mb(engine)
    if memory is None and baseline is not None:
        memory = forward._memory("VmHWM") - baseline
    return {
        "seconds": seconds,
        "first_seconds": first,
        "value": value,
        "memory_mb": memory,
        **run.details,
    }


def _reset_peak(engine):
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if engine != "jax":
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()


def _device_peak_mb(engine):
    """Peak of the GPU's memory in MB (10^6 bytes); None on a CPU."""
    if engine == "jax":
        import jax

        peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        return peak and peak / 1e6
    import torch

    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None


def rate(case: dict) -> dict:
    """Rates of large square matrix products in one framework.

    Returns:
      device (its name), kind ("gpu" or "cpu"), precision, and rates: {dtype: {side: TFLOP/s}}.
    """
    make = _jax_products if case["framework"] == "jax" else _torch_products
    device, kind, precision, chain = make(case["float32"])
    rates = {}
    for dtype, side in itertools.product(case["dtypes"], MATRIX_SIDES[kind]):
        random = np.random.default_rng(0)
        # Random, as zeros are faster; so scaled that the products keep their size.
        start, factor = (random.standard_normal((side, side), np.float32) for _ in range(2))
        run = chain(start, factor / math.sqrt(side), dtype)
        run()
        run()
        best = math.inf
        until = time.perf_counter() + 2
        while best == math.inf or time.perf_counter() < until:
            begun = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - begun)
        rates.setdefault(dtype, {})[str(side)] = PRODUCTS * 2 * side**3 / best / 1e12
    return {"device": device, "kind": kind, "precision": precision, "rates": rates}


def _jax_products(float32):
    import jax

    precision = _set_jax_precision(float32)
    device = jax.local_devices()[0]

    @jax.jit
    def multiply(x, factor):
        for _ in range(PRODUCTS):
            x = x @ factor
        return x, x[0, 0]

    def chain(start, factor, dtype):
        start, factor = (jax.numpy.asarray(x, dtype) for x in (start, factor))
        return lambda: float(multiply(start, factor)[1])

    kind = "cpu" if device.platform == "cpu" else "gpu"
    return device.device_kind, kind, precision, chain


def _torch_products(float32):
    import torch

    precision = _set_torch_precision(float32)
    device = _torch_device()

    def chain(start, factor, dtype):
        dtype = getattr(torch, dtype)
        start, factor = (torch.from_numpy(x).to(device, dtype) for x in (start, factor))

        def run():
            x = start
            for _ in range(PRODUCTS):
                x = x @ factor
            return x[0, 0].item()

        return run

    if device.type == "cuda":
        return torch.cuda.get_device_name(), "gpu", precision, chain
    return "cpu", "cpu", precision, chain


def count(case: dict) -> dict:
    """Multiplications of the networks' convolutions, from shapes alone; nothing is computed.

    Returns:
      {network: {"HEIGHTxWIDTH": GMAC of one forward of one image}}.
    """
    gmacs = {}
    for network in case["networks"]:
        model = _keras_model({**case, "network": network, "dtype": "float32"})
        gmacs[network] = {
            _times(size): _multiplications(model, (1, *size, model.channels)) / 1e9
            for size in case["sizes"]
        }
    return gmacs


def _multiplications(model, shape):
    import keras

    counts = []

    def counting(kind, transposed):
        call = kind.call

        def counted(layer, inputs):
            outputs = call(layer, inputs)
            pixels = (inputs if transposed else outputs).shape[:3]
            counts.append(math.prod(pixels) * math.prod(layer.kernel.shape))
            return outputs

        return mock.patch.object(kind, "call", counted)

    with counting(keras.layers.Conv2D, False), counting(keras.layers.Conv2DTranspose, True):
        _call_abstractly(model, shape)
    return sum(counts)


def _call_abstractly(model, shape):
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.eval_shape(model, jax.ShapeDtypeStruct(shape, "float32"))
        return
    import torch

    with keras.device("meta"), torch.no_grad():
        model(torch.empty(shape, device="meta"))


def check(case: dict) -> dict:
    """Differences between our network and PyTorch's with the same weights, in float32.

    The weights are random and large enough that every part of the network shows in the outputs.

    Returns:
      images: the largest difference over all stages, as a share of their range. loss: relative.
      gradients: of each weight the norm of the difference as a share of the gradient's norm; the
      largest. parameters: whether both have as many in full width.
    """
    from benchmarks import pytorch_peers

    _set_torch_precision("highest")
    device = _torch_device()
    full = {**case, "small": False}
    ours, theirs = _keras_model(full), _peer(full, device)
    parameters = ours.count_params() == sum(weight.numel() for weight in theirs.parameters())

    model, peer = _keras_model(case), _peer(case, device)
    names, random = pytorch_peers.parameter_map(model), np.random.default_rng(0)
    for variable in names.values():
        shape = tuple(variable.shape)
        scale = math.sqrt(1 / math.prod(shape[:3])) if len(shape) == 4 else 0.1
        variable.assign(random.normal(0, scale, shape).astype(np.float32))
    pytorch_peers.copy_weights(model, peer)
    shape = (2, *case["size"], model.channels)
    images, sharp = (random.random(shape, np.float32) for _ in range(2))
    differentiate = _jax_gradients if case["backend"] == "jax" else _keras_torch_gradients
    expected, loss, gradients = differentiate(model, _loss_name(case), images, sharp)
    gradients = dict(zip(map(id, model.trainable_variables), gradients, strict=True))

    found = peer(_channels_last(images, device))
    value = torch_loss(_loss_name(case), found, _channels_last(sharp, device))
    value.backward()
    found = [stage.detach().cpu().numpy().transpose(0, 2, 3, 1) for stage in found]
    return {
        "images": max(
            float(np.abs(stage - other).max() / np.ptp(other))
            for stage, other in zip(found, expected, strict=True)
        ),
        "loss": abs(value.item() - loss) / abs(loss),
        "gradients": max(
            _gradient_difference(gradients[id(names[name])], parameter.grad)
            for name, parameter in peer.named_parameters()
        ),
        "parameters": parameters,
    }


def _gradient_difference(expected, found):
    """Of one weight: Keras keeps (h, w, in, out), PyTorch (out, in, h, w)."""
    expected = expected.transpose(3, 2, 0, 1) if expected.ndim == 4 else expected.reshape(-1)
    difference = np.linalg.norm(found.cpu().numpy() - expected)
    return float(difference / max(np.linalg.norm(expected), 1e-30))  # behind a dead ReLU it is 0


def _jax_gradients(model, loss_name, images, sharp):
    """Stages, loss and gradients of our network as NumPy arrays."""
    import jax
    from keras import ops

    from restore_tf.networks import losses

    _set_jax_precision("highest")
    loss = losses.get(loss_name)

    def loss_of(trainable):
        stages, _ = model.stateless_call(trainable, [], images, training=True)
        return ops.mean(loss(sharp, stages)), stages

    trainable = [variable.value for variable in model.trainable_variables]
    (value, stages), gradients = jax.jit(jax.value_and_grad(loss_of, has_aux=True))(trainable)
    return list(map(np.asarray, stages)), float(value), list(map(np.asarray, gradients))


def _keras_torch_gradients(model, loss_name, images, sharp):
    """Stages, loss and gradients of our network as NumPy arrays."""
    from keras import ops

    from restore_tf.networks import losses

    stages = model(ops.convert_to_tensor(images), training=True)
    value = losses.get(loss_name)(ops.convert_to_tensor(sharp), stages).mean()
    value.backward()
    gradients = [variable.value.grad.cpu().numpy() for variable in model.trainable_variables]
    return [stage.detach().cpu().numpy() for stage in stages], value.item(), gradients


def _child(case):
    """Does one piece of work in this process; running out of memory is a result too."""
    work = {"check": check, "count": count, "rate": rate}.get(case["engine"], measure)
    try:
        return work(case)
    except Exception as error:
        if OUT_OF_MEMORY.search(f"{type(error).__name__}: {error}"):
            return {"failed": "out of memory"}
        raise


def _start(case, backend, timeout, **variables):
    """Runs a piece of work in a process of its own; {"failed": reason} if it came to nothing."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(case)]
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX would take most of the GPU at once
        **variables,
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A group of its own, so that torch.compile's workers can be ended with it.
    process = subprocess.Popen(command, env=environment, process_group=0, **pipes)
    try:
        output, errors = process.communicate(timeout=max(1, timeout))
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped after {timeout:.0f} s"}
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode == 0:
        return json.loads(output.splitlines()[-1])
    if process.returncode == -signal.SIGKILL:
        return {"failed": "out of memory"}  # Linux ends the process that takes too much
    reason = (errors.strip().splitlines() or ["no message"])[-1]
    memory = OUT_OF_MEMORY.search(errors)
    return {"failed": "out of memory" if memory else f"code {process.returncode}: {reason}"}


def _backend(engine):
    return "jax" if engine == "jax" else "torch"


def _times(size):
    return "x".join(map(str, size))


def environment() -> dict:
    """This machine and the versions that run on it."""
    machine = forward.environment()
    machine["versions"].pop("tensorflow", None)
    for package in ("jax", "jaxlib", "triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            machine["versions"][package] = importlib.metadata.version(package)
    return machine


def _check_all(args):
    """Compares our networks and PyTorch's; returns the differences, exits on a large one."""
    differences = {}
    for network, engine in itertools.product(args.networks, args.engines):
        if engine in PEERS:
            continue
        case = {"engine": "check", "network": network, "size": forward.CHECK_SIZE}
        # Narrow networks: the same code, and minutes less of compiling.
        case |= {"dtype": "float32", "small": True, "backend": _backend(engine)}
        found = _start(case, _backend(engine), args.timeout)
        if "failed" in found or not (
            found["images"] <= forward.TOLERANCE
            and found["loss"] <= forward.TOLERANCE
            and found["gradients"] <= GRADIENT_TOLERANCE
            and found["parameters"]
        ):
            sys.exit(f"{network}: {ENGINES[engine]} and PyTorch do not agree ({found}); not timed.")
        print(
            f"{network}: {ENGINES[engine]} and PyTorch differ by {found['images']:.1e} of the "
            f"images' range, {found['gradients']:.1e} of a weight's gradient"
        )
        differences[f"{network} {engine}"] = found
    return differences


def _measure_rates(args):
    """Returns what `rate` does, by framework."""
    rates = {}
    for framework in dict.fromkeys(map(_backend, args.engines)):
        case = {"engine": "rate", "framework": framework, "dtypes": args.dtypes}
        case["float32"] = args.float32
        found = _start(case, framework, args.timeout)
        if "failed" in found:
            print(f"matrix products on {framework}: {found['failed']}", file=sys.stderr)
        else:
            rates[framework] = found
    return rates


def _count(args):
    backend = _backend(args.engines[0])
    case = {"engine": "count", "networks": args.networks, "small": args.small}
    case["sizes"] = [*args.sizes, *args.pictures]
    found = _start(case, backend, args.timeout, JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")
    if "failed" in found:
        sys.exit(f"counting the convolutions: {found['failed']}")
    return found


def _cases(args):
    """Every network, mode, size, batch and type, in the order of the tables."""
    shapes = [(mode, size, args.batch) for size in args.sizes for mode in args.modes]
    if "forward" in args.modes:
        shapes += [("forward", size, 1) for size in args.pictures]
    keys = ("network", "mode", "size", "batch", "dtype")
    for network, (mode, size, batch), dtype in itertools.product(
        args.networks, shapes, args.dtypes
    ):
        case = dict(zip(keys, (network, mode, size, batch, dtype), strict=True))
        case |= {"small": args.small, "float32": args.float32}
        yield case | {"runs": args.runs, "seconds": args.seconds}


def _measure_all(args, end, save):
    """Runs every case; engines take turns. Returns one entry per case and engine."""
    entries = []
    for case in _cases(args):
        found = {engine: [] for engine in args.engines}
        for _, engine in itertools.product(range(args.rounds), args.engines):
            label = f"{case['network']} {case['mode']} {case['batch']}x{_times(case['size'])}"
            print(f"measuring {label} {case['dtype']} {engine}", file=sys.stderr)
            left = end - time.monotonic()
            if left <= 0:
                found[engine].append({"failed": "not measured: no time left"})
                continue
            busy = forward._busy_share()
            measured = _start({**case, "engine": engine}, _backend(engine), min(args.timeout, left))
            if "failed" in measured:
                print(f"{label} {case['dtype']} {engine}: {measured['failed']}", file=sys.stderr)
            found[engine].append({**measured, "busy": busy})
        entries += [{**case, "engine": engine, **_merged(found[engine])} for engine in args.engines]
        save(entries)
    return entries


def _merged(rounds):
    done = [measured for measured in rounds if "failed" not in measured]
    if not done:
        return rounds[0]
    seconds = [second for measured in done for second in measured["seconds"]]
    merged = {**done[0], "seconds": seconds, "median": statistics.median(seconds)}
    merged["busy"] = max(measured["busy"] for measured in done)
    if merged["memory_mb"] is not None:
        merged["memory_mb"] = max(measured["memory_mb"] for measured in done)
    return merged


def tables(results: dict) -> str:
    """Times as ratios and shares, memory, then this machine's own numbers, as Markdown tables."""
    index = {}
    for entry in results["measurements"]:
        key = (entry["network"], entry["mode"], tuple(entry["size"]), entry["batch"])
        index.setdefault((*key, entry["dtype"]), {})[entry["engine"]] = entry
    best = _best_rates(results["rates"])
    head = ["network", "mode", "size", "batch", "type"]
    pairs = [(ours, peer) for ours in OURS for peer in PEERS]
    names = [f"{ENGINES[ours]} / {ENGINES[peer]}" for ours, peer in pairs]
    times = [[*head, *names, *(f"matrix rate: {name}" for name in ENGINES.values())]]
    memory = [[*head, *names]]
    absolutes = [[*head, "GMAC an image"]]
    absolutes[0] += [f"ms: {name}" for name in ENGINES.values()]
    absolutes[0] += [f"MB: {name}" for name in ENGINES.values()]
    absolutes[0] += [f"s until the first step: {name}" for name in ENGINES.values()]
    for (network, mode, size, batch, dtype), found in index.items():
        head = [network, mode, _times(size), str(batch), _type_name(dtype, results)]
        gmacs = results["gmacs"][network][_times(size)]
        work = 2 * gmacs * batch * (TRAINING_COST if mode == "train" else 1) / 1e3
        engines = [found.get(engine, {}) for engine in ENGINES]
        couples = [(found.get(ours, {}), found.get(peer, {})) for ours, peer in pairs]
        shares = [_share(work, entry, best.get(dtype)) for entry in engines]
        times.append([*head, *(forward._ratio(*couple) for couple in couples), *shares])
        memory.append([*head, *(forward._ratio(*couple, "memory_mb") for couple in couples)])
        cells = [f"{gmacs:.1f}", *map(_milliseconds, engines)]
        cells += [forward._cell(entry, "memory_mb", "{:.0f}") for entry in engines]
        cells += [forward._cell(entry, "first_seconds", "{:.0f}") for entry in engines]
        absolutes.append([*head, *cells])
    parts = {"Time, and share of the device's matrix rate": times, "Memory": memory}
    parts["Here"] = absolutes
    return "\n\n".join(
        f"{title}:\n\n{forward._markdown(rows)}"
        for title, rows in parts.items()
        if any(set(row[5:]) != {"–"} for row in rows[1:])
    )


def _best_rates(rates):
    """{dtype: TFLOP/s}, the best of all frameworks and sizes."""
    best = {}
    for found in rates.values():
        for dtype, sides in found["rates"].items():
            best[dtype] = max(best.get(dtype, 0), *sides.values())
    return best


def _share(work, entry, best):
    return f"{work / entry['median'] / best:.0%}" if best and "median" in entry else "–"


def _milliseconds(entry):
    return entry.get("failed") or forward._cell(
        {"ms": 1000 * entry["median"]} if "median" in entry else {}, "ms", "{:.1f}"
    )


def _type_name(dtype, results):
    on_gpu = any(found["kind"] == "gpu" for found in results["rates"].values())
    if dtype != "float32" or not on_gpu:
        return dtype
    words = {"tf32": "TF32", "highest": "no TF32", "default": "each framework's default"}
    return f"float32 ({words[results['float32']]})"


def _print_rates(results):
    for framework, found in results["rates"].items():
        rates = ", ".join(
            f"{_type_name(dtype, results)} {max(sides.values()):.3g}"
            for dtype, sides in found["rates"].items()
        )
        print(f"{found['device']}, matrix products on {framework}: {rates} TFLOP/s")
        print(f"float32 precision in force: {found['precision']}")


def _join(paths):
    """Earlier outputs as one: the tables of several commands."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    joined = {**results[0], "measurements": [], "gmacs": {}, "rates": {}}
    if len({result["float32"] for result in results}) > 1:
        sys.exit("--join: the files differ in --float32; join those that were measured alike.")
    for result in results:
        joined["measurements"] += result["measurements"]
        joined["rates"] |= result["rates"]
        for network, sizes in result["gmacs"].items():
            joined["gmacs"].setdefault(network, {}).update(sizes)
    return joined


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    several = {"nargs": "+"}
    parser.add_argument(
        "--networks", choices=forward.NETWORKS, default=["srn", "mprnet"], **several
    )
    parser.add_argument(
        "--sizes", type=forward._size, default=[(256, 256)], nargs="*", help="crops, in batches"
    )
    parser.add_argument(
        "--pictures",
        type=forward._size,
        default=[(720, 1280)],
        nargs="*",
        help="pictures, one at a time, forward alone",
    )
    parser.add_argument("--batch", type=int, default=16, help="crops a step")
    dtypes, modes = ["float32", "bfloat16"], ["forward", "train"]
    parser.add_argument("--dtypes", choices=dtypes, default=dtypes, **several)
    parser.add_argument("--modes", choices=modes, default=modes, **several)
    parser.add_argument("--engines", choices=ENGINES, default=list(ENGINES), **several)
    parser.add_argument(
        "--float32",
        choices=["tf32", "highest", "default"],
        default="tf32",
        help="what both sides make float32 products in on a GPU: TF32, float32, or each its own",
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="processes of each engine; engines take turns"
    )
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each process, at most")
    parser.add_argument(
        "--seconds", type=float, default=20, help="a process starts no run after so many seconds"
    )
    parser.add_argument(
        "--timeout", type=float, default=900, help="seconds after which a process is stopped"
    )
    parser.add_argument(
        "--limit", type=float, default=math.inf, help="seconds after which everything is stopped"
    )
    parser.add_argument("--no-check", action="store_true", help="do not compare with PyTorch first")
    parser.add_argument("--output", type=Path, help="JSON file for every single measurement")
    parser.add_argument(
        "--join", type=Path, metavar="JSON", help="print earlier outputs' tables alone", **several
    )
    parser.add_argument(
        "--small", action="store_true", help="tiny networks, to try the script: measures nothing"
    )
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.output and not args.output.resolve().parent.is_dir():
        parser.error(f"--output {args.output}: its folder does not exist; make it first.")
    return args


def _keep_installed(engines):
    for framework in ("jax", "torch"):
        if importlib.util.find_spec(framework) is None:
            print(f"{framework} is not installed: its columns are left out.")
            engines = [engine for engine in engines if _backend(engine) != framework]
    if not engines:
        sys.exit("Nothing to measure: install jax or torch.")
    return engines


def main(argv: list[str] | None = None) -> None:
    """Measures what the flags ask for and prints the tables."""
    args = _parse(argv)
    sys.path.insert(0, str(forward.ROOT))  # wherever it is started from
    if args.child:
        print(json.dumps(_child(args.child)))
        return
    if args.join:
        print(tables(_join(args.join)))
        return
    end = time.monotonic() + args.limit
    # Ended from outside, this ends the process that is measuring too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    args.engines = _keep_installed(args.engines)
    results = {"environment": environment(), "float32": args.float32, "small": args.small}
    forward._print_environment(results["environment"], [])
    if not args.no_check and importlib.util.find_spec("torch") is not None:
        results["differences"] = _check_all(args)
    results |= {"gmacs": _count(args), "rates": _measure_rates(args)}
    _print_rates(results)

    def save(entries):
        forward._save(args.output, {**results, "measurements": entries})

    results["measurements"] = _measure_all(args, end, save)
    print(f"\n{tables(results)}")
    busy = max((entry.get("busy", 0) for entry in results["measurements"]), default=0)
    if busy > forward.BUSY:
        print(f"\nOther processes used up to {busy:.0%} of the CPU: measure on a quiet machine.")


if __name__ == "__main__":
    main()
