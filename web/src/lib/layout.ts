// Places a graph of causes in layers from left to right: a layer is the longest
// way from an event without known causes. The same graph always gets the same places.

export interface Input {
  nodes: { id: string; width: number; height: number }[]
  edges: { from: string; to: string }[]
}

export interface Placed {
  id: string
  layer: number
  /** The upper left corner. */
  x: number
  y: number
}

export interface Route {
  from: string
  to: string
  /** It closes a cycle, and so runs backwards. */
  back: boolean
  points: [number, number][]
}

export interface Layout {
  nodes: Placed[]
  edges: Route[]
  width: number
  height: number
}

const GAP_X = 56
const GAP_Y = 16
const SWEEPS = 8
/** Edges over more layers than this take no place in between: they would fill the picture. */
const LONGEST_ROUTED = 10

/** Cell is a node, or a place where an edge passes a layer. */
interface Cell {
  node: number
  layer: number
  width: number
  height: number
  left: Cell[]
  right: Cell[]
  order: number
  y: number
}

export function layout(input: Input): Layout {
  const index = new Map(input.nodes.map((n, i) => [n.id, i]))
  const ends = input.edges.map((e) => [index.get(e.from) ?? -1, index.get(e.to) ?? -1] as const)
  const known = input.edges.map((_, i) => ends[i][0] >= 0 && ends[i][1] >= 0 && ends[i][0] !== ends[i][1])
  const back = findBack(input.nodes.length, ends, known)
  const layers = longestPaths(input.nodes.length, ends, known, back)
  const cells: Cell[] = input.nodes.map((n, i) => ({ node: i, layer: layers[i], width: n.width, height: n.height, left: [], right: [], order: 0, y: 0 }))
  const columns: Cell[][] = []
  for (const c of cells) (columns[c.layer] ??= []).push(c)
  const ways = ends.map(([a, b], i) => (known[i] && !back[i] ? route(cells[a], cells[b], columns) : null))
  for (const column of columns) column.forEach((c, i) => (c.order = i))
  for (let i = 0; i < SWEEPS; i++) sweep(columns, i % 2 === 0)
  place(columns)
  return draw(input, cells, columns, ways, back, ends, known)
}

/** findBack marks the edges that close a cycle, by a walk without recursion. */
function findBack(n: number, ends: readonly (readonly [number, number])[], known: boolean[]): boolean[] {
  const out: number[][] = Array.from({ length: n }, () => [])
  const incoming = new Array<number>(n).fill(0)
  ends.forEach(([a, b], i) => {
    if (!known[i]) return
    out[a].push(i)
    incoming[b]++
  })
  const back = new Array<boolean>(ends.length).fill(false)
  const state = new Uint8Array(n) // 1 = on the way, 2 = done
  const walk = (root: number) => {
    const stack: [number, number][] = [[root, 0]]
    state[root] = 1
    while (stack.length > 0) {
      const top = stack[stack.length - 1]
      if (top[1] === out[top[0]].length) {
        state[top[0]] = 2
        stack.pop()
        continue
      }
      const edge = out[top[0]][top[1]++]
      const to = ends[edge][1]
      if (state[to] === 1) back[edge] = true
      else if (state[to] === 0) {
        state[to] = 1
        stack.push([to, 0])
      }
    }
  }
  for (let i = 0; i < n; i++) if (incoming[i] === 0) walk(i)
  for (let i = 0; i < n; i++) if (state[i] === 0) walk(i)
  return back
}

function longestPaths(n: number, ends: readonly (readonly [number, number])[], known: boolean[], back: boolean[]): number[] {
  const out: number[][] = Array.from({ length: n }, () => [])
  const waits = new Array<number>(n).fill(0)
  ends.forEach(([a, b], i) => {
    if (!known[i] || back[i]) return
    out[a].push(b)
    waits[b]++
  })
  const layer = new Array<number>(n).fill(0)
  const ready: number[] = []
  for (let i = 0; i < n; i++) if (waits[i] === 0) ready.push(i)
  for (let i = 0; i < ready.length; i++) {
    for (const to of out[ready[i]]) {
      layer[to] = Math.max(layer[to], layer[ready[i]] + 1)
      if (--waits[to] === 0) ready.push(to)
    }
  }
  return layer
}

/** route makes the places where an edge passes the layers between its ends. */
function route(from: Cell, to: Cell, columns: Cell[][]): Cell[] {
  const way: Cell[] = []
  let last = from
  if (to.layer - from.layer <= LONGEST_ROUTED) {
    for (let layer = from.layer + 1; layer < to.layer; layer++) {
      const c: Cell = { node: -1, layer, width: 0, height: 6, left: [last], right: [], order: 0, y: 0 }
      last.right.push(c)
      columns[layer].push(c)
      way.push(c)
      last = c
    }
  }
  last.right.push(to)
  to.left.push(last)
  return way
}

/** sweep orders each layer by the middle of its neighbours, which takes crossings away. */
function sweep(columns: Cell[][], forward: boolean): void {
  const list = forward ? columns.slice(1) : columns.slice(0, -1).reverse()
  for (const column of list) {
    const middles = new Map(column.map((c) => [c, middle(forward ? c.left : c.right, (n) => n.order, c.order)]))
    column.sort((a, b) => middles.get(a)! - middles.get(b)! || a.order - b.order)
    column.forEach((c, i) => (c.order = i))
  }
}

function middle(list: Cell[], of: (c: Cell) => number, none: number): number {
  if (list.length === 0) return none
  const sorted = list.map(of).sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
}

const centre = (c: Cell) => c.y + c.height / 2

/** place gives heights: each cell as near to its neighbours as its order leaves room. */
function place(columns: Cell[][]): void {
  for (const column of columns) {
    let y = 0
    for (const c of column) {
      c.y = y
      y += c.height + GAP_Y
    }
  }
  for (let pass = 0; pass < 4; pass++) {
    const forward = pass % 2 === 0
    for (const column of forward ? columns : [...columns].reverse()) settle(column, forward)
  }
}

/** settle moves cells to where they want to be, in blocks: those that collide share the middle of their wishes. */
function settle(column: Cell[], forward: boolean): void {
  const blocks: { cells: Cell[]; wish: number; n: number; size: number }[] = []
  for (const c of column) {
    const near = forward ? c.left : c.right
    let block = { cells: [c], wish: middle(near, centre, centre(c)) - c.height / 2, n: 1, size: c.height + GAP_Y }
    for (let before = blocks.at(-1); before && before.wish + before.size > block.wish; before = blocks.at(-1)) {
      blocks.pop()
      const wish = (before.wish * before.n + (block.wish - before.size) * block.n) / (before.n + block.n)
      block = { cells: before.cells.concat(block.cells), wish, n: before.n + block.n, size: before.size + block.size }
    }
    blocks.push(block)
  }
  for (const b of blocks) {
    let y = b.wish
    for (const c of b.cells) {
      c.y = y
      y += c.height + GAP_Y
    }
  }
}

function draw(
  input: Input, cells: Cell[], columns: Cell[][], ways: (Cell[] | null)[], back: boolean[],
  ends: readonly (readonly [number, number])[], known: boolean[],
): Layout {
  const xs: number[] = []
  let x = 0
  for (const [i, column] of columns.entries()) {
    xs[i] = x
    x += Math.max(...column.map((c) => c.width)) + GAP_X
  }
  let top = Infinity
  for (const c of cells) top = Math.min(top, c.y)
  if (cells.length === 0) top = 0
  const at = (c: Cell, side: number): [number, number] => [xs[c.layer] + c.width * side, c.y - top + c.height / 2]
  const edges: Route[] = []
  input.edges.forEach((e, i) => {
    if (!known[i]) return
    const [a, b] = [cells[ends[i][0]], cells[ends[i][1]]]
    const points = back[i] ? [at(a, 0), at(b, 1)] : [at(a, 1), ...(ways[i] ?? []).map((c) => at(c, 0)), at(b, 0)]
    edges.push({ from: e.from, to: e.to, back: back[i], points })
  })
  let height = 0
  const nodes = cells.map((c, i) => {
    height = Math.max(height, c.y - top + c.height)
    return { id: input.nodes[i].id, layer: c.layer, x: xs[c.layer], y: c.y - top }
  })
  return { nodes, edges, width: Math.max(0, x - GAP_X), height }
}

/** curve is the path of an edge for SVG. */
export function curve(points: [number, number][]): string {
  let d = `M${points[0][0]},${points[0][1]}`
  for (let i = 1; i < points.length; i++) {
    const [ax, ay] = points[i - 1]
    const [bx, by] = points[i]
    const half = (ax + bx) / 2
    d += `C${half},${ay} ${half},${by} ${bx},${by}`
  }
  return d
}
