// When and how to connect again: a machine without clock and network, so that it
// can be tested.

export type Phase = 'connecting' | 'open' | 'waiting' | 'refused' | 'stopped'
export type Transport = 'ws' | 'sse'

export interface Link {
  phase: Phase
  transport: Transport
  /** Failed attempts since the link last worked. */
  attempt: number
  /** When the next attempt is due, in ms; only while waiting. */
  retryAt: number
  /** The last sequence that came, -1 before the first hello. */
  position: number
  /** Whether this transport has ever worked here. */
  proven: boolean
  reason: string
}

export type Act =
  | { do: 'opened' }
  | { do: 'moved'; position: number }
  | { do: 'lost'; now: number; random: number; reason: string }
  | { do: 'refused'; reason: string }
  | { do: 'retry' }
  | { do: 'stop' }

const FIRST = 1000
const LONGEST = 30_000

export const fresh: Link = { phase: 'connecting', transport: 'ws', attempt: 0, retryAt: 0, position: -1, proven: false, reason: '' }

export function step(link: Link, act: Act): Link {
  if (link.phase === 'stopped') return link
  switch (act.do) {
    case 'opened':
      return { ...link, phase: 'open', proven: true, attempt: 0, reason: '' }
    case 'moved': // a position never goes back, else events would come twice
      return act.position > link.position ? { ...link, position: act.position } : link
    case 'lost': {
      if (link.phase === 'waiting') return link
      const attempt = link.attempt + 1
      const limit = Math.min(LONGEST, FIRST * 2 ** Math.min(attempt - 1, 10))
      // A transport that never worked may be one that this server or a proxy lacks.
      const transport = link.proven ? link.transport : link.transport === 'ws' ? 'sse' : 'ws'
      const wait = !link.proven && transport === 'sse' ? 0 : limit / 2 + (limit / 2) * act.random
      return { ...link, phase: 'waiting', attempt, transport, retryAt: act.now + wait, reason: act.reason }
    }
    case 'refused':
      return { ...link, phase: 'refused', reason: act.reason }
    case 'retry':
      return link.phase === 'waiting' || link.phase === 'refused' ? { ...link, phase: 'connecting' } : link
    case 'stop':
      return { ...link, phase: 'stopped' }
  }
}
