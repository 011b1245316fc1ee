// The events around one: as a picture, over time, as a list.

import { isFailure } from './event'

export interface TraceNode {
  id: string
  type: string
  timestamp: string
  app: string
  agent: string
  session: string
  depth: number
  parents: number
  children: number
  preview: string
}

export interface TraceEdge {
  from: string
  to: string
  ordinal: number
}

export interface Trace {
  root: string
  nodes: TraceNode[]
  edges: TraceEdge[]
  missing: string[]
  truncated: { id: string; direction: 'up' | 'down'; more: number }[]
}

/** Shown is a box of the picture: an event, one that is missing, or siblings that stand together. */
export interface Shown {
  id: string
  kind: 'event' | 'missing' | 'fold'
  node?: TraceNode
  /** Of a fold: what is in it. */
  members: TraceNode[]
}

export interface Picture {
  shown: Shown[]
  edges: TraceEdge[]
}

const FEW = 8
const MANY = 300

/**
 * picture folds leaves of one type with the same causes, where there are many of them.
 * Folds whose name is in opened stay open, and the root is never folded.
 */
export function picture(t: Trace, opened: ReadonlySet<string>): Picture {
  const causes = new Map<string, string[]>()
  const hasChild = new Set<string>()
  for (const e of t.edges) {
    causes.set(e.to, [...(causes.get(e.to) ?? []), e.from])
    hasChild.add(e.from)
  }
  const groups = new Map<string, TraceNode[]>()
  for (const n of t.nodes) {
    if (hasChild.has(n.id) || n.id === t.root || isFailure(n.type)) continue
    const key = n.type + '\n' + [...(causes.get(n.id) ?? [])].sort().join(' ')
    groups.set(key, [...(groups.get(key) ?? []), n])
  }
  const least = t.nodes.length > MANY ? 3 : FEW
  const foldOf = new Map<string, string>()
  const shown: Shown[] = []
  for (const members of groups.values()) {
    const id = 'fold:' + members[0].id
    if (members.length <= least || opened.has(id)) continue
    for (const m of members) foldOf.set(m.id, id)
    shown.push({ id, kind: 'fold', members })
  }
  for (const n of t.nodes) if (!foldOf.has(n.id)) shown.push({ id: n.id, kind: 'event', node: n, members: [] })
  for (const id of t.missing) shown.push({ id, kind: 'missing', members: [] })
  const seen = new Set<string>()
  const edges: TraceEdge[] = []
  for (const e of t.edges) {
    const to = foldOf.get(e.to) ?? e.to
    const key = e.from + ' ' + to
    if (seen.has(key)) continue
    seen.add(key)
    edges.push({ ...e, to })
  }
  return { shown, edges }
}

/** toFailure is all that led to a failure, the failures included. */
export function toFailure(t: Trace): Set<string> {
  const causes = new Map<string, string[]>()
  for (const e of t.edges) causes.set(e.to, [...(causes.get(e.to) ?? []), e.from])
  const found = new Set<string>()
  const waiting = t.nodes.filter((n) => isFailure(n.type)).map((n) => n.id)
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (found.has(id)) continue
    found.add(id)
    waiting.push(...(causes.get(id) ?? []))
  }
  return found
}

export interface Item {
  node: TraceNode | null
  id: string
  level: number
  /** It stands further up already. */
  again: boolean
}

/** outline writes the graph as a tree in reading order; what was there already is named and not repeated. */
export function outline(t: Trace): Item[] {
  const nodes = new Map(t.nodes.map((n) => [n.id, n]))
  const children = new Map<string, string[]>()
  const hasParent = new Set<string>()
  for (const e of t.edges) {
    children.set(e.from, [...(children.get(e.from) ?? []), e.to])
    hasParent.add(e.to)
  }
  const order = [...t.missing, ...t.nodes.map((n) => n.id)]
  const seen = new Set<string>()
  const items: Item[] = []
  const walk = (root: string) => {
    const stack: [string, number][] = [[root, 1]]
    while (stack.length > 0) {
      const [id, level] = stack.pop()!
      const again = seen.has(id)
      items.push({ id, node: nodes.get(id) ?? null, level, again })
      if (again) continue
      seen.add(id)
      for (const c of [...(children.get(id) ?? [])].reverse()) stack.push([c, level + 1])
    }
  }
  for (const id of order) if (!hasParent.has(id)) walk(id)
  for (const id of order) if (!seen.has(id)) walk(id) // what only a cycle holds
  return items
}

export interface Scale {
  /** From a time in ms to 0…1. */
  at: (ms: number) => number
  /** Times when nothing happened, which take little room. */
  idle: { from: number; to: number; ms: number }[]
}

/** scaleOf lets long silences shrink, as a trace of hours else shows nothing. */
export function scaleOf(times: number[]): Scale {
  const sorted = [...new Set(times.filter(Number.isFinite))].sort((a, b) => a - b)
  if (sorted.length < 2) return { at: () => 0.5, idle: [] }
  const gaps = sorted.slice(1).map((t, i) => t - sorted[i])
  const middle = [...gaps].sort((a, b) => a - b)[gaps.length >> 1]
  const limit = Math.max(2000, middle * 10)
  const busy = gaps.filter((g) => g <= limit).reduce((a, b) => a + b, 0) || 1
  const places = [0]
  for (const g of gaps) places.push(places[places.length - 1] + (g > limit ? busy * 0.12 : g))
  const all = places[places.length - 1]
  const idle = gaps.flatMap((g, i) => (g > limit ? [{ from: places[i] / all, to: places[i + 1] / all, ms: g }] : []))
  const index = new Map(sorted.map((t, i) => [t, places[i] / all]))
  return { at: (ms) => index.get(ms) ?? 0, idle }
}
