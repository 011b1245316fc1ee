// Reads the filter language; store/filter_parse.go and filter_values.go have the
// same in Go, and store/testdata/filter_vectors.json holds the cases for both.

import { isID } from '../event'
import { formatInstant, type Instant, parseTimestamp } from '../time'
import { bareField, type Field, isSpace, isTopic, isTypeText, keyOf, keys, parseNumber, words } from './scan'

export type Op = '' | '>' | '>=' | '<' | '<='

export interface Value {
  op: Op
  text: string
  phrase: boolean
  path?: string[]
  number: number
  time?: Instant
  /** Of trace: the effects that are known, see follow. */
  effects?: Set<string>
}

export interface Term {
  field: Field
  path: string[]
  not: boolean
  values: Value[]
  /** Where the term stands in the text. */
  start: number
  end: number
}

export class FilterFault extends Error {
  constructor(message: string, readonly start: number, readonly end: number) {
    super(message)
  }
}

const maxBytes = 4096
const maxTerms = 64
const maxValues = 256
const maxPath = 32
const keyList = 'type, topic, app, host, source, agent, session, project, id, parent, trace, is, has, text, since, until or payload.<member>'
const encoder = new TextEncoder()

/** parseFilter reads a filter; relative times count back from now. It throws a FilterFault. */
export function parseFilter(text: string, now: Instant): Term[] {
  const size = encoder.encode(text).length
  if (size > maxBytes) throw new FilterFault(`the filter has ${size} bytes; the limit is ${maxBytes}`, 0, text.length)
  const p = new Parser(text, now)
  const terms: Term[] = []
  let values = 0
  for (p.skipSpace(); p.pos < text.length; p.skipSpace()) {
    p.start = p.pos
    const t = p.term()
    terms.push(t)
    values += t.values.length
    if (terms.length > maxTerms || values > maxValues) p.fail(`is one too many: a filter has at most ${maxTerms} terms with ${maxValues} values together`)
  }
  return terms
}

class Parser {
  pos = 0
  start = 0
  constructor(private readonly text: string, private readonly now: Instant) {}

  term(): Term {
    const not = this.accept('-')
    if (this.atEnd()) this.fail('has nothing to negate; write the term right behind the -')
    const t = this.condition()
    if (!this.atEnd()) this.fail('has more text behind a quote; put a space between them, or \\" for a quote inside quotes')
    return { ...t, not, start: this.start, end: this.pos }
  }

  private condition(): Term {
    if (this.peek() === '"') return this.values(term('text'), false)
    if (this.text.startsWith('payload.', this.pos)) {
      const t = this.payload()
      if (t) return t
    }
    const key = keyOf(this.text.slice(this.pos))
    if (key === null) return this.bare()
    if (!keys.includes(key)) this.fail(`has a key that is not known; use ${keyList}, or put text to search for in quotes`)
    this.pos += key.length + 1
    return this.values(term(key as Field), true)
  }

  private payload(): Term | null {
    const begin = this.pos
    this.pos += 'payload.'.length
    const path = this.path()
    if (this.accept(':')) return this.values(term('payload', path), true)
    if (/["<>=]/.test(this.text.slice(begin, this.pos))) this.fail('lacks a colon behind the member; write it as payload.member:value or payload.member:>5')
    this.pos = begin
    return null
  }

  private path(): string[] {
    const path: string[] = []
    for (;;) {
      let name: string
      if (this.peek() === '"') name = this.quoted()
      else if ((name = this.run(/[ \t\r\n.:,"]/)) === '') this.fail('has an empty member name; write payload.member, and a name with dots in quotes')
      path.push(name)
      if (path.length > maxPath) this.fail(`goes more than ${maxPath} members deep`)
      if (!this.accept('.')) return path
    }
  }

  private bare(): Term {
    const word = this.run(/[ \t\r\n]/)
    const field = bareField(word)
    if (word.includes('"')) this.fail('has a quote inside a word; put all of it in quotes and write \\" for a quote')
    if (field !== 'text') {
      this.pos -= word.length
      return this.values(term(field), true)
    }
    return { ...term('text'), values: [this.value(term('text'), word, word.includes(','))] }
  }

  private values(t: Term, list: boolean): Term {
    do t.values.push(this.oneValue(t))
    while (list && this.accept(','))
    if (t.values.length > 1 && (t.field === 'since' || t.field === 'until')) this.fail(`names several times; ${t.field} takes one`)
    return t
  }

  private oneValue(t: Term): Value {
    if (this.peek() === '"') return this.value(t, this.quoted(), true)
    if (t.field === 'has' && this.text.startsWith('payload.', this.pos)) {
      this.pos += 'payload.'.length
      const path = this.path()
      if (!this.atEnd() && this.peek() !== ',') this.fail('has a value behind has:payload; write payload.member:value to compare it')
      return { ...plain(pathText(path)), path }
    }
    const text = this.run(/[ \t\r\n,]/)
    if (text === '') this.fail('has an empty value; write one behind the key and each comma, or "" for the empty text')
    if (text.includes('"')) this.fail('has a quote inside a value; put all of the value in quotes and write \\" for a quote')
    return this.value(t, text, false)
  }

  private quoted(): string {
    let out = ''
    for (let i = this.pos + 1; i < this.text.length; i++) {
      let c = this.text[i]
      if (c === '"') {
        this.pos = i + 1
        return out
      }
      const next = this.text[i + 1]
      if (c === '\\' && (next === '"' || next === '\\')) c = this.text[++i]
      out += c
    }
    return this.fail('lacks the closing quote; add a "')
  }

  /** value checks one value and brings it into its canonical form. */
  private value(t: Term, text: string, quoted: boolean): Value {
    const v = { ...plain(text), phrase: quoted }
    switch (t.field) {
      case 'text':
        if (words(text).length === 0) this.fail('holds no letter or digit to search for; add one, or leave it out')
        if (!quoted && text.includes('*') && text.indexOf('*') < text.length - 1) this.fail('has a * inside; in a search word it may only stand at the end')
        return v
      case 'type':
        if (!isTypeText(text) || (quoted && text.includes('*'))) this.fail('can match no event type, which has only letters, digits, _ and - in words joined by dots; * stands for any run of them')
        if (!/[.*]/.test(text)) this.fail(`can match no event type, which has two or more words; write type:${text}.* for all that begin with it`)
        return plain(text)
      case 'topic':
        if (!isTopic(text)) this.fail('is no topic pattern; use words, * for one word and # for any number, joined by dots: topic:agent.#')
        return plain(text)
      case 'source':
        if (!['manual', 'agent', 'scheduled', 'file_watch', 'hook'].includes(text)) this.fail('names no source type; use manual, agent, scheduled, file_watch or hook (source.app is app:)')
        return plain(text)
      case 'session':
      case 'project':
        if (!quoted && text.includes('*')) this.fail(`has a *, which ${t.field} does not take; quote it to mean the character itself`)
        return v
      case 'id':
      case 'parent':
      case 'trace':
        if (!isID(text)) this.fail('needs an event id: a UUID of 36 characters, without *')
        return plain(text.toLowerCase())
      case 'is':
        return this.oneOf(text, ['failed', 'replayed'], ['failed', 'replayed'])
      case 'has':
        return this.oneOf(text, ['parents', 'agent'], ['parents', 'agent', 'payload.<member>'])
      case 'payload':
        return this.payloadValue(v)
      case 'since':
      case 'until':
        return this.timeValue(t.field, text)
    }
    return v
  }

  private oneOf(text: string, known: string[], said: string[]): Value {
    if (!known.includes(text)) this.fail(`has a value that is not known; use ${said.join(' or ')}`)
    return plain(text)
  }

  private payloadValue(v: Value): Value {
    if (v.phrase) return v
    for (const op of ['>=', '<=', '>', '<'] as const) {
      if (!v.text.startsWith(op)) continue
      const rest = v.text.slice(op.length)
      const n = parseNumber(rest)
      if (n === null) return this.fail(`needs a number behind ${op}, such as ${op}0.8; quote it to mean the text`)
      return { ...plain(rest), op, number: n }
    }
    return { ...v, number: parseNumber(v.text) ?? 0 }
  }

  private timeValue(field: Field, text: string): Value {
    const time = this.relative(text) ?? absolute(field, text)
    if (!time) return this.fail('has no time that can be read; use 15m, 2h30m, 7d, a date such as 2026-01-27, or RFC 3339')
    const year = new Date(time.ms).getUTCFullYear()
    if (!(year >= 1 && year <= 9999)) this.fail('reaches outside of the years 1 to 9999')
    return { ...plain(formatInstant(time)), time }
  }

  private relative(text: string): Instant | null {
    if (!/^(\d{1,9}[wdhms])+$/.test(text)) return null
    let total = 0
    for (const [, n, unit] of text.matchAll(/(\d+)([wdhms])/g)) total += Number(n) * units[unit]
    return total * 1e6 > 9.223372036e18 ? null : { ms: this.now.ms - total, us: this.now.us }
  }

  private peek(): string {
    return this.text[this.pos] ?? ''
  }

  private accept(c: string): boolean {
    if (this.text[this.pos] !== c) return false
    this.pos++
    return true
  }

  private atEnd(): boolean {
    return this.pos >= this.text.length || isSpace(this.text[this.pos])
  }

  skipSpace(): void {
    while (this.pos < this.text.length && isSpace(this.text[this.pos])) this.pos++
  }

  private run(stop: RegExp): string {
    const rest = this.text.slice(this.pos)
    const n = rest.search(stop)
    const found = n < 0 ? rest : rest.slice(0, n)
    this.pos += found.length
    return found
  }

  fail(what: string): never {
    let end = this.start
    for (let quotes = false; end < this.text.length; end++) {
      const c = this.text[end]
      if (c === '"' && this.text[end - 1] !== '\\') quotes = !quotes
      if (isSpace(c) && !quotes) break
    }
    const term = this.text.slice(this.start, end)
    const at = encoder.encode(this.text.slice(0, this.start)).length
    throw new FilterFault(`filter term ${JSON.stringify(term.slice(0, 80))} at byte ${at} ${what}`, this.start, end)
  }
}

const units: Record<string, number> = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000 }

function term(field: Field, path: string[] = []): Term {
  return { field, path, not: false, values: [], start: 0, end: 0 }
}

function plain(text: string): Value {
  return { op: '', text, phrase: false, number: 0 }
}

function absolute(field: Field, text: string): Instant | null {
  if (/^\d{4}-\d\d-\d\d$/.test(text)) {
    const day = parseTimestamp(text + 'T00:00:00')
    return day && field === 'until' ? { ms: day.ms + 86_399_999, us: 999 } : day
  }
  return parseTimestamp(/^\d{4}-\d\d-\d\dT\d\d:\d\d$/.test(text) ? text + ':00' : text)
}

/** pathText writes the way into the payload. */
export function pathText(path: string[]): string {
  return 'payload' + path.map((name) => '.' + (name === '' || /[ \t\r\n.:,"]/.test(name) ? quote(name) : name)).join('')
}

export function quote(s: string): string {
  return '"' + s.replace(/[\\"]/g, '\\$&') + '"'
}
