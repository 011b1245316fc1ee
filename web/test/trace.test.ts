import { describe, expect, it } from 'vitest'
import { readEvent } from '../src/lib/event'
import { diff } from '../src/lib/diff'
import { outline, picture, scaleOf, toFailure, type Trace, type TraceNode } from '../src/lib/trace'
import { Ring } from '../src/lib/ring'
import { View } from '../src/lib/view'
import { parseFilter } from '../src/lib/filter/parse'

const node = (id: string, type = 'a.b'): TraceNode => ({ id, type, timestamp: '', app: '', agent: '', session: '', depth: 0, parents: 0, children: 0, preview: '' })
const trace = (types: Record<string, string>, edges: [string, string][], missing: string[] = []): Trace => ({
  root: Object.keys(types)[0], nodes: Object.entries(types).map(([id, t]) => node(id, t)),
  edges: edges.map(([from, to]) => ({ from, to, ordinal: 0 })), missing, truncated: [],
})

describe('picture', () => {
  const many = trace(
    Object.fromEntries([['r', 'x.y'], ...Array.from({ length: 20 }, (_, i) => [`c${i}`, i === 7 ? 'a.failed' : 'a.b'])]),
    Array.from({ length: 20 }, (_, i) => ['r', `c${i}`]),
  )
  it('folds siblings of one type, but no failure', () => {
    const p = picture(many, new Set())
    const fold = p.shown.find((s) => s.kind === 'fold')!
    expect(fold.members).toHaveLength(19)
    expect(p.shown.map((s) => s.id).sort()).toEqual(['c7', 'fold:c0', 'r'])
    expect(p.edges).toHaveLength(2)
    expect(picture(many, new Set(['fold:c0'])).shown).toHaveLength(21)
  })
  it('leaves few as they are, and shows what is missing', () => {
    const p = picture(trace({ a: 'x.y', b: 'x.y' }, [['a', 'b'], ['m', 'b']], ['m']), new Set())
    expect(p.shown.map((s) => s.kind)).toEqual(['event', 'event', 'missing'])
    expect(p.edges).toHaveLength(2)
  })
})

describe('outline', () => {
  it('names what it has shown and does not repeat it', () => {
    const t = trace({ a: 'x.y', b: 'x.y', c: 'x.y', d: 'x.y' }, [['a', 'b'], ['a', 'c'], ['b', 'd'], ['c', 'd']])
    expect(outline(t).map((i) => `${i.level}${i.id}${i.again ? '*' : ''}`)).toEqual(['1a', '2b', '3d', '2c', '3d*'])
  })
  it('ends in cycles and shows all', () => {
    const t = trace({ a: 'x.y', b: 'x.y', c: 'x.y' }, [['a', 'b'], ['b', 'a'], ['m', 'c']], ['m'])
    expect(outline(t).map((i) => `${i.level}${i.id}${i.again ? '*' : ''}`)).toEqual(['1m', '2c', '1a', '2b', '3a*'])
  })
  it('goes down a long chain', () => {
    const ids = Array.from({ length: 3000 }, (_, i) => `n${i}`)
    const t = trace(Object.fromEntries(ids.map((i) => [i, 'x.y'])), ids.slice(1).map((id, i) => [ids[i], id]))
    expect(outline(t)).toHaveLength(3000)
  })
})

it('finds the way to a failure', () => {
  const t = trace({ a: 'x.y', b: 'x.failed', c: 'x.y' }, [['a', 'b'], ['a', 'c']])
  expect([...toFailure(t)].sort()).toEqual(['a', 'b'])
})

it('shrinks long silences', () => {
  const hour = 3_600_000
  const s = scaleOf([0, 100, 200, 300, hour, hour + 100, NaN])
  expect(s.idle).toHaveLength(1)
  expect(s.idle[0].ms).toBe(hour - 300)
  expect(s.at(300)).toBeGreaterThan(0.5)
  expect([s.at(0), s.at(hour + 100)]).toEqual([0, 1])
  expect(scaleOf([5]).at(5)).toBe(0.5)
})

it('shows the difference of lines', () => {
  expect(diff(['a', 'b', 'c'], ['a', 'x', 'c']).map((l) => l.kind[5] ?? '=').join('')).toBe('=ab=')
  expect(diff([], ['x']).map((l) => l.kind)).toEqual(['only b'])
  expect(diff(['a', 'b'], ['b', 'a']).filter((l) => l.kind === 'same')).toHaveLength(1)
})

describe('view', () => {
  const make = () => {
    const ring = new Ring<ReturnType<typeof readEvent>>(5)
    const add = (type: string) => {
      const e = readEvent(JSON.stringify({ event_type: type, event_id: type }))
      e.n = ring.push(e)
    }
    return { ring, add, view: new View(ring) }
  }
  const types = (v: View) => v.rows().map((e) => e.type)
  it('follows the ring', () => {
    const { add, view } = make()
    for (const t of ['a.1', 'b.1', 'a.2']) add(t)
    view.filter(parseFilter('type:a.*', { ms: 0, us: 0 }))
    view.sync(0)
    expect(types(view)).toEqual(['a.1', 'a.2'])
    for (const t of ['a.3', 'b.2', 'a.4', 'a.5']) add(t)
    view.sync(0)
    expect([types(view), view.length, view.at(0).type]).toEqual([['a.2', 'a.3', 'a.4', 'a.5'], 4, 'a.2'])
  })
  it('follows the effects of a traced event', () => {
    const { ring, view } = make()
    const id = (n: number) => `0198a000-0000-7000-8000-00000000000${n}`
    const add = (n: number, ...parents: number[]) => {
      const e = readEvent(JSON.stringify({ event_id: id(n), event_type: `n.${n}`, correlation_ids: parents.map(id) }))
      e.n = ring.push(e)
    }
    view.filter(parseFilter('trace:' + id(1), { ms: 0, us: 0 }))
    add(1)
    add(2)
    add(3, 1)
    add(4, 2, 3)
    view.sync(0)
    expect(types(view)).toEqual(['n.1', 'n.3', 'n.4'])
  })
  it('takes a ring that was made anew, and keeps rows that stand for gaps', () => {
    const { ring, add, view } = make()
    add('a.1')
    view.filter(parseFilter('type:zzz.*', { ms: 0, us: 0 }))
    view.sync(0)
    const gap = readEvent('{}')
    gap.gap = { from: 1, to: 2, n: 2 }
    ring.clear()
    gap.n = ring.push(gap)
    view.sync(1)
    expect(view.rows()).toEqual([gap])
  })
})
