"""How the commands of README.md and the guides are run on tiny data, and which are not, and why.

A command is named by its start. Words behind it are added to the command line; of a flag that is
given twice the last one counts.
"""

import json

import yaml

TINY = "--steps=1 --validate_every=1 --validation_pictures=1 --set=batch=1 --set=crop=32".split()
SRN = [*TINY, "--set=network.width=4", "--set=network.res_blocks=0", "--set=network.scales=1"]
GOPRO = "--dataset gopro --data_dir DIR/GOPRO_Large"
MPRNET = [
    *("--set=network.n_feat=12", "--set=network.scale_unetfeats=4"),
    *("--set=network.scale_orsnetfeats=8", "--set=network.num_cab=2"),
]
COMPARE = "--steps=4 --crop=32 --batch=1 --limit=1 --train_per=all --nocost --nocurves".split()
COMPARE += ["--metrics=psnr", "--grid_crop=32"]

# By page, since the same words can need other flags elsewhere; "" is every page.
RUN = {
    "": {
        "restore-tf restore photo.jpg --output sharp.jpg": [],
        "restore-tf weights": [],
        "restore-tf doctor": [],
        "make train": [],
        "train.py --model srn": SRN,
        "train.py --model srn --dataset gopro": [*SRN, "--workdir=runs/gopro"],
        "train.py --model srn --dataset folder": [*SRN, "--workdir=runs/folder"],
        "evaluate.py --workdir RUN": ["--limit=2", "--output=scores"],
        "restore-tf compare --output": [*COMPARE, "--models=srn", "--output=all"],
        "export.py --workdir RUN --output DIR --format saved_model": [
            *("--size=32x32", "--kinds=float32,uint8", "--max_psnr_drop=99"),
        ],
    },
    "docs/benchmarks.md": {
        "train.py --model srn --dataset gopro": [*SRN, "--set=warmup_steps=0", "--workdir=runs/g"],
        "evaluate.py --workdir RUN --dataset folder": ["--output=reds_scores", "--metrics=psnr"],
        "benchmarks/forward.py": ["--small", "--turns=1", "--networks", "srn", "--sizes", "32x32"],
        "benchmarks/input_pipeline.py": [
            *("--small", "--rounds=1", "--sources", "png", "--engines", "restore_tf"),
        ],
        "export.py --workdir RUN --output DIR --format tflite": [
            *("--size=32x32", "--kinds=float32", "--overwrite"),
        ],
    },
    "docs/chains.md": {
        "restore-tf chain runs/denoise runs/deblur": ["--limit=1"],
        "restore.py photos --workdir runs/chain": ["--overwrite"],
        "evaluate.py --workdir runs/chain": ["--metrics=psnr"],
        "export.py --workdir runs/chain": ["--size=32x32", "--kinds=float32"],
        "restore-tf chain --table": ["--limit=1"],
        "train.py --model unet --chain": [
            *(*TINY, "--set=network.width=2", "--workdir=runs/next", *GOPRO.split()),
        ],
        "train.py --model chain": [*TINY],
    },
    "docs/comparison.md": {
        "restore-tf compare runs/a runs/b": [*COMPARE, "--output=runs_only"],
        "restore-tf compare --models srn,deblurgan --chains": [
            *(*COMPARE, "--models=srn,plain", "--chains=srn+plain", "--output=chains"),
        ],
    },
    "docs/devices.md": {
        "export.py --plan": ["--size=32x32", "--workdir=RUN"],
        "restore-tf stream --tflite": ["--size=32x32"],
        "python -m ai_edge_litert.tools.benchmark_litert_model": [],
        "benchmarks/devices.py": [
            *("--small", "--rounds=1", "--networks", "srn_light", "--sizes", "32x32"),
            *("--engines", "saved_model_float32", "litert_float32"),
        ],
    },
    "docs/evaluating.md": {
        "restore-tf evaluate --dataset folder": ["--metrics=psnr"],
        "restore-tf compare RUN maxim_deblurring_stage1": COMPARE,
    },
    "docs/exporting.md": {
        "export.py --workdir RUN --output DIR --format openvino": [
            *("--size=32x32", "--kinds=float32"),
        ],
        "restore.py photos --tflite": ["--overwrite"],
        "restore.py photos --openvino": [],
        "restore-tf stream --tflite": ["--size=32x32"],
        "export.py --plan": ["--size=32x32", "--workdir=RUN", "--tops=4"],
    },
    "docs/gopro.md": {
        "restore-tf samples": [],
        "python -m restore_tf.datasets.records": [],
        "evaluate.py --workdir runs/srn_gopro": [],
        f"train.py --model srn {GOPRO} --workdir runs/srn_gopro": SRN,
        f"train.py --model srn {GOPRO} --workdir runs/srn_small": SRN,
    },
    "docs/losses_and_metrics.md": {
        "train.py --model mprnet": [*TINY, *MPRNET],
        "train.py --model dncnn": [*TINY, "--set=network.width=4"],
    },
    "docs/restoring.md": {
        "restore-tf restore photos --output restored": [],
        'restore-tf restore "photos/**/*.jpg"': [],
        "restore-tf restore a.tif": [],
        "restore-tf restore clip.mp4": ["--workdir=RUN"],
    },
    "docs/results.md": {
        # A small run: the shipped weights are run by the page on evaluating.
        "evaluate.py --dataset gopro": ["--workdir=RUN", "--output=shipped", "--metrics=psnr"],
        "evaluate.py --dataset folder": ["--workdir=RUN", "--output=reds", "--metrics=psnr"],
        "export.py --output DIR --format tflite": [
            *("--workdir=RUN", "--size=64x64", "--kinds=float32"),
        ],
        "train.py --model srcnn": [*TINY, "--workdir=runs/srcnn"],
        "evaluate.py --workdir RUN": ["--limit=1", "--output=scores", "--metrics=psnr"],
        "restore-tf sweep": [*TINY, "--log_every=1"],
    },
    "docs/training.md": {
        "restore-tf samples": [],
        "train.py --model srn --dataset 'gopro:blur": [*SRN, "--workdir=runs/mixture"],
        "train.py --model srn --dataset synthetic": [*SRN, "--workdir=runs/photo"],
        "restore-tf sweep": [*TINY, "--log_every=1"],
    },
    "docs/weights.md": {
        "convert.py --model srn_lstm": ["--set=network.width=4"],
        "convert.py --model mprnet": [*MPRNET[:-1], "--set=network.num_cab=3"],
        "restore-tf weights pack": [],
    },
}

# Costly ones that stand on several pages: run on the first.
ONCE = (
    "restore-tf compare --output",
    "restore-tf sweep",
    "benchmarks/forward.py",
    "benchmarks/devices.py",
)

# The commands of `make train`.
MAKE = {"train": SRN, "evaluate": ["--metrics=psnr"], "restore": []}

# Servers: started, and stopped by SIGTERM when the page is done.
SERVERS = ("restore-tf serve", "restore-tf app")
# What asks them.
CLIENTS = ("restore-tf client", "DIR/serving/client.sh")

NEW_PAPER = "tests/readme_test.py::test_the_page_on_a_new_paper_works"
# What another test runs, and where.
ELSEWHERE = {
    "curl --fail": "tests/app/served_test.py::test_the_examples_of_the_docs",
    "import requests": "tests/app/served_test.py::test_the_examples_of_the_docs",
    '"""VDSR': NEW_PAPER,
    "from setuptools import setup": NEW_PAPER,
    "pip install --no-deps -e .": NEW_PAPER,
    "python train.py --model vdsr": NEW_PAPER,
    "python evaluate.py --workdir runs/vdsr": NEW_PAPER,
    "python restore.py photo.jpg --workdir runs/vdsr": NEW_PAPER,
    "python export.py --workdir runs/vdsr": (  # the same of every network of this package
        "tests/conformance_export_test.py::test_tflite_gives_keras_numbers"
    ),
    "python train.py --model srn --local_workers": (
        "tests/training/multiworker_test.py::test_one_command_starts_both_workers"
    ),
    "restore-tf chain --recipe repair": (  # a toy recipe; this one's networks take minutes
        "tests/training/after_chain_test.py::test_a_chains_links_are_trained_in_turn_and_scored"
    ),
    "export TF_CONFIG=": (
        "tests/training/multiworker_test.py::test_a_lost_worker_and_a_sigterm_change_nothing"
    ),
}

DOWNLOAD = "needs a download"
CLUSTER = "needs a cluster"
DEVICE = "needs another device or program"
SUITE = "is what runs these tests"
SHOWN = "is no command: an output, a layout, a protocol, a server's settings"
LONG = "takes minutes whatever its flags"

NOT_RUN = {
    "git clone REPOSITORY": DOWNLOAD,
    "python3 -m venv": DOWNLOAD,  # tests/install_test.py installs without one
    "pip install": DOWNLOAD,
    "restore-tf weights fetch": DOWNLOAD,
    "restore-tf restore photo.jpg --weights maxim_deblurring": DOWNLOAD,
    "python evaluate.py --dataset gopro --data_dir DIR/GOPRO_Large --weights": DOWNLOAD,
    "npm pack": DOWNLOAD,
    "export RESTORE_TF_MOBILENET_V3_SMALL": DOWNLOAD,
    "python export.py --workdir RUN --output DIR --format web": DOWNLOAD,  # web_browser_test.py
    "python -m http.server -d DIR/web": DOWNLOAD,
    "restore-tf compare maxim_deblurring_stage1 --models": DOWNLOAD,
    "make test": SUITE,
    "python train.py --model srn --strategy tpu": DEVICE,
    "python train.py --model srn --dataset gopro --data_dir /data": CLUSTER,
    "# a camera to the screen": DEVICE,
    "adb push": DEVICE,
    "python benchmarks/training_step.py": LONG,
    "python train.py --model srn --recipe tiny": LONG,
    "python train.py --model srn --recipe light --dataset": LONG,
    "python benchmarks/help_and_harm.py": LONG,
    "python train.py --model maxim --init_from maxim_deblurring_stage1": LONG,
    "python benchmarks/accelerator.py": DEVICE,
    "python benchmarks/tiles.py": LONG,
    "python benchmarks/app_and_browser.py": DEVICE,  # Chromium and LiteRT.js
    "Cross-Origin-": SHOWN,
    "300 frames in": SHOWN,
    "DIR/GOPRO_Large/t": SHOWN,
    "stopped early": SHOWN,
    "Done: 250": SHOWN,
    "POST /v1": SHOWN,
    '{"signature_name"': SHOWN,
    '-> {"predictions"': SHOWN,
    "location /restore": SHOWN,
    "proxy_": SHOWN,
    "client_max_body_size": SHOWN,
    "}": SHOWN,
}


def cluster_config(text):
    """The workers and this one's index, of a TF_CONFIG."""
    config = json.loads(text)
    return config["cluster"]["worker"], config["task"]["index"]


def worker_script(manifest):
    """The script that a StatefulSet's worker runs."""
    stateful = [d for d in yaml.safe_load_all(manifest) if d["kind"] == "StatefulSet"][0]
    return stateful["spec"]["template"]["spec"]["containers"][0]["args"][0]
