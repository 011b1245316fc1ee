// The smallest payload that a JSON Schema (draft-07) may take, to begin with.

export interface Schema {
  type?: string | string[]
  title?: string
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  enum?: unknown[]
  const?: unknown
  default?: unknown
  examples?: unknown[]
  format?: string
  minimum?: number
  minLength?: number
  minItems?: number
  $ref?: string
  definitions?: Record<string, Schema>
  $defs?: Record<string, Schema>
  anyOf?: Schema[]
  oneOf?: Schema[]
  allOf?: Schema[]
  [key: string]: unknown
}

export function resolve(schema: Schema, root: Schema): Schema {
  const m = /^#\/(definitions|\$defs)\/(.+)$/.exec(schema.$ref ?? '')
  return m ? { ...(root[m[1] as 'definitions']?.[m[2]] ?? {}), ...schema, $ref: undefined } : schema
}

export function typeName(schema: Schema, root: Schema): string {
  const s = resolve(schema, root)
  if (s.const !== undefined) return JSON.stringify(s.const)
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(' | ')
  const choices = s.anyOf ?? s.oneOf
  if (choices) return choices.map((c) => typeName(c, root)).join(' | ')
  const type = Array.isArray(s.type) ? s.type.join(' | ') : (s.type ?? 'any')
  if (type === 'array' && s.items) return typeName(s.items, root) + '[]'
  return s.format ? `${type} (${s.format})` : type
}

/** example prefers what the schema itself offers. Members that are not required are left out. */
export function example(schema: Schema, root: Schema = schema, depth = 0): unknown {
  const s = resolve(schema, root)
  if (s.examples?.length) return s.examples[0]
  if (s.const !== undefined) return s.const
  if (s.default !== undefined) return s.default
  if (s.enum?.length) return s.enum[0]
  const part = s.allOf?.[0] ?? s.anyOf?.[0] ?? s.oneOf?.[0]
  if (part && !s.properties) return example(part, root, depth)
  const type = Array.isArray(s.type) ? s.type[0] : (s.type ?? (s.properties ? 'object' : 'null'))
  switch (type) {
    case 'object': {
      const out: Record<string, unknown> = {}
      if (depth < 8) for (const name of s.required ?? []) out[name] = example(s.properties?.[name] ?? { type: 'string' }, root, depth + 1)
      return out
    }
    case 'array':
      return Array.from({ length: Math.min(s.minItems ?? 0, 3) }, () => example(s.items ?? {}, root, depth + 1))
    case 'string':
      return text(s)
    case 'integer':
    case 'number':
      return s.minimum ?? 0
    case 'boolean':
      return false
  }
  return null
}

function text(s: Schema): string {
  switch (s.format) {
    case 'date-time':
      return new Date().toISOString()
    case 'date':
      return new Date().toISOString().slice(0, 10)
    case 'uuid':
      return '00000000-0000-4000-8000-000000000000'
    case 'uri':
      return 'urn:example:1'
    case 'email':
      return 'a@example.invalid'
  }
  return 'text'.repeat(Math.max(1, Math.ceil((s.minLength ?? 1) / 4)))
}
