import { describe, expect, it } from 'vitest'
import { hear, reconnected, silent, spoken } from '../src/lib/captions'
import { hue } from '../src/lib/event'
import { Outbox } from '../src/lib/outbox'
import { fresh, type Link, step } from '../src/lib/reconnect'
import { Ring } from '../src/lib/ring'
import { Lines } from '../src/lib/sse'
import { bytes, formatInstant, parseTimestamp, span, timeOfDay } from '../src/lib/time'
import { atEnd, reveal, windowOf } from '../src/lib/virtual'

describe('ring', () => {
  it('keeps the newest', () => {
    const r = new Ring<number>(3)
    for (let i = 1; i <= 5; i++) expect(r.push(i * 10)).toBe(i)
    const seen: number[] = []
    r.each((x) => seen.push(x))
    expect([r.length, r.first, r.next, seen]).toEqual([3, 3, 6, [30, 40, 50]])
    expect([r.at(2), r.at(3), r.at(5), r.at(6)]).toEqual([undefined, 30, 50, undefined])
    r.clear()
    expect([r.length, r.first, r.at(5)]).toEqual([0, 6, undefined])
  })
  it('needs room', () => expect(() => new Ring(0)).toThrow(RangeError))
})

describe('virtual list', () => {
  it('draws what is seen and little more', () => {
    const w = windowOf(20_000, 28, 28 * 1000, 280)
    expect(w).toEqual({ start: 994, count: 22, top: 994 * 28, height: 20_000 * 28 })
    expect(windowOf(3, 28, 0, 280)).toMatchObject({ start: 0, count: 3 })
    expect(windowOf(0, 28, 50, 280)).toMatchObject({ start: 0, count: 0, height: 0 })
    expect(windowOf(10, 28, 1e9, 56).start + windowOf(10, 28, 1e9, 56).count).toBe(10)
  })
  it('knows the end', () => {
    expect(atEnd(2800, 2520, 280, 14)).toBe(true)
    expect(atEnd(2800, 2519.5, 280, 14)).toBe(true)
    expect(atEnd(2800, 2480, 280, 14)).toBe(false)
    expect(atEnd(0, 0, 280, 14)).toBe(true)
  })
  it('reveals with the least movement', () => {
    expect([reveal(0, 28, 100, 280), reveal(5, 28, 100, 280), reveal(50, 28, 100, 280)]).toEqual([0, 100, 51 * 28 - 280])
  })
})

describe('reconnect', () => {
  const lost = (l: Link, random = 1) => step(l, { do: 'lost', now: 0, random, reason: 'gone' })
  it('waits longer each time, to a limit', () => {
    let l = step(fresh, { do: 'opened' })
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      l = lost(l)
      waits.push(l.retryAt)
      l = step(l, { do: 'retry' })
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
    expect(lost(step(fresh, { do: 'opened' }), 0).retryAt).toBe(500)
  })
  it('begins anew once it worked', () => {
    const l = step(step(lost(step(fresh, { do: 'opened' })), { do: 'retry' }), { do: 'opened' })
    expect([l.phase, l.attempt]).toEqual(['open', 0])
  })
  it('tries the other way only while none has worked', () => {
    const l = lost(fresh)
    expect([l.transport, l.retryAt]).toEqual(['sse', 0])
    expect(lost(step(l, { do: 'retry' })).transport).toBe('ws')
    expect(lost(step(step(l, { do: 'retry' }), { do: 'opened' })).transport).toBe('sse')
  })
  it('never goes back in the stream', () => {
    const l = step(step(fresh, { do: 'moved', position: 7 }), { do: 'moved', position: 5 })
    expect(l.position).toBe(7)
    expect(lost(step(l, { do: 'opened' })).position).toBe(7)
  })
  it('counts one loss once and ends for good', () => {
    const l = lost(step(fresh, { do: 'opened' }))
    expect(lost(l)).toBe(l)
    const end = step(l, { do: 'stop' })
    expect(step(end, { do: 'retry' })).toBe(end)
    expect(step(step(fresh, { do: 'refused', reason: 'token' }), { do: 'retry' }).phase).toBe('connecting')
  })
})

describe('server-sent events', () => {
  it('makes frames of whole blocks', () => {
    const l = new Lines()
    expect(l.push('retry: 1000\nid: 4\n: still here\n\nid: 5\nda')).toEqual([{ hello: { position: 4 }, events: [] }])
    expect(l.push('ta: {"a":\ndata: 1}\n\nid: 7\n: still here\n\n')).toEqual([{ events: ['{"a":\n1}'], seqs: [5], last: 7 }])
    expect(l.push('')).toEqual([])
  })
})

describe('captions', () => {
  const line = (text: string, event_id = '') => ({ speaker: 1, text, start: '0:00:01.00', end: '0:00:02.00', event_id })
  it('appends lines and replaces the open one', () => {
    let c = hear(silent, { status: 'active_transcription', lines: [], buffer_transcription: ' turn on' })
    expect([c.lines.length, c.partial]).toEqual([0, 'turn on'])
    c = hear(c, { lines: [line(' Turn on the lights.', 'e1')], buffer_transcription: '', received_bytes: 640, finished_ms: 20, last_utterance: 1 })
    expect(c).toMatchObject({ partial: '', received: 640, finishedMS: 20, lastUtterance: 1 })
    expect(c.lines).toEqual([{ speaker: 1, text: 'Turn on the lights.', start: '0:00:01.00', end: '0:00:02.00', language: '', eventID: 'e1' }])
  })
  it('changes nothing where nothing changed', () => {
    const c = hear(silent, { lines: [line('a', 'e1')] })
    expect(hear(c, { lines: [line('a', 'e1')], buffer_transcription: 'b' }).lines).toBe(c.lines)
  })
  it('counts the lines that the server let go', () => {
    let c = hear(silent, { lines: [line('a'), line('b')] })
    c = hear(c, { lines: [line('b'), line('c')], lines_dropped: 1 })
    expect(c.lines.map((l) => l.text)).toEqual(['a', 'b', 'c'])
  })
  it('keeps what it has when the connection comes back', () => {
    let c = hear(silent, { lines: [line('a', 'e1')] })
    c = hear(reconnected(c), { lines: [] })
    c = hear(c, { lines: [line('b', 'e2')] })
    expect(c.lines.map((l) => l.text)).toEqual(['a', 'b'])
  })
  it('is not wiped by messages that it does not know', () => {
    const c = hear(silent, { lines: [line('a')] })
    expect(hear(c, { type: 'later' })).toBe(c)
    expect(hear(c, { type: 'config' })).toBe(c)
    expect(hear(c, null).lines).toBe(c.lines)
  })
  it('ends and fails', () => {
    expect(hear(silent, { type: 'ready_to_stop' }).done).toBe(true)
    expect(hear(silent, { type: 'error', error: 'only en' }).error).toBe('only en')
    expect(spoken(hear(silent, { lines: [line('a'), { speaker: -2, text: null }] }))).toHaveLength(1)
  })
})

describe('outbox', () => {
  const chunk = (n: number, value = 1) => new Uint8Array(n).fill(value)
  it('sends in order, once', () => {
    const o = new Outbox()
    o.push(chunk(3200, 1))
    o.push(chunk(3200, 2))
    expect([o.next()![0], o.next()![0], o.next(), o.unsent]).toEqual([1, 2, null, 0])
  })
  it('sends again from where the server stands', () => {
    const o = new Outbox()
    o.push(chunk(3200, 1))
    o.push(chunk(3200, 2))
    while (o.next());
    expect(o.resume(4800, 0)).toBe(0)
    expect(o.next()!.length).toBe(1600)
  })
  it('begins a new stream at a time of the clock', () => {
    const o = new Outbox()
    for (let i = 1; i <= 4; i++) o.push(chunk(3200, i))
    while (o.next());
    o.keepFrom(100)
    expect(o.resume(0, 200)).toBe(0)
    expect(o.next()![0]).toBe(3)
    o.resume(3200, 0) // of the new stream
    expect(o.next()![0]).toBe(4)
  })
  it('lets go of what is done and keeps the rest', () => {
    const o = new Outbox()
    o.push(chunk(3200))
    o.keepFrom(1000) // not sent yet
    expect(o.next()!.length).toBe(3200)
    o.keepFrom(100)
    expect(o.resume(0, 50)).toBe(1600) // gone: said so
  })
  it('drops the oldest beyond 30 s and counts it', () => {
    const o = new Outbox()
    for (let i = 0; i < 310; i++) o.push(chunk(3200))
    expect([o.dropped, o.unsent]).toEqual([32_000, 960_000])
  })
})

describe('words and numbers', () => {
  it('reads times', () => {
    expect(formatInstant(parseTimestamp('2026-01-27T10:00:00.123456+02:00')!)).toBe('2026-01-27T08:00:00.123456Z')
    expect(formatInstant(parseTimestamp('2026-01-27 10:00:00')!)).toBe('2026-01-27T10:00:00Z')
    for (const bad of ['', '2026-02-30T10:00:00Z', '2026-01-27', '2026-13-01T00:00:00Z', 'x']) expect(parseTimestamp(bad)).toBeNull()
  })
  it('writes them', () => {
    expect(timeOfDay(Date.UTC(2026, 0, 2, 3, 4, 5, 6), 'utc', 0)).toBe('03:04:05.006')
    expect(timeOfDay(NaN, 'utc', 0)).toBe('(no time)')
    expect([0.0004, 0.25, 4.25, 61, 300, 7200, 400_000].map(span)).toEqual(['400 µs', '250 ms', '4.3 s', '61 s', '5 min', '2 h', '5 d'])
    expect([10, 2048, 5 << 20].map(bytes)).toEqual(['10 B', '2.0 KB', '5.0 MB'])
  })
  it('gives the usual domains a colour each', () => {
    expect(new Set(['transcription', 'agent', 'llm', 'artifact', 'tonny', 'workflow', 'theboard'].map(hue)).size).toBe(7)
    expect(hue('anything')).toBeLessThan(8)
  })
})
