-- Small sources that are neighbours share a shard, and so a segment: its documents are in the order of their ids.

ALTER TABLE segments
    ADD COLUMN first_places integer[];                           -- place, from 1, of each source's first row; NULL: one source

DO $$ BEGIN
    ALTER TABLE segments ALTER first_places SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

CREATE INDEX segments_packed ON segments (run, source) WHERE first_places IS NOT NULL;

-- The id of the document at a place of a segment.
CREATE FUNCTION document_at_place(source integer, first_row bigint, first_places integer[], place bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN first_places IS NULL THEN source::bigint << 32 | (first_row + place - 1)
        ELSE (source + width_bucket(place::integer, first_places) - 1)::bigint << 32
            | (place - first_places[width_bucket(place::integer, first_places)])
    END
$$;

-- The place of a document in the segment that has its source; beyond the segment, or NULL, if it has no such row.
CREATE FUNCTION place_of_document(source integer, first_row bigint, rows bigint, first_places integer[], document bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN first_places IS NULL THEN (document & 4294967295) - first_row + 1
        WHEN (document & 4294967295) < coalesce(first_places[(document >> 32) - source + 2], rows + 1)
            - first_places[(document >> 32) - source + 1]
        THEN first_places[(document >> 32) - source + 1] + (document & 4294967295)
    END
$$;

-- The segment that a document is in, if there is one: one look into an index.
CREATE FUNCTION segment_of(of_run uuid, document bigint) RETURNS SETOF segments LANGUAGE sql STABLE AS $$
    SELECT * FROM (
        SELECT * FROM segments
        WHERE run = of_run AND rows > 0
            AND (source, first_row) <= ((document >> 32)::integer, document & 4294967295)
        ORDER BY source DESC, first_row DESC
        LIMIT 1
    ) AS segment
    WHERE document >> 32 < source + coalesce(cardinality(first_places), 1)
$$;

-- `witnesses` name documents as their shards do: by the first source and the place, from 0, which in a shard of one
-- source is the id.
CREATE FUNCTION witness_name(of_run uuid, document bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (
            SELECT source::bigint << 32 | (place_of_document(source, first_row, rows, first_places, document) - 1)
            FROM segment_of(of_run, document) WHERE first_places IS NOT NULL
        ),
        document
    )
$$;

CREATE FUNCTION witness_document(of_run uuid, name bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (
            SELECT document_at_place(source, first_row, first_places, (name & 4294967295) + 1)
            FROM segments
            WHERE run = of_run AND source = (name >> 32)::integer AND first_places IS NOT NULL AND rows > 0
        ),
        name
    )
$$;

CREATE OR REPLACE VIEW lineage AS
SELECT
    segment.run,
    CASE WHEN segment.first_places IS NULL THEN source.uri ELSE (
        SELECT own.uri FROM sources AS own WHERE own.run = segment.run AND own.number = spot.document >> 32
    ) END AS source_uri,
    spot.document & 4294967295 AS source_row,
    spot.document AS document,
    arrays.outcomes[documents.code::integer] AS outcome,
    arrays.reasons[documents.code::integer] AS reason,
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
            SELECT meaning.outcome FROM generate_series(1, 127) AS number
            LEFT JOIN outcomes AS meaning ON meaning.run = segment.run AND meaning.code = number::"char"
            ORDER BY number
        ) AS outcomes,
        ARRAY(
            SELECT meaning.reason FROM generate_series(1, 127) AS number
            LEFT JOIN outcomes AS meaning ON meaning.run = segment.run AND meaning.code = number::"char"
            ORDER BY number
        ) AS reasons
    OFFSET 0
) AS arrays
CROSS JOIN LATERAL (
    SELECT
        code,
        language,
        place,
        count(*) FILTER (WHERE code = 'k') OVER so_far AS kept,
        count(*) FILTER (WHERE code IN ('x', 'n')) OVER so_far AS duplicates
    FROM unnest(segment.outcomes, segment.languages) WITH ORDINALITY AS document (code, language, place)
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
    WHERE segment.state = 'done' AND head.place <= segment.rows
$$;

CREATE OR REPLACE FUNCTION trace_output(object text, object_row bigint) RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
    SELECT traced.*
    FROM (
        SELECT run, document_at_place(
            source, first_row, first_places, (array_positions(outcomes, 'k'))[least(object_row, rows)::integer + 1]
        ) AS document
        FROM segments
        WHERE token_object = object AND state = 'done' AND object_row BETWEEN 0 AND rows - 1
        OFFSET 0
    ) AS found
    CROSS JOIN LATERAL trace_document(found.run, found.document) AS traced
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
    LEFT JOIN outcomes AS meaning ON meaning.run = of_run AND meaning.code = arrays.outcomes[place]
    WHERE segment.run = of_run AND segment.state = 'done'
$$;

-- What of each source is in a segment that is done: so many rows from `first_row` on, and their outcomes.
CREATE FUNCTION finished_parts(of_run uuid)
RETURNS TABLE (number integer, first_row bigint, rows bigint, outcomes "char"[])
LANGUAGE sql STABLE AS $$
    SELECT source, first_row, rows, outcomes FROM segments
    WHERE run = of_run AND state = 'done' AND first_places IS NULL
    UNION ALL
    SELECT
        segment.source + part.position::integer - 1, 0::bigint, part.rows::bigint,
        arrays.outcomes[part.start : part.start + part.rows - 1]
    FROM segments AS segment
    CROSS JOIN LATERAL (SELECT segment.outcomes[:] AS outcomes OFFSET 0) AS arrays
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
        SELECT code_a, code_b, count(*) AS documents
        FROM (
            -- Shards may be cut differently: the rows that two of them have in common.
            SELECT
                unnest(a.outcomes[first - a.first_row + 1 : last - a.first_row + 1]) AS code_a,
                unnest(b.outcomes[first - b.first_row + 1 : last - b.first_row + 1]) AS code_b
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
        GROUP BY code_a, code_b
    ) AS cells
    LEFT JOIN outcomes AS meaning_a ON meaning_a.run = run_a AND meaning_a.code = cells.code_a
    LEFT JOIN outcomes AS meaning_b ON meaning_b.run = run_b AND meaning_b.code = cells.code_b
    ORDER BY meaning_a.outcome DESC, meaning_a.reason, meaning_b.outcome DESC, meaning_b.reason
$$;
