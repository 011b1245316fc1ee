// Frames of the live stream: the events in them are cut out as text.

import { children, type Member, skipSpace, valueAt } from './json'

export interface Frame {
  hello?: { position: number }
  gap?: { from: number; to: number; n: number }
  error?: { code: string; message: string }
  first?: number
  last?: number
  seqs?: number[]
  counts?: { matched: number; scanned: number }
  dropped?: number
  /** The envelopes as they were sent. */
  events: string[]
}

/** readFrame reads one message. It throws where that is no JSON object. */
export function readFrame(source: string): Frame {
  const frame: Frame = { events: [] }
  const top = valueAt(source)
  if (top.kind !== 'object' || skipSpace(source, top.end) !== source.length) throw new Error('a frame must be one JSON object')
  for (const m of children(source, top)) {
    if (m.key === 'events') frame.events = children(source, m).map((e: Member) => source.slice(e.start, e.end))
    else if (known.has(m.key)) (frame as unknown as Record<string, unknown>)[m.key] = JSON.parse(source.slice(m.start, m.end))
  }
  return frame
}

const known = new Set(['hello', 'gap', 'error', 'first', 'last', 'seqs', 'counts', 'dropped'])
