// Times are microseconds since 1970 in two numbers, as Date has only milliseconds.

export interface Instant {
  /** Whole milliseconds since 1970. */
  ms: number
  /** 0 to 999 on top. */
  us: number
}

export function compare(a: Instant, b: Instant): number {
  return a.ms - b.ms || a.us - b.us
}

const form = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?$/

/** parseTimestamp reads RFC 3339; a time without a zone is UTC. */
export function parseTimestamp(s: string): Instant | null {
  const m = form.exec(s)
  if (!m) return null
  const [year, month, day, hour, minute, second] = m.slice(1, 7).map(Number)
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60) return null
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  date.setUTCHours(hour, minute, second)
  if (second < 60 && date.getUTCDate() !== day) return null
  const micros = Number((m[7] ?? '').slice(0, 6).padEnd(6, '0'))
  const offset = m[8] && m[8].length === 6 ? (Number(m[8].slice(1, 3)) * 60 + Number(m[8].slice(4))) * (m[8][0] === '-' ? -1 : 1) : 0
  return { ms: date.getTime() - offset * 60_000 + Math.floor(micros / 1000), us: micros % 1000 }
}

/** formatInstant writes UTC with as many decimals as needed. */
export function formatInstant(t: Instant): string {
  const iso = new Date(t.ms).toISOString()
  const fraction = (iso.slice(20, 23) + String(t.us).padStart(3, '0')).replace(/0+$/, '')
  return iso.slice(0, 19) + (fraction ? '.' + fraction : '') + 'Z'
}

export type Clock = 'local' | 'utc' | 'ago'

const two = (n: number) => (n < 10 ? '0' : '') + n
const three = (n: number) => String(n).padStart(3, '0')

/** timeOfDay is HH:MM:SS.mmm, with the date in front when that is not today. */
export function timeOfDay(ms: number, clock: Clock, now: number): string {
  if (!Number.isFinite(ms)) return '(no time)'
  if (clock === 'ago') return ago(ms, now)
  const d = new Date(ms)
  const utc = clock === 'utc'
  const time = utc
    ? `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}.${three(d.getUTCMilliseconds())}`
    : `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${three(d.getMilliseconds())}`
  return time
}

export function dateOf(ms: number, clock: Clock): string {
  if (!Number.isFinite(ms)) return ''
  const d = new Date(ms)
  return clock === 'utc'
    ? d.toISOString().slice(0, 10)
    : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`
}

/** ago is a time in words: 4 s ago. */
export function ago(ms: number, now: number): string {
  const s = (now - ms) / 1000
  if (s < -2) return `in ${span(-s)}`
  return s < 1 ? 'now' : `${span(s)} ago`
}

/** span is a length of time with one unit: 1.5 s, 3 min, 2 h, 5 d. */
export function span(seconds: number): string {
  if (seconds <= 0) return '0 s'
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 90) return `${Math.round(seconds)} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`
  if (n < 1 << 20) return `${(n / 1024).toFixed(n < 10_240 ? 1 : 0)} KB`
  return `${(n / (1 << 20)).toFixed(1)} MB`
}

export const whole = (n: number) => n.toLocaleString('en-US')
