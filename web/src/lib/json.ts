// JSON as text: values are found and shown by their place in the source, and never
// parsed into numbers and written again, so that every digit stays as it was sent.

export type Kind = 'object' | 'array' | 'string' | 'number' | 'true' | 'false' | 'null'

/** A value: source[start, end) is its text. */
export interface Node {
  kind: Kind
  start: number
  end: number
}

export interface Member extends Node {
  /** The member's name, or the element's number. */
  key: string
}

export class JSONFault extends Error {
  readonly at: number
  constructor(at: number, what: string) {
    super(`${what} at character ${at}`)
    this.at = at
  }
}

const QUOTE = 34
const BACKSLASH = 92

export function skipSpace(s: string, i: number): number {
  for (; i < s.length; i++) {
    const c = s.charCodeAt(i)
    if (c !== 32 && c !== 10 && c !== 13 && c !== 9) break
  }
  return i
}

/** skipString returns the place behind the string that begins at i. */
export function skipString(s: string, i: number): number {
  for (let end = i; ; ) {
    end = s.indexOf('"', end + 1)
    if (end < 0) throw new JSONFault(i, 'a string has no end')
    let slashes = 0
    while (s.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++
    if (slashes % 2 === 0) return end + 1
  }
}

/** skipValue returns the place behind the value that begins at i. It checks the nesting, not each token. */
export function skipValue(s: string, i: number): number {
  const c = s.charCodeAt(i)
  if (c === QUOTE) return skipString(s, i)
  if (c !== 123 && c !== 91) return skipScalar(s, i)
  const open: number[] = []
  for (; i < s.length; i++) {
    switch (s.charCodeAt(i)) {
      case QUOTE:
        i = skipString(s, i) - 1
        break
      case 123:
        open.push(125)
        break
      case 91:
        open.push(93)
        break
      case 125:
      case 93:
        if (open.pop() !== s.charCodeAt(i)) throw new JSONFault(i, 'a bracket does not fit')
        if (open.length === 0) return i + 1
    }
  }
  throw new JSONFault(i, 'the text ends within a value')
}

const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y

function skipScalar(s: string, i: number): number {
  scalar.lastIndex = i
  if (!scalar.test(s)) throw new JSONFault(i, i < s.length ? 'no value' : 'the text ends where a value should be')
  return scalar.lastIndex
}

export function kindAt(s: string, i: number): Kind {
  switch (s[i]) {
    case '{':
      return 'object'
    case '[':
      return 'array'
    case '"':
      return 'string'
    case 't':
      return 'true'
    case 'f':
      return 'false'
    case 'n':
      return 'null'
  }
  return 'number'
}

/** valueAt is the value that begins at or behind i. */
export function valueAt(s: string, i = 0): Node {
  const start = skipSpace(s, i)
  return { kind: kindAt(s, start), start, end: skipValue(s, start) }
}

/** children lists what is directly in an object or array, names that occur twice included. */
export function children(s: string, node: Node, limit = Infinity): Member[] {
  const list: Member[] = []
  if (node.kind !== 'object' && node.kind !== 'array') return list
  const close = node.kind === 'object' ? '}' : ']'
  let i = skipSpace(s, node.start + 1)
  while (s[i] !== close && list.length < limit) {
    let key = String(list.length)
    if (node.kind === 'object') {
      if (s[i] !== '"') throw new JSONFault(i, 'a member has no name')
      const end = skipString(s, i)
      key = unquote(s.slice(i, end))
      i = skipSpace(s, end)
      if (s[i] !== ':') throw new JSONFault(i, 'a colon is missing')
      i = skipSpace(s, i + 1)
    }
    const end = skipValue(s, i)
    list.push({ key, kind: kindAt(s, i), start: i, end })
    i = skipSpace(s, end)
    if (s[i] === ',') {
      i = skipSpace(s, i + 1)
      if (s[i] === close) throw new JSONFault(i, 'a comma too many')
    } else if (s[i] !== close) throw new JSONFault(i, 'a comma is missing')
  }
  return list
}

/** count is the number of children, without making them. */
export function count(s: string, node: Node): number {
  if (node.kind !== 'object' && node.kind !== 'array') return 0
  let n = 0
  let i = skipSpace(s, node.start + 1)
  const end = node.end - 1
  while (i < end) {
    if (node.kind === 'object') i = skipSpace(s, skipSpace(s, skipString(s, i)) + 1)
    i = skipSpace(s, skipValue(s, i))
    n++
    if (s[i] === ',') i = skipSpace(s, i + 1)
  }
  return n
}

/** member is the first one of that name, or null. */
export function member(s: string, object: Node | null, name: string): Member | null {
  if (object?.kind !== 'object') return null
  let i = skipSpace(s, object.start + 1)
  while (s[i] === '"') {
    const keyEnd = skipString(s, i)
    const same = unquote(s.slice(i, keyEnd)) === name
    i = skipSpace(s, skipSpace(s, keyEnd) + 1)
    const end = skipValue(s, i)
    if (same) return { key: name, kind: kindAt(s, i), start: i, end }
    i = skipSpace(s, end)
    if (s[i] !== ',') return null
    i = skipSpace(s, i + 1)
  }
  return null
}

/** unquote turns a JSON string into its text; a broken one stays as it is. */
export function unquote(quoted: string): string {
  if (!quoted.includes('\\')) return quoted.slice(1, -1)
  try {
    return JSON.parse(quoted) as string
  } catch {
    return quoted.slice(1, -1)
  }
}

/** text is the text of a string value, else null. */
export function text(s: string, node: Node | null): string | null {
  return node?.kind === 'string' ? unquote(s.slice(node.start, node.end)) : null
}

/** pretty indents by two spaces and leaves every token as it is. */
export function pretty(s: string): string {
  const out: string[] = []
  let depth = 0
  const line = () => '\n' + '  '.repeat(depth)
  for (let i = skipSpace(s, 0); i < s.length; i = skipSpace(s, i)) {
    const c = s[i]
    if (c === '{' || c === '[') {
      const next = skipSpace(s, i + 1)
      if (s[next] === '}' || s[next] === ']') {
        out.push(c + s[next])
        i = next + 1
        continue
      }
      depth++
      out.push(c, line())
      i++
    } else if (c === '}' || c === ']') {
      depth--
      out.push(line(), c)
      i++
    } else if (c === ',') {
      out.push(',', line())
      i++
    } else if (c === ':') {
      out.push(': ')
      i++
    } else {
      const end = c === '"' ? skipString(s, i) : skipScalar(s, i)
      out.push(s.slice(i, end))
      i = end
    }
  }
  return out.join('')
}

/** check throws where s is not one whole JSON value. */
export function check(s: string): void {
  let value: Node
  try {
    JSON.parse(s)
    return
  } catch (e) {
    value = valueAt(s)
    const behind = skipSpace(s, value.end)
    if (behind < s.length) throw new JSONFault(behind, 'there is more behind the value')
    throw e
  }
}
