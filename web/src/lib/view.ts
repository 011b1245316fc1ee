// The events of the ring that a filter wants, kept up to date as the ring moves.

import type { Event } from './event'
import { follow, matches } from './filter/match'
import type { Term } from './filter/parse'
import type { Ring } from './ring'

export class View {
  private list: Event[] = []
  private begin = 0
  private next = 1
  private generation = -1
  private terms: readonly Term[] = []

  constructor(private readonly ring: Ring<Event>) {}

  filter(terms: readonly Term[]): void {
    this.terms = terms
    this.reset()
  }

  private reset(): void {
    this.list = []
    this.begin = 0
    this.next = this.ring.first
  }

  /** sync takes in what has come since the last time. Another generation means that the ring was made anew. */
  sync(generation: number): void {
    if (generation !== this.generation) {
      this.generation = generation
      this.reset()
    }
    for (let n = Math.max(this.next, this.ring.first); n < this.ring.next; n++) {
      const e = this.ring.at(n)!
      follow(this.terms, e)
      if (e.gap || matches(this.terms, e)) this.list.push(e)
    }
    this.next = this.ring.next
    while (this.begin < this.list.length && this.list[this.begin].n < this.ring.first) this.begin++
    if (this.begin > 4096) {
      this.list = this.list.slice(this.begin)
      this.begin = 0
    }
  }

  get length(): number {
    return this.list.length - this.begin
  }

  at(i: number): Event {
    return this.list[this.begin + i]
  }

  /** rows copies what there is now, for a list that stands still. */
  rows(): Event[] {
    return this.list.slice(this.begin)
  }
}

/** Rows is what a list shows: a view, or a plain array. */
export interface Rows {
  readonly length: number
  at(i: number): Event | undefined
}
