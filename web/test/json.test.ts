import { describe, expect, it } from 'vitest'
import { readEvent } from '../src/lib/event'
import { readFrame } from '../src/lib/frame'
import { check, children, count, member, pretty, text, valueAt } from '../src/lib/json'

describe('tokens', () => {
  it('keeps the digits of numbers', () => {
    const s = '{"id":9007199254740993,"e":1E400,"z":-0.10}'
    expect(children(s, valueAt(s)).map((m) => s.slice(m.start, m.end))).toEqual(['9007199254740993', '1E400', '-0.10'])
    expect(pretty(s)).toBe('{\n  "id": 9007199254740993,\n  "e": 1E400,\n  "z": -0.10\n}')
  })
  it('shows names that occur twice', () => {
    const s = '{"a":1,"a":2}'
    expect(children(s, valueAt(s)).map((m) => [m.key, s.slice(m.start, m.end)])).toEqual([['a', '1'], ['a', '2']])
    expect(s.slice(member(s, valueAt(s), 'a')!.start)[0]).toBe('1')
  })
  it('reads escapes', () => {
    const s = '{"a\\"b":"x\\\\","u":"\\u00e9\\n"}'
    const list = children(s, valueAt(s))
    expect(list.map((m) => m.key)).toEqual(['a"b', 'u'])
    expect(list.map((m) => text(s, m))).toEqual(['x\\', 'é\n'])
  })
  it.each(['{"a":1', '{"a" 1}', '[1,]', '{"a":1]', '"x', '[1 2]', '{a:1}', '', 'tru'])('refuses %s', (s) => {
    expect(() => children(s, valueAt(s))).toThrow()
    expect(() => check(s)).toThrow()
  })
  it('counts without making', () => {
    const s = '{"a":[1,[2,3],{"x":"]"}],"b":{}}'
    const [a, b] = children(s, valueAt(s))
    expect([count(s, valueAt(s)), count(s, a), count(s, b)]).toEqual([2, 3, 0])
  })
  it('walks through 1 MB', () => {
    const s = JSON.stringify({ list: Array.from({ length: 20_000 }, (_, i) => ({ i, text: `a value that is "quoted" ${i}` })) })
    expect(s.length).toBeGreaterThan(900_000)
    const list = children(s, valueAt(s))[0]
    expect(count(s, list)).toBe(20_000)
    expect(children(s, list, 100)).toHaveLength(100)
    expect(JSON.parse(pretty(s))).toEqual(JSON.parse(s))
  })
})

describe('frames', () => {
  it('cuts the events out as they are', () => {
    const event = '{"event_id": "x", "payload":{"n":9007199254740993}}'
    const f = readFrame(`{"first":1,"last":2,"events":[${event}, {}],"seqs":[1,2],"counts":{"matched":2,"scanned":9},"dropped":0}`)
    expect(f.events).toEqual([event, '{}'])
    expect([f.last, f.seqs, f.counts?.scanned]).toEqual([2, [1, 2], 9])
    expect(readFrame('{"gap":{"from":1,"to":5,"n":5}}').gap?.n).toBe(5)
  })
  it('ignores what it does not know, __proto__ too', () => {
    const f = readFrame('{"__proto__":{"events":["x"]},"later":1}')
    expect(f.events).toEqual([])
  })
  it.each(['', '[]', '{"a":1}x', 'null'])('refuses %s', (s) => expect(() => readFrame(s)).toThrow())
})

describe('events', () => {
  it('reads the envelope', () => {
    const e = readEvent(
      '{"event_id":"i","event_type":"workflow.step.failed","timestamp":"2026-01-27T10:00:00.123456Z","source":{"host":"h","type":"hook","app":null},' +
        '"correlation_ids":["p","q"],"agent_context":{"type":"custom","name":null},"payload":{"session_id":"s","text":"hi"}}', 3, 9)
    expect(e).toMatchObject({ n: 3, seq: 9, id: 'i', domain: 'workflow', failed: true, host: 'h', app: '', parents: ['p', 'q'], session: 's', preview: '"hi"' })
    expect(e.at).toEqual({ ms: Date.UTC(2026, 0, 27, 10, 0, 0, 123), us: 456 })
    expect(e.agent).toEqual({ type: 'custom', name: null })
  })
  it('takes whatever comes', () => {
    for (const raw of ['', 'x', '[]', '{"payload":5}', '{"event_type":5,"source":[],"correlation_ids":{},"payload":"p"}', '{"event_id":"a","payload":{']) {
      expect(() => readEvent(raw)).not.toThrow()
    }
    expect(readEvent('{"event_id":"a","payload":{').id).toBe('')
  })
})
