// What all screens share: theme, clock, token, words for screen readers.

import { useAccess } from './api'
import type { Clock } from './time'

export type Theme = 'dark' | 'light'
type Dialog = '' | 'help' | 'palette'

function stored(name: string): string | null {
  try {
    return localStorage.getItem('candybar.' + name)
  } catch {
    return null // storage may be forbidden
  }
}

export function store(name: string, value: string): void {
  try {
    localStorage.setItem('candybar.' + name, value)
  } catch {
    // The setting lasts until the page is closed.
  }
}

class App {
  theme = $state<Theme>('dark')
  clock = $state<Clock>((stored('clock') as Clock | null) ?? 'local')
  singleKeys = $state(stored('keys') !== 'off')
  dialog = $state<Dialog>('')
  needsToken = $state(false)
  outdated = $state(false)
  /** The polite status line of the page. */
  said = $state('')
  toast = $state('')
  now = $state(Date.now())
  private lastSaid = 0
  private toastTimer = 0

  constructor() {
    const light = matchMedia('(prefers-color-scheme: light)')
    const choice = stored('theme')
    this.setTheme(choice === 'dark' || choice === 'light' ? choice : light.matches ? 'light' : 'dark', false)
    light.addEventListener('change', () => {
      if (!stored('theme')) this.setTheme(light.matches ? 'light' : 'dark', false)
    })
    setInterval(() => (this.now = Date.now()), 1000)
    let token = ''
    try {
      token = sessionStorage.getItem('candybar.token') ?? ''
    } catch {
      // Without storage the token is asked for again.
    }
    useAccess({ token, refused: () => (this.needsToken = true) })
    addEventListener('vite:preloadError', (e) => {
      e.preventDefault()
      this.outdated = true
    })
  }

  setTheme(theme: Theme, keep = true): void {
    this.theme = theme
    document.documentElement.dataset.theme = theme
    if (keep) store('theme', theme)
  }

  nextClock(): void {
    this.clock = this.clock === 'local' ? 'utc' : this.clock === 'utc' ? 'ago' : 'local'
    store('clock', this.clock)
    this.note({ local: 'Times are local', utc: 'Times are UTC', ago: 'Times are relative' }[this.clock])
  }

  setSingleKeys(on: boolean): void {
    this.singleKeys = on
    store('keys', on ? 'on' : 'off')
  }

  login(token: string): void {
    try {
      sessionStorage.setItem('candybar.token', token)
    } catch {
      // It lasts until the page is closed.
    }
    location.reload() // the hash stays
  }

  /** say tells screen readers, at most once in 10 s. */
  say(words: string): void {
    if (Date.now() - this.lastSaid < 10_000) return
    this.lastSaid = Date.now()
    this.said = words
  }

  /** note answers to something that the user did. */
  note(words: string): void {
    this.toast = words
    clearTimeout(this.toastTimer)
    this.toastTimer = window.setTimeout(() => (this.toast = ''), 3000)
  }

  async copy(text: string, what: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text)
      this.note(`Copied ${what}`)
    } catch {
      this.note('The browser does not let this page copy; it needs https or localhost')
    }
  }
}

export const app = new App()

/** save offers text as a file. */
export function save(name: string, type: string, text: string): void {
  const a = document.createElement('a')
  a.href = URL.createObjectURL(new Blob([text], { type }))
  a.download = name
  a.click()
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000)
}
