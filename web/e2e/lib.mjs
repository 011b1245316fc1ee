// What the tests in a real browser share: a bb up of their own in a temp folder on a
// free port, a browser, and pages that fail their test when the console complains.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const here = dirname(fileURLToPath(import.meta.url))
export const out = join(here, 'out')
mkdirSync(out, { recursive: true })
export const bb = process.env.CANDYBAR_BB ?? join(here, '../../bin/bb')
const PATIENCE = 60_000

const browsers = ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome']
export const executable = process.env.CANDYBAR_BROWSER ??
  browsers.flatMap((b) => (process.env.PATH ?? '').split(':').map((d) => join(d, b))).find((p) => existsSync(p))

// Settings of the machine must not reach the server.
const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(BB_|RABBIT|REDIS|NATS|DATABASE|EXCHANGE|HTTP_PORT)/.test(name)))

/** up starts bb up. With dir and port it takes the place of one that has ended. */
export async function up({ dir = mkdtempSync(join(tmpdir(), 'candybar-')), listen = '127.0.0.1:0', args = [], env = {} } = {}) {
  const child = spawn(bb, ['up', '--listen', listen, '--data', dir, ...args], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...clean, ...env } })
  process.once('exit', () => child.kill('SIGKILL'))
  let said = ''
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('bb up was not ready in time:\n' + said)), PATIENCE)
    child.on('error', reject)
    child.on('exit', () => reject(new Error('bb up ended:\n' + said)))
    child.stderr.on('data', (d) => {
      said += d
      const m = /ready at (http:\/\/\S+)/.exec(said)
      if (m) {
        clearTimeout(timer)
        resolve(m[1])
      }
    })
  })
  const ended = new Promise((resolve) => child.on('exit', resolve))
  const server = {
    url, dir, listen: new URL(url).host,
    async end(signal = 'SIGTERM') {
      child.kill(signal)
      await ended
    },
    async remove() {
      await server.end()
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    },
    /** publish sends events and waits until they can be found. */
    async publish(list, wait = 'stored') {
      const answer = await fetch(`${url}/events?permissive=true&wait=${wait}`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: typeof list === 'string' ? list : JSON.stringify(list),
      })
      const body = await answer.json()
      assert.ok(answer.ok, JSON.stringify(body))
      return body
    },
    async get(path) {
      const answer = await fetch(url + path)
      assert.ok(answer.ok, `${path}: ${answer.status}`)
      return answer.json()
    },
  }
  return server
}

export async function launch(extra = []) {
  return chromium.launch({
    executablePath: executable,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...extra],
  })
}

/** open shows a page; whatever the console says against it fails the test at its end. */
export async function open(browser, url, { theme = 'dark', width = 1280, height = 800, allow = [], ...options } = {}) {
  const context = await browser.newContext({ colorScheme: theme, viewport: { width, height }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(Number(process.env.CANDYBAR_PATIENCE ?? 30_000))
  const complaints = []
  page.on('console', (m) => {
    if (m.type() === 'error' || /Content Security Policy|TrustedScript/.test(m.text())) complaints.push(`${m.text()} ${m.location()?.url ?? ''}`)
  })
  page.on('pageerror', (e) => complaints.push(String(e)))
  page.on('request', (r) => {
    if (!r.url().startsWith(new URL(url).origin) && !/^(blob|data):/.test(r.url()) && !r.url().startsWith('ws')) complaints.push('a request to another server: ' + r.url())
  })
  await page.goto(url)
  page.check = async () => {
    const bad = complaints.filter((c) => !allow.some((a) => a.test(c)))
    assert.deepEqual(bad, [])
    await context.close()
  }
  return page
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** accessible runs axe over what is shown. */
export async function accessible(page, name) {
  await page.evaluate(axeSource)
  const found = await page.evaluate(() =>
    axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }).then((r) =>
      r.violations.map((v) => `${v.id}: ${v.help} (${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join('; ')})`)))
  assert.deepEqual(found, [], `axe on ${name}`)
}

export async function shot(page, name) {
  await page.screenshot({ path: join(out, name + '.png') })
}

let clock = Date.now() - 60_000

/** event makes one; times go on by 10 ms each. */
export function event(type, payload, more = {}) {
  clock += 10
  return {
    event_id: crypto.randomUUID(), event_type: type, timestamp: new Date(clock).toISOString(), version: '2.0.0',
    source: { host: 'box', type: 'manual', app: 'e2e', meta: null }, correlation_ids: [], agent_context: null, payload, ...more,
  }
}

/** story is a spoken question and what came of it. */
export function story() {
  const agent = { type: 'claude-code', name: 'tonny' }
  const source = { host: 'box', type: 'agent', app: 'tonny', meta: null }
  const session = '0198c000-0000-7000-8000-000000000001'
  const voice = event('transcription.voice.completed', { text: 'turn on the lights in the kitchen', session_id: session, source: 'whisperlivekit', timestamp: new Date().toISOString(), target: 'tonny', audio_metadata: { duration_seconds: 2.4, sample_rate: 16000 } })
  const prompt = event('agent.thread.prompt', { provider: 'anthropic', prompt: 'turn on the lights', session_id: session, tokens: 12 }, { correlation_ids: [voice.event_id], agent_context: agent, source })
  const ask = event('llm.prompt', { provider: 'anthropic', prompt: 'turn on the lights' }, { correlation_ids: [prompt.event_id], agent_context: agent, source })
  const tools = Array.from({ length: 4 }, (_, i) => event('files.artifact.saved', { path: `/tmp/${i}.txt` }, { correlation_ids: [ask.event_id], source }))
  const answer = event('llm.response', { provider: 'anthropic', response: 'The lights are on', model: 'x' }, { correlation_ids: [ask.event_id, voice.event_id, ...tools.map((t) => t.event_id)], agent_context: agent, source })
  const failed = event('workflow.step.failed', { error: 'timeout after 30 s', step: 'lamp' }, { correlation_ids: [answer.event_id, crypto.randomUUID()], source: { host: 'n8n', type: 'hook', app: 'n8n', meta: null } })
  return { list: [voice, prompt, ask, ...tools, answer, failed], voice, answer, failed, session }
}
