// The difference of two texts, line by line.

export interface DiffLine {
  kind: 'same' | 'only a' | 'only b'
  text: string
}

const LONGEST = 2000

/** diff finds the longest common lines. Texts that are too long are shown one after the other. */
export function diff(a: string[], b: string[]): DiffLine[] {
  let head = 0
  while (head < a.length && head < b.length && a[head] === b[head]) head++
  let tail = 0
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++
  const [x, y] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)]
  return [
    ...a.slice(0, head).map((text): DiffLine => ({ kind: 'same', text })),
    ...middle(x, y),
    ...a.slice(a.length - tail).map((text): DiffLine => ({ kind: 'same', text })),
  ]
}

function middle(a: string[], b: string[]): DiffLine[] {
  const only = (kind: DiffLine['kind'], list: string[]) => list.map((text): DiffLine => ({ kind, text }))
  if (a.length > LONGEST || b.length > LONGEST || a.length === 0 || b.length === 0) return [...only('only a', a), ...only('only b', b)]
  const width = b.length + 1
  const length = new Uint16Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      length[i * width + j] = a[i] === b[j] ? length[(i + 1) * width + j + 1] + 1 : Math.max(length[(i + 1) * width + j], length[i * width + j + 1])
    }
  }
  const out: DiffLine[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ kind: 'same', text: a[i++] })
      j++
    } else if (j >= b.length || (i < a.length && length[(i + 1) * width + j] >= length[i * width + j + 1])) out.push({ kind: 'only a', text: a[i++] })
    else out.push({ kind: 'only b', text: b[j++] })
  }
  return out
}
