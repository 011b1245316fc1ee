// Server-sent events read by fetch, so that they can carry a token.

import type { Frame } from './frame'

/** Lines collects text and gives its events as frames, as many as are whole. */
export class Lines {
  private rest = ''
  private first = true

  push(chunk: string): Frame[] {
    this.rest += chunk
    const blocks = this.rest.split('\n\n')
    this.rest = blocks.pop() ?? ''
    const frame: Frame = { events: [], seqs: [] }
    const out: Frame[] = []
    for (const block of blocks) {
      let id = -1
      const data: string[] = []
      for (const line of block.split('\n')) {
        if (line.startsWith('id: ')) id = Number(line.slice(4))
        else if (line.startsWith('data: ')) data.push(line.slice(6))
      }
      if (data.length > 0) {
        frame.events.push(data.join('\n'))
        frame.seqs!.push(id)
      }
      if (id < 0) continue
      if (this.first) {
        this.first = false
        out.push({ hello: { position: id }, events: [] })
      } else frame.last = id
    }
    if (frame.last !== undefined) out.push(frame)
    return out
  }
}
