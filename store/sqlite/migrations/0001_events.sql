-- Texts that repeat, as small integers. 0 stands for "absent" in every column
-- that refers to a name; no row has that id.
CREATE TABLE names (
  id   INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL, -- the constants kindType .. kindProject
  text TEXT    NOT NULL,
  UNIQUE (kind, text)
) STRICT;

-- parents holds the ids of the parents, 16 bytes each, in the event's order.
-- raw comes last so that the narrow columns are read without it.
CREATE TABLE events (
  sequence   INTEGER PRIMARY KEY,
  event_id   BLOB    NOT NULL,
  time_us    INTEGER NOT NULL,
  stored_us  INTEGER NOT NULL,
  type       INTEGER NOT NULL,
  app        INTEGER NOT NULL,
  host       INTEGER NOT NULL,
  source     INTEGER NOT NULL,
  agent      INTEGER NOT NULL,
  agent_type INTEGER NOT NULL,
  session    INTEGER NOT NULL,
  project    INTEGER NOT NULL,
  flags      INTEGER NOT NULL, -- 1 failed, 2 replayed
  parents    BLOB    NOT NULL,
  raw        BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_id ON events (event_id);
CREATE INDEX events_time    ON events (time_us);
CREATE INDEX events_type    ON events (type, time_us);
CREATE INDEX events_session ON events (session, time_us) WHERE session <> 0;
CREATE INDEX events_project ON events (project, time_us) WHERE project <> 0;
CREATE INDEX events_flags   ON events (flags, time_us)   WHERE flags <> 0;

-- From cause to effect; events.parents is the way back. A parent need not be
-- stored (yet).
CREATE TABLE edges (
  parent BLOB    NOT NULL,
  child  INTEGER NOT NULL,
  PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;

-- 0..255: splits events.parents inside a query.
CREATE TABLE ordinals (i INTEGER PRIMARY KEY) STRICT;
INSERT INTO ordinals (i)
  WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 255) SELECT i FROM n;

-- What the bus delivered and no event is. The digest makes it idempotent.
CREATE TABLE rejected (
  id     INTEGER PRIMARY KEY,
  digest BLOB    NOT NULL UNIQUE,
  at_us  INTEGER NOT NULL,
  reason TEXT    NOT NULL,
  raw    BLOB    NOT NULL
) STRICT;

-- last: the newest sequence ever given away, so that none is used twice.
CREATE TABLE counters (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  last       INTEGER NOT NULL,
  checked_us INTEGER NOT NULL
) STRICT;
INSERT INTO counters VALUES (1, 0, 0);

-- The words of each event, each once. It only narrows a search down: phrases
-- are verified on the event itself, so positions and sizes are not kept.
CREATE VIRTUAL TABLE search USING fts5 (
  words, content='', columnsize=0, detail='none', tokenize='ascii'
);
