// The live stream: one connection for all screens, the newest 20,000 events, and
// one redraw for each picture of the screen, however many events come.

import { address, events, protocols, query, socketAddress, token } from './api'
import { type Event, readEvent } from './event'
import { type Frame, readFrame } from './frame'
import { type Act, fresh, type Link, step } from './reconnect'
import { Ring } from './ring'
import { Lines } from './sse'

export const CAPACITY = 20_000
const BACKFILL = 300
const LONGEST_REFILL = 5000
/** Servers send a frame a second, or a block of server-sent events in 15 s. */
const SILENCE = { ws: 8000, sse: 40_000 }

class Feed {
  readonly ring = new Ring<Event>(CAPACITY)
  link = $state.raw<Link>(fresh)
  /** Grows with each redraw; the events themselves are not reactive. */
  version = $state(0)
  rate = $state(0)
  domains = $state.raw<{ name: string; count: number }[]>([])
  failures = $state(0)
  /** Failures since the user last looked. */
  unseen = $state(0)
  dropped = $state(0)
  received = $state(0)
  ready = $state(false)
  backfillError = $state('')
  /** Counts for tests: redraws, and pictures that the browser asked for. */
  redraws = 0
  /** Raised when events were put in between, so that lists must be made anew. */
  rebuilt = 0

  private close: (() => void) | null = null
  private timer = 0
  private silence = 0
  private frameAsked = false
  private lastSecond = 0
  private dirty = false
  private send: ((m: object) => void) | null = null

  start(): void {
    document.addEventListener('visibilitychange', () => this.onVisibility())
    addEventListener('online', () => this.retryNow())
    setInterval(() => this.everySecond(), 1000)
    this.connect()
  }

  retryNow(): void {
    if (this.link.phase !== 'waiting' && this.link.phase !== 'refused') return
    clearTimeout(this.timer)
    this.act({ do: 'retry' })
    this.connect()
  }

  private act(a: Act): void {
    this.link = step(this.link, a)
  }

  private connect(): void {
    this.close?.()
    const since = this.link.position
    this.watch()
    const handlers = {
      frame: (f: Frame) => {
        this.watch()
        this.take(f)
      },
      lost: (reason: string) => this.lost(reason),
      send: (send: ((m: object) => void) | null) => (this.send = send),
    }
    this.close = this.link.transport === 'ws' ? openSocket(since, handlers) : openEvents(since, handlers)
  }

  /** Both ends of a dead connection may take it for alive; a live one is never silent for long. */
  private watch(): void {
    clearTimeout(this.silence)
    this.silence = window.setTimeout(() => this.lost('the server has been silent for too long'), SILENCE[this.link.transport])
  }

  private lost(reason: string): void {
    clearTimeout(this.silence)
    this.send = null
    this.close?.()
    this.close = null
    this.act({ do: 'lost', now: Date.now(), random: Math.random(), reason })
    clearTimeout(this.timer)
    this.timer = window.setTimeout(() => this.retryNow(), Math.max(0, this.link.retryAt - Date.now()))
  }

  private take(f: Frame): void {
    if (f.error) {
      clearTimeout(this.silence)
      this.close?.()
      this.close = null
      this.act({ do: 'refused', reason: f.error.message })
      return
    }
    if (f.hello) {
      const first = this.link.position < 0
      this.act({ do: 'opened' })
      this.act({ do: 'moved', position: f.hello.position })
      if (first) void this.backfill()
      if (document.hidden) this.send?.({ mode: 'count' })
    }
    if (f.gap) this.addGap(f.gap.from, f.gap.to, f.gap.n)
    for (const [i, raw] of f.events.entries()) this.add(readEvent(raw, 0, f.seqs?.[i] ?? 0))
    if (f.last !== undefined) {
      this.act({ do: 'moved', position: f.last })
      this.send?.({ ack: f.last })
    }
    if (f.events.length > 0 || f.gap) this.redraw()
  }

  private add(e: Event): void {
    e.n = this.ring.push(e)
    this.received++
    if (e.failed && document.hidden) this.unseen++
    this.dirty = true
  }

  private addGap(from: number, to: number, n: number): void {
    const e = readEvent('{}')
    e.gap = { from, to, n }
    e.n = this.ring.push(e)
    this.dropped += n
    this.dirty = true
  }

  /** backfill shows what came before the page was opened. */
  async backfill(): Promise<void> {
    this.backfillError = ''
    try {
      const page = await events({ limit: BACKFILL })
      const known = new Set<string>()
      this.ring.each((e) => known.add(e.id))
      this.insert(page.events.filter((e) => !known.has(e.id)).reverse(), 0)
    } catch (e) {
      this.backfillError = (e as Error).message
    }
    this.ready = true
    this.redraw()
  }

  /** insert puts events in before the item with that number; 0 is before all. */
  private insert(list: Event[], before: number, instead = false): void {
    const all: Event[] = []
    if (before === 0) all.push(...list)
    this.ring.each((e) => {
      if (e.n === before) all.push(...list)
      if (e.n !== before || !instead) all.push(e)
    })
    this.ring.clear()
    for (const e of all) e.n = this.ring.push(e)
    this.rebuilt++
    this.dirty = true
    this.redraw()
  }

  /** refill loads the events of a gap from the store. */
  async refill(gap: Event): Promise<void> {
    const { from, to } = gap.gap!
    const list: Event[] = []
    await new Promise<void>((resolve, reject) => {
      const end = (reason: string) => {
        stop()
        if (reason) reject(new Error(reason))
        else resolve()
      }
      const take = (f: Frame) => {
        for (const [i, raw] of f.events.entries()) {
          const seq = f.seqs?.[i] ?? 0
          if (seq >= from && seq <= to && list.length < LONGEST_REFILL) list.push(readEvent(raw, 0, seq))
        }
        if ((f.last ?? -1) >= to || list.length >= LONGEST_REFILL) end('')
      }
      const stop = openEvents(from - 1, { frame: take, lost: end, send: () => {} })
    })
    this.insert(list, gap.n, true)
  }

  forget(gap: Event): void {
    this.insert([], gap.n, true)
  }

  clear(): void {
    this.ring.clear()
    this.rebuilt++
    this.dirty = true
    this.redraw()
  }

  private redraw(): void {
    if (this.frameAsked) return
    this.frameAsked = true
    requestAnimationFrame(() => {
      this.frameAsked = false
      this.redraws++
      this.version++
    })
  }

  private everySecond(): void {
    this.rate = this.received - this.lastSecond
    this.lastSecond = this.received
    if (!this.dirty || document.hidden) return
    this.dirty = false
    const counts = new Map<string, number>()
    let failures = 0
    this.ring.each((e) => {
      if (e.gap) return
      counts.set(e.domain, (counts.get(e.domain) ?? 0) + 1)
      if (e.failed) failures++
    })
    this.failures = failures
    this.domains = [...counts].map(([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count || a.name.localeCompare(b.name)).slice(0, 12)
  }

  /** A hidden page draws nothing, so it asks for counts alone; the server says what it missed as a gap. */
  private onVisibility(): void {
    if (!document.hidden) this.unseen = 0
    this.send?.({ mode: document.hidden ? 'count' : 'events' })
  }
}

interface Handlers {
  frame: (f: Frame) => void
  lost: (reason: string) => void
  send: (send: ((m: object) => void) | null) => void
}

/** openSocket connects to the WebSocket and returns its end. Of a socket that was ended nothing is heard any more. */
function openSocket(since: number, h: Handlers): () => void {
  let over = false
  const ws = new WebSocket(socketAddress('/api/v1/stream' + query({ since: since >= 0 ? since : undefined })), protocols())
  const lost = (reason: string) => {
    if (over) return
    over = true
    h.lost(reason)
  }
  ws.onopen = () => h.send((m) => ws.readyState === WebSocket.OPEN && ws.send(JSON.stringify(m)))
  ws.onmessage = (m) => {
    if (over) return
    let frame: Frame
    try {
      frame = readFrame(String(m.data))
    } catch {
      ws.close()
      lost('the server sent what cannot be read')
      return
    }
    h.frame(frame)
  }
  ws.onclose = (e) => lost(e.reason || 'the connection was lost')
  return () => {
    over = true
    ws.close()
  }
}

/** openEvents reads server-sent events, where there is no WebSocket. */
function openEvents(since: number, h: Handlers): () => void {
  const abort = new AbortController()
  const lost = (reason: string) => {
    if (!abort.signal.aborted) h.lost(reason)
  }
  const read = async () => {
    const headers: Record<string, string> = token() ? { Authorization: 'Bearer ' + token() } : {}
    const answer = await fetch(address('/events/stream' + query({ since: since >= 0 ? since : undefined })), { headers, signal: abort.signal })
    if (!answer.ok || !answer.body) return lost(`the server answered ${answer.status}`)
    const lines = new Lines()
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return lost('the connection was lost')
      for (const f of lines.push(value)) if (!abort.signal.aborted) h.frame(f)
    }
  }
  read().catch(() => lost('the server cannot be reached'))
  return () => abort.abort()
}

export const feed = new Feed()

/** The tests in a browser read these counts. */
Object.defineProperty(globalThis, 'candybar', { value: { feed } })
