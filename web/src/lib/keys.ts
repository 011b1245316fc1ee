// Keys of the whole page. Single keys can be turned off, as speech input may
// type them by accident (WCAG 2.1.4).

export const screens = [
  { name: 'live', key: 'l', title: 'Live', icon: 'M3 12h4l3-8 4 16 3-8h4' },
  { name: 'q', key: 'q', title: 'Store', icon: 'M4 6c0-2 16-2 16 0v12c0 2-16 2-16 0zM4 6c0 2 16 2 16 0M4 12c0 2 16 2 16 0' },
  { name: 's', key: 's', title: 'Sessions', icon: 'M4 5h16v11H9l-5 4zM8 9h8M8 12h5' },
  { name: 'speak', key: 'm', title: 'Speak', icon: 'M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v4' },
  { name: 'health', key: 'h', title: 'Health', icon: 'M12 20s-8-5-8-11a4.500 4.500 0 0 1 8-2.800A4.500 4.500 0 0 1 20 9c0 6-8 11-8 11z' },
  { name: 'schemas', key: 'c', title: 'Schemas', icon: 'M6 3h9l4 4v14H6zM14 3v5h5M9 13h7M9 17h7' },
] as const

export const shortcuts: [string, string][] = [
  ['?', 'This help'],
  ['/', 'Go to the filter'],
  ['Ctrl+K', 'Go to anything: a screen, an event id, a filter'],
  ['g then l q s m h c', 'Live, Store, Sessions, Speak, Health, Schemas'],
  ['↑ ↓ or j k', 'Move through a list'],
  ['Home End', 'First, last; End follows the live stream again'],
  ['Enter', 'Open'],
  ['Esc', 'Close'],
  ['Space', 'Pause or go on (in a list); talk (on Speak)'],
  ['t', 'Trace of the event'],
  ['r', 'Replay the event (asks first)'],
  ['x, then d', 'Mark two events, then show their difference'],
  ['y Y', 'Copy the id, the JSON'],
  ['p', 'Copy a link to the event'],
  ['.', 'Times: local, UTC, relative'],
  ['[ ]', 'Previous, next event'],
  ['+ − 0', 'Graph: larger, smaller, all of it'],
]

/** isTyping reports whether a key belongs to a text field. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false
  return target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName) || (target instanceof HTMLInputElement && target.type !== 'checkbox')
}
