// What was heard in a session, from the states that /asr sends: a line for each
// finished utterance and the open one behind them. Finished lines only grow; a
// client that came back is told those that it missed and no others.

export interface Line {
  speaker: number
  text: string
  start: string
  end: string
  language: string
  eventID: string
}

export interface Captions {
  lines: readonly Line[]
  /** The open utterance; it changes until it becomes a line. */
  partial: string
  /** Seconds from sound to text. */
  lag: number
  /** How many lines were there when this connection began. */
  base: number
  received: number
  finishedMS: number
  lastUtterance: number
  error: string
  /** The server has said its last word. */
  done: boolean
}

export const silent: Captions = {
  lines: [], partial: '', lag: 0, base: 0, received: 0, finishedMS: 0, lastUtterance: 0, error: '', done: false,
}

interface Message {
  type?: string
  error?: string
  lines?: Record<string, unknown>[]
  buffer_transcription?: string
  buffer_diarization?: string
  remaining_time_transcription?: number
  received_bytes?: number
  finished_ms?: number
  last_utterance?: number
  lines_dropped?: number
}

/** reconnected begins a new connection of the same session. */
export function reconnected(c: Captions): Captions {
  return { ...c, base: c.lines.length, partial: '', done: false }
}

/** hear applies one message. Messages of types that it does not know change nothing. */
export function hear(c: Captions, message: unknown): Captions {
  const m = (message ?? {}) as Message
  if (m.type === 'ready_to_stop') return { ...c, partial: '', done: true }
  if (m.type === 'error') return { ...c, error: String(m.error ?? 'the session was refused') }
  if (m.type !== undefined) return c
  const at = c.base + (m.lines_dropped ?? 0)
  let lines = c.lines
  for (const [i, raw] of (m.lines ?? []).entries()) {
    const line = readLine(raw)
    const known = lines[at + i]
    if (known && same(known, line)) continue
    if (lines === c.lines) lines = [...c.lines]
    if (known) (lines as Line[])[at + i] = line
    else (lines as Line[]).push(line)
  }
  return {
    ...c,
    lines,
    partial: `${m.buffer_diarization ?? ''}${m.buffer_transcription ?? ''}`.trim(),
    lag: m.remaining_time_transcription ?? 0,
    received: m.received_bytes ?? c.received,
    finishedMS: Math.max(c.finishedMS, m.finished_ms ?? 0),
    lastUtterance: Math.max(c.lastUtterance, m.last_utterance ?? 0),
    error: m.error ?? '',
  }
}

function readLine(raw: Record<string, unknown>): Line {
  const text = (name: string) => (typeof raw[name] === 'string' ? (raw[name] as string) : '')
  return {
    speaker: Number(raw.speaker ?? 1), text: text('text').trim(), start: text('start'), end: text('end'),
    language: text('detected_language'), eventID: text('event_id'),
  }
}

const same = (a: Line, b: Line) => a.text === b.text && a.eventID === b.eventID && a.speaker === b.speaker && a.end === b.end

/** spoken leaves out silence, which is a line to some servers. */
export const spoken = (c: Captions) => c.lines.filter((l) => l.text !== '' && l.speaker !== -2)
