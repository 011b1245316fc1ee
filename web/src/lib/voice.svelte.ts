// A spoken session over /asr: microphone, WebSocket, captions. A connection that
// breaks does not end it: the sound is kept and sent on from where the server stands.

import { get, protocols, query, socketAddress } from './api'
import { type Captions, hear, reconnected, silent } from './captions'
import { Mic, MicError, type MicFault } from './mic'
import { BYTES_PER_MS, Outbox } from './outbox'

export type VoicePhase =
  | 'idle' | 'asking' | MicFault | 'connecting' | 'live' | 'reconnecting' | 'finalising' | 'ended' | 'down' | 'refused'

export interface VoiceOptions {
  device: string
  language: string
  source: string
  target: string
}

interface Config {
  session_id: string
  resume_token: string
  received_bytes: number
  audio_ms: number
  event_id: string
  recogniser: string
  approximate?: boolean
}

const MOST_BUFFERED = 1 << 20
const LAST_WORD = 10_000
const GIVE_UP = 30_000

export class Voice {
  phase = $state<VoicePhase>('idle')
  captions = $state.raw<Captions>(silent)
  config = $state.raw<Config | null>(null)
  message = $state('')
  muted = $state(false)
  level = $state(0)
  sent = $state(0)
  waiting = $state(0)
  dropped = $state(0)
  began = $state(0)
  ended = $state(0)

  private readonly mic = new Mic({
    chunk: (pcm, level) => {
      this.level = level
      this.outbox.push(pcm)
      this.pump()
    },
    gone: () => {
      this.message = 'The microphone was unplugged. Choose another; the session goes on.'
      void this.mic.change('').catch(() => {})
    },
  })
  private outbox = new Outbox()
  private ws: WebSocket | null = null
  private ready = false // the server has said where it stands
  private ending = false
  private endSent = false
  private attempt = 0
  private lostAt = 0
  private timer = 0
  private wake: { release(): Promise<void> } | null = null
  private options: VoiceOptions = { device: '', language: '', source: '', target: '' }

  get running(): boolean {
    return ['asking', 'connecting', 'live', 'reconnecting', 'finalising'].includes(this.phase)
  }

  async start(options: VoiceOptions): Promise<void> {
    if (this.running) return
    this.options = options
    this.outbox = new Outbox()
    this.captions = silent
    this.config = null
    this.message = ''
    this.muted = this.ending = this.endSent = false
    this.attempt = this.sent = this.waiting = this.dropped = this.ended = 0
    this.phase = 'asking'
    try {
      await this.mic.open(options.device)
    } catch (e) {
      this.phase = e instanceof MicError ? e.fault : 'failed'
      this.message = (e as Error).message
      return
    }
    this.mic.mute(false)
    this.began = Date.now()
    this.phase = 'connecting'
    void this.stayAwake()
    this.connect()
    if (this.stopWanted) void this.stop()
  }

  private stopWanted = false

  /** stop ends the session once all that was said has been heard. */
  async stop(): Promise<void> {
    if (this.phase === 'asking') {
      this.stopWanted = true
      return
    }
    this.stopWanted = false
    if (!this.running || this.ending) return
    this.ending = true
    this.phase = 'finalising'
    this.level = 0
    await this.mic.close()
    this.pump()
    clearTimeout(this.timer)
    this.timer = window.setTimeout(() => this.finish('ended', 'The server did not say its last word in 10 s. What it had heard is published.'), LAST_WORD)
    if (!this.ws) this.connect()
  }

  mute(on: boolean): void {
    this.muted = on
    this.mic.mute(on)
  }

  async change(device: string): Promise<void> {
    this.options = { ...this.options, device }
    try {
      await this.mic.change(device)
      this.message = ''
    } catch (e) {
      this.message = (e as Error).message
    }
  }

  private connect(): void {
    const { language, source, target } = this.options
    const c = this.config
    // To name a session is to ask for lines that never change, with their events. Each
    // attempt has an id of its own: of one that broke nobody knows whether it was opened.
    const session = c?.session_id ?? crypto.randomUUID()
    const ws = new WebSocket(
      socketAddress('/asr' + query({
        language, source, target, session_id: session, resume_token: c?.resume_token,
        after: c && this.captions.lastUtterance > 0 ? this.captions.lastUtterance : undefined,
      })),
      protocols(),
    )
    ws.binaryType = 'arraybuffer'
    this.ws = ws
    this.ready = this.endSent = false
    ws.onmessage = (m) => this.ws === ws && this.take(String(m.data))
    ws.onclose = (e) => this.ws === ws && void this.lost(e)
  }

  private take(data: string): void {
    let m: { type?: string } & Partial<Config>
    try {
      m = JSON.parse(data)
    } catch {
      return // not for us
    }
    if (m.type === 'config') {
      if (this.config) this.captions = reconnected(this.captions)
      this.config = { ...(m as Config) }
      const lost = this.outbox.resume(m.received_bytes ?? 0, m.audio_ms ?? 0)
      if (lost > 0) this.message = `${(lost / BYTES_PER_MS / 1000).toFixed(1)} s of sound were too old to be sent again.`
      this.ready = true
      this.attempt = this.lostAt = 0
      if (!this.ending) this.phase = 'live'
      this.pump()
      return
    }
    this.captions = hear(this.captions, m)
    if (m.type === 'error') return this.finish('refused', this.captions.error)
    this.outbox.keepFrom(this.captions.finishedMS)
    if (this.captions.done) this.finish('ended', '')
  }

  /** pump sends what waits, as far as the network takes it. */
  private pump(): void {
    const ws = this.ws
    if (ws?.readyState === WebSocket.OPEN && this.ready) {
      while (ws.bufferedAmount < MOST_BUFFERED) {
        const chunk = this.outbox.next()
        if (!chunk) break
        ws.send(chunk as Uint8Array<ArrayBuffer>)
      }
      if (this.ending && this.outbox.unsent === 0 && !this.endSent) {
        this.endSent = true
        ws.send(new Uint8Array(0)) // an empty frame ends the stream
      }
    }
    this.sent = this.outbox.total - this.outbox.unsent
    this.waiting = this.outbox.unsent / BYTES_PER_MS / 1000
    this.dropped = this.outbox.dropped / BYTES_PER_MS / 1000
  }

  private async lost(e: CloseEvent): Promise<void> {
    this.ws = null
    this.ready = false
    if (e.code >= 4400 && e.code < 4500) return this.finish('refused', e.reason || 'The server refused the session.')
    if (!this.config && (await this.isDown())) return
    if (!this.running) return
    this.lostAt ||= Date.now()
    if (Date.now() - this.lostAt > GIVE_UP) return this.finish('down', 'The server could not be reached for 30 s.')
    if (!this.ending) this.phase = this.config ? 'reconnecting' : 'connecting'
    const wait = Math.min(5000, 250 * 2 ** this.attempt++) * (0.5 + Math.random() / 2)
    setTimeout(() => this.running && !this.ws && this.connect(), wait)
  }

  /** A refused upgrade tells a page nothing, so the server's status is asked. */
  private async isDown(): Promise<boolean> {
    try {
      const status = await get<{ voice?: { ok: boolean; error?: string; name?: string } }>('/status')
      if (status.voice && !status.voice.ok) {
        this.finish('down', status.voice.error ?? 'The recogniser does not work.')
        return true
      }
    } catch {
      // The server itself is away: try again.
    }
    return false
  }

  private finish(phase: VoicePhase, message: string): void {
    clearTimeout(this.timer)
    this.phase = phase
    if (message) this.message = message
    this.ended = Date.now()
    this.level = 0
    const ws = this.ws
    this.ws = null
    ws?.close()
    void this.mic.close()
    void this.wake?.release().catch(() => {}) // released already
    this.wake = null
  }

  /** leave lets everything go, as the screen is left. */
  leave(): void {
    if (this.running) this.finish('ended', '')
  }

  private async stayAwake(): Promise<void> {
    try {
      this.wake = (await navigator.wakeLock?.request('screen')) ?? null
    } catch {
      // The screen may sleep.
    }
  }
}
