-- What was stored, in what order: see store.Ledger. A row is a page: the entries
-- of one batch, 88 bytes each, and the link that the first of them follows.
CREATE TABLE ledger (
  last    INTEGER PRIMARY KEY,
  first   INTEGER NOT NULL,
  bytes   INTEGER NOT NULL, -- of the wire forms
  before  BLOB    NOT NULL,
  entries BLOB    NOT NULL
) STRICT;

-- Events that are older than the ledger are not in it.
CREATE TABLE ledger_start (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  after  INTEGER NOT NULL,
  at_us  INTEGER NOT NULL,
  events INTEGER NOT NULL,
  bytes  INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_start
  SELECT 1, c.last, CAST(strftime('%s', 'now') AS INTEGER) * 1000000, e.n, e.bytes
  FROM counters c, (SELECT count(*) AS n, coalesce(sum(length(raw)), 0) AS bytes FROM events) e;

-- What retention has removed: pairs of sequences, 16 bytes each.
CREATE TABLE removals (
  id     INTEGER PRIMARY KEY,
  at_us  INTEGER NOT NULL,
  reason TEXT    NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  events INTEGER NOT NULL,
  bytes  INTEGER NOT NULL,
  ranges BLOB    NOT NULL,
  link   BLOB    NOT NULL
) STRICT;
CREATE INDEX removals_last ON removals (last, first);
