-- Voice sessions, one row each, kept up to date with the events that tell of
-- them: a list of sessions costs the same however many events there are. A trigger
-- does it, so that the events of an older bb count too.
CREATE TABLE IF NOT EXISTS voice_sessions (
  session    integer     PRIMARY KEY, -- in names
  source     text        NOT NULL,
  began_at   timestamptz NOT NULL,
  last_at    timestamptz NOT NULL,
  closed_at  timestamptz,
  utterances integer     NOT NULL,
  words      bigint      NOT NULL,
  audio_ms   bigint      NOT NULL,
  said_at    timestamptz NOT NULL, -- when last_text was said; -infinity for never
  last_text  text        NOT NULL,
  language   text        NOT NULL
);
CREATE INDEX IF NOT EXISTS voice_sessions_began ON voice_sessions (began_at, session);
CREATE INDEX IF NOT EXISTS voice_sessions_open  ON voice_sessions (began_at, session) WHERE closed_at IS NULL;

-- The tables may belong to another user than those who append.
DO $$
DECLARE
  grantee name;
BEGIN
  FOR grantee IN SELECT DISTINCT r.rolname FROM pg_class c, aclexplode(c.relacl) a, pg_roles r
    WHERE c.oid = 'events'::regclass AND a.privilege_type = 'INSERT' AND r.oid = a.grantee
  LOOP
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON voice_sessions TO %I', grantee);
  END LOOP;
END $$;

-- One event. What its payload says in an odd way counts as not said.
CREATE OR REPLACE FUNCTION voice_event(session integer, at timestamptz, kind text, raw bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  payload json;
  source text := ''; said text := ''; language text := ''; counted bigint := 0; audio bigint := 0;
BEGIN
  BEGIN
    payload := convert_from(raw, 'UTF8')::json -> 'payload';
    source := coalesce(payload ->> 'source', '');
    language := coalesce(payload -> 'audio_metadata' ->> 'language', payload ->> 'language', '');
    IF kind = 'transcription.voice.completed' THEN
      said := btrim(coalesce(payload ->> 'text', ''), E' \t\r\n');
      IF said <> '' THEN
        counted := array_length(regexp_split_to_array(said, '\s+'), 1);
      END IF;
    END IF;
    audio := round(1000 * least(1e9, greatest(0, (payload -> 'audio_metadata' ->> 'end_seconds')::numeric, (payload ->> 'audio_seconds')::numeric)));
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  INSERT INTO voice_sessions AS v (session, source, began_at, last_at, closed_at, utterances, words, audio_ms, said_at, last_text, language)
  VALUES (session, source, at, at, CASE WHEN kind = 'transcription.session.closed' THEN at END,
    CASE WHEN kind = 'transcription.voice.completed' THEN 1 ELSE 0 END, counted, audio,
    CASE WHEN said <> '' THEN at ELSE '-infinity' END, left(said, 500), language)
  ON CONFLICT ON CONSTRAINT voice_sessions_pkey DO UPDATE SET
    source = CASE WHEN v.source = '' THEN excluded.source ELSE v.source END,
    began_at = least(v.began_at, excluded.began_at), last_at = greatest(v.last_at, excluded.last_at),
    closed_at = greatest(v.closed_at, excluded.closed_at),
    utterances = v.utterances + excluded.utterances, words = v.words + excluded.words,
    audio_ms = greatest(v.audio_ms, excluded.audio_ms), said_at = greatest(v.said_at, excluded.said_at),
    last_text = CASE WHEN excluded.last_text <> '' AND excluded.said_at >= v.said_at THEN excluded.last_text ELSE v.last_text END,
    language = CASE WHEN excluded.language <> '' AND (v.language = '' OR excluded.last_at >= v.last_at) THEN excluded.language ELSE v.language END;
END $$;

-- The three types that tell of sessions, as far as they have a name yet.
CREATE OR REPLACE FUNCTION voice_types(OUT id integer, OUT kind text) RETURNS SETOF record LANGUAGE sql STABLE AS $$
  SELECT n.id, t.kind
  FROM unnest(ARRAY['transcription.session.opened', 'transcription.session.closed', 'transcription.voice.completed']) AS t (kind)
  JOIN names n ON n.kind = 1 AND n.digest = sha256(convert_to(t.kind, 'UTF8'))
$$;

CREATE OR REPLACE FUNCTION voice_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM voice_event(o.session, o.occurred_at, o.kind, o.raw)
  FROM (SELECT f.session, f.occurred_at, t.kind, f.raw FROM voice_types() t JOIN fresh f ON f.type = t.id
    WHERE f.session <> 0 ORDER BY f.occurred_at, f.sequence) o;
  RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS voice_told ON events;
CREATE TRIGGER voice_told AFTER INSERT ON events REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION voice_told();

-- Those of the events that are there already.
DELETE FROM voice_sessions;
SELECT voice_event(o.session, o.occurred_at, o.kind, o.raw)
FROM (SELECT e.session, e.occurred_at, t.kind, e.raw FROM voice_types() t JOIN events e ON e.type = t.id
  WHERE e.session <> 0 ORDER BY e.occurred_at, e.sequence) o;
