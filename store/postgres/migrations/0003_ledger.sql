-- What was stored, in what order: see store.Ledger. A row is a page: the entries
-- of one batch, 88 bytes each, the link that the first of them follows, and that
-- of the last.
CREATE TABLE ledger (
  last    bigint PRIMARY KEY,
  first   bigint NOT NULL,
  bytes   bigint NOT NULL, -- of the wire forms
  before  bytea  NOT NULL,
  link    bytea  NOT NULL,
  entries bytea  NOT NULL
);
-- Hashes cannot be compressed.
ALTER TABLE ledger ALTER COLUMN entries SET STORAGE EXTERNAL;

-- An older bb may be appending: it waits at its next batch.
LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE;

-- Events that are older than the ledger are not in it.
CREATE TABLE ledger_start (
  one    integer     PRIMARY KEY CHECK (one = 1),
  after  bigint      NOT NULL,
  at     timestamptz NOT NULL,
  events bigint      NOT NULL,
  bytes  bigint      NOT NULL
);
INSERT INTO ledger_start SELECT 1, coalesce(max(sequence), 0), now(), count(*), coalesce(sum(octet_length(raw)), 0) FROM events;

-- What retention has removed: pairs of sequences, 16 bytes each.
CREATE TABLE removals (
  id     bigint      PRIMARY KEY,
  at     timestamptz NOT NULL,
  reason text        NOT NULL,
  first  bigint      NOT NULL,
  last   bigint      NOT NULL,
  events bigint      NOT NULL,
  bytes  bigint      NOT NULL,
  ranges bytea       NOT NULL,
  link   bytea       NOT NULL
);
CREATE INDEX removals_last ON removals (last, first);

-- The tables may belong to another user than those who append.
DO $$
DECLARE
  grantee name;
BEGIN
  FOR grantee IN SELECT DISTINCT r.rolname FROM pg_class c, aclexplode(c.relacl) a, pg_roles r
    WHERE c.oid = 'events'::regclass AND a.privilege_type = 'INSERT' AND r.oid = a.grantee
  LOOP
    EXECUTE format('GRANT SELECT, INSERT ON ledger, ledger_start, removals TO %I', grantee);
  END LOOP;
END $$;

-- enter writes the ledger for what append_batch inserts, whichever version of bb
-- calls that; what is inserted in any other way has no entry, which bb verify
-- finds. append_batch holds a lock until the commit, so there is one chain,
-- however many processes append.
CREATE FUNCTION enter() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  stack text;
  heads bytea[]; -- of the entries: sequence, id and digest
  links bytea[] := '{}';
  origin bytea;
  tip bytea;
  lowest bigint;
  highest bigint;
  size bigint;
BEGIN
  GET DIAGNOSTICS stack = PG_CONTEXT;
  IF position('append_batch(' IN stack) = 0 THEN
    RETURN NULL;
  END IF;
  SELECT min(f.sequence), max(f.sequence), sum(octet_length(f.raw)),
    array_agg(int8send(f.sequence) || uuid_send(f.event_id) || sha256(f.raw) ORDER BY f.sequence)
  INTO lowest, highest, size, heads FROM fresh f;
  IF highest IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT l.link INTO origin FROM ledger l ORDER BY l.last DESC LIMIT 1;
  IF origin IS NULL THEN
    SELECT sha256(convert_to(E'bloodbank ledger 1\n', 'UTF8') || int8send(s.after)) INTO origin FROM ledger_start s;
  END IF;
  tip := origin;
  FOR i IN 1 .. cardinality(heads) LOOP
    tip := sha256(tip || heads[i]);
    links[i] := tip;
  END LOOP;
  INSERT INTO ledger (last, first, bytes, before, link, entries)
  SELECT highest, lowest, size, origin, tip, string_agg(e.head || e.tail, '' ORDER BY e.n)
  FROM unnest(heads, links) WITH ORDINALITY AS e (head, tail, n);
  RETURN NULL;
END $$;

CREATE TRIGGER enter AFTER INSERT ON events REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION enter();
