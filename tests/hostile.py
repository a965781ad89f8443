"""A result of a trial in which every name and text tries to become markup or script."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

from beam_pipeline.trial import result as trial

ATTACKS = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    '</pre></style></title><svg onload="window.pwned = 1">',
    '"><a href=javascript:window.pwned=1>x</a>',
    "<!-- ]]> {{ 7 * 7 }} {% raw %} &lt;script&gt; </body><iframe src='http://192.0.2.1/'>",
    "<link rel=stylesheet href=http://192.0.2.1/a.css><style>@import url(http://192.0.2.1/b.css)</style>",
)
LANGUAGES = ("en", "de", "<b>xx</b>", "", '"><script>window.pwned = 1</script>')
FIGURE = "words / max('<script>', 1)"


def hostile_result(documents: int = 300, length: int = 200) -> trial.Result:
    """The result; its texts have ``length`` characters of rubbish behind each attack."""
    chance = random.Random(7)
    numbers = np.random.default_rng(7)
    languages = [LANGUAGES[chance.randrange(5) if row % 3 else 0] for row in range(documents)]
    outcomes = [chance.choice(["kept", "kept", "dropped"]) for _ in range(documents)]
    attack = ATTACKS[0]
    columns = {
        "source": pa.array([f"/data/{attack}.parquet"] * documents).dictionary_encode(),
        "row": pa.array(range(documents), pa.int64()),
        "id": pa.array([None if row % 2 else ATTACKS[row % 6] for row in range(documents)], pa.string()),
        "language": pa.array(languages),
        "language_score": pa.array(numbers.random(documents), pa.float32()),
        "text_bytes": pa.array(numbers.lognormal(6, 2, documents).astype(np.int64)),
        "outcome": pa.array(outcomes),
        "step": pa.array([attack if outcome == "dropped" else "" for outcome in outcomes]),
        "reason": pa.array([ATTACKS[1] if outcome == "dropped" else "" for outcome in outcomes]),
        "words": pa.array(numbers.integers(0, 20, documents), mask=numbers.random(documents) < 0.1),
        ATTACKS[2]: pa.array(numbers.random(documents)),
        "domain": pa.array([ATTACKS[row % 6] for row in range(documents)]),
        "control": pa.array([f"a\x00b\x1b\x85\ufffe{row % 3}" for row in range(documents)]),
        "huge\x07": pa.array(
            ([1e308, -1e308, float("inf"), float("nan"), None, 0.5] * documents)[:documents], pa.float64()
        ),
        "nothing": pa.nulls(documents, pa.float32()),
        FIGURE: pa.array(numbers.normal(0, 1, documents)),
    }
    counted = [
        (trial.ALL, ""),
        (trial.INVALID, "empty_text"),
        (attack, ATTACKS[1]),
        ("länge", "zu_kurz"),
        (trial.KEPT, ""),
    ]
    amounts = {trial.ALL: 100, trial.INVALID: 5, attack: 20, "länge": 0, trial.KEPT: 75}
    funnel = pa.Table.from_pylist(
        [
            {"step": step, "reason": reason, "language": language}
            | dict.fromkeys(("documents", "tokens"), amounts[step])
            | {"bytes": 3 * amounts[step], "documents_alone": None if step == "länge" else amounts[step]}
            for step, reason in counted
            for language in LANGUAGES[:3]
        ],
        trial.FUNNEL,
    )
    figure = trial.Figure(FIGURE, 0.25, ">=", 0.5)
    texts = []
    for number, text in enumerate(ATTACKS):
        long = text + " ".join("<b>" for _ in range(length // 4))
        made = {"source": text, "row": number, "id": text, "language": LANGUAGES[number % 5], "text": long}
        texts += [
            trial.ShownText(
                "dropped", attack, ATTACKS[1], "closest", figures=(figure,), spans=((0, 8), (9, 12)), **made
            ),
            trial.ShownText("edited", "länge", "", "", after=long.replace("script", "b") + attack, **made),
            trial.ShownText("kept", "", "", "", **made),
        ]
    cluster = trial.Cluster(tuple(texts[:3]), (1.0, 1.0, 0.9), 17)
    return trial.Result(
        title=attack,
        is_run=False,
        created="2026-11-27T00:00:00+00:00",
        recipe_yaml=f"- rule: {{keep: {ATTACKS[4]}}}",
        recipe_hash="0123456789abcdef" * 4,
        settings={"input": [attack], "nested": {attack: [ATTACKS[4], None, 1.5]}},
        versions={"python": "3.11", attack: ATTACKS[3]},
        looked=trial.Looked((attack, "/data"), documents, 10**6, 10**9, 10**13, False, attack, {"en": 2.0}, ATTACKS[1]),
        steps=(trial.StepInfo(attack, "filter", attack),),
        funnel=funnel,
        edits=pa.Table.from_pylist(
            [{"step": attack, "language": "en", "documents": 3, "removed": 2, "replaced": 1, "added": 0}], trial.EDITS
        ),
        overlap=pa.Table.from_pylist([{"reason": attack, "other": ATTACKS[2], "documents": 4}], trial.OVERLAP),
        costs=pa.Table.from_pylist(
            [
                {"step": attack, "mb_per_second": 12.5, "cpu_seconds": 1.5, "bytes": 10**7, "cpu_hours_of_input": 3.2},
                {"step": "none", "mb_per_second": None, "cpu_seconds": None, "bytes": 0, "cpu_hours_of_input": None},
            ],
            trial.COSTS,
        ),
        documents=pa.table(columns),
        conditions=(
            trial.Condition(attack, ATTACKS[1], "words", ">=", 5.0),
            trial.Condition(attack, ATTACKS[1], FIGURE, "<", 1.0, LANGUAGES[2]),
            trial.Condition(attack, "never", "not a column", "<", 1.0),
        ),
        texts=tuple(texts),
        duplicates=trial.Duplicates(1, 2, 300, (cluster,), ATTACKS[3]),
        problems=(trial.Problem(attack, "raises", ATTACKS[1], ATTACKS[2], ATTACKS[3], ATTACKS[4]),),
    )
