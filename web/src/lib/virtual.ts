// Which rows of a long list are on the screen. All have one height.

export interface Window {
  /** The first row to draw, and how many. */
  start: number
  count: number
  /** Where the first one stands, and how high all of them are, in pixels. */
  top: number
  height: number
}

export function windowOf(total: number, rowHeight: number, scrollTop: number, viewport: number, overscan = 6): Window {
  const height = total * rowHeight
  const clamped = Math.max(0, Math.min(scrollTop, height - viewport))
  const start = Math.max(0, Math.floor(clamped / rowHeight) - overscan)
  const end = Math.min(total, Math.ceil((clamped + viewport) / rowHeight) + overscan)
  return { start, count: Math.max(0, end - start), top: start * rowHeight, height }
}

/** atEnd allows for fractions of pixels. */
export function atEnd(height: number, scrollTop: number, viewport: number, allowance: number): boolean {
  return scrollTop + viewport >= height - allowance
}

/** reveal is the scroll position that shows a row with the least movement. */
export function reveal(row: number, rowHeight: number, scrollTop: number, viewport: number): number {
  const top = row * rowHeight
  if (top < scrollTop) return top
  if (top + rowHeight > scrollTop + viewport) return top + rowHeight - viewport
  return scrollTop
}
