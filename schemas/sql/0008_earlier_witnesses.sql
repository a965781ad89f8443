-- Documents of a run of a corpus that were dropped for documents of earlier runs: their witness is the document's id in the
-- corpus with the first of 64 bits set, so it is negative here.

-- The run, and the source in it, of such a witness.
CREATE FUNCTION earlier_source(of_run uuid, witness bigint) RETURNS TABLE (run uuid, uri text) LANGUAGE sql STABLE AS $$
    SELECT other.run, source.uri
    FROM corpus_runs AS mine
    JOIN corpus_runs AS other ON other.corpus = mine.corpus
        AND (witness >> 32) + 2147483648 BETWEEN other.first_source AND other.first_source + other.sources - 1
    JOIN corpus_sources AS source ON source.corpus = other.corpus AND source.number = other.number
        AND source.position = (witness >> 32) + 2147483648 - other.first_source
    WHERE mine.run = of_run
$$;

CREATE OR REPLACE VIEW lineage AS
SELECT
    segment.run,
    CASE WHEN segment.first_places IS NULL THEN source.uri ELSE (
        SELECT own.uri FROM sources AS own WHERE own.run = segment.run AND own.number = spot.document >> 32
    ) END AS source_uri,
    spot.document & 4294967295 AS source_row,
    spot.document AS document,
    arrays.outcomes[documents.number] AS outcome,
    arrays.reasons[documents.number] AS reason,
    arrays.language_names[documents.language + 1] AS language,
    CASE
        WHEN witness.document < 0 THEN (SELECT earlier.uri FROM earlier_source(segment.run, witness.document) AS earlier)
        WHEN documents.code IN ('x', 'n') THEN (
            SELECT other.uri FROM sources AS other
            WHERE other.run = segment.run AND other.number = witness.document >> 32
        )
    END AS witness_uri,
    witness.document & 4294967295 AS witness_row,
    CASE WHEN documents.code IN ('x', 'n') THEN arrays.similarities[documents.duplicates] END AS similarity,
    CASE WHEN documents.code = 'k' THEN segment.token_object END AS token_object,
    CASE WHEN documents.code = 'k' THEN documents.kept - 1 END AS token_row,
    CASE
        WHEN witness.document < 0 THEN (SELECT earlier.run FROM earlier_source(segment.run, witness.document) AS earlier)
        WHEN documents.code IN ('x', 'n') THEN segment.run
    END AS witness_run
FROM segments AS segment
-- An outer join, so that every document counts once whatever is missing.
LEFT JOIN sources AS source ON source.run = segment.run AND source.number = segment.source
-- Copies in memory, once a segment: a stored array would be decompressed again for every document that looks into it,
-- and the planner, who knows nothing of the arrays' lengths, may join them document by document.
CROSS JOIN LATERAL (
    SELECT
        ARRAY(SELECT unnest(segment.language_names)) AS language_names,
        ARRAY(SELECT unnest(segment.witnesses)) AS witnesses,
        ARRAY(SELECT unnest(segment.similarities)) AS similarities,
        ARRAY(SELECT unnest(segment.first_places)) AS first_places,
        ARRAY(
            SELECT meaning.outcome FROM generate_series(1, 127 + 128 * last.page) AS number
            LEFT JOIN outcomes AS meaning ON meaning.run = segment.run
                AND meaning.code = (number & 127)::"char" AND meaning.page = number >> 7
            ORDER BY number
        ) AS outcomes,
        ARRAY(
            SELECT meaning.reason FROM generate_series(1, 127 + 128 * last.page) AS number
            LEFT JOIN outcomes AS meaning ON meaning.run = segment.run
                AND meaning.code = (number & 127)::"char" AND meaning.page = number >> 7
            ORDER BY number
        ) AS reasons
    FROM (SELECT coalesce(max(page), 0) AS page FROM outcomes WHERE run = segment.run) AS last
    OFFSET 0
) AS arrays
CROSS JOIN LATERAL (
    SELECT
        code,
        coalesce(page::integer, 0) * 128 + code::integer AS number,
        language,
        place,
        count(*) FILTER (WHERE code = 'k') OVER so_far AS kept,
        count(*) FILTER (WHERE code IN ('x', 'n')) OVER so_far AS duplicates
    FROM unnest(segment.outcomes, segment.languages, segment.pages)
        WITH ORDINALITY AS document (code, language, page, place)
    WINDOW so_far AS (ORDER BY place ROWS UNBOUNDED PRECEDING)
) AS documents
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN segment.first_places IS NULL THEN segment.source::bigint << 32 | (segment.first_row + place - 1)
        ELSE document_at_place(segment.source, segment.first_row, arrays.first_places, place)
    END AS document
) AS spot
LEFT JOIN LATERAL (
    SELECT coalesce(
        (
            SELECT document_at_place(packed.source, packed.first_row, packed.first_places, (name.name & 4294967295) + 1)
            FROM segments AS packed
            WHERE packed.run = segment.run AND packed.source = (name.name >> 32)::integer
                AND packed.first_places IS NOT NULL AND packed.rows > 0
        ),
        name.name
    ) AS document
    FROM (SELECT arrays.witnesses[documents.duplicates] AS name) AS name
) AS witness ON documents.code IN ('x', 'n')
WHERE segment.state = 'done';

CREATE OR REPLACE FUNCTION trace_document(of_run uuid, document bigint) RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
    SELECT
        segment.run,
        source.uri,
        document & 4294967295,
        document,
        meaning.outcome,
        meaning.reason,
        segment.language_names[segment.languages[head.place] + 1],
        coalesce(witness.uri, earlier.uri),
        head.witness & 4294967295,
        head.similarity,
        CASE WHEN head.code = 'k' THEN segment.token_object END,
        CASE WHEN head.code = 'k' THEN cardinality(array_positions(head.codes, 'k'))::bigint - 1 END,
        CASE WHEN head.witness < 0 THEN earlier.run WHEN head.witness IS NOT NULL THEN segment.run END
    FROM segment_of(of_run, document) AS segment
    CROSS JOIN LATERAL (
        SELECT
            codes,
            place,
            codes[place] AS code,
            CASE WHEN codes[place] IN ('x', 'n')
                THEN witness_document(segment.run, segment.witnesses[duplicates])
            END AS witness,
            CASE WHEN codes[place] IN ('x', 'n') THEN segment.similarities[duplicates] END AS similarity
        FROM (
            SELECT
                codes,
                place,
                cardinality(array_positions(codes, 'x')) + cardinality(array_positions(codes, 'n')) AS duplicates
            FROM (
                SELECT segment.outcomes[:place] AS codes, place
                FROM (
                    SELECT least(
                        place_of_document(segment.source, segment.first_row, segment.rows, segment.first_places, document),
                        segment.rows + 1
                    )::integer AS place
                ) AS places
                OFFSET 0
            ) AS cut
            OFFSET 0
        ) AS counted
        OFFSET 0
    ) AS head
    LEFT JOIN sources AS source ON source.run = segment.run AND source.number = document >> 32
    LEFT JOIN sources AS witness ON witness.run = segment.run AND witness.number = head.witness >> 32
    LEFT JOIN LATERAL earlier_source(segment.run, head.witness) AS earlier ON head.witness < 0
    LEFT JOIN outcomes AS meaning ON meaning.run = segment.run AND meaning.code = head.code
        AND meaning.page = coalesce(segment.pages[head.place]::integer, 0)
    WHERE segment.state = 'done' AND head.place <= segment.rows
$$;

-- Those of the run itself, and of later runs of its corpus.
CREATE OR REPLACE FUNCTION duplicates_of(of_run uuid, source_uri text, source_row bigint)
RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
    SELECT
        segment.run,
        source.uri,
        spot.document & 4294967295,
        spot.document,
        meaning.outcome,
        meaning.reason,
        segment.language_names[arrays.languages[place] + 1],
        $2,
        $3,
        arrays.similarities[duplicate.number],
        NULL::text,
        NULL::bigint,
        of_run
    FROM (
        SELECT of_run AS run, witness_name(of_run, document_at(of_run, $2, $3)) AS name
        UNION ALL
        SELECT later.run, (mine.first_source - 2147483648 << 32) + document_at(of_run, $2, $3)
        FROM corpus_runs AS mine
        JOIN corpus_runs AS later ON later.corpus = mine.corpus AND later.number > mine.number
        WHERE mine.run = of_run AND later.run IS NOT NULL
        OFFSET 0
    ) AS wanted
    CROSS JOIN LATERAL (
        SELECT * FROM segments
        WHERE segments.run = wanted.run AND state = 'done' AND witnesses @> ARRAY[wanted.name]
        OFFSET 0
    ) AS segment
    -- Copies in memory, once a segment, as in the view.
    CROSS JOIN LATERAL (
        SELECT
            segment.outcomes[:] AS outcomes,
            segment.languages[:] AS languages,
            segment.places[:] AS places,
            segment.similarities[:] AS similarities,
            segment.first_places[:] AS first_places,
            array_positions(segment.witnesses, wanted.name) AS numbers
        OFFSET 0
    ) AS arrays
    CROSS JOIN LATERAL (
        SELECT numbers.number, arrays.places[numbers.number] AS place FROM unnest(arrays.numbers) AS numbers (number) OFFSET 0
    ) AS duplicate
    CROSS JOIN LATERAL (
        SELECT document_at_place(segment.source, segment.first_row, arrays.first_places, place) AS document OFFSET 0
    ) AS spot
    LEFT JOIN sources AS source ON source.run = segment.run AND source.number = spot.document >> 32
    LEFT JOIN outcomes AS meaning ON meaning.run = segment.run AND meaning.code = arrays.outcomes[place] AND meaning.page = 0
$$;
