// The server's HTTP API. Addresses are relative to the page, so that it works
// below any path. Events stay text.

import { type Event, readEvent } from './event'
import { children, member, text, valueAt } from './json'

/** Detail is one fault of a payload, at a JSON pointer. */
export interface Detail {
  pointer: string
  message: string
}

export class ApiError extends Error {
  constructor(message: string, readonly status: number, readonly code: string, readonly request: string,
    readonly details: readonly Detail[] = []) {
    super(message)
  }
}

/** Access is who may call; the screens watch needed. */
export interface Access {
  token: string
  refused: () => void
}

const access: Access = { token: '', refused: () => {} }

export function useAccess(a: Partial<Access>): void {
  Object.assign(access, a)
}

export const token = () => access.token

export function address(path: string): string {
  return new URL('.' + path, document.baseURI.replace(/#.*/, '')).href
}

export function socketAddress(path: string): string {
  return address(path).replace(/^http/, 'ws')
}

/** protocols show the token to a WebSocket, on which a page can set no header. */
export function protocols(): string[] {
  return access.token ? ['bearer', access.token] : []
}

export function query(parameters: Record<string, string | number | undefined>): string {
  const q = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined && value !== '') q.set(name, String(value))
  const out = q.toString()
  return out ? '?' + out : ''
}

export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  if (!headers.has('Accept')) headers.set('Accept', 'application/json')
  if (access.token) headers.set('Authorization', 'Bearer ' + access.token)
  let answer: Response
  try {
    answer = await fetch(address(path), { ...init, headers })
  } catch (e) {
    if (init.signal?.aborted) throw e
    throw new ApiError('The server cannot be reached. Is bb up running?', 0, 'unreachable', '')
  }
  if (answer.ok) return answer
  throw await failure(answer)
}

async function failure(answer: Response): Promise<ApiError> {
  const request = answer.headers.get('X-Request-Id') ?? ''
  if (answer.status === 401) access.refused()
  try {
    const body = (await answer.json()) as { error?: { code?: string; message?: string; details?: Detail[] } }
    return new ApiError(body.error?.message ?? answer.statusText, answer.status, body.error?.code ?? '', request, body.error?.details ?? [])
  } catch {
    return new ApiError(`The server answered ${answer.status} ${answer.statusText}`, answer.status, '', request)
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await call(path, { signal })).json()) as T
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const answer = await call(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return (answer.status === 204 ? undefined : await answer.json()) as T
}

export interface Page {
  events: Event[]
  next: string
}

export async function events(parameters: { q?: string; cursor?: string; limit?: number; order?: string }, signal?: AbortSignal): Promise<Page> {
  const source = await (await call('/events' + query(parameters), { signal })).text()
  const top = valueAt(source)
  const list = member(source, top, 'events')
  return {
    events: list ? children(source, list).map((m) => readEvent(source.slice(m.start, m.end))) : [],
    next: text(source, member(source, top, 'next')) ?? '',
  }
}

export interface Stored {
  event: Event
  bytes: number
  sha256: string
}

/** eventByID is an event with what its exact bytes are. */
export async function eventByID(id: string, signal?: AbortSignal): Promise<Stored> {
  const answer = await call('/events/' + encodeURIComponent(id), { signal })
  const buffer = await answer.arrayBuffer()
  const event = readEvent(new TextDecoder().decode(buffer), 0, Number(answer.headers.get('Bb-Sequence') ?? 0))
  // Browsers have no digest on plain http away from localhost.
  const digest = crypto.subtle ? await crypto.subtle.digest('SHA-256', buffer) : new ArrayBuffer(0)
  const sha256 = Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, '0')).join('')
  return { event, bytes: buffer.byteLength, sha256 }
}
