#!/usr/bin/env python3
"""Every runtime side by side: time per megapixel and peak memory of the files that are exported.

- saved_model: the SavedModel of `export.py` in TensorFlow, float32 and bfloat16.
- litert: each kind of TFLite file, of the measured size, in LiteRT with XNNPACK. uint8 also in
  tiles of `--tile`, and with XNNPACK's pointers made anew for each frame (transient).
- openvino: the same SavedModel, with hints to compute in float32 and in bfloat16; int8 as
  `export.py --format openvino` makes it.
- onnxruntime: the network through tf2onnx.
- pytorch: the same network in PyTorch's stock layers (pytorch_peers.py), eager, channels_last.

All have the same weights, drawn at random, and each one's picture is compared with the first's.
What is not installed or does not convert is a row that says so. Files are made first, each in a
process of its own; then every engine runs in a process of its own, in turns.
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
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import forward  # networks, memory, tables and habits in the same style
import numpy as np

ROOT = Path(__file__).resolve().parents[1]

# {name here: (class, arguments)}, as forward.NETWORKS.
LIGHT = {"channels": 3, "recurrent": True, "width": 8, "res_blocks": 2, "global_skip": True}
NETWORKS = {
    "srn": forward.NETWORKS["srn"],
    "srn_light": ("SRN", LIGHT),
    "mprnet_stage1": forward.NETWORKS["mprnet_stage1"],
    "mprnet_stage2": forward.NETWORKS["mprnet_stage2"],
    "mprnet": forward.NETWORKS["mprnet"],
}
KINDS = ("float32", "float16", "dynamic_int8", "int8", "uint8", "int16x8")
TRANSIENT, TILES = "litert_uint8_transient", "litert_uint8_tiles"
EIGHT_BIT = "openvino_int8"
FIRST = "saved_model_float32"  # what the others are compared with
ENGINES = (
    FIRST,
    "saved_model_bfloat16",
    *(f"litert_{kind}" for kind in KINDS),
    TRANSIENT,
    TILES,
    "openvino_float32",
    "openvino_bfloat16",
    EIGHT_BIT,
    "onnxruntime_float32",
    "pytorch_float32",
)
DEFAULT_ENGINES = [engine for engine in ENGINES if engine != "litert_int16x8"]  # minutes a frame
MODULES = {
    "litert": "ai_edge_litert",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "pytorch": "torch",
}
# Flags of LiteRT's xnnpack_delegate.h: QS8, QU8, TRANSIENT_INDIRECTION_BUFFER. They replace the
# default ones: without the first two, 8 bits run in kernels 8 times as slow.
TRANSIENT_POINTERS = 0x1 | 0x2 | 0x20
LARGEST = 1e-4  # share of the outputs' range by which float32 engines may differ


def _model(case):
    """The Keras network with drawn weights, none of them zero."""
    import keras

    keras.utils.set_random_seed(0)
    kind, arguments = NETWORKS[case["network"]]
    small = forward.SMALL[kind] if case["small"] else {}
    module = importlib.import_module(forward.HOMES[kind])
    model = getattr(module, kind)(**{**arguments, **small})
    model.build()
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if not np.any(np.asarray(variable)):  # a last layer of zeros would show nothing
            variable.assign(0.01 * random.normal(size=variable.shape))
    return model


def make_saved_model_float32(case, folder):
    """Writes what `export.py --format saved_model` writes."""
    from restore_tf.export import saved_model

    saved_model.write(_model(case), folder / FIRST)


def make_saved_model_bfloat16(case, folder):
    """As in float32; with the weights of it, computing in bfloat16."""
    from restore_tf.export import saved_model
    from restore_tf.networks.dtype_policy import computing_in

    with computing_in("mixed_bfloat16"):
        model = _model(case)
    saved_model.write(model, folder / "saved_model_bfloat16")


def make_fixed(case, folder):
    """Writes the SavedModels of fixed size and the crop that TFLite and ONNX files start from."""
    from restore_tf.export import prepared

    model, images = _model(case), _images(case)
    np.savez(
        folder / "crops.npz", degraded=np.rint(255 * images).astype(np.uint8), reference=images
    )
    for name, eight_bit in (("saved_model", False), ("saved_model_eight_bit", True)):
        prepared.write_saved_model(model, tuple(case["size"]), folder / name, eight_bit)


def make_litert(case, folder):
    """Converts to one kind of TFLite file."""
    from restore_tf.export.tflite import convert

    kind, start = case["engine"].split("_", 1)[1], folder
    if case["engine"] == TILES:
        kind, start = "uint8", folder / "tiles"
        start.mkdir()
        make_fixed({**case, "size": case["tile"]}, start)
    convert.convert(str(start), kind, str(folder / f"{case['engine']}.tflite"))


def make_openvino(case, folder):
    """Quantises by NNCF what OpenVINO reads of the SavedModel of fixed size."""
    from restore_tf.export.openvino import convert

    convert.convert(str(folder), "int8", str(folder / f"{EIGHT_BIT}.xml"))


def make_onnxruntime(case, folder):
    """Converts the SavedModel of fixed size by tf2onnx."""
    command = [sys.executable, "-m", "tf2onnx.convert", "--opset=18"]
    command += [f"--saved-model={folder / 'saved_model'}", f"--output={folder / 'model.onnx'}"]
    subprocess.run(command, check=True, stdout=sys.stderr)


def make_pytorch(case, folder):
    """Writes the weights as PyTorch's."""
    import torch

    from benchmarks import pytorch_peers

    peer = _peer(case)
    pytorch_peers.copy_weights(_model(case), peer)
    torch.save(peer.state_dict(), folder / "weights.pth")


def _peer(case):
    from benchmarks import pytorch_peers

    kind, arguments = NETWORKS[case["network"]]
    small = forward.SMALL[kind] if case["small"] else {}
    return getattr(pytorch_peers, kind)(**{**arguments, **small}).eval()


def run_saved_model(case, folder):
    """TensorFlow with nothing of ours."""
    import tensorflow as tf

    yield
    restore = tf.saved_model.load(str(folder / case["engine"])).signatures["serving_default"]
    yield lambda images: restore(images=tf.constant(images))["restored"].numpy()


def run_litert(case, folder):
    """`restore_tf.inference.tflite_model.LiteModel`; neither TensorFlow nor Keras is imported."""
    from restore_tf.inference.restore import restore
    from restore_tf.inference.tflite_model import LiteModel

    yield
    if case["engine"] == TRANSIENT:
        yield _transient(folder / "litert_uint8.tflite", case["threads"])
        return
    model = LiteModel(folder / f"{case['engine']}.tflite", case["threads"] or None)
    if case["engine"] == TILES:
        yield lambda images: restore(model, images[0])[None]
    else:
        yield model.run_raw if model.takes_bytes else model.restore_padded


def _transient(file, threads):
    """Runs a file by LiteRT's CompiledModel, whose options reach XNNPACK; Interpreter's do not."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.options import CpuOptions, Options

    threads = threads or len(os.sched_getaffinity(0))
    options = CpuOptions(num_threads=threads, xnnpack_flags=TRANSIENT_POINTERS)
    model = CompiledModel.from_file(str(file), options=Options(cpu_options=options))
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)

    def run(images):
        inputs[0].write(images)
        model.run_by_index(0, inputs, outputs)
        return outputs[0].read(images.size, np.uint8).reshape(images.shape)

    return run


def run_openvino(case, folder):
    """OpenVINO on the SavedModel, which it reads by itself, or on NNCF's file."""
    import openvino

    yield
    core = openvino.Core()
    network = core.read_model(
        folder / (f"{EIGHT_BIT}.xml" if case["engine"] == EIGHT_BIT else FIRST)
    )
    network.reshape([1, *case["size"], 3])
    # Without a hint it would compute in bfloat16 where the processor has it.
    low = case["engine"] == "openvino_bfloat16"
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if low else "f32", "PERFORMANCE_HINT": "LATENCY"}
    if case["threads"]:
        hints["INFERENCE_NUM_THREADS"] = case["threads"]
    compiled = core.compile_model(network, "CPU", hints)
    yield lambda images: compiled(images)[0]


def run_onnxruntime(case, folder):
    """ONNX Runtime on its CPU provider."""
    import onnxruntime

    yield
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case["threads"]
    file = str(folder / "model.onnx")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    yield lambda images: session.run(None, {name: images})[0]


def run_pytorch(case, folder):
    """PyTorch, eager, channels_last."""
    import torch

    yield
    model = _peer(case).to(memory_format=torch.channels_last)
    model.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))

    @torch.inference_mode()
    def run(images):
        x = (
            torch.from_numpy(images)
            .permute(0, 3, 1, 2)
            .contiguous(memory_format=torch.channels_last)
        )
        return model(x)[-1].permute(0, 2, 3, 1).contiguous().numpy()

    yield run


def _images(case):
    """A photo of the measured size, (1, height, width, 3) float32."""
    import tiles

    return tiles.picture(*case["size"])[None].astype(np.float32) / 255


def measure(case: dict) -> dict:
    """Times one engine in this process and reads its peak memory.

    Returns:
      seconds of each run, and cpu, those that all threads computed; peak_mb of the whole process;
      memory_mb of it beyond what the process held when its runtime was imported and nothing loaded;
      load_seconds.
    """
    folder = Path(case["folder"])
    images = _images(case)
    if case["engine"].startswith("litert_uint8"):
        images = np.rint(255 * images).astype(np.uint8)
    runtime = _runtime(case["engine"])
    if runtime in ("saved_model", "pytorch"):
        forward._set_threads({**case, "engine": runtime})
    steps = globals()[f"run_{runtime}"](case, folder)
    next(steps)  # it is imported now
    held = forward._memory("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    begin = time.perf_counter()
    run = next(steps)
    restored = run(images)
    loaded = time.perf_counter() - begin
    seconds, cpu = [], []
    while not seconds or (len(seconds) < case["runs"] and sum(seconds) < case["seconds"]):
        begin, worked = time.perf_counter(), time.process_time()
        run(images)
        seconds.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - worked)
    peak = forward._memory("VmHWM")
    restored = restored / np.float32(255) if restored.dtype == np.uint8 else restored
    np.save(folder / f"{case['engine']}.npy", restored)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "load_seconds": loaded,
        "peak_mb": peak,
        "memory_mb": None if peak is None else peak - held,
    }


def _runtime(engine):
    """saved_model, litert, openvino, onnxruntime or pytorch."""
    return next(name for name in ("saved_model", *MODULES) if engine.startswith(name))


def _child(case):
    """Runs a child's part: making a file or measuring an engine; prints what came of it."""
    sys.path.insert(0, str(ROOT))
    if "make" in case:
        globals()[f"make_{case['make']}"](case, Path(case["folder"]))
        print("{}")
    else:
        print(json.dumps(measure(case)))


def _start(case, timeout):
    """Runs a child; returns (what it found, None) or (None, why there is nothing)."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(case)]
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    variables["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=variables,
            timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, f"took more than {timeout:g} s"
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1]), None
    if done.returncode < 0:
        return None, f"ended by signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return None, (lines or ["no message"])[-1][:200]


def _missing(engine):
    """Why an engine cannot run here, or None."""
    runtime = _runtime(engine)
    needed = [MODULES[runtime]] if runtime in MODULES else []
    if runtime == "onnxruntime":
        needed.append("tf2onnx")
    if engine == EIGHT_BIT:
        needed.append("nncf")
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


def _make(case, engines, timeout):
    """Makes all files of a network and size; returns {engine: why there is none}."""
    reasons = {engine: _missing(engine) for engine in engines}
    fixed = [e for e in engines if _runtime(e) in ("litert", "onnxruntime") or e == EIGHT_BIT]
    if any(not reasons[engine] for engine in fixed):
        print(f"  making what {', '.join(fixed)} start from", file=sys.stderr)
        _, failed = _start({**case, "make": "fixed"}, timeout)
        for engine in fixed:
            reasons[engine] = reasons[engine] or failed
    for engine in engines:
        # OpenVINO reads the SavedModel; one TFLite file is run in two ways.
        if reasons[engine] or engine in ("openvino_float32", "openvino_bfloat16", TRANSIENT):
            continue
        print(f"  making {engine}", file=sys.stderr)
        make = engine if engine.startswith("saved_model") else _runtime(engine)
        reasons[engine] = _start({**case, "engine": engine, "make": make}, timeout)[1]
    return reasons


def _measure_all(args, save):
    """Measures every case; engines take turns. Returns one entry per network, size and engine."""
    entries = []
    for network, size in itertools.product(args.networks, args.sizes):
        print(f"{network} {size[0]}x{size[1]}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="devices_") as folder:
            case = {"network": network, "size": size, "small": args.small, "folder": folder}
            case |= {"runs": args.runs, "seconds": args.seconds, "threads": args.threads}
            case["tile"] = args.tile
            reasons = _make(case, args.engines, args.timeout)
            found = {engine: [] for engine in args.engines}
            for _, engine in itertools.product(range(args.rounds), args.engines):
                if reasons[engine]:
                    continue
                print(f"  measuring {engine}", file=sys.stderr)
                busy = forward._busy_share()
                measured, reasons[engine] = _start({**case, "engine": engine}, args.timeout)
                found[engine].append(measured and {**measured, "busy": busy})
            for engine in args.engines:
                entry = {"network": network, "size": size, "engine": engine}
                rounds = [measured for measured in found[engine] if measured]
                if rounds:
                    entry |= _merged(rounds) | _difference(Path(folder), engine)
                    entry["file_mb"] = _file_mb(Path(folder), engine)
                entries.append({**entry, "reason": reasons[engine]})
        save(entries)
    return entries


def _merged(rounds):
    seconds = [second for measured in rounds for second in measured["seconds"]]
    # The fastest: other programs and a throttled processor only ever add to it.
    cpu = [second for measured in rounds for second in measured["cpu"]]
    merged = {"seconds": seconds, "fastest": min(seconds), "cpu": cpu, "least_cpu": min(cpu)}
    for key in ("busy", "peak_mb", "memory_mb", "load_seconds"):
        known = [measured[key] for measured in rounds if measured[key] is not None]
        merged[key] = max(known, default=None)
    return merged


def _difference(folder, engine):
    """How far an engine's picture is from TensorFlow's in float32, both clipped to [0, 1]."""
    try:
        ours, first = (np.load(folder / f"{name}.npy") for name in (engine, FIRST))
    except FileNotFoundError:
        return {}
    square = float(np.mean((np.clip(ours, 0, 1) - np.clip(first, 0, 1)) ** 2))
    return {
        "largest": float(np.abs(ours - first).max() / np.ptp(first)),
        "psnr": None if square == 0 else -10 * float(np.log10(square)),
    }


def _file_mb(folder, engine):
    """Size of what is shipped; None for PyTorch, whose network is code."""
    runtime = _runtime(engine)
    if runtime == "pytorch":
        return None
    names = {"litert": f"{engine}.tflite", "onnxruntime": "model.onnx", "openvino": FIRST}
    place = folder / ("litert_uint8.tflite" if engine == TRANSIENT else names.get(runtime, engine))
    files = [place] if place.is_file() else place.rglob("*")
    if engine == EIGHT_BIT:
        files = [folder / f"{EIGHT_BIT}{ending}" for ending in (".xml", ".bin")]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def tables(entries: list[dict]) -> str:
    """One Markdown table: what each engine takes, and as a share of the SavedModel in float32."""
    rows = [
        [
            "network",
            "size",
            "engine",
            "ms / megapixel",
            "time / first",
            "CPU time / first",
            "peak MB",
            "MB beyond the runtime",
            "of it / first",
            "file MB",
            "dB from first",
            "remark",
        ]
    ]
    first = {}
    for entry in entries:
        height, width = entry["size"]
        if entry["engine"] == FIRST:
            first = entry
        cells = [entry["network"], f"{height}x{width}", entry["engine"].replace("_", " ")]
        if "fastest" in entry:
            cells.append(f"{1e3 * entry['fastest'] / (height * width / 1e6):.0f}")
            cells.append(forward._ratio(entry, first, "fastest"))
            cells.append(forward._ratio(entry, first, "least_cpu"))
            cells += [forward._cell(entry, key, "{:.0f}") for key in ("peak_mb", "memory_mb")]
            cells.append(forward._ratio(entry, first, "memory_mb"))
            cells.append(forward._cell(entry, "file_mb", "{:.1f}"))
            cells.append(forward._cell(entry, "psnr", "{:.1f}"))
        else:
            cells += ["–"] * 8
        rows.append([*cells, entry["reason"] or _remark(entry)])
    return forward._markdown(rows)


def _remark(entry):
    plain = entry["engine"].endswith("float32")
    if plain and entry.get("largest", 0) > LARGEST:
        return f"other numbers: {entry['largest']:.1e} of the range"
    return ""


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    several = {"nargs": "+"}
    parser.add_argument("--sizes", type=forward._size, default=[(256, 256)], **several)
    parser.add_argument("--networks", choices=NETWORKS, default=list(NETWORKS), **several)
    parser.add_argument("--engines", choices=ENGINES, default=DEFAULT_ENGINES, **several)
    parser.add_argument(
        "--tile", type=forward._size, default=(256, 256), help=f"what {TILES} is cut into"
    )
    parser.add_argument("--rounds", type=int, default=2, help="processes of each engine, in turns")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each process, at most")
    parser.add_argument(
        "--seconds", type=float, default=20, help="a process starts no run after so many seconds"
    )
    parser.add_argument("--threads", type=int, default=0, help="0: each runtime's own choice")
    parser.add_argument(
        "--timeout", type=float, default=1800, help="seconds after which a process is stopped"
    )
    parser.add_argument("--output", type=Path, help="JSON file for every single measurement")
    parser.add_argument(
        "--small", action="store_true", help="tiny networks, to try the script: measures nothing"
    )
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.output and not args.output.resolve().parent.is_dir():
        parser.error(f"--output {args.output}: its folder does not exist; make it first.")
    # The others are compared with it.
    args.engines = [FIRST, *(engine for engine in args.engines if engine != FIRST)]
    if TRANSIENT in args.engines and "litert_uint8" not in args.engines:
        parser.error(f"{TRANSIENT}: runs the file of litert_uint8; name that, too.")
    return args


def main(argv: list[str] | None = None) -> None:
    """Measures what the flags ask for and prints the table."""
    args = _parse(argv)
    if args.child:
        _child(args.child)
        return
    sys.path.insert(0, str(ROOT))
    machine = _environment()
    forward._print_environment(machine, ["bfloat16"] if "bfloat16" in str(args.engines) else [])
    results = {"environment": machine, "small": args.small}
    entries = _measure_all(
        args,
        save=lambda entries: forward._save(args.output, {**results, "measurements": entries}),
    )
    print(f"\n{tables(entries)}")
    busy = max((entry.get("busy", 0) for entry in entries), default=0)
    if busy > forward.BUSY:
        print(
            f"\nOther processes used up to {busy:.0%} of the CPU: DO NOT USE THESE NUMBERS. "
            "Measure on a quiet machine."
        )


def _environment():
    machine = forward.environment()
    for package in ("ai-edge-litert", "openvino", "nncf", "onnxruntime", "tf2onnx"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            machine["versions"][package] = importlib.metadata.version(package)
    return machine


if __name__ == "__main__":
    main()
