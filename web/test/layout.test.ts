import { describe, expect, it } from 'vitest'
import { curve, type Input, layout, type Layout } from '../src/lib/layout'

const W = 180
const H = 44

function graph(n: number, edges: [number, number][]): Input {
  return {
    nodes: Array.from({ length: n }, (_, i) => ({ id: `n${i}`, width: W, height: H })),
    edges: edges.map(([a, b]) => ({ from: `n${a}`, to: `n${b}` })),
  }
}

/** A generator of numbers that are the same in every run. */
function numbers(seed: number): (limit: number) => number {
  let s = seed
  return (limit) => {
    s = (s * 1_664_525 + 1_013_904_223) >>> 0
    return Math.floor((s / 2 ** 32) * limit)
  }
}

function random(n: number, seed: number, parents = 2): Input {
  const next = numbers(seed)
  const edges: [number, number][] = []
  for (let i = 1; i < n; i++) {
    for (let k = 0; k <= next(parents); k++) edges.push([Math.max(0, i - 1 - next(30)), i])
  }
  return graph(n, edges)
}

function expectSound(input: Input, l: Layout): void {
  const at = new Map(l.nodes.map((n) => [n.id, n]))
  expect(at.size).toBe(input.nodes.length)
  for (const e of l.edges) {
    if (!e.back) expect(at.get(e.from)!.x + W).toBeLessThan(at.get(e.to)!.x + 1)
  }
  const columns = new Map<number, number[]>()
  for (const n of l.nodes) {
    expect(Number.isFinite(n.x) && Number.isFinite(n.y) && n.y >= -1e-6).toBe(true)
    columns.set(n.layer, [...(columns.get(n.layer) ?? []), n.y])
  }
  for (const ys of columns.values()) {
    ys.sort((a, b) => a - b)
    for (let i = 1; i < ys.length; i++) expect(ys[i] - ys[i - 1]).toBeGreaterThanOrEqual(H)
  }
}

describe('layout', () => {
  it('is empty for nothing', () => expect(layout(graph(0, []))).toEqual({ nodes: [], edges: [], width: 0, height: 0 }))

  it('draws a diamond', () => {
    const input = graph(4, [[0, 1], [0, 2], [1, 3], [2, 3]])
    const l = layout(input)
    expectSound(input, l)
    expect(l.nodes.map((n) => n.layer)).toEqual([0, 1, 1, 2])
    expect(l.nodes[0].y).toBeCloseTo(l.nodes[3].y)
  })

  it('puts an event behind its longest way', () => {
    const l = layout(graph(4, [[0, 1], [1, 2], [2, 3], [0, 3]]))
    expect(l.nodes.map((n) => n.layer)).toEqual([0, 1, 2, 3])
    expect(l.edges[3].points).toHaveLength(4)
  })

  it.each([1, 2, 3, 4, 5])('places a random graph (%i) well and always the same', (seed) => {
    const input = random(120, seed, 3)
    const l = layout(input)
    expectSound(input, l)
    expect(layout(input)).toEqual(l)
  })

  it('goes through cycles', () => {
    const input = graph(5, [[0, 1], [1, 2], [2, 0], [2, 3], [3, 1], [4, 4]])
    const l = layout(input)
    expectSound(input, l)
    expect(l.edges.filter((e) => e.back)).toHaveLength(2)
    expect(l.edges).toHaveLength(5) // an edge to itself is no cause
  })

  it('leaves out edges to events that are not there', () => {
    expect(layout({ nodes: [{ id: 'a', width: W, height: H }], edges: [{ from: 'x', to: 'a' }] }).edges).toEqual([])
  })

  it('removes crossings where it can', () => {
    const l = layout(graph(6, [[0, 5], [1, 4], [2, 3]]))
    const y = l.nodes.map((n) => n.y)
    expect((y[0] - y[1]) * (y[5] - y[4])).toBeGreaterThan(0)
    expect((y[1] - y[2]) * (y[4] - y[3])).toBeGreaterThan(0)
  })

  it('places 3,000 events and a chain of 3,000 in time', () => {
    const began = performance.now()
    expectSound(random(3000, 9), layout(random(3000, 9)))
    layout(graph(3000, Array.from({ length: 2999 }, (_, i) => [i, i + 1])))
    layout(graph(3000, Array.from({ length: 2999 }, (_, i) => [0, i + 1])))
    expect(performance.now() - began).toBeLessThan(5000) // three of them, on a busy machine
  })

  it('writes a curve', () => expect(curve([[0, 0], [10, 4]])).toBe('M0,0C5,0 5,4 10,4'))
})
