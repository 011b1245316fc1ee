// Applies a filter to an event and writes it as text; store/filter_match.go has
// the same in Go.

import type { Event } from '../event'
import { children, member, type Node, skipSpace, skipString, text, unquote } from '../json'
import { compare } from '../time'
import { pathText, quote, type Term, type Value } from './parse'
import { barrier, bareField, keyOf, parseNumber, words } from './scan'

/** matches reports whether all terms hold. */
export function matches(terms: readonly Term[], e: Event): boolean {
  for (const t of terms) {
    if (t.values.some((v) => holds(t, v, e)) === t.not) return false
  }
  return true
}

function holds(t: Term, v: Value, e: Event): boolean {
  switch (t.field) {
    case 'text':
      return matchWords((e.words ??= searchText(e)), v)
    case 'type':
      return glob(v, e.type)
    case 'topic':
      return matchTopic(v.text, e.type)
    case 'app':
      return glob(v, e.app)
    case 'host':
      return glob(v, e.host)
    case 'source':
      return v.text === e.sourceType
    case 'agent':
      return e.agent !== null && (glob(v, e.agent.type) || (e.agent.name !== null && glob(v, e.agent.name)))
    case 'session':
      return v.text === e.session
    case 'project':
      return v.text === (text(e.raw, member(e.raw, e.payload, 'project')) ?? '')
    case 'id':
      return v.text === e.id.toLowerCase()
    case 'parent':
      return e.parents.some((p) => p.toLowerCase() === v.text)
    case 'trace':
      return v.text === e.id.toLowerCase() || causes(v, e)
    case 'is':
      return v.text === 'replayed' ? e.replayOf !== '' : e.failed
    case 'has':
      return has(v, e)
    case 'payload':
      return matchMember(e.raw, lookup(e, t.path), v)
    case 'since':
      return compare(e.at, v.time!) >= 0
    case 'until':
      return compare(e.at, v.time!) <= 0
  }
}

const causes = (v: Value, e: Event) => e.parents.some((p) => p.toLowerCase() === v.text || v.effects?.has(p.toLowerCase()))

/** follow tells the filter of an event: if it is an effect of a traced one, so are those that name it. */
export function follow(terms: readonly Term[], e: Event): void {
  for (const t of terms) {
    if (t.field !== 'trace') continue
    for (const v of t.values) if (causes(v, e)) (v.effects ??= new Set()).add(e.id.toLowerCase())
  }
}

function has(v: Value, e: Event): boolean {
  if (!v.path) return v.text === 'parents' ? e.parents.length > 0 : e.agent !== null
  const found = lookup(e, v.path)
  return found !== null && found.kind !== 'null'
}

function lookup(e: Event, path: string[]): Node | null {
  let node = e.payload
  for (const name of path) node = member(e.raw, node, name)
  return node
}

function matchMember(raw: string, node: Node | null, v: Value): boolean {
  if (!node) return false
  if (node.kind === 'array') return children(raw, node).some((c) => matchScalar(raw, c, v))
  return matchScalar(raw, node, v)
}

function matchScalar(raw: string, node: Node, v: Value): boolean {
  switch (node.kind) {
    case 'string':
      return v.op === '' && glob(v, text(raw, node) ?? '')
    case 'number':
      return !v.phrase && parseNumber(v.text) !== null && compares(compareNumbers(raw.slice(node.start, node.end), v), v)
    case 'true':
    case 'false':
    case 'null':
      return v.op === '' && !v.phrase && v.text === node.kind
  }
  return false
}

function compares(c: number, v: Value): boolean {
  switch (v.op) {
    case '>':
      return c > 0
    case '>=':
      return c >= 0
    case '<':
      return c < 0
    case '<=':
      return c <= 0
  }
  return c === 0
}

const whole = /^-?\d+$/

/** compareNumbers tells whole numbers of 64 bits apart, all others as float64. */
function compareNumbers(number: string, v: Value): number {
  if (whole.test(number) && whole.test(v.text)) {
    const [a, b] = [BigInt(number), BigInt(v.text)]
    if (BigInt.asIntN(64, a) === a && BigInt.asIntN(64, b) === b) return a < b ? -1 : a > b ? 1 : 0
  }
  const n = Number(number)
  return n < v.number ? -1 : n > v.number ? 1 : 0
}

function glob(v: Value, s: string): boolean {
  if (v.phrase || !v.text.includes('*')) return v.text === s
  const parts = v.text.split('*')
  if (!s.startsWith(parts[0])) return false
  let at = parts[0].length
  for (const part of parts.slice(1, -1)) {
    const i = s.indexOf(part, at)
    if (i < 0) return false
    at = i + part.length
  }
  const last = parts[parts.length - 1]
  return s.length - at >= last.length && s.endsWith(last)
}

/** matchTopic walks from the left and, on a mismatch, lets the last # take one more word. */
function matchTopic(pattern: string, topic: string): boolean {
  const p = pattern.split('.')
  const w = topic.split('.')
  let i = 0
  let hash = -1
  let resume = 0
  for (let j = 0; j < w.length; ) {
    if (i < p.length && p[i] === '#') {
      hash = i++
      resume = j
    } else if (i < p.length && (p[i] === '*' || p[i] === w[j])) {
      i++
      j++
    } else if (hash >= 0) {
      j = ++resume
      i = hash + 1
    } else return false
  }
  while (p[i] === '#') i++
  return i === p.length
}

function matchWords(haystack: string, v: Value): boolean {
  const want = ' ' + words(v.text).join(' ')
  return haystack.includes(!v.phrase && v.text.endsWith('*') ? want : want + ' ')
}

/** searchText is the words of the type and of each text value in the payload, with barriers. */
export function searchText(e: Event): string {
  const out = [' ', words(e.type).join(' ')]
  const end = e.payload?.end ?? 0
  try {
    // A string with a colon behind it is a name; every other one is a value.
    for (let i = e.payload ? e.raw.indexOf('"', e.payload.start) : -1; i >= 0 && i < end; i = e.raw.indexOf('"', i)) {
      const start = i
      i = skipString(e.raw, i)
      if (e.raw[skipSpace(e.raw, i)] === ':' && i < end) continue
      const found = words(unquote(e.raw.slice(start, i)))
      if (found.length > 0) out.push(' ', barrier, ' ', found.join(' '))
    }
  } catch {
    // A broken payload is searched up to its fault.
  }
  return out.join('') + ' '
}

/** formatFilter writes the canonical text. */
export function formatFilter(terms: readonly Term[]): string {
  return terms.map(formatTerm).join(' ')
}

function formatTerm(t: Term): string {
  let out = t.values.map((v) => (v.phrase ? quote(v.text) : v.op + v.text)).join(',')
  if (t.field === 'payload') out = pathText(t.path) + ':' + out
  else if (t.field !== 'text' || t.values.length !== 1 || !isBareText(t.values[0])) out = t.field + ':' + out
  return (t.not ? '-' : '') + out
}

function isBareText(v: Value): boolean {
  return v.phrase || (keyOf(v.text) === null && bareField(v.text) === 'text' && !v.text.startsWith('-') && !v.text.startsWith('payload.'))
}
