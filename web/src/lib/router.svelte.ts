// Routes live behind the #, so that the page works below any path, and ids of
// events stay out of the logs of proxies.

export interface Route {
  name: string
  arg: string
  params: URLSearchParams
}

export function readRoute(hash: string): Route {
  const [path, search = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  const [name = '', arg = ''] = path.split('/')
  let decoded = arg
  try {
    decoded = decodeURIComponent(arg)
  } catch {
    // A broken escape stays as it is.
  }
  return { name: name || 'live', arg: decoded, params: new URLSearchParams(search) }
}

export function link(name: string, arg = '', params: Record<string, string> = {}): string {
  const kept = Object.entries(params).filter(([, v]) => v !== '')
  const search = new URLSearchParams(kept).toString()
  return '#/' + name + (arg ? '/' + encodeURIComponent(arg) : '') + (search ? '?' + search : '')
}

class Router {
  route = $state.raw(readRoute(location.hash))

  constructor() {
    addEventListener('hashchange', () => (this.route = readRoute(location.hash)))
  }

  go(href: string): void {
    location.hash = href
  }

  /** set changes a parameter without a step in the browser's history. */
  set(name: string, value: string): void {
    const params = Object.fromEntries(this.route.params)
    params[name] = value
    history.replaceState(null, '', link(this.route.name, this.route.arg, params))
    this.route = readRoute(location.hash)
  }
}

export const router = new Router()
