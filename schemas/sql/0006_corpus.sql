-- Corpora: folders of runs, each over the sources that were new, each de-duplicated against all before.

CREATE TABLE corpora (
    corpus  uuid        PRIMARY KEY,
    uri     text        NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
);

-- The runs of a corpus, in the order in which their sources were claimed: each is held against all with smaller numbers.
CREATE TABLE corpus_runs (
    corpus       uuid        NOT NULL REFERENCES corpora ON DELETE CASCADE,
    number       integer     NOT NULL,                     -- from 1
    run          uuid,                                     -- NULL until it is planned
    output       text        NOT NULL,
    inputs       text[]      NOT NULL,                     -- where its sources were looked for
    first_source bigint      NOT NULL,                     -- what its sources are numbered from in the corpus
    sources      integer     NOT NULL,
    bytes        bigint      NOT NULL,                     -- of the sources, as stored
    state        text        NOT NULL DEFAULT 'claimed'
                             CHECK (state IN ('claimed', 'running', 'done', 'failed', 'released')),
    error        text        NOT NULL DEFAULT '',          -- why it failed, or was released
    claimed      timestamptz NOT NULL DEFAULT now(),
    finished     timestamptz,
    PRIMARY KEY (corpus, number)
);
CREATE INDEX corpus_runs_run ON corpus_runs (run);

-- Each source is in one run of a corpus. One that has changed is another one.
CREATE TABLE corpus_sources (
    corpus   uuid    NOT NULL,
    key      bytea   NOT NULL,                             -- SHA-256 of URI, ETag and size: URIs can be longer than an index takes
    number   integer NOT NULL,                             -- of the run
    position integer NOT NULL,                             -- number of the source in its run
    uri      text    NOT NULL,
    etag     text    NOT NULL,
    bytes    bigint  NOT NULL,                             -- as stored
    PRIMARY KEY (corpus, key),
    FOREIGN KEY (corpus, number) REFERENCES corpus_runs ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX corpus_sources_run ON corpus_sources (corpus, number, position);
CREATE INDEX corpus_sources_uri ON corpus_sources USING hash (uri);
