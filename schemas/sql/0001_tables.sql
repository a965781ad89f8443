-- What every run read, and what became of it.
--
-- One row a shard, with packed arrays: 6 billion rows of one document each would be over half a terabyte.
-- Sources and segments are partitioned by run, so that a run is dropped in no time.

CREATE TABLE runs (
    run           uuid        PRIMARY KEY,
    settings      jsonb       NOT NULL,                    -- resolved
    settings_hash text        NOT NULL,
    code_version  text        NOT NULL,
    state         text        NOT NULL DEFAULT 'running'
                              CHECK (state IN ('running', 'done', 'failed', 'stopped')),
    summary       jsonb       NOT NULL DEFAULT '{}',
    starts        integer     NOT NULL DEFAULT 1,          -- above 1: it was resumed
    started       timestamptz NOT NULL DEFAULT now(),
    resumed       timestamptz NOT NULL DEFAULT now(),      -- the latest start
    finished      timestamptz
);

-- What the codes in segments.outcomes mean in a run: filters get theirs from its settings.
CREATE TABLE outcomes (
    run     uuid   NOT NULL REFERENCES runs ON DELETE CASCADE,
    code    "char" NOT NULL,
    outcome text   NOT NULL CHECK (outcome IN ('kept', 'dropped', 'invalid')),
    reason  text   NOT NULL,
    PRIMARY KEY (run, code)
);

CREATE TABLE sources (
    run    uuid    NOT NULL,
    number integer NOT NULL,
    uri    text    NOT NULL,
    etag   text    NOT NULL,
    bytes  bigint  NOT NULL,                               -- as stored
    rows   bigint,                                         -- NULL while unknown
    shards integer,                                        -- NULL until it was split
    state  text    NOT NULL DEFAULT 'ok',                  -- or 'unreadable: reason'
    PRIMARY KEY (run, number)
) PARTITION BY LIST (run);

-- A hash index takes strings of any length, a B-tree only up to a third of a page.
CREATE INDEX sources_uri ON sources USING hash (uri);

CREATE TABLE segments (
    run            uuid        NOT NULL,
    shard          text        NOT NULL,
    source         integer     NOT NULL,
    first_row      bigint      NOT NULL,
    rows           bigint      NOT NULL,
    state          text        NOT NULL CHECK (state IN ('fingerprinted', 'done', 'unreadable')),
    error          text        NOT NULL,
    token_object   text,                                   -- NULL until done
    outcomes       "char"[]    NOT NULL,                   -- one a document, in row order; 'p' is undecided
    languages      smallint[]  NOT NULL,                   -- one a document, from 0; -1 is none
    language_names text[]      NOT NULL,                   -- language_names[i + 1] is language i
    -- Of the documents dropped as duplicates ('x' and 'n'), one entry each, in row order.
    places         integer[]   NOT NULL,                   -- which document of the shard, from 1: outcomes[place] is its code
    witnesses      bigint[]    NOT NULL,                   -- id of the kept document
    similarities   real[]      NOT NULL,                   -- with the witness
    counts         jsonb       NOT NULL,                   -- {"funnel": [[code, language, documents, bytes, tokens]]}
    costs          jsonb       NOT NULL,                   -- {step: {"wall": seconds, "cpu": seconds}}
    attempts       integer     NOT NULL,                   -- different results written for the present state
    first_written  timestamptz NOT NULL,
    written        timestamptz NOT NULL,
    writer         text        NOT NULL,                   -- host:process that wrote it last
    PRIMARY KEY (run, shard)
) PARTITION BY LIST (run);

CREATE INDEX segments_place ON segments (run, source, first_row);
CREATE INDEX segments_token_object ON segments USING hash (token_object);

-- LZ4 unpacks several times faster than PostgreSQL's own, and packs these as well; a server may be built without it.
DO $$ BEGIN
    ALTER TABLE segments
        ALTER outcomes SET COMPRESSION lz4,
        ALTER languages SET COMPRESSION lz4,
        ALTER places SET COMPRESSION lz4,
        ALTER witnesses SET COMPRESSION lz4,
        ALTER similarities SET COMPRESSION lz4,
        ALTER counts SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

-- These two work with the rights of the tables' owner: a role for workers owns nothing (docs/lineage.md).
CREATE FUNCTION create_run_partitions(of_run uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    parent text;
    partition text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['sources', 'segments'] LOOP
        partition := parent || '_' || replace(of_run::text, '-', '');
        -- Attaching, unlike CREATE TABLE ... PARTITION OF, doesn't lock out the other runs.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES IN (%L)', parent, partition, of_run);
    END LOOP;
END $$;

-- Forgets a run and all its lineage.
CREATE FUNCTION drop_run(of_run uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['sources', 'segments'] LOOP
        EXECUTE format('DROP TABLE %I', parent || '_' || replace(of_run::text, '-', ''));
    END LOOP;
    DELETE FROM runs WHERE run = of_run;
END $$;

-- Only where the tables are, so that nobody's own tables are taken for them.
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION create_run_partitions SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION drop_run SET search_path = %I, pg_temp', current_schema());
END $$;
REVOKE EXECUTE ON FUNCTION create_run_partitions, drop_run FROM PUBLIC;
