/** Ring keeps the newest items, each with a number that never comes again. */
export class Ring<T> {
  private readonly items: T[]
  private head = 0
  private size = 0
  /** The number of the next item; the first one is 1. */
  next = 1

  constructor(readonly capacity: number) {
    if (!(capacity >= 1)) throw new RangeError('a ring needs room for one item')
    this.items = new Array<T>(capacity)
  }

  get length(): number {
    return this.size
  }

  /** first is the number of the oldest item that is kept; with none, the next one. */
  get first(): number {
    return this.next - this.size
  }

  push(item: T): number {
    this.items[(this.head + this.size) % this.capacity] = item
    if (this.size < this.capacity) this.size++
    else this.head = (this.head + 1) % this.capacity
    return this.next++
  }

  /** at returns the item with that number, or undefined when it has gone or is not there yet. */
  at(n: number): T | undefined {
    const i = n - this.first
    return i >= 0 && i < this.size ? this.items[(this.head + i) % this.capacity] : undefined
  }

  /** each goes through all, the oldest first. */
  each(visit: (item: T) => void): void {
    for (let i = 0; i < this.size; i++) visit(this.items[(this.head + i) % this.capacity])
  }

  clear(): void {
    this.items.fill(undefined as T)
    this.head = this.size = 0
  }
}
