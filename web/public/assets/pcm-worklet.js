// Turns what the microphone hears into 16-bit samples at 16 kHz, in chunks of
// 100 ms. Where the browser does not resample by itself, this does, by linear
// interpolation whose position is carried from block to block: no drift.
const RATE = 16000
const CHUNK = 1600

class PCM extends AudioWorkletProcessor {
  constructor() {
    super()
    this.step = sampleRate / RATE
    this.at = 0 // position of the next sample in the current block
    this.last = 0 // the last sample of the block before
    this.out = new Int16Array(CHUNK)
    this.n = 0
    this.sum = 0
    this.open = true
    this.port.onmessage = (m) => {
      if (m.data !== 'end') return
      this.flush()
      this.open = false
      this.port.postMessage('end')
    }
  }

  flush() {
    if (this.n === 0) return
    const part = this.out.slice(0, this.n)
    this.port.postMessage({ pcm: part.buffer, level: Math.sqrt(this.sum / this.n) }, [part.buffer])
    this.n = 0
    this.sum = 0
  }

  process(inputs) {
    const block = inputs[0]?.[0]
    if (!this.open) return false
    if (!block) return true
    for (; this.at < block.length; this.at += this.step) {
      const i = Math.floor(this.at)
      const before = i === 0 ? this.last : block[i - 1]
      const v = Math.max(-1, Math.min(1, before + (block[i] - before) * (this.at - i)))
      this.sum += v * v
      this.out[this.n++] = v < 0 ? v * 0x8000 : v * 0x7fff
      if (this.n === CHUNK) this.flush()
    }
    this.at -= block.length
    this.last = block[block.length - 1]
    return true
  }
}

registerProcessor('pcm', PCM)
