// An event as the screens use it: the fields of its envelope, and its text.

import { children, member, type Node, text, valueAt } from './json'
import { type Instant, parseTimestamp } from './time'

export interface Event {
  /** Number in the order of arrival, from 1. */
  n: number
  /** The store's sequence; 0 where it is not known. */
  seq: number
  raw: string
  id: string
  type: string
  domain: string
  at: Instant
  host: string
  sourceType: string
  app: string
  /** null where the event has no agent_context. */
  agent: { name: string | null; type: string } | null
  session: string
  parents: string[]
  replayOf: string
  failed: boolean
  payload: Node | null
  preview: string
  /** Set for a row that stands for events which were not delivered. */
  gap?: { from: number; to: number; n: number }
  /** What free text is searched in; made at the first search. */
  words?: string
}

const PREVIEW = 160
const never: Instant = { ms: NaN, us: 0 }

/** readEvent reads an envelope. Whatever is missing or odd is shown as empty: a list must not stop at one event. */
export function readEvent(raw: string, n = 0, seq = 0): Event {
  const e: Event = {
    n, seq, raw, id: '', type: '', domain: '', at: never, host: '', sourceType: '', app: '', agent: null,
    session: '', parents: [], replayOf: '', failed: false, payload: null, preview: '',
  }
  try {
    for (const m of children(raw, valueAt(raw))) {
      switch (m.key) {
        case 'event_id':
          e.id = text(raw, m) ?? ''
          break
        case 'event_type':
          e.type = text(raw, m) ?? ''
          break
        case 'timestamp':
          e.at = parseTimestamp(text(raw, m) ?? '') ?? never
          break
        case 'replay_of':
          e.replayOf = text(raw, m) ?? ''
          break
        case 'source':
          e.host = text(raw, member(raw, m, 'host')) ?? ''
          e.sourceType = text(raw, member(raw, m, 'type')) ?? ''
          e.app = text(raw, member(raw, m, 'app')) ?? ''
          break
        case 'correlation_ids':
          if (m.kind === 'array') e.parents = children(raw, m).map((c) => text(raw, c) ?? '').filter(Boolean)
          break
        case 'agent_context':
          if (m.kind === 'object') e.agent = { name: text(raw, member(raw, m, 'name')), type: text(raw, member(raw, m, 'type')) ?? '' }
          break
        case 'payload':
          e.payload = m
          e.session = text(raw, member(raw, m, 'session_id')) ?? ''
          e.preview = preview(raw, m)
      }
    }
  } catch {
    e.preview ||= raw.slice(0, PREVIEW)
  }
  e.domain = e.type.slice(0, e.type.indexOf('.') >>> 0)
  e.failed = isFailure(e.type)
  return e
}

export function isFailure(type: string): boolean {
  return type.endsWith('.failed') || type.endsWith('.error')
}

/** preview prefers what was said: the text of a prompt, an answer or an utterance. */
function preview(raw: string, payload: Node): string {
  for (const name of ['text', 'prompt', 'response', 'message', 'error']) {
    const m = member(raw, payload, name)
    if (m?.kind === 'string' && m.end - m.start > 2) return raw.slice(m.start, Math.min(m.end, m.start + PREVIEW))
  }
  return raw.slice(payload.start, Math.min(payload.end, payload.start + PREVIEW))
}

export function sourceOf(e: Event): string {
  return e.app ? `${e.app}@${e.host}` : e.host
}

export const isID = (s: string) => /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(s)

const slots = ['transcription', 'agent', 'llm', 'artifact', 'tonny', 'workflow', 'theboard', 'voice']

/** hue is the colour slot of a domain, 0 to 7. The usual ones never share one. */
export function hue(domain: string): number {
  const fixed = slots.indexOf(domain)
  if (fixed >= 0) return fixed
  let h = 0
  for (let i = 0; i < domain.length; i++) h = (h * 31 + domain.charCodeAt(i)) >>> 0
  return h % slots.length
}
