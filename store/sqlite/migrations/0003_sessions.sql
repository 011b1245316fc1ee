-- Voice sessions, one row each, kept up to date with the events that tell of
-- them: a list of sessions costs the same however many events there are.
CREATE TABLE voice_sessions (
  session    INTEGER PRIMARY KEY, -- in names
  source     TEXT    NOT NULL,
  began_us   INTEGER NOT NULL,
  last_us    INTEGER NOT NULL,
  closed_us  INTEGER,
  utterances INTEGER NOT NULL,
  words      INTEGER NOT NULL,
  audio_ms   INTEGER NOT NULL,
  said_us    INTEGER NOT NULL, -- when last_text was said; 0 for never
  last_text  TEXT    NOT NULL,
  language   TEXT    NOT NULL
) STRICT;

CREATE INDEX voice_sessions_began ON voice_sessions (began_us, session);
CREATE INDEX voice_sessions_open  ON voice_sessions (began_us, session) WHERE closed_us IS NULL;

-- Those of the events that are there already.
INSERT INTO voice_sessions
WITH said AS MATERIALIZED (
  SELECT e.session, e.time_us, t.text = 'transcription.session.closed' AS closes, t.text = 'transcription.voice.completed' AS says,
    CASE WHEN json_valid(CAST(e.raw AS TEXT)) AND json_type(CAST(e.raw AS TEXT), '$.payload') = 'object'
      THEN json_extract(CAST(e.raw AS TEXT), '$.payload') ELSE '{}' END AS payload
  FROM names t CROSS JOIN events e ON e.type = t.id
  WHERE t.kind = 1 AND e.session <> 0
    AND t.text IN ('transcription.session.opened', 'transcription.session.closed', 'transcription.voice.completed')
), parts AS MATERIALIZED (
  SELECT session, time_us, closes, says,
    CASE json_type(payload, '$.source') WHEN 'text' THEN json_extract(payload, '$.source') ELSE '' END AS source,
    CASE WHEN says AND json_type(payload, '$.text') = 'text' THEN trim(json_extract(payload, '$.text')) ELSE '' END AS words,
    CASE WHEN json_type(payload, '$.audio_metadata.language') = 'text' THEN json_extract(payload, '$.audio_metadata.language')
      WHEN json_type(payload, '$.language') = 'text' THEN json_extract(payload, '$.language') ELSE '' END AS language,
    max(CASE WHEN json_type(payload, '$.audio_metadata.end_seconds') IN ('real', 'integer') THEN json_extract(payload, '$.audio_metadata.end_seconds') ELSE 0 END,
      CASE WHEN json_type(payload, '$.audio_seconds') IN ('real', 'integer') THEN json_extract(payload, '$.audio_seconds') ELSE 0 END) AS seconds
  FROM said
)
-- A column beside the one max() of a group is of the row that has it.
SELECT a.session, a.source, a.began, a.latest, a.closed, a.utterances, a.words, CAST(round(1000 * min(a.seconds, 1e9)) AS INTEGER),
  coalesce(w.at, 0), substr(coalesce(w.words, ''), 1, 500), coalesce(l.language, '')
FROM (
  SELECT session, max(source) AS source, min(time_us) AS began, max(time_us) AS latest, max(CASE WHEN closes THEN time_us END) AS closed,
    sum(says) AS utterances, sum(CASE WHEN words = '' THEN 0 ELSE 1 + length(words) - length(replace(words, ' ', '')) END) AS words,
    max(seconds) AS seconds
  FROM parts GROUP BY session
) a
LEFT JOIN (SELECT session, max(time_us) AS at, words FROM parts WHERE words <> '' GROUP BY session) w ON w.session = a.session
LEFT JOIN (SELECT session, max(time_us) AS at, language FROM parts WHERE language <> '' GROUP BY session) l ON l.session = a.session;
