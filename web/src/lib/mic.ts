// The microphone as 16-bit samples at 16 kHz, 100 ms at a time.

import { address } from './api'

export interface MicHandlers {
  /** level is the root mean square of the chunk, 0 to 1. */
  chunk: (pcm: Uint8Array, level: number) => void
  /** The device was unplugged, or its permission taken back. */
  gone: () => void
}

export type MicFault = 'insecure' | 'denied' | 'no device' | 'failed'

export class MicError extends Error {
  constructor(readonly fault: MicFault, message: string) {
    super(message)
  }
}

export class Mic {
  private context: AudioContext | null = null
  private node: AudioWorkletNode | null = null
  private source: MediaStreamAudioSourceNode | null = null
  private stream: MediaStream | null = null
  private quiet = false
  private flushed: (() => void) | null = null

  constructor(private readonly handlers: MicHandlers) {}

  /** open asks for the microphone; call it for something that the user did. It throws a MicError. */
  async open(device: string): Promise<void> {
    if (!globalThis.isSecureContext || !navigator.mediaDevices) throw new MicError('insecure', 'A page may use the microphone only on https or localhost.')
    const stream = await listen(device)
    try {
      this.context = new AudioContext({ sampleRate: 16_000 })
      await this.context.audioWorklet.addModule(address('/assets/pcm-worklet.js'))
      await this.context.resume()
    } catch (e) {
      stream.getTracks().forEach((t) => t.stop())
      throw new MicError('failed', `The browser cannot record: ${(e as Error).message}`)
    }
    this.node = new AudioWorkletNode(this.context, 'pcm', { numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' })
    this.node.port.onmessage = (m: MessageEvent<{ pcm: ArrayBuffer; level: number } | 'end'>) => {
      if (m.data === 'end') this.flushed?.()
      else this.handlers.chunk(new Uint8Array(m.data.pcm), m.data.level)
    }
    this.take(stream)
  }

  /** change goes over to another device; the session goes on. */
  async change(device: string): Promise<void> {
    if (this.context) this.take(await listen(device))
  }

  private take(stream: MediaStream): void {
    this.source?.disconnect()
    this.stream?.getTracks().forEach((t) => {
      t.onended = null
      t.stop()
    })
    this.stream = stream
    this.source = this.context!.createMediaStreamSource(stream)
    this.source.connect(this.node!)
    for (const t of stream.getAudioTracks()) {
      t.enabled = !this.quiet
      t.onended = () => this.handlers.gone()
    }
  }

  mute(on: boolean): void {
    this.quiet = on
    this.stream?.getAudioTracks().forEach((t) => (t.enabled = !on))
  }

  get device(): string {
    return this.stream?.getAudioTracks()[0]?.getSettings().deviceId ?? ''
  }

  /** close hands over the last samples and lets the microphone go. */
  async close(): Promise<void> {
    if (this.node) {
      await new Promise<void>((resolve) => {
        this.flushed = resolve
        setTimeout(resolve, 500) // a context that the system stopped says nothing
        this.node!.port.postMessage('end')
      })
    }
    this.stream?.getTracks().forEach((t) => {
      t.onended = null
      t.stop()
    })
    await this.context?.close().catch(() => {}) // closed already
    this.context = this.node = this.source = this.stream = null
  }
}

async function listen(device: string): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(device ? { deviceId: { exact: device } } : {}) },
    })
  } catch (e) {
    switch ((e as DOMException).name) {
      case 'NotAllowedError':
      case 'SecurityError':
        throw new MicError('denied', 'The microphone is not allowed for this page.')
      case 'NotFoundError':
      case 'OverconstrainedError':
        throw new MicError('no device', 'There is no such microphone.')
    }
    throw new MicError('failed', `The microphone cannot be opened: ${(e as Error).message}. Another program may hold it.`)
  }
}

export async function devices(): Promise<{ id: string; label: string }[]> {
  if (!navigator.mediaDevices) return []
  const list = await navigator.mediaDevices.enumerateDevices()
  return list.filter((d) => d.kind === 'audioinput' && d.deviceId).map((d, i) => ({ id: d.deviceId, label: d.label || `Microphone ${i + 1}` }))
}
