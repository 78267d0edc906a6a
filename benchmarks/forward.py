#!/usr/bin/env python3
"""Forward time and peak memory of the networks on this machine's CPU, beside two yardsticks.

Engines, for every network, size and type of numbers:

- tensorflow: what `restore_tf.restore` runs, with read-back into NumPy.
- pytorch: the same network in PyTorch's stock layers (pytorch_peers.py), eager, channels_last.
  Before anything is timed, both get the same weights and must give the same numbers.
- convolutions: the network's convolutions alone, one after another in one tf.function, each on
  its real shapes. Biases, activations, attention, resizing and all else are left out.

For memory each engine has a process of its own. For time they take turns in one: a processor's
speed drifts by a third within a minute, and only what ran side by side can be compared.
Seconds are this machine's; the ratios are what to compare, on a machine that does nothing else.
See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]

# {name here: (class, arguments)}; the same class name and arguments in Keras and in pytorch_peers.
NETWORKS = {
    "srn": ("SRN", {"channels": 3, "recurrent": True}),
    "srn_lstm": ("SRN", {"channels": 1, "recurrent": True}),
    "srn_gray": ("SRN", {"channels": 1, "recurrent": False}),
    "srn_color": ("SRN", {"channels": 3, "recurrent": False}),
    "mprnet_stage1": ("MPRNet", {"stages": 1}),
    "mprnet_stage2": ("MPRNet", {"stages": 2}),
    "mprnet": ("MPRNet", {}),
    "mprnet_local": ("MPRNet", {"local_attention": 256}),
    "maxim_stage1": ("MAXIM", {"stages": 1}),
    "maxim_stage2": ("MAXIM", {"stages": 2}),
    "maxim": ("MAXIM", {}),
}
HOMES = {"SRN": "srn_tf.model", "MPRNet": "mprnet_tf.model", "MAXIM": "maxim_tf.model"}
SMALL = {
    "SRN": {"width": 4},
    "MPRNet": {"n_feat": 8, "scale_unetfeats": 4, "scale_orsnetfeats": 4, "num_cab": 2},
    "MAXIM": {"features": 4, "num_groups": 1, "block_size_hr": 4, "block_size_lr": 4},
}
DEFAULT_NETWORKS = ["srn", "mprnet_stage1", "mprnet_stage2", "mprnet", "mprnet_local"]
ENGINES = ["tensorflow", "pytorch", "convolutions"]

CHECK_SIZE = (64, 128)  # not square, so that height and width cannot be mixed up
SMALLEST = (64, 64)  # what all networks take
CHECK_CROP = 32  # of local attention: windows smaller than the maps
TOLERANCE = 1e-4  # largest difference, as a share of the outputs' range
BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # the last is Arm's
BUSY = 0.1  # share of the CPU that other processes may use
LOW_PRECISION_FLAGS = (*BFLOAT16_FLAGS, "avx512_vnni", "amx_int8")


def _arguments(case):
    kind, arguments = NETWORKS[case["network"]]
    arguments = {**arguments, **(SMALL[kind] if case["small"] else {})}
    if case["engine"] == "check" and "local_attention" in arguments:
        arguments["local_attention"] = CHECK_CROP
    return kind, arguments


def _keras_model(case):
    from restore_tf.networks.dtype_policy import computing_in

    low = case["dtype"] == "bfloat16" and case["engine"] == "tensorflow"
    kind, arguments = _arguments(case)
    with computing_in("mixed_bfloat16" if low else "float32"):  # as `load_model` does
        model = getattr(importlib.import_module(HOMES[kind]), kind)(**arguments)
        model.build()
    return model


def _torch_model(case):
    import torch

    from benchmarks import pytorch_peers

    kind, arguments = _arguments(case)
    model = getattr(pytorch_peers, kind)(**arguments).eval()
    return model.to(getattr(torch, case["dtype"]), memory_format=torch.channels_last)


def _channels(case):
    return NETWORKS[case["network"]][1].get("channels", 3)


def tensorflow_engine(case):
    """Returns a function from images to the restored ones, (batch, height, width, channels)."""
    model = _keras_model(case).for_inference()
    return lambda images: model.restore_padded(images).astype(np.float32)


def pytorch_engine(case):
    """Returns a function from images to the restored ones, (batch, height, width, channels)."""
    import torch

    model, dtype = _torch_model(case), getattr(torch, case["dtype"])

    @torch.inference_mode()
    def run(images):
        x = torch.from_numpy(images).permute(0, 3, 1, 2)
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        return model(x)[-1].float().permute(0, 2, 3, 1).contiguous().numpy()

    return run


def convolutions_engine(case):
    """Returns a function that runs the network's convolutions alone, whatever the images."""
    import tensorflow as tf

    convolutions, dtype = _list_convolutions(case), getattr(tf, case["dtype"])
    # A kernel for each, or TensorFlow would see that some are the same and run them once.
    shapes = [convolution["kernel"] for convolution in convolutions]
    kernels = [tf.Variable(tf.random.normal(shape, stddev=0.01, dtype=dtype)) for shape in shapes]
    inputs = sorted({tuple(convolution["input"]) for convolution in convolutions})
    tensors = [tf.random.uniform(shape, dtype=dtype) for shape in inputs]

    @tf.function(autograph=False)
    def run(tensors):
        results = [tf.zeros((), dtype)]
        for convolution, kernel in zip(convolutions, kernels, strict=True):
            x = tensors[inputs.index(tuple(convolution["input"]))]
            strides, padding = convolution["strides"], convolution["padding"]
            with tf.control_dependencies(results[-1:]):  # one after another
                if convolution["transposed"]:
                    shape = convolution["output"]
                    x = tf.nn.conv2d_transpose(x, kernel, shape, strides, padding)
                else:
                    x = tf.nn.conv2d(x, kernel, strides, padding)
                results.append(x[0, 0, 0, 0])  # one number is enough for it not to be left out
        return tf.add_n(results)

    def numpy_run(images):
        return run(tensors).numpy()

    numpy_run.gmacs = sum(map(_multiplications, convolutions)) / 1e9
    numpy_run.count = len(convolutions)
    return numpy_run


def _list_convolutions(case):
    """Shapes of every convolution that one forward of this size runs, in the graph's order."""
    import tensorflow as tf

    model = _keras_model(case)
    images = tf.TensorSpec((1, *case["size"], model.channels))
    graph = tf.function(lambda x: model(x, training=False)[-1]).get_concrete_function(images).graph
    convolutions = []
    for node in graph.get_operations():
        if node.type not in ("Conv2D", "Conv2DBackpropInput"):
            continue
        transposed = node.type == "Conv2DBackpropInput"
        convolutions.append(
            {
                "transposed": transposed,
                "input": node.inputs[2 if transposed else 0].shape.as_list(),
                "kernel": node.inputs[1].shape.as_list(),
                "output": node.outputs[0].shape.as_list(),
                "strides": node.get_attr("strides"),
                "padding": node.get_attr("padding").decode(),
            }
        )
    return convolutions


def _multiplications(convolution):
    pixels = convolution["input" if convolution["transposed"] else "output"][:3]
    return math.prod(pixels) * math.prod(convolution["kernel"])


def measure(case: dict) -> dict:
    """Reads the peak memory of one engine on one network in this process.

    The baseline of `memory_mb` is taken once everything is imported, built and has run on the
    smallest picture. Linux keeps the peak per process since its start, and ru_maxrss even across
    exec, so the kernel's own mark is reset first.

    Returns:
      memory_mb above the baseline, peak_mb of the whole process (None where there is no /proc).
    """
    _set_threads(case)
    run = globals()[f"{case['engine']}_engine"](case)
    if case["engine"] != "convolutions":
        run(_images(case, SMALLEST))
    images = _images(case, case["size"])
    before, baseline = _memory("VmHWM"), _memory("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    run(images)
    run(images)
    after = _memory("VmHWM")
    return {
        "memory_mb": None if after is None else after - baseline,
        "peak_mb": None if after is None else max(before, after),
    }


def take_turns(case: dict) -> dict:
    """Times engines on one network, one run after the other, in this process.

    Returns:
      By engine: seconds of each run, and of "convolutions" gmacs and convolutions, their number.
    """
    engines = case["engines"]
    for engine in engines:
        _set_threads({**case, "engine": engine})
    runs = {name: globals()[f"{name}_engine"]({**case, "engine": name}) for name in engines}
    images = _images(case, case["size"])
    found = {
        engine: {
            "seconds": [],
            "gmacs": getattr(run, "gmacs", None),
            "convolutions": getattr(run, "count", None),
        }
        for engine, run in runs.items()
    }
    for turn in range(1 + case["turns"]):
        for engine, run in runs.items():
            start = time.perf_counter()
            run(images)
            if turn:  # the first warms up: memory is taken, kernels are chosen
                found[engine]["seconds"].append(time.perf_counter() - start)
    return found


def _images(case, size):
    random = np.random.default_rng(0)
    return random.random((1, *size, _channels(case)), np.float32)


def _set_threads(case):
    if case["threads"] and case["engine"] == "pytorch":
        import torch

        torch.set_num_threads(case["threads"])
    elif case["threads"]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(case["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(case["threads"])


def _memory(key, process="self"):
    """A line of /proc/PROCESS/status, in MB (10^6 bytes)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def check(case: dict) -> dict:
    """Largest difference between Keras and PyTorch over all stages, as a share of their range.

    The weights are random and large enough that every part of the network shows in the outputs;
    as initialised, a ConvLSTM's kernel is almost zero and an untrained MPRNet returns its input.
    """
    import torch

    from benchmarks import pytorch_peers

    keras_model, torch_model = _keras_model(case), _torch_model(case)
    random = np.random.default_rng(0)
    for variable in pytorch_peers.parameter_map(keras_model).values():
        shape = tuple(variable.shape)
        scale = math.sqrt(1 / math.prod(shape[:3])) if len(shape) == 4 else 0.1
        variable.assign(random.normal(0, scale, shape).astype(np.float32))
    pytorch_peers.copy_weights(keras_model, torch_model)
    images = random.random((1, *case["size"], keras_model.channels), np.float32)
    with torch.inference_mode():
        found = torch_model(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    expected = [np.asarray(stage) for stage in keras_model(images, training=False)]
    differences = [
        float(np.abs(stage.numpy().transpose(0, 2, 3, 1) - other).max() / np.ptp(other))
        for stage, other in zip(found, expected, strict=True)
    ]
    return {
        "difference": max(differences),
        "differences": differences,
        "residual": float(np.std(expected[-1] - images)),
    }


def _start(case):
    """Runs `measure`, `take_turns` or `check` in a process of its own; None if that failed."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(case)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    # PyTorch's threads would wait for work busily, on TensorFlow's time.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode == 0:
        return json.loads(result.stdout.splitlines()[-1])
    reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"{_label(case)}: failed with code {result.returncode}: {reason}", file=sys.stderr)
    return None


def _label(case):
    height, width = case["size"]
    return f"{case['network']} {height}x{width} {case['dtype']} {case['engine']}"


def environment() -> dict:
    """This machine and the versions that ran on it."""
    cpu = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            cpu.setdefault(key.strip(), value.strip())
    flags = f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split()  # x86, Arm
    versions = {"python": sys.version.split()[0]}
    for package in ("tensorflow", "keras", "numpy", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "cpu": cpu.get("model name", "unknown"),
        "cores": os.cpu_count(),
        "flags": {flag: flag in flags for flag in LOW_PRECISION_FLAGS},
        "versions": versions,
    }


def _busy_share(seconds=0.5):
    """Share of the CPU in use while this process sleeps; 0 where there is no /proc."""
    counts = []
    with contextlib.suppress(OSError):
        for pause in (seconds, 0):
            line = Path("/proc/stat").read_text().splitlines()[0]
            counts.append([int(count) for count in line.split()[1:9]])
            time.sleep(pause)
    if len(counts) < 2:
        return 0.0
    spent = [after - before for before, after in zip(*counts, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))  # idle, waiting for a disk


def _print_environment(machine, dtypes):
    """Says what runs; returns the types of numbers that this machine computes in."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    flags = ", ".join(f"{flag} {'yes' if on else 'no'}" for flag, on in machine["flags"].items())
    print(f"CPU: {machine['cpu']}, {machine['cores']} cores ({flags})\nVersions: {versions}")
    if "bfloat16" in dtypes and not any(machine["flags"][flag] for flag in BFLOAT16_FLAGS):
        print(
            f"This CPU has none of {', '.join(BFLOAT16_FLAGS)}: bfloat16 would be emulated, which "
            "says nothing about a CPU that has it. It is not measured."
        )
        return [dtype for dtype in dtypes if dtype != "bfloat16"]
    return list(dtypes)


def _check_peers(networks, small):
    """Compares Keras and PyTorch; returns the differences, exits on a large one."""
    differences = {}
    for network in networks:
        case = {"network": network, "size": CHECK_SIZE, "dtype": "float32", "small": small}
        found = _start({**case, "engine": "check", "work": "check"})
        if found is None or not found["difference"] <= TOLERANCE:
            sys.exit(f"{network}: PyTorch is not the same network as ours ({found}); not timed.")
        print(f"{network}: PyTorch and TensorFlow differ by {found['difference']:.1e} of the range")
        differences[network] = found
    return differences


def _measure_all(args, engines, save):
    """Runs every case. Returns one entry per case and engine."""
    entries = []
    for network, size, dtype in itertools.product(args.networks, args.sizes, args.dtypes):
        case = {"network": network, "size": size, "dtype": dtype, "small": args.small}
        case["threads"] = args.threads
        running = list(engines)
        measuring_memory = [engine for engine in running if engine != "convolutions"]
        measuring_memory = [] if args.time_only else measuring_memory
        found = {engine: {**case, "engine": engine} for engine in running}
        for engine in measuring_memory:
            print(f"memory of {_label(found[engine])}", file=sys.stderr)
            found[engine] |= _start({**found[engine], "work": "measure"}) or {}
        if args.turns:
            turns = {**case, "engine": " and ".join(running), "turns": args.turns}
            print(f"time of {_label(turns)}", file=sys.stderr)
            busy = _busy_share()
            times = _start({**turns, "engines": running, "work": "take_turns"}) or {}
            for engine, measured in times.items():
                found[engine] |= {**measured, "busy": busy}
                found[engine]["median"] = statistics.median(measured["seconds"])
        entries += found.values()
        save(entries)
    return entries


def tables(entries: list[dict]) -> str:
    """Ratios, then this machine's own seconds and megabytes, as two Markdown tables."""
    index = {
        (entry["network"], tuple(entry["size"]), entry["dtype"], entry["engine"]): entry
        for entry in entries
    }
    head = ["network", "size", "type"]
    ratios = [
        [
            *head,
            "time, TensorFlow / PyTorch",
            "memory, TensorFlow / PyTorch",
            "time, TensorFlow / its convolutions alone",
            "TensorFlow, bfloat16 / float32",
            "PyTorch, bfloat16 / float32",
            "TensorFlow, time / mprnet's",
        ]
    ]
    absolutes = [
        [
            *head,
            "GMAC",
            "convolutions",
            "s here: TensorFlow",
            "s here: PyTorch",
            "s here: convolutions alone",
            "MB here: TensorFlow",
            "MB here: PyTorch",
            "peak MB here: TensorFlow",
            "peak MB here: PyTorch",
        ]
    ]
    for case in dict.fromkeys(key[:3] for key in index):
        network, (height, width), dtype = case
        head = [network, f"{height}x{width}", dtype]
        ours, torch, bare = (index.get((*case, engine), {}) for engine in ENGINES)
        single = [index.get((network, case[1], "float32", e), {}) for e in ENGINES[:2]]
        whole = index.get(("mprnet", *case[1:], "tensorflow"), {})
        low = dtype == "bfloat16"
        cells = [
            _ratio(ours, torch),
            _ratio(ours, torch, "memory_mb"),
            _ratio(ours, bare),
            _ratio(ours, single[0]) if low else "",
            _ratio(torch, single[1]) if low else "",
            _ratio(ours, whole) if network.startswith("mprnet") else "",
        ]
        ratios.append(head + cells)
        cells = [_cell(bare, "gmacs", "{:.1f}"), _cell(bare, "convolutions", "{}")]
        cells += [_cell(entry, "median", "{:.3f}") for entry in (ours, torch, bare)]
        cells += [_cell(entry, "memory_mb", "{:.0f}") for entry in (ours, torch)]
        cells += [_cell(entry, "peak_mb", "{:.0f}") for entry in (ours, torch)]
        absolutes.append(head + cells)
    return f"{_markdown(ratios)}\n\n{_markdown(absolutes)}"


def _markdown(rows):
    """Rows of cells as a Markdown table; columns without a single number are left out."""
    columns = [column for column in zip(*rows, strict=True) if set(column[1:]) - {"", "–"}]
    lines = [f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def _cell(entry, key, form):
    return "–" if entry.get(key) is None else form.format(entry[key])


def _ratio(above, below, key="median"):
    return f"{above[key] / below[key]:.2f}" if above.get(key) and below.get(key) else "–"


def _save(path, results):
    if path:
        from restore_tf.system.files import atomic_path

        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _size(text):
    height, width = (int(side) for side in text.split("x"))
    if min(height, width) < 16 or height % 16 or width % 16:
        raise argparse.ArgumentTypeError(f"{text}: expected HEIGHTxWIDTH, multiples of 16")
    return height, width


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    several = {"nargs": "+"}
    parser.add_argument("--sizes", type=_size, default=[(256, 256), (720, 1280)], **several)
    parser.add_argument("--networks", choices=NETWORKS, default=DEFAULT_NETWORKS, **several)
    dtypes = ["float32", "bfloat16"]
    parser.add_argument("--dtypes", choices=dtypes, default=dtypes, **several)
    parser.add_argument("--engines", choices=ENGINES, default=ENGINES, **several)
    parser.add_argument("--turns", type=int, default=7, help="timed runs of each; 0: only memory")
    parser.add_argument(
        "--threads", type=int, default=0, help="of each process; 0 for the framework's choice"
    )
    parser.add_argument("--time_only", action="store_true", help="leave memory out")
    parser.add_argument("--output", type=Path, help="JSON file for every single measurement")
    parser.add_argument(
        "--small", action="store_true", help="tiny networks, to try the script: measures nothing"
    )
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.output and not args.output.resolve().parent.is_dir():
        parser.error(f"--output {args.output}: its folder does not exist; make it first.")
    return args


def main(argv: list[str] | None = None) -> None:
    """Measures what the flags ask for and prints the tables."""
    args = _parse(argv)
    sys.path.insert(0, str(ROOT))  # wherever it is started from
    if args.child:
        work = {"check": check, "measure": measure, "take_turns": take_turns}
        print(json.dumps(work[args.child["work"]](args.child)))
        return
    engines = list(args.engines)
    machine = environment()
    args.dtypes = _print_environment(machine, args.dtypes)
    if "pytorch" in engines and importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: its columns are left out.")
        engines.remove("pytorch")
    results = {"environment": machine, "small": args.small}
    if "pytorch" in engines:
        results["differences"] = _check_peers(args.networks, args.small)
    entries = _measure_all(
        args, engines, save=lambda entries: _save(args.output, {**results, "measurements": entries})
    )
    print(f"\n{tables(entries)}")
    busy = max((entry.get("busy", 0) for entry in entries), default=0)
    if busy > BUSY:
        print(
            f"\nOther processes used up to {busy:.0%} of the CPU: DO NOT USE THESE NUMBERS. "
            "PyTorch's OpenMP threads wait for one another and lose far more to other processes "
            "than TensorFlow's do. Measure on a quiet machine."
        )


if __name__ == "__main__":
    main()
