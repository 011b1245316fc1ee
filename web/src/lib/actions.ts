// What can be done with an event, whichever screen shows it.

import { address } from './api'
import { app } from './app.svelte'
import type { Event } from './event'
import { pretty } from './json'
import { link, router } from './router.svelte'

export const openTrace = (e: Event) => router.go(link('t', e.id))
export const openEvent = (id: string) => router.go(link('e', id))
export const replay = (e: Event) => router.go(link('publish', '', { from: e.id }))
export const permalink = (e: Event) => address('/e/' + e.id)

let marked: Event | null = null

/** mark remembers an event; difference shows it beside another one. */
export function mark(e: Event): void {
  marked = e
  app.note('Marked. Press d on another event for the difference')
}

export const markedID = () => marked?.id ?? ''

export function difference(e: Event): void {
  if (marked && marked.id !== e.id) router.go(link('diff', '', { a: marked.id, b: e.id }))
  else app.note('Mark another event with x first')
}

/** eventKey does what a key means for an event, and reports whether it means anything. */
export function eventKey(key: string, e: Event): boolean {
  switch (key) {
    case 't':
      openTrace(e)
      return true
    case 'r':
      replay(e)
      return true
    case 'x':
      mark(e)
      return true
    case 'd':
      difference(e)
      return true
    case 'y':
      void app.copy(e.id, 'the id')
      return true
    case 'Y':
      void app.copy(pretty(e.raw), 'the JSON')
      return true
    case 'p':
      void app.copy(permalink(e), 'a link')
      return true
  }
  return false
}

const shell = (s: string) => "'" + s.replaceAll("'", `'\\''`) + "'"

export function publishCommand(e: Event): string {
  const payload = e.payload ? e.raw.slice(e.payload.start, e.payload.end) : '{}'
  const parents = e.parents.map((p) => ` -c ${p}`).join('')
  return `bb publish ${e.type} --json ${shell(payload)}${parents}`
}

export function curlCommand(e: Event): string {
  return `curl -s ${shell(address('/events/' + e.id))}`
}

/** csv writes events as a spreadsheet reads them; no cell begins a formula. */
export function csv(list: Event[]): string {
  const cell = (s: string) => (/^[=+\-@\t\r]/.test(s) ? `"'${s.replaceAll('"', '""')}"` : /[",\n\r]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s)
  const rows = list.map((e) =>
    [e.id, e.type, e.at.ms ? new Date(e.at.ms).toISOString() : '', e.host, e.app, e.agent?.name ?? '', e.session, e.parents.join(' '),
      e.payload ? e.raw.slice(e.payload.start, e.payload.end) : ''].map(cell).join(','))
  return ['event_id,event_type,timestamp,host,app,agent,session_id,correlation_ids,payload', ...rows].join('\r\n') + '\r\n'
}
