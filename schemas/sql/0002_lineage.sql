-- One row a document, and how to ask about one without reading more than its segment.

CREATE VIEW lineage AS
SELECT
    segment.run,
    source.uri AS source_uri,
    segment.first_row + place - 1 AS source_row,
    segment.source::bigint << 32 | (segment.first_row + place - 1) AS document,
    arrays.outcomes[documents.code::integer] AS outcome,
    arrays.reasons[documents.code::integer] AS reason,
    arrays.language_names[documents.language + 1] AS language,
    CASE WHEN documents.code IN ('x', 'n') THEN (
        SELECT witness.uri FROM sources AS witness
        WHERE witness.run = segment.run AND witness.number = arrays.witnesses[documents.duplicates] >> 32
    ) END AS witness_uri,
    CASE WHEN documents.code IN ('x', 'n') THEN arrays.witnesses[documents.duplicates] & 4294967295 END AS witness_row,
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
WHERE segment.state = 'done';

-- What became of a document. No row: there is no such document, or its shard isn't done.
CREATE FUNCTION trace_document(of_run uuid, document bigint) RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
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
    FROM (
        SELECT * FROM segments
        WHERE run = of_run AND source = document >> 32 AND first_row <= document & 4294967295 AND rows > 0
        ORDER BY first_row DESC
        LIMIT 1
    ) AS segment
    CROSS JOIN LATERAL (
        SELECT
            codes,
            place,
            codes[place] AS code,
            CASE WHEN codes[place] IN ('x', 'n') THEN segment.witnesses[duplicates] END AS witness,
            CASE WHEN codes[place] IN ('x', 'n') THEN segment.similarities[duplicates] END AS similarity
        FROM (
            SELECT
                codes,
                place,
                cardinality(array_positions(codes, 'x')) + cardinality(array_positions(codes, 'n')) AS duplicates
            FROM (
                SELECT segment.outcomes[:place] AS codes, place
                FROM (
                    SELECT least((document & 4294967295) - segment.first_row, segment.rows)::integer + 1 AS place
                ) AS places
                OFFSET 0
            ) AS cut
            OFFSET 0
        ) AS counted
        OFFSET 0
    ) AS head
    LEFT JOIN sources AS source ON source.run = segment.run AND source.number = segment.source
    LEFT JOIN sources AS witness ON witness.run = segment.run AND witness.number = head.witness >> 32
    LEFT JOIN outcomes AS meaning ON meaning.run = segment.run AND meaning.code = head.code
    WHERE segment.state = 'done' AND head.place <= segment.rows
$$;

CREATE FUNCTION document_at(of_run uuid, source_uri text, source_row bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT number::bigint << 32 | source_row FROM sources
    WHERE run = of_run AND uri = source_uri AND source_row BETWEEN 0 AND 4294967295
$$;

CREATE FUNCTION trace_source(of_run uuid, source_uri text, source_row bigint)
RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
    SELECT * FROM trace_document(of_run, document_at(of_run, source_uri, source_row))
$$;

-- The document behind a row of a token object: row k is the k-th document its shard kept. One row a run that wrote it.
CREATE FUNCTION trace_output(object text, object_row bigint) RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
    SELECT traced.*
    FROM (
        SELECT run, source::bigint << 32 | (first_row - 1 + (array_positions(outcomes, 'k'))[least(object_row, rows)::integer + 1])
            AS document
        FROM segments
        WHERE token_object = object AND state = 'done' AND object_row BETWEEN 0 AND rows - 1
        OFFSET 0
    ) AS found
    CROSS JOIN LATERAL trace_document(found.run, found.document) AS traced
$$;

-- Everything that was dropped with this document as its witness. Reads the witnesses of the whole run.
CREATE FUNCTION duplicates_of(of_run uuid, source_uri text, source_row bigint)
RETURNS SETOF lineage LANGUAGE sql STABLE AS $$
    SELECT
        of_run,
        source.uri,
        segment.first_row + place - 1,
        segment.source::bigint << 32 | (segment.first_row + place - 1),
        meaning.outcome,
        meaning.reason,
        segment.language_names[arrays.languages[place] + 1],
        $2,
        $3,
        arrays.similarities[duplicate.number],
        NULL::text,
        NULL::bigint
    FROM (SELECT document_at(of_run, $2, $3) AS document OFFSET 0) AS wanted
    JOIN segments AS segment ON segment.witnesses @> ARRAY[wanted.document]
    -- Copies in memory, once a segment, as in the view.
    CROSS JOIN LATERAL (
        SELECT
            segment.outcomes[:] AS outcomes,
            segment.languages[:] AS languages,
            segment.places[:] AS places,
            segment.similarities[:] AS similarities,
            array_positions(segment.witnesses, wanted.document) AS numbers
        OFFSET 0
    ) AS arrays
    CROSS JOIN LATERAL (
        SELECT numbers.number, arrays.places[numbers.number] AS place FROM unnest(arrays.numbers) AS numbers (number) OFFSET 0
    ) AS duplicate
    LEFT JOIN sources AS source ON source.run = of_run AND source.number = segment.source
    LEFT JOIN outcomes AS meaning ON meaning.run = of_run AND meaning.code = arrays.outcomes[place]
    WHERE segment.run = of_run AND segment.state = 'done'
$$;

-- Documents, bytes of normalized text and tokens by outcome, reason and language, from the counts of finished shards.
CREATE FUNCTION funnel(of_run uuid)
RETURNS TABLE (outcome text, reason text, language text, documents bigint, bytes bigint, tokens bigint)
LANGUAGE sql STABLE AS $$
    SELECT meaning.outcome, meaning.reason, cells.language, cells.documents, cells.bytes, cells.tokens
    FROM (
        SELECT
            cell ->> 0 AS code,
            cell ->> 1 AS language,
            sum((cell ->> 2)::bigint)::bigint AS documents,
            sum((cell ->> 3)::bigint)::bigint AS bytes,
            sum((cell ->> 4)::bigint)::bigint AS tokens
        FROM segments AS segment
        CROSS JOIN LATERAL jsonb_array_elements(segment.counts -> 'funnel') AS cell
        WHERE segment.run = of_run AND segment.state = 'done'
        GROUP BY 1, 2
    ) AS cells
    LEFT JOIN outcomes AS meaning ON meaning.run = of_run AND meaning.code = cells.code::"char"
    ORDER BY meaning.outcome DESC, meaning.reason, cells.language
$$;

-- What became of the same documents in two runs, such as of other settings: documents by both outcomes. Only sources of
-- the same URI and ETag, and only what both runs have finished. Reads the outcomes of both runs whole.
CREATE FUNCTION compare_runs(run_a uuid, run_b uuid)
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
            JOIN segments AS a ON a.source = source_a.number
            JOIN segments AS b ON b.source = source_b.number
                AND a.first_row < b.first_row + b.rows AND b.first_row < a.first_row + a.rows
            CROSS JOIN LATERAL (
                SELECT
                    greatest(a.first_row, b.first_row) AS first,
                    least(a.first_row + a.rows, b.first_row + b.rows) - 1 AS last
            ) AS common
            WHERE source_a.run = run_a AND source_b.run = run_b
                AND a.run = run_a AND a.state = 'done' AND b.run = run_b AND b.state = 'done'
        ) AS documents
        GROUP BY code_a, code_b
    ) AS cells
    LEFT JOIN outcomes AS meaning_a ON meaning_a.run = run_a AND meaning_a.code = cells.code_a
    LEFT JOIN outcomes AS meaning_b ON meaning_b.run = run_b AND meaning_b.code = cells.code_b
    ORDER BY meaning_a.outcome DESC, meaning_a.reason, meaning_b.outcome DESC, meaning_b.reason
$$;
