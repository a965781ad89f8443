-- Runs with more reasons than a byte has codes for: a code is then 128 * page + "char", and a document has two bytes.

ALTER TABLE outcomes
    ADD COLUMN page smallint NOT NULL DEFAULT 0,
    DROP CONSTRAINT outcomes_pkey,
    ADD PRIMARY KEY (run, code, page);

ALTER TABLE segments
    ADD COLUMN pages "char"[];                                   -- one a document, as outcomes; NULL: all are 0

DO $$ BEGIN
    ALTER TABLE segments ALTER pages SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

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
    CASE WHEN documents.code IN ('x', 'n') THEN (
        SELECT other.uri FROM sources AS other
        WHERE other.run = segment.run AND other.number = witness.document >> 32
    ) END AS witness_uri,
    witness.document & 4294967295 AS witness_row,
    CASE WHEN documents.code IN ('x', 'n') THEN arrays.similarities[documents.duplicates] END AS similarity,
    CASE WHEN documents.code = 'k' THEN segment.token_object END AS token_object,
    CASE WHEN documents.code = 'k' THEN documents.kept - 1 END AS token_row
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
        witness.uri,
        head.witness & 4294967295,
        head.similarity,
        CASE WHEN head.code = 'k' THEN segment.token_object END,
        CASE WHEN head.code = 'k' THEN cardinality(array_positions(head.codes, 'k'))::bigint - 1 END
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
    LEFT JOIN outcomes AS meaning ON meaning.run = segment.run AND meaning.code = head.code
        AND meaning.page = coalesce(segment.pages[head.place]::integer, 0)
    WHERE segment.state = 'done' AND head.place <= segment.rows
$$;

CREATE OR REPLACE FUNCTION duplicates_of(of_run uuid, source_uri text, source_row bigint)
RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
    SELECT
        of_run,
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
        NULL::bigint
    FROM (SELECT witness_name(of_run, document_at(of_run, $2, $3)) AS name OFFSET 0) AS wanted
    JOIN segments AS segment ON segment.witnesses @> ARRAY[wanted.name]
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
    LEFT JOIN sources AS source ON source.run = of_run AND source.number = spot.document >> 32
    LEFT JOIN outcomes AS meaning ON meaning.run = of_run AND meaning.code = arrays.outcomes[place] AND meaning.page = 0
    WHERE segment.run = of_run AND segment.state = 'done'
$$;

-- A cell of the funnel has its page at the end, unless that is 0.
CREATE OR REPLACE FUNCTION funnel(of_run uuid)
RETURNS TABLE (outcome text, reason text, language text, documents bigint, bytes bigint, tokens bigint)
LANGUAGE sql STABLE AS $$
    SELECT meaning.outcome, meaning.reason, cells.language, cells.documents, cells.bytes, cells.tokens
    FROM (
        SELECT
            cell ->> 0 AS code,
            cell ->> 1 AS language,
            coalesce((cell ->> 5)::integer, 0) AS page,
            sum((cell ->> 2)::bigint)::bigint AS documents,
            sum((cell ->> 3)::bigint)::bigint AS bytes,
            sum((cell ->> 4)::bigint)::bigint AS tokens
        FROM segments AS segment
        CROSS JOIN LATERAL jsonb_array_elements(segment.counts -> 'funnel') AS cell
        WHERE segment.run = of_run AND segment.state = 'done'
        GROUP BY 1, 2, 3
    ) AS cells
    LEFT JOIN outcomes AS meaning ON meaning.run = of_run AND meaning.code = cells.code::"char"
        AND meaning.page = cells.page
    ORDER BY meaning.outcome DESC, meaning.reason, cells.language
$$;

-- What of each source is in a segment that is done: so many rows from `first_row` on, and their outcomes.
DROP FUNCTION finished_parts(uuid);
CREATE FUNCTION finished_parts(of_run uuid)
RETURNS TABLE (number integer, first_row bigint, rows bigint, outcomes "char"[], pages "char"[])
LANGUAGE sql STABLE AS $$
    SELECT source, first_row, rows, outcomes, pages FROM segments
    WHERE run = of_run AND state = 'done' AND first_places IS NULL
    UNION ALL
    SELECT
        segment.source + part.position::integer - 1, 0::bigint, part.rows::bigint,
        arrays.outcomes[part.start : part.start + part.rows - 1], arrays.pages[part.start : part.start + part.rows - 1]
    FROM segments AS segment
    CROSS JOIN LATERAL (SELECT segment.outcomes[:] AS outcomes, segment.pages[:] AS pages OFFSET 0) AS arrays
    CROSS JOIN LATERAL (
        SELECT position, start, lead(start, 1, segment.rows::integer + 1) OVER (ORDER BY position) - start AS rows
        FROM unnest(segment.first_places) WITH ORDINALITY AS numbered (start, position)
    ) AS part
    WHERE segment.run = of_run AND segment.state = 'done' AND segment.first_places IS NOT NULL
$$;

CREATE OR REPLACE FUNCTION compare_runs(run_a uuid, run_b uuid)
RETURNS TABLE (outcome_a text, reason_a text, outcome_b text, reason_b text, documents bigint)
LANGUAGE sql STABLE AS $$
    SELECT meaning_a.outcome, meaning_a.reason, meaning_b.outcome, meaning_b.reason, cells.documents
    FROM (
        SELECT
            code_a, coalesce(page_a::integer, 0) AS page_a, code_b, coalesce(page_b::integer, 0) AS page_b,
            count(*) AS documents
        FROM (
            -- Shards may be cut differently: the rows that two of them have in common.
            SELECT
                unnest(a.outcomes[first - a.first_row + 1 : last - a.first_row + 1]) AS code_a,
                unnest(b.outcomes[first - b.first_row + 1 : last - b.first_row + 1]) AS code_b,
                unnest(a.pages[first - a.first_row + 1 : last - a.first_row + 1]) AS page_a,
                unnest(b.pages[first - b.first_row + 1 : last - b.first_row + 1]) AS page_b
            FROM sources AS source_a
            JOIN sources AS source_b ON source_b.uri = source_a.uri AND source_b.etag = source_a.etag
            JOIN finished_parts(run_a) AS a ON a.number = source_a.number
            JOIN finished_parts(run_b) AS b ON b.number = source_b.number
                AND a.first_row < b.first_row + b.rows AND b.first_row < a.first_row + a.rows
            CROSS JOIN LATERAL (
                SELECT
                    greatest(a.first_row, b.first_row) AS first,
                    least(a.first_row + a.rows, b.first_row + b.rows) - 1 AS last
            ) AS common
            WHERE source_a.run = run_a AND source_b.run = run_b
        ) AS documents
        GROUP BY 1, 2, 3, 4
    ) AS cells
    LEFT JOIN outcomes AS meaning_a ON meaning_a.run = run_a AND meaning_a.code = cells.code_a AND meaning_a.page = cells.page_a
    LEFT JOIN outcomes AS meaning_b ON meaning_b.run = run_b AND meaning_b.code = cells.code_b AND meaning_b.page = cells.page_b
    ORDER BY meaning_a.outcome DESC, meaning_a.reason, meaning_b.outcome DESC, meaning_b.reason
$$;
