"""Settings that can't work are refused before anything is written, with what was meant."""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from beam_pipeline import options
from beam_pipeline.estimation import estimate
from beam_pipeline.plan import PlanError, make_plan
from beam_pipeline.preflight import UnusableSettings, close_labels
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.settings import Settings
from tests import runs
from transforms.kernels.language import identification as language

TEXT = "The ferry leaves at seven from the old harbour, and number {} is painted on its side in white letters."
LID = [*language.load(language.default_model_path()).labels, language.UNDETERMINED]
GLOTLID = ["deu_Latn", "eng_Latn", "srp_Cyrl", "srp_Latn", "nob_Latn", "nno_Latn", "cmn_Hani", "arb_Arab", "und"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = "".join(json.dumps({"uuid": str(row), "content": TEXT.format(row), "n": row}) + "\n" for row in range(20))
    (tmp_path / "texts.jsonl").write_text(lines)
    return tmp_path / "texts.jsonl"


def planned(source: Path, output: Path, **settings: Any) -> Settings:
    """Plans a run, and shows that a refusal leaves nothing behind."""
    resolved = Settings(input=[str(source)], output=str(output), **({"tokenizer": str(tokenizer_path())} | settings))
    try:
        make_plan(resolved, "")
    except BaseException:
        assert not output.exists()
        raise
    return resolved


class TestLabels:
    @pytest.mark.parametrize(
        ("label", "meant"),
        [
            ("EN", ["en"]), ("deu", ["de"]), ("ger", ["de"]), ("german", ["de"]), ("GERMAN", ["de"]),
            ("Norwegian", ["no"]), ("nob", ["no"]), ("en-US", ["en"]), ("zh_CN", ["zh"]), ("cmn", ["zh"]),
            ("iw", ["he"]), ("__label__fr", ["fr"]), ("eng_Latn", ["en"]), (" de ", ["de"]),
        ],
    )  # fmt: skip
    def test_of_lid_176(self, label: str, meant: list[str]) -> None:
        assert close_labels(label, LID) == meant

    @pytest.mark.parametrize(
        ("label", "meant"),
        [
            ("de", ["deu_Latn"]), ("German", ["deu_Latn"]), ("ENG_latn", ["eng_Latn"]),
            ("no", ["nob_Latn", "nno_Latn"]),
            ("sr", ["srp_Cyrl", "srp_Latn"]), ("sr-Latn", ["srp_Latn"]), ("zh", ["cmn_Hani"]), ("Arabic", ["arb_Arab"]),
            ("deu_Latm", ["deu_Latn"]),
        ],
    )  # fmt: skip
    def test_of_a_model_with_scripts(self, label: str, meant: list[str]) -> None:
        assert close_labels(label, GLOTLID) == meant

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"languages": ["en", "deu"]}, "languages: the language model lid.176.ftz has no label 'deu'; did you"),
            ({"min_language_scores": {"EN": 0.5}}, "min_language_scores: .* no label 'EN'; did you mean 'en'?"),
            ({"languages": ["qqq"]}, "no label 'qqq'; it has 177: "),
            (
                {"recipe": [{"languages": {"keep": ["german"]}}]},
                "recipe: languages: keep: .* did you mean 'de'?",
            ),
        ],
    )  # fmt: skip
    def test_unknown_ones_are_refused(self, source: Path, tmp_path: Path, settings: dict[str, Any], said: str) -> None:
        with pytest.raises(UnusableSettings, match=said):
            planned(source, tmp_path / "out", text_column="content", **settings)
        with pytest.raises(UnusableSettings, match=said):
            estimate(Settings(
                input=[str(source)], output=str(tmp_path / "out"), tokenizer=str(tokenizer_path()),
                text_column="content", **settings,
            ))  # fmt: skip

    def test_every_wrong_one_is_named(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(UnusableSettings, match=r"'EN'.*\n.*'deu'"):
            planned(source, tmp_path / "out", text_column="content", languages=["EN", "fr", "deu"])

    def test_known_ones_pass(self, source: Path, tmp_path: Path) -> None:
        planned(
            source, tmp_path / "out", text_column="content", languages=["en", "und"], min_language_scores={"no": 0.4}
        )


class TestFiles:
    @pytest.mark.parametrize(
        "contents", [b"", b"hello\n", b"\x80\x02}q\x00.", tokenizer_path().read_bytes(), None],
        ids=["empty", "text", "pickle", "tokenizer", "cut off"],
    )  # fmt: skip
    def test_what_is_no_language_model(self, source: Path, tmp_path: Path, contents: bytes | None) -> None:
        model = tmp_path / "model.bin"
        model.write_bytes(language.default_model_path().read_bytes()[:300_000] if contents is None else contents)
        with pytest.raises(
            UnusableSettings, match=r"language_model: .*model\.bin: not a usable fastText model"
        ) as found:
            planned(source, tmp_path / "out", text_column="content", language_model=str(model))
        assert "\n" not in str(found.value)

    @pytest.mark.parametrize(
        "contents",
        [b"", b"\n\x0e\n\x05<unk>", b'{"model_type": "llama"}', b'{"a": 1, "b": 2}', b'{"model": {"type": "BPE"}}'],
        ids=["empty", "SentencePiece", "configuration", "vocabulary", "no merges"],
    )
    def test_what_is_no_tokenizer(self, source: Path, tmp_path: Path, contents: bytes) -> None:
        file = tmp_path / "tokenizer.json"
        file.write_bytes(contents)
        with pytest.raises(PlanError, match=r"tokenizer\.json.*not a Hugging Face tokenizer\.json") as found:
            planned(source, tmp_path / "out", text_column="content", tokenizer=str(file))
        assert "\n" not in str(found.value)


class TestColumns:
    @pytest.mark.parametrize("form", ["plain", "gzip", "zstd", "parquet"])
    @pytest.mark.parametrize("column", ["contents", "Content", "text"])
    def test_a_misspelt_one(self, source: Path, tmp_path: Path, form: str, column: str) -> None:
        file = written_as(form, source, tmp_path / "in")
        with pytest.raises(UnusableSettings, match=f"text_column: .* has no '{column}' but uuid, content, n") as found:
            planned(file, tmp_path / "out", text_column=column)
        assert "did you mean 'content'?" in str(found.value)
        planned(file, tmp_path / "out", text_column="content")

    def test_a_misspelt_id(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(UnusableSettings, match=r"id_column: .* no 'uid' but .* did you mean 'uuid'"):
            planned(source, tmp_path / "out", text_column="content", id_column="uid")
        planned(source, tmp_path / "out", text_column="content")

    def test_one_source_of_many_with_it_is_enough(self, source: Path, tmp_path: Path) -> None:
        sources = tmp_path / "in"
        sources.mkdir()
        source.rename(sources / "texts.jsonl")
        pq.write_table(pa.table({"text": ["the same"]}), sources / "a.parquet")
        (sources / "broken.jsonl").write_text('{"text": "half')
        for column in ("text", "content"):
            planned(sources, tmp_path / column, text_column=column)

    def test_sparse_fields_and_what_cannot_be_read_are_left_to_the_run(self, tmp_path: Path) -> None:
        sources = tmp_path / "in"
        sources.mkdir()
        lines = [*({"n": n} for n in range(500)), {"text": TEXT}]
        (sources / "sparse.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        planned(sources, tmp_path / "sparse")
        (sources / "sparse.jsonl").write_bytes(b"\x1f\x8bno gzip")
        planned(sources, tmp_path / "broken", text_column="anything")

    def test_a_mended_command_is_not_refused(self, source: Path, tmp_path: Path) -> None:
        flags = ("--direct_num_workers", 1, "--text_column")
        refused = runs.run(source, tmp_path / "out", *flags, "contents", status=2)
        assert "did you mean 'content'?" in refused.stderr
        assert not (tmp_path / "out").exists()
        runs.run(source, tmp_path / "out", *flags, "content")


def written_as(form: str, source: Path, place: Path) -> Path:
    if form == "parquet":
        rows = [json.loads(line) for line in source.read_text().splitlines()]
        pq.write_table(pa.Table.from_pylist(rows), place)
    else:
        squeeze = {"plain": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[form]
        place.write_bytes(squeeze(source.read_bytes()))
    return place


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("languages: [de, no]", 'languages.1: .*YAML reads this as true or false: put it into quotes, as "no"'),
        ("languages: [on]", 'put it into quotes, as "yes"'),
        ("min_language_scores: {no: 0.5}", 'true or false: put it into quotes, as "no"'),
        ("text_column: 2024", 'text_column: .*YAML reads this as a number: put it into quotes, as "2024"'),
        ("text_column: 2024-05-06", 'text_column: .*YAML reads this as a date: put it into quotes, as "2024-05-06"'),
        ("eos: 1.5", "YAML reads this as a number"),
    ],
)
def test_what_yaml_reads_as_something_else(tmp_path: Path, yaml: str, said: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml)
    parser = argparse.ArgumentParser()
    options.add_settings(parser)
    given = ["--input", "a", "--output", "b", "--tokenizer", "c", "--config", str(config)]
    with pytest.raises(options.UsageError, match=said):
        options.resolve(parser, given)


def test_quoted_it_is_the_label(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text('languages: ["no"]\nmin_language_scores: {"no": 0.5}\n')
    parser = argparse.ArgumentParser()
    options.add_settings(parser)
    given = ["--input", "a", "--output", "b", "--tokenizer", "c", "--config", str(tmp_path / "config.yaml")]
    settings, _ = options.resolve(parser, given)
    assert (settings.languages, settings.min_language_scores) == (["no"], {"no": 0.5})
