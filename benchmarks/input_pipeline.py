#!/usr/bin/env python3
"""Training pairs a second and core that the input pipeline delivers, beside PyTorch's DataLoader.

Both do the same work: draw a pair, cut the same random square out of both pictures, turn or mirror
both by one of the square's eight symmetries, and hand out batches of float32 in [0, 1].

Sources of pairs:

- png: a folder of whole PNG pictures, GoPro's layout; every picture is decoded when it is used,
  ours down to the crop's last row.
- records_png: the same cut into 512x512 crops, in TensorFlow Datasets' records, stored as PNG.
- records_raw: the same crops, stored as plain pixels; raw_frames: whole pictures likewise.
- ram: whole pictures, decoded once and kept in memory.
- synthetic: the embedded data set, once its pictures are made; they are kept in memory.

Every engine runs in a process of its own that may use one core. DataLoader reads the same PNG
pictures, and beside records of crops the same crops as a folder of PNG files.

Rates are this machine's; the ratios are what to compare. Files come from the page cache: this says
what the CPU needs for a pair, nothing of the disk. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib.resources
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import forward  # tables and habits in the same style
import numpy as np

ROOT = Path(__file__).resolve().parents[1]

# {source of ours: what DataLoader reads beside it}
SOURCES = {
    "png": "frames",
    "records_png": "crops",
    "records_raw": "crops",
    "raw_frames": "frames",
    "ram": "memory",
    "synthetic": "synthetic",
}
ENGINES = ["restore_tf", "restore_tf_pillow", "pillow", "opencv", "torchvision"]
OURS = ENGINES[:2]
NEEDS = {
    "restore_tf": ["tensorflow"],
    "restore_tf_pillow": ["tensorflow", "pyvips"],  # without it, it is the same as the one above
    "pillow": ["torch"],
    "opencv": ["torch", "cv2"],
    "torchvision": ["torch", "torchvision"],
}
TITLES = {
    "restore_tf": "restore_tf",
    "restore_tf_pillow": "restore_tf without libvips",
    "pillow": "DataLoader, Pillow",
    "opencv": "DataLoader, OpenCV",
    "torchvision": "DataLoader, torchvision",
}

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "rocket.jpg")
SIZE = (720, 1280)
NOISE = 2.0  # standard deviation, of 255; makes a PNG of a scaled photo as large as a real one's
BLUR = 9  # pixels of horizontal motion
SYNTHETIC_CROP = 128  # its training pictures are 192x192
WARM_UP = 3  # batches
LEAST = 14  # timed batches


def measure(case: dict) -> dict:
    """Counts the pairs that one engine delivers in this process, which may use `cores` cores.

    Returns:
      pairs, seconds and cpu_seconds (without DataLoader's workers) of the timed part; the cores.
    """
    cores = _pin(case["cores"])
    batches = (_ours if case["engine"] in OURS else _data_loader)(case)
    for _ in range(WARM_UP):
        _check_batch(next(batches), case)
    pairs, start, cpu = 0, time.perf_counter(), time.process_time()
    # What lies ready in a pipeline at the end has cost time and is not counted: so many batches.
    least = LEAST * case["batch"]
    while (seconds := time.perf_counter() - start) < case["seconds"] or pairs < least:
        next(batches)
        pairs += case["batch"]
    cpu = time.process_time() - cpu
    return {"pairs": pairs, "seconds": seconds, "cpu_seconds": cpu, "pinned": cores}


def _pin(count):
    """Leaves this process the machine's last cores; None where the system cannot do that."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))[-count:]
    os.sched_setaffinity(0, cores)
    return cores


def _check_batch(batch, case):
    """Two crops of the right shape, in [0, 1], that show the same thing, one a bit degraded."""
    degraded, sharp = (np.asarray(part) for part in batch[:2])
    side = case["crop"]
    if case["engine"] not in OURS:  # channels first
        degraded, sharp = (part.transpose(0, 2, 3, 1) for part in (degraded, sharp))
    for part in (degraded, sharp):
        if part.shape != (case["batch"], side, side, 3) or part.dtype != np.float32:
            sys.exit(f"wrong batch: {part.shape} {part.dtype}")
        if not 0 <= part.min() < part.max() <= 1:
            sys.exit(f"wrong values: {part.min()} to {part.max()}")
    if np.abs(degraded - sharp).mean() > 0.1:
        sys.exit("the two pictures of a pair show different things")


def _ours(case):
    """Our batches, made as `train.py` makes them: by `pairs.training_batches`."""
    import tensorflow as tf

    from restore_tf.datasets import cropping, pairs

    if case["engine"] == "restore_tf_pillow":
        cropping._vips = lambda: None
    tf.config.threading.set_intra_op_parallelism_threads(case["cores"])
    tf.config.threading.set_inter_op_parallelism_threads(case["cores"])
    return iter(
        pairs.training_batches(
            open_source(case),
            crop=case["crop"],
            batch=case["batch"],
            steps=10**6,
            seed=0,
            augment=("flip_rotate",),
        )
    )


def open_source(case: dict):
    """Opens what `train.py --dataset gopro` or `synthetic` would open."""
    from restore_tf.datasets import sources

    folder = Path(case["folder"])
    if case["source"] == "synthetic":
        return sources.cached(sources.open_source("synthetic", "defocus", "train"))
    if case["source"] in ("records_png", "records_raw"):
        return sources.open_source("gopro", "crops", "train", data_dir=folder / case["source"])
    if case["source"] == "raw_frames":
        return sources.open_source("gopro", "blur", "train", data_dir=folder / "raw_frames")
    source = sources.open_source("gopro", "blur", "train", data_dir=folder / "frames")
    return sources.cached(source) if case["source"] == "ram" else source


def _data_loader(case):
    """PyTorch's batches: a Dataset of a few lines, as people write them."""
    import torch

    torch.set_num_threads(case["cores"])
    read, transform, count = _peer(case)

    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return 10**5  # so that no epoch ends within the measurement

        def __getitem__(self, index):
            return transform(*read(index % count))

    loader = torch.utils.data.DataLoader(
        Pairs(),
        batch_size=case["batch"],
        shuffle=True,
        num_workers=case["workers"],
        multiprocessing_context="fork" if case["workers"] else None,
    )
    return iter(loader)


def _peer(case):
    """DataLoader's side: how to read pair `index`, crop and turn a pair; how many there are."""
    if SOURCES[case["source"]] in ("memory", "synthetic"):
        source = open_source(case)
        arrays = [source.read(index) for index in range(len(source))]
        return arrays.__getitem__, lambda *pair: _array_pair(pair, case["crop"]), len(arrays)
    folder = Path(case["folder"]) / SOURCES[case["source"]]
    names = sorted(folder.glob("train/made_a/blur/*.png"))
    paths = [(str(name), str(name.parents[1] / "sharp" / name.name)) for name in names]
    if case["engine"] == "pillow":
        from PIL import Image

        def decode(path):
            with Image.open(path) as image:
                return image.convert("RGB")

        transform = _pillow_pair
    elif case["engine"] == "opencv":
        import cv2

        cv2.setNumThreads(0)

        def decode(path):
            return cv2.imread(path, cv2.IMREAD_COLOR)[..., ::-1]

        transform = _array_pair
    else:
        from torchvision.io import ImageReadMode, decode_image

        def decode(path):
            return decode_image(path, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()

        transform = _array_pair
    return (
        lambda index: tuple(decode(path) for path in paths[index]),
        lambda *pair: transform(pair, case["crop"]),
        len(paths),
    )


def _pillow_pair(pair, crop):
    """Crops and turns while the pictures are still bytes, the cheapest way Pillow has."""
    import random

    from PIL import Image

    width, height = pair[0].size
    left, top = random.randint(0, width - crop), random.randint(0, height - crop)
    turn = random.choice([None, *Image.Transpose])
    tensors = []
    for image in pair:
        image = image.crop((left, top, left + crop, top + crop))
        if turn is not None:
            image = image.transpose(turn)
        tensors.append(_to_tensor(np.array(image)))
    return tensors


def _array_pair(pair, crop):
    import random

    height, width = pair[0].shape[:2]
    left, top = random.randint(0, width - crop), random.randint(0, height - crop)
    turns, mirror = random.randrange(4), random.random() < 0.5
    tensors = []
    for image in pair:
        image = np.rot90(image[top : top + crop, left : left + crop], turns)
        tensors.append(_to_tensor(np.ascontiguousarray(image[:, ::-1] if mirror else image)))
    return tensors


def _to_tensor(image):
    import torch

    return torch.from_numpy(image).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def prepare(folder: Path, sources: list[str], pictures: int, data_dir: Path | None, small: bool):
    """Makes what the sources need: frames in GoPro's layout, records, and PNG crops.

    Frames are made of photos that scikit-image installs with itself, scaled and made noisy, or
    linked from a real GOPRO_Large.
    """
    from PIL import Image

    frames = folder / "frames"
    size = (96, 160) if small else SIZE
    found = _linked(data_dir, pictures) if data_dir else _made(pictures, size)
    # Our layout holds the last training sequence out for validation, and records want a test split.
    places = [f"train/made_a/{{}}/{index:06d}.png" for index in range(pictures)]
    places += ["train/made_z/{}/000000.png", "test/made/{}/000000.png"]
    for place, pair in zip(places, found, strict=True):
        for side, picture in zip(("blur", "sharp"), pair, strict=True):
            path = frames / place.format(side)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(picture, Path):
                path.symlink_to(picture.resolve())
            else:
                Image.fromarray(picture).save(path)
    if set(sources) & {"records_png", "records_raw", "raw_frames"}:
        _prepare_records(folder, frames)


def _linked(data_dir, pictures):
    from restore_tf.datasets.gopro import layout

    found = layout.find_pairs(data_dir, "blur", "train")
    if len(found) < pictures:
        sys.exit(f"{data_dir}: holds {len(found)} training pairs; pass --pictures {len(found)}.")
    chosen = [found[place] for place in np.linspace(0, len(found) - 1, pictures).astype(int)]
    chosen += chosen[:1] * 2
    return [(pair.degraded, pair.sharp) for pair in chosen]


def _made(pictures, size):
    random = np.random.default_rng(0)
    names = itertools.cycle(PHOTOS)
    made = [_pair(random, name, size) for name in itertools.islice(names, pictures)]
    return made + made[:1] * 2


def _pair(random, name, size):
    """A photo that fills `size`, and the same blurred, both with a camera's noise."""
    from PIL import Image

    height, width = size
    file = importlib.resources.files("skimage.data").joinpath(name)
    with file.open("rb") as opened, Image.open(opened) as image:
        image = image.convert("RGB")
    scale = max((width + BLUR) / image.width, height / image.height) * random.uniform(1, 1.3)
    image = image.resize(
        (round(image.width * scale) + 1, round(image.height * scale) + 1), Image.Resampling.LANCZOS
    )
    left = random.integers(image.width - width - BLUR + 1)
    top = random.integers(image.height - height + 1)
    photo = np.asarray(image.crop((left, top, left + width + BLUR, top + height)), np.float32)
    moved = [photo[:, shift : shift + width] for shift in range(BLUR)]
    pair = np.stack([np.mean(moved, axis=0), moved[BLUR // 2]])
    pair += random.normal(0, NOISE, pair.shape)
    return tuple(np.rint(np.clip(pair, 0, 255)).astype(np.uint8))


def _prepare_records(folder, frames):
    """Records of all kinds; what the PNG ones hold becomes DataLoader's folder of crops."""
    import tensorflow_datasets as tfds

    from restore_tf.datasets import records

    tfds.disable_progress_bar()
    records.prepare("gopro", "crops", frames, folder / "records_png", "png")
    records.prepare("gopro", "crops", frames, folder / "records_raw", "raw")
    records.prepare("gopro", "blur", frames, folder / "raw_frames", "raw")
    crops = records.Records(folder / "records_png", "gopro", "crops", "train")
    for side in ("blur", "sharp"):
        (folder / "crops/train/made_a" / side).mkdir(parents=True)
    for index in range(len(crops)):
        for side, data in zip(("blur", "sharp"), crops.encoded(index), strict=True):
            (folder / f"crops/train/made_a/{side}/{index:06d}.png").write_bytes(data)


def _start(case):
    """Runs `measure` in a process of its own; None if that failed."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(case)]
    threads = {"OMP_NUM_THREADS": str(case["cores"]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment = {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode == 0:
        return json.loads(result.stdout.splitlines()[-1])
    reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"{_label(case)}: failed with code {result.returncode}: {reason}", file=sys.stderr)
    return None


def _label(case):
    return f"{case['source']}, {TITLES[case['engine']]}"


def _measure_all(args, engines, folder, save):
    """Runs every case; engines take turns. Returns one entry per source and engine."""
    entries = []
    for source in args.sources:
        crop = min(args.crop, SYNTHETIC_CROP) if source == "synthetic" else args.crop
        case = {"source": source, "crop": crop, "batch": args.batch, "seconds": args.seconds}
        case |= {"cores": args.cores, "workers": args.workers, "folder": str(folder)}
        found = {engine: [] for engine in engines if _applies(engine, source)}
        for _, engine in itertools.product(range(args.rounds), found):
            print(f"measuring {_label({**case, 'engine': engine})}", file=sys.stderr)
            busy = forward._busy_share()
            measured = _start({**case, "engine": engine})
            found[engine].append(measured and {**measured, "busy": busy})
        for engine, rounds in found.items():
            if rounds := [measured for measured in rounds if measured]:
                entries.append({**case, "engine": engine, "rounds": rounds, **_merged(rounds)})
        save(entries)
    return entries


def _applies(engine, source):
    """Decoders differ only where there is something to decode."""
    if engine == "restore_tf_pillow":
        return source in ("png", "records_png")
    return engine in ("restore_tf", "pillow") or SOURCES[source] in ("frames", "crops")


def _merged(rounds):
    """The best of all rounds: what else runs on the machine can only slow an engine down."""
    return {
        "rate": max(r["pairs"] / r["seconds"] / _used(r) for r in rounds),
        "cpu_rate": max(r["pairs"] / r["cpu_seconds"] for r in rounds),
        "busy": max(r["busy"] for r in rounds),
    }


def _used(measured):
    return len(measured["pinned"] or [0])


def tables(entries: list[dict], engines: list[str]) -> str:
    """Ratios of pairs a second, then this machine's own figures, as Markdown tables.

    Both by the clock and by the processor's time, which other processes disturb less.
    """
    index = {(entry["source"], entry["engine"]): entry for entry in entries}
    crops = {entry["source"]: entry["crop"] for entry in entries}
    ours = [engine for engine in engines if engine in OURS]
    compared = [(mine, peer) for peer in engines if peer not in OURS for mine in ours]
    made = []
    for key, unit in (("rate", "a second"), ("cpu_rate", "a second of CPU time")):
        ratios = [["source", "crop", *(f"{TITLES[a]} / {TITLES[b]}" for a, b in compared)]]
        absolutes = [["source", "crop", *(TITLES[engine] for engine in engines)]]
        for source, crop in crops.items():
            found = {engine: index.get((source, engine), {}) for engine in engines}
            cells = [forward._ratio(found[a], found[b], key) for a, b in compared]
            ratios.append([source, str(crop), *cells])
            cells = [forward._cell(found[engine], key, "{:.0f}") for engine in engines]
            absolutes.append([source, str(crop), *cells])
        made += [f"Pairs {unit}, ratios:", forward._markdown(ratios)]
        made += [f"Pairs {unit} and core here:", forward._markdown(absolutes)]
    return "\n\n".join(made)


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", choices=SOURCES, default=list(SOURCES), nargs="+")
    parser.add_argument("--engines", choices=ENGINES, default=ENGINES, nargs="+")
    parser.add_argument(
        "--data_dir", type=Path, help="a real GOPRO_Large; made of scikit-image's photos without"
    )
    parser.add_argument("--pictures", type=int, default=10, help="training pairs, at least 1")
    parser.add_argument("--crop", type=int, default=256, help="side of the crops, in pixels")
    parser.add_argument("--batch", type=int, default=8, help="pairs a batch")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each engine, in turns")
    parser.add_argument(
        "--seconds", type=float, default=5, help="timed part of each process at least"
    )
    parser.add_argument("--cores", type=int, default=1, help="that each process may use")
    parser.add_argument("--workers", type=int, default=0, help="DataLoader's num_workers")
    parser.add_argument("--output", type=Path, help="JSON file for every single measurement")
    parser.add_argument(
        "--small", action="store_true", help="tiny pictures, to try the script: measures nothing"
    )
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.output and not args.output.resolve().parent.is_dir():
        parser.error(f"--output {args.output}: its folder does not exist; make it first.")
    if args.small:
        args.crop, args.batch, args.pictures = 32, 2, 2
        args.seconds, args.rounds = min(args.seconds, 0.2), 1
    return args


def _available(engines):
    """Leaves out the engines whose packages are not installed, and says so."""
    for engine in engines:
        missing = [name for name in NEEDS[engine] if importlib.util.find_spec(name) is None]
        if missing:
            print(f"{', '.join(missing)} not installed: {TITLES[engine]} is left out.")
        else:
            yield engine


def main(argv: list[str] | None = None) -> None:
    """Measures what the flags ask for and prints the tables."""
    args = _parse(argv)
    sys.path.insert(0, str(ROOT))  # wherever it is started from
    if args.child:
        print(json.dumps(measure(args.child)))
        return
    engines = list(_available([engine for engine in ENGINES if engine in args.engines]))
    machine = forward.environment()
    forward._print_environment(machine, [])
    results = {"environment": machine, "small": args.small}
    with tempfile.TemporaryDirectory(prefix="input_pipeline") as name:
        folder = Path(name)
        prepare(folder, args.sources, args.pictures, args.data_dir, args.small)
        sizes = [path.stat().st_size / 1e6 for path in folder.glob("frames/train/made_a/*/*.png")]
        print(f"{len(sizes)} PNG pictures, {min(sizes):.2f} to {max(sizes):.2f} MB")
        entries = _measure_all(
            args,
            engines,
            folder,
            save=lambda entries: forward._save(args.output, {**results, "measurements": entries}),
        )
    print(f"\n{tables(entries, engines)}")
    busy = max((entry["busy"] for entry in entries), default=0)
    if busy > forward.BUSY:
        print(
            f"\nOther processes used up to {busy:.0%} of the CPU: do not use pairs a second, only "
            "those by CPU time; better, measure on a quiet machine."
        )


if __name__ == "__main__":
    main()
