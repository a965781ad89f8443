"""Settings come from flags and YAML, are checked before any work, and decide the hash or don't."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline import options
from beam_pipeline.plan import plan_recipe
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.settings import GROUPS, Settings, group_of
from transforms.kernels.deduplication.options import MAX_PARTITIONS

REQUIRED = ("--input", "/in", "--output", "/out", "--tokenizer", "/tokenizer.json")


def resolve(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    options.add_settings(parser)
    return options.resolve(parser, [*REQUIRED, *arguments])[0]


def test_flags_win_over_the_config_and_the_config_over_defaults(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("min_similarity: 0.7\nbands: 20\nlanguages: [de, en]\nshard_bytes: 1MiB\n")
    settings = resolve("--config", str(config), "--min_similarity", "0.9")
    assert settings.min_similarity == 0.9
    assert settings.bands == 20
    assert settings.rows == 8
    assert settings.languages == ["de", "en"]
    assert settings.shard_bytes == 2**20


def test_lists_come_with_commas_repeated_or_together() -> None:
    settings = resolve("--languages", "de, en", "--min_language_scores", "de=0.5,en=0.25", "--input", "/a", "/b")
    assert settings.languages == ["de", "en"]
    assert settings.min_language_scores == {"de": 0.5, "en": 0.25}
    assert settings.input == ["/in", "/a", "/b"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--bands", "0"), "bands"),
        (("--min_similarity", "0"), "min_similarity"),
        (("--min_language_scores", "de"), "LABEL=SCORE"),
        (("--min_characters", "10", "--max_characters", "5"), "max_characters"),
        (("--lineage_dsn", "postgresql://me:secret@db/lineage"), "PGPASSWORD"),
        (("--keep_duplicate", "shortest"), "keep_duplicate"),
        (("--normalize_drop", "vowels"), "^normalize_drop: must be one of nul, "),
        (("--min_language_scores", "de=5"), "min_language_scores.de: .* 1"),
        (("--min_language_scores", "de=nan"), "min_language_scores.de: "),
        (("--input_columns", "{"), "^input_columns: isn't YAML: .* line 1, column 2"),
        (("--no-tokens", "--eos", "</s>"), "eos: has no effect with --no-tokens"),
        (("--no-tokens", "--with_text"), "with_text: has no effect with --no-tokens"),
        (("--no_such_flag", "1"), "--no_such_flag"),
        (("--bnads", "1"), "did you mean --bands"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(options.UsageError, match=named) as refused:
        resolve(*arguments)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        (["tests.example_filters"], "package.module:name"),
        (["tests.example_filters:Mentions"], "Mentions"),
        (["tests.example_filters:no_digits"] * 2, "no_digits"),
    ],
)
def test_a_step_is_imported_when_the_run_is_planned_and_not_before(filters: list[str], named: str) -> None:
    settings = resolve("--filters", *filters)
    with pytest.raises(PlanError, match=named):
        plan_recipe(settings)


def test_a_config_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("min_similarty: 0.7\n")
    with pytest.raises(options.UsageError, match="did you mean min_similarity"):
        resolve("--config", str(tmp_path / "config.yaml"))


def test_faults_of_yaml_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("recipe: [\n")
    for arguments in (("--config", str(file)), ("--recipe", str(file))):
        with pytest.raises(options.UsageError, match=f'in "{file}", line 2, column 1'):
            resolve(*arguments)


def test_beams_flags_pass_beside_ours() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    options.add_settings(parser)
    _, beam = options.resolve(parser, [*REQUIRED, "--direct_num_workers", "3"])
    assert beam.get_all_options()["direct_num_workers"] == 3
    assert beam.get_all_options()["direct_running_mode"] == "multi_processing"


def test_only_what_changes_results_decides() -> None:
    def deciding(*arguments: str) -> list[dict[str, Any]]:
        return [resolve(*arguments).deciding(objects) for objects in ("fingerprints", "tokens")]

    base = deciding()
    unimportant = ("--partitions", "9"), ("--strict",), ("--no-fast_tokenizer",), ("--output", "/elsewhere")
    for same in unimportant:
        assert deciding(*same) == base, same
    for other in (("--min_similarity", "0.9"), ("--eos", "<e>"), ("--languages", "de"), ("--shard_bytes", "1MiB")):
        assert deciding(*other) != base, other


@pytest.mark.parametrize("documents", [0, 10**6, 6 * 10**9, 10**15])
def test_any_number_of_documents_has_partitions(documents: int) -> None:
    """The reference job is 18 TB; as plain JSON Lines that is also its size in the store."""
    assert resolve().deduplication(documents).partitions >= min(documents / 250_000, MAX_PARTITIONS)
    assert resolve("--partitions", "3").deduplication(documents).partitions == 3


def test_every_setting_is_explained_in_a_group() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert group_of(name, Settings) in GROUPS
