// What GET /status says, in words.

import { bytes, span, whole } from './time'

export interface Status {
  version?: string
  data_dir?: string
  wal?: { last: number; bytes: number; waiting: number; segments: number; fsync_us: number; fault_count: number; last_error?: string; closed: boolean }
  dispatch?: Target | Target[]
  routes?: Target[] | Record<string, Target>
  bus?: { name: string; safe_delay?: string }
  recorder?: { stored: number; duplicates: number; rejected: number; lag: number; fault?: string }
  live?: { position: number; watchers: number }
  voice?: { name: string; ok: boolean; error?: string; desk?: { sessions?: number } }
}

interface Target {
  target: string
  lag: number
  dead: number
  fault?: string
  retry?: string
}

export interface Tile {
  name: string
  state: 'fail' | 'warn' | 'ok'
  words: string
  more: string
}

export interface Sample {
  accepted: number
  stored: number
}

const KEPT = 200
const WAL_BIG = 10 << 20
const SLOW_FSYNC = 50_000

/** Sampler makes rates of counters. */
class Sampler {
  samples = $state.raw<Sample[]>([])
  private last: { at: number; accepted: number; stored: number } | null = null

  add(s: Status): void {
    const now = { at: performance.now(), accepted: s.wal?.last ?? 0, stored: s.recorder?.stored ?? 0 }
    const before = this.last
    this.last = now
    if (!before || now.at - before.at < 500) return
    const seconds = (now.at - before.at) / 1000
    const rate = (a: number, b: number) => Math.max(0, a - b) / seconds // counters begin anew with the server
    this.samples = [...this.samples.slice(-KEPT), { accepted: rate(now.accepted, before.accepted), stored: rate(now.stored, before.stored) }]
  }
}

export const sampler = new Sampler()

const order = { fail: 0, warn: 1, ok: 2 }

/** tiles puts what fails first. */
export function tiles(s: Status, checks: Record<string, { ok: boolean; error?: string }>): Tile[] {
  const list: Tile[] = []
  const add = (name: string, state: Tile['state'], words: string, more = '') => list.push({ name, state, words, more })
  if (s.wal) {
    const w = s.wal
    const bad = checks.wal?.ok === false || w.closed
    const state = bad ? 'fail' : w.fault_count > 0 || w.last_error ? 'warn' : 'ok'
    add('Log', state, bad ? (checks.wal?.error ?? 'closed') : `${whole(w.last)} accepted, ${bytes(w.bytes)} in ${w.segments} ${w.segments === 1 ? 'file' : 'files'}`,
      w.last_error ?? (w.fault_count > 0 ? `${w.fault_count} faults; bb wal inspect shows them` : ''))
    add('Disk', w.fsync_us > SLOW_FSYNC ? 'warn' : 'ok', `fsync ${span(w.fsync_us / 1e6)}`)
  }
  const busFault = checks.bus?.ok === false ? (checks.bus.error ?? 'not reachable') : ''
  const targets = [s.dispatch, s.routes].flatMap((t) => (Array.isArray(t) ? t : t && 'target' in t ? [t as Target] : t ? Object.values(t as Record<string, Target>) : []))
  add('Bus', busFault ? 'fail' : 'ok', busFault || (s.bus?.name ?? 'works'))
  for (const t of targets) {
    if (typeof t?.lag !== 'number') continue
    const big = (s.wal?.bytes ?? 0) > WAL_BIG && t.lag > 0
    add(`To ${t.target}`, t.fault ? 'fail' : t.lag > 1000 || big ? 'warn' : 'ok', t.fault ?? (t.lag > 0 ? `${whole(t.lag)} wait` : 'nothing waits'))
    if (t.dead > 0) add(`Dead letters, ${t.target}`, 'fail', `${whole(t.dead)} refused; they wait below`)
  }
  if (s.recorder) {
    const fault = s.recorder.fault ?? (checks.store?.ok === false ? checks.store.error : '')
    add('Store', fault ? 'fail' : s.recorder.lag > 1000 || s.recorder.rejected > 0 ? 'warn' : 'ok', fault || (s.recorder.lag > 0 ? `${whole(s.recorder.lag)} behind` : `${whole(s.recorder.stored)} stored since the start`),
      s.recorder.rejected > 0 ? `${whole(s.recorder.rejected)} messages on the bus were no events; they are kept` : '')
  }
  if (s.voice) add('Speech', s.voice.ok ? 'ok' : 'warn', s.voice.ok ? s.voice.name : (s.voice.error ?? 'does not work'))
  if (s.live) add('Watchers', 'ok', `${whole(s.live.watchers)} connected`)
  return list.sort((a, b) => order[a.state] - order[b.state])
}
