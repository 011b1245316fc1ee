// Sound on its way to the server. What the server may still ask for again is kept,
// up to 30 s; beyond that the oldest goes, and is counted.

export const BYTES_PER_MS = 32
const KEPT = 30_000 * BYTES_PER_MS

export class Outbox {
  private chunks: Uint8Array[] = []
  /** Places in the sound, in bytes from its beginning. */
  private oldest = 0
  private end = 0
  private sent = 0
  /** Where the stream of the current connection began. */
  private base = 0
  /** Bytes that went unsent because nobody took them in time. */
  dropped = 0

  push(chunk: Uint8Array): void {
    this.chunks.push(chunk)
    this.end += chunk.length
    while (this.end - this.oldest > KEPT) this.shift()
  }

  private shift(): void {
    const gone = this.chunks.shift()!
    this.oldest += gone.length
    if (this.oldest > this.sent) {
      this.dropped += this.oldest - this.sent
      this.sent = this.oldest
    }
  }

  get total(): number {
    return this.end
  }

  get unsent(): number {
    return this.end - this.sent
  }

  /** next takes the next chunk to send, or null. */
  next(): Uint8Array | null {
    let at = this.oldest
    for (const c of this.chunks) {
      if (at + c.length > this.sent) {
        const part = c.subarray(this.sent - at)
        this.sent = at + c.length
        return part
      }
      at += c.length
    }
    return null
  }

  /** keepFrom lets go of what the server can no longer lose. */
  keepFrom(ms: number): void {
    while (this.chunks.length > 0 && this.oldest + this.chunks[0].length <= Math.min(ms * BYTES_PER_MS, this.sent)) {
      this.oldest += this.chunks.shift()!.length
    }
  }

  /**
   * resume goes back to where a server wants the sound from: bytes of the stream that it
   * knows, or with 0 a new stream that begins at ms. It returns the bytes that are lost.
   */
  resume(bytes: number, ms: number): number {
    const wanted = bytes > 0 ? this.base + bytes : ms * BYTES_PER_MS
    const from = Math.min(Math.max(wanted, this.oldest), this.end)
    if (bytes === 0) this.base = from
    else this.base += from - wanted
    this.sent = from
    return Math.max(0, from - wanted)
  }
}
