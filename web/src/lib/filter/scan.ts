// The words of the filter language; store/filter_scan.go has the same in Go.

export type Field =
  | 'text' | 'type' | 'topic' | 'app' | 'host' | 'source' | 'agent' | 'session' | 'project'
  | 'id' | 'parent' | 'trace' | 'is' | 'has' | 'payload' | 'since' | 'until'

export const keys: readonly string[] = [
  'type', 'topic', 'app', 'host', 'source', 'agent', 'session', 'project', 'id', 'parent', 'trace', 'is', 'has', 'text', 'since', 'until',
]

export const isSpace = (c: string) => c === ' ' || c === '\t' || c === '\n' || c === '\r'

/** keyOf is what stands before the first colon where that could be a key. */
export function keyOf(s: string): string | null {
  return /^([A-Za-z][A-Za-z0-9._-]*):/.exec(s)?.[1] ?? null
}

const typeText = /^[A-Za-z0-9_.*-]*$/
export const isTypeText = (s: string) => typeText.test(s)

/** bareField says what a word without a key means. */
export function bareField(word: string): Field {
  const parts = word.split(',')
  if (parts.every(isBareType)) return 'type'
  if (parts.every((p) => !isBareType(p) && p.includes('#') && isTopic(p))) return 'topic'
  return 'text'
}

function isBareType(s: string): boolean {
  if (!/^[A-Za-z*]/.test(s)) return false
  if (s.split('.').some((w) => w === '' || !isTypeText(w))) return false
  const star = s.indexOf('*')
  return s === '*' || s.includes('.') || (star >= 0 && star < s.length - 1)
}

export function isTopic(s: string): boolean {
  return s.split('.').every((w) => w === '*' || w === '#' || (w !== '' && isTypeText(w) && !w.includes('*')))
}

const number = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

/** parseNumber reads a number as JSON writes it, else gives null. */
export function parseNumber(s: string): number | null {
  if (!number.test(s)) return null
  const n = Number(s)
  return Number.isFinite(n) ? n : null
}

/** Barrier stands between values, so that no phrase reaches from one into the next. */
export const barrier = '¶'

const ascii = /^[\x00-\x7f]*$/

/** words splits text for the search: letters and digits, without marks, in lower case. */
export function words(text: string): string[] {
  if (ascii.test(text)) return text.toLowerCase().match(/[a-z0-9]+/g) ?? []
  let out = ''
  for (const r of text.normalize('NFD')) {
    if (/\p{M}/u.test(r)) continue
    if (!/[\p{L}\p{N}]/u.test(r)) out += ' '
    else {
      const low = lower(r)
      out += low === 'ς' ? 'σ' : low
    }
  }
  return out.split(' ').filter(Boolean)
}

/** lower folds one letter into one letter, as Go does. */
function lower(r: string): string {
  const low = r.toLowerCase()
  return [...low].length === 1 ? low : [...low][0]
}
