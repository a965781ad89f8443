-- Events for whoever listens (docs/events.md): each is written in the transaction of the fact that it tells, and deleted
-- when the broker has confirmed it.

ALTER TABLE runs ADD COLUMN events_exchange text;                -- NULL: this run's facts aren't told

-- A stream has an order: the events of a run, or of an export. Its row is locked from numbering to commit, so that whoever
-- sees an event sees all before it.
CREATE TABLE event_streams (
    stream text   PRIMARY KEY,                                   -- a run's id, or the URI of what was made
    last   bigint NOT NULL,                                      -- number of its latest event, from 1 without gaps
    lost   bigint NOT NULL DEFAULT 0                             -- events that the outbox had no room for
);

CREATE TABLE outbox (
    number   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- the order in which all are sent
    exchange text        NOT NULL,
    stream   text        NOT NULL,
    sequence bigint      NOT NULL,                               -- in the stream
    type     text        NOT NULL,
    subject  text        NOT NULL,
    time     timestamptz NOT NULL DEFAULT clock_timestamp(),
    data     jsonb       NOT NULL
);

-- Exports and decisions that were finished, which no other table knows.
CREATE TABLE products (
    uri      text        PRIMARY KEY,
    kind     text        NOT NULL CHECK (kind IN ('export', 'decision')),
    runs     text[]      NOT NULL,
    summary  jsonb       NOT NULL,
    finished timestamptz NOT NULL DEFAULT now()
);
