import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { readEvent } from '../src/lib/event'
import { formatFilter, matches } from '../src/lib/filter/match'
import { parseFilter } from '../src/lib/filter/parse'
import { words } from '../src/lib/filter/scan'
import { children, valueAt } from '../src/lib/json'
import { parseTimestamp } from '../src/lib/time'

interface Vectors {
  now: string
  words: { text: string; words: string[] }[]
  parse: { text: string; canonical?: string; at?: number; error?: string }[]
  match: { filter: string; events: string[] }[]
}

// The same file as the Go tests read.
const source = readFileSync(new URL('../../store/testdata/filter_vectors.json', import.meta.url), 'utf8')
const vectors = JSON.parse(source) as Vectors
const parse = vectors.parse
const now = parseTimestamp(vectors.now)!
const top = valueAt(source)
const events = children(source, children(source, top).find((m) => m.key === 'events')!).map((m) => ({
  name: m.key,
  event: readEvent(source.slice(m.start, m.end)),
}))

describe('filter vectors', () => {
  it('are read', () => {
    expect(vectors.parse.length + vectors.match.length).toBeGreaterThan(120)
    expect(events.length).toBeGreaterThan(4)
  })
  it.each(vectors.words)('words of $text', (c) => expect(words(c.text)).toEqual(c.words))
  it.each(parse)('parse $text', (c) => {
    if (c.at === undefined) {
      const terms = parseFilter(c.text, now)
      expect(formatFilter(terms)).toBe(c.canonical)
      expect(formatFilter(parseFilter(formatFilter(terms), now))).toBe(c.canonical)
      return
    }
    let message = ''
    try {
      parseFilter(c.text, now)
    } catch (e) {
      message = (e as Error).message
    }
    expect(message).toContain(`at byte ${c.at} `)
    expect(message).toContain(c.error)
  })
  it.each(vectors.match)('match $filter', (c) => {
    const terms = parseFilter(c.filter, now)
    expect(events.filter((e) => matches(terms, e.event)).map((e) => e.name)).toEqual(c.events)
  })
})

describe('limits', () => {
  it('refuses too much', () => {
    expect(() => parseFilter('x '.repeat(65), now)).toThrow('at most 64 terms')
    expect(() => parseFilter('app:' + Array(257).fill('a').join(','), now)).toThrow('256 values')
    expect(() => parseFilter('x'.repeat(4097), now)).toThrow('4097 bytes')
  })
})
