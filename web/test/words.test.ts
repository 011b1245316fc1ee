import { describe, expect, it } from 'vitest'
import { example, type Schema, typeName } from '../src/lib/example'
import { sampler, tiles } from '../src/lib/health.svelte'

describe('examples', () => {
  const schema: Schema = {
    type: 'object', required: ['id', 'when', 'kind', 'n', 'list', 'inner'],
    properties: {
      id: { type: 'string', format: 'uuid' }, when: { type: 'string', format: 'date-time' }, kind: { enum: ['a', 'b'] },
      n: { type: 'integer', minimum: 3 }, list: { type: 'array', minItems: 1, items: { type: 'string' } }, inner: { $ref: '#/definitions/inner' }, not: { type: 'string' },
    },
    definitions: { inner: { type: 'object', required: ['ok'], properties: { ok: { type: 'boolean' } } } },
  }
  it('hold what is required and no more', () => {
    const e = example(schema) as Record<string, unknown>
    expect(Object.keys(e)).toEqual(['id', 'when', 'kind', 'n', 'list', 'inner'])
    expect(e).toMatchObject({ kind: 'a', n: 3, list: ['text'], inner: { ok: false } })
    expect(Number.isNaN(Date.parse(e.when as string))).toBe(false)
  })
  it('come from the schema where it has some', () => expect(example({ ...schema, examples: [{ x: 1 }] })).toEqual({ x: 1 }))
  it('end in schemas that name themselves', () => {
    const loop: Schema = { $ref: '#/definitions/a', definitions: { a: { type: 'object', required: ['a'], properties: { a: { $ref: '#/definitions/a' } } } } }
    expect(JSON.stringify(example(loop)).length).toBeLessThan(200)
  })
  it('name types', () => {
    expect(typeName(schema.properties!.list, schema)).toBe('string[]')
    expect(typeName(schema.properties!.kind, schema)).toBe('"a" | "b"')
    expect(typeName({ type: ['string', 'null'] }, schema)).toBe('string | null')
  })
})

describe('tiles', () => {
  const wal = { last: 10, bytes: 1000, waiting: 0, segments: 1, fsync_us: 400, fault_count: 0, closed: false }
  it('puts what fails first', () => {
    const list = tiles({ wal, dispatch: { target: 'bus', lag: 5, dead: 2, fault: 'refused' }, recorder: { stored: 1, duplicates: 0, rejected: 0, lag: 0 }, voice: { name: 'x', ok: false, error: 'none' } }, {})
    expect(list.map((t) => [t.state, t.name]).slice(0, 3)).toEqual([['fail', 'To bus'], ['fail', 'Dead letters, bus'], ['warn', 'Speech']])
    expect(list.filter((t) => t.name === 'Log')[0].state).toBe('ok')
  })
  it('says what a check says', () => {
    const list = tiles({ wal, bus: { name: 'amqp' } }, { bus: { ok: false, error: 'no route' }, wal: { ok: false, error: 'closed' } })
    expect(list.filter((t) => t.state === 'fail').map((t) => t.words)).toEqual(['closed', 'no route'])
  })
  it('makes rates of counters, also when they begin anew', () => {
    const now = performance.now
    let ms = 0
    performance.now = () => ms
    try {
      sampler.add({ wal: { ...wal, last: 100 } })
      ms = 2000
      sampler.add({ wal: { ...wal, last: 300 } })
      ms = 4000
      sampler.add({ wal: { ...wal, last: 1 } })
    } finally {
      performance.now = now
    }
    expect(sampler.samples.map((s) => s.accepted)).toEqual([100, 0])
  })
})
