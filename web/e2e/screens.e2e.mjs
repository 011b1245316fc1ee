import assert from 'node:assert/strict'
import { createServer, request } from 'node:http'
import { after, before, test } from 'node:test'
import { accessible, event, launch, open, shot, story, up } from './lib.mjs'

let server, browser, s
before(async () => {
  server = await up()
  browser = await launch()
  s = story()
  await server.publish(s.list)
})
after(async () => {
  await browser?.close()
  await server?.remove()
})

const screens = () => [
  ['live', '#/live', /Live/], ['event', '#/e/' + s.answer.event_id, /llm\.response/], ['trace', '#/t/' + s.failed.event_id, /Trace/],
  ['trace-time', `#/t/${s.failed.event_id}?view=time`, /Trace/], ['trace-list', `#/t/${s.failed.event_id}?view=list`, /Trace/],
  ['store', '#/q?q=type:llm.*', /Store/], ['store-nothing', '#/q?q=type:no.such', /Store/], ['sessions', '#/s', /Sessions/], ['session', '#/s/' + s.session, /whisperlivekit/],
  ['speak', '#/speak', /Speak/], ['health', '#/health', /Health/], ['schemas', '#/schemas', /Schemas/], ['schema', '#/schemas/llm.prompt', /llm\.prompt/],
  ['publish', '#/publish?type=llm.prompt', /Publish/], ['replay', '#/publish?from=' + s.answer.event_id, /Replay/],
  ['diff', `#/diff?a=${s.answer.event_id}&b=${s.failed.event_id}`, /Difference/], ['nothing', '#/nonsense', /Not found/],
]

for (const [size, options] of [['dark', {}], ['light', { theme: 'light' }], ['small', { width: 360, height: 740 }]]) {
  test(`every screen is accessible and fits: ${size}`, async () => {
    for (const [name, hash, heading] of screens()) {
      const page = await open(browser, `${server.url}/${hash}`, options)
      await page.getByRole('heading', { level: 1, name: heading }).waitFor()
      await page.waitForLoadState('networkidle').catch(() => {}) // a live stream never idles
      await page.locator('[aria-busy=true]').waitFor({ state: 'detached' })
      assert.equal(await page.getByRole('heading', { level: 1 }).count(), 1, `${name} has one main heading`)
      assert.match(await page.title(), /– Candybar$/)
      await accessible(page, `${name}, ${size}`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      assert.equal(wide, 0, `${name} is ${wide} px too wide`)
      await shot(page, `${name}-${size}`)
      await page.check()
    }
  })
}

test('errors say what and why, and offer to try again', async () => {
  const page = await open(browser, server.url + '/#/live', { allow: [/404|500|ERR_/] })
  await page.route('**/events/*/graph*', (r) => r.fulfill({ status: 500, contentType: 'application/json', headers: { 'X-Request-Id': 'abc-1' }, body: '{"error":{"code":"internal","message":"the store is on fire"}}' }))
  await page.evaluate((id) => (location.hash = '#/t/' + id), s.answer.event_id)
  await page.getByText('the store is on fire').waitFor()
  await page.getByText('abc-1').waitFor()
  await accessible(page, 'Trace, error')
  await shot(page, 'trace-error')
  await page.unroute('**/events/*/graph*')
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.getByText(/9 events/).waitFor()
  for (const hash of ['#/t/', '#/e/']) {
    await page.evaluate((h) => (location.hash = h), hash + crypto.randomUUID())
    await page.getByRole('button', { name: 'Look again' }).waitFor()
    await accessible(page, 'not found ' + hash)
  }
  await page.check()
})

test('the trace shows causes, what is missing, and what comes in', async () => {
  const page = await open(browser, `${server.url}/#/t/${s.failed.event_id}`)
  await page.getByText('9 events, 14 links').waitFor()
  assert.equal(await page.locator('svg .node').count(), 10)
  assert.equal(await page.locator('svg .node.missing').count(), 1)
  assert.equal(await page.locator('svg .edge.further').count() > 0, true, 'further parents are dashed')
  await page.getByRole('group', { name: /Graph of causes/ }).focus()
  await page.keyboard.press('ArrowLeft')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'llm.response' }).waitFor()
  await page.keyboard.press('Escape')
  await server.publish([event('late.child.sent', {}, { correlation_ids: [s.failed.event_id] })])
  await page.getByRole('button', { name: '+1 new' }).click()
  await page.getByText('10 events, 15 links').waitFor()
  await page.check()
})

test('many siblings fold, and open again', async () => {
  const root = event('fold.root.sent', {})
  await server.publish([root, ...Array.from({ length: 40 }, (_, i) => event('fold.leaf.sent', { i }, { correlation_ids: [root.event_id] }))])
  const page = await open(browser, `${server.url}/#/t/${root.event_id}`)
  await page.locator('svg .node.fold').waitFor()
  assert.equal(await page.locator('svg .node').count(), 2)
  await page.locator('svg .node.fold').click()
  await page.waitForFunction(() => document.querySelectorAll('svg .node').length === 41)
  await shot(page, 'trace-many')
  await page.check()
})

test('the store is searched, paged and opened', async () => {
  const page = await open(browser, server.url + '/#/q?q=type:llm.*')
  await page.getByText('2 found').waitFor()
  await page.getByRole('grid').getByText('llm.response').click()
  await page.getByRole('heading', { name: 'llm.response' }).waitFor()
  const box = page.getByRole('searchbox', { name: 'Query of the store' })
  await box.fill(s.voice.event_id)
  await box.press('Enter')
  await page.getByRole('heading', { name: 'transcription.voice.completed' }).waitFor()
  await page.check()
})

test('an event is written, checked and published from the page', async () => {
  const page = await open(browser, server.url + '/#/publish', { allow: [/422|400/] })
  await page.getByLabel('Type', { exact: true }).fill('llm.prompt')
  await page.getByLabel('Type', { exact: true }).blur()
  const payload = page.getByLabel('Payload (JSON)')
  await page.waitForFunction(() => document.querySelector('textarea').value.includes('provider'))
  await page.getByText('The payload fits the schema').waitFor()
  await payload.fill('{"provider":"x"}')
  await page.locator('#validity').getByText(/prompt/).waitFor()
  await accessible(page, 'Publish, invalid')
  await shot(page, 'publish-invalid')
  await payload.fill('{"provider":"x","prompt":"hello","n":9007199254740993}')
  await page.getByLabel(/Caused by/).fill(s.answer.event_id)
  await page.getByText('The payload fits the schema').waitFor()
  await page.keyboard.press('Control+Enter')
  const href = await page.getByRole('link', { name: /Open event/ }).getAttribute('href')
  const id = href.split('/').pop()
  const answer = await fetch(`${server.url}/events/${id}`)
  const raw = await answer.text()
  assert.match(raw, /"n":9007199254740993/)
  const e = JSON.parse(raw)
  assert.deepEqual([e.source.app, e.source.type, e.correlation_ids], ['candybar', 'manual', [s.answer.event_id]])
  await page.check()
})

test('a session is read, and goes on while one looks', async () => {
  const page = await open(browser, `${server.url}/#/s/${s.session}`)
  await page.getByRole('log').getByText('turn on the lights in the kitchen').first().waitFor()
  await server.publish([event('chat.answer.sent', { text: 'It is done <b>now</b>', session_id: s.session })])
  await page.getByText('It is done <b>now</b>').waitFor()
  await page.getByRole('button', { name: 'Captions' }).click()
  await accessible(page, 'Session, captions')
  await shot(page, 'session-captions')
  await page.check()
})

test('below a path of a proxy all of it works', async () => {
  const target = new URL(server.url)
  const proxy = createServer((req, res) => {
    if (!req.url.startsWith('/tools/bb/') || req.headers.upgrade) return res.writeHead(404).end()
    const inner = request({ host: target.hostname, port: target.port, path: req.url.slice('/tools/bb'.length), method: req.method, headers: req.headers }, (a) => {
      res.writeHead(a.statusCode, a.headers)
      a.pipe(res)
    })
    inner.on('error', () => res.destroy())
    res.on('close', () => inner.destroy())
    req.pipe(inner)
  })
  await new Promise((r) => proxy.listen(0, '127.0.0.1', r))
  const base = `http://127.0.0.1:${proxy.address().port}/tools/bb/`
  // This proxy takes no WebSockets, so that the page must go over to server-sent events.
  const page = await open(browser, base, { allow: [/WebSocket/] })
  await page.locator('header .chip', { hasText: 'Live' }).waitFor()
  const more = event('by.proxy.sent', {})
  await server.publish([more])
  await page.getByText('by.proxy.sent').waitFor()
  assert.match(await page.locator('header .chip').first().getAttribute('title'), /server-sent events/)
  await page.goto(base + 'e/' + more.event_id)
  await page.getByRole('heading', { name: 'by.proxy.sent' }).waitFor()
  assert.match(page.url(), /\/tools\/bb\/#\/e\//)
  await page.check()
  proxy.closeAllConnections()
  proxy.close()
})

test('a server with tokens asks for one', async () => {
  const locked = await up({ env: { BB_HTTP_TOKENS: 'let-me-in-0123456789' } })
  try {
    const page = await open(browser, locked.url + '/#/health', { allow: [/401|403|WebSocket/] })
    await page.getByRole('heading', { name: 'This server needs a token' }).waitFor()
    await accessible(page, 'Login')
    await shot(page, 'login')
    await page.getByLabel('Token').fill('let-me-in-0123456789')
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByRole('heading', { name: 'Health' }).waitFor()
    await page.locator('header .chip', { hasText: 'Live' }).waitFor()
    assert.doesNotMatch(page.url(), /let-me-in/)
    await page.check()
  } finally {
    await locked.remove()
  }
})

test('dead letters are counted before they are sent again, and closed with a reason', async () => {
  const letters = Array.from({ length: 120 }, (_, i) => ({ number: i + 1, event_id: crypto.randomUUID(), event_type: 'llm.prompt', target: 'alarms', sequence: i + 1, reason: 'refused: <b>no</b> queue', attempts: 5, at: new Date().toISOString() }))
  const asked = []
  const page = await open(browser, server.url + '/#/live')
  await page.route('**/dlq**', (r) => r.fulfill({ json: { dead_letters: letters.slice(0, 100), open: letters.length, matched: letters.length } }))
  await page.route('**/dlq/redrive', (r) => {
    const q = r.request().postDataJSON()
    asked.push(q)
    if (q.dry_run) return r.fulfill({ json: { results: [], matched: q.numbers ? q.numbers.length : letters.length, done: 0, failed: 0, left: 0 } })
    const part = q.numbers ? letters.filter((l) => q.numbers.includes(l.number)) : letters.slice(Number(q.after ?? 0), Number(q.after ?? 0) + q.limit)
    const next = q.numbers || Number(q.after ?? 0) + q.limit >= letters.length ? '' : String(Number(q.after ?? 0) + q.limit)
    return r.fulfill({ json: { results: part.map((l) => ({ number: l.number, ok: l.number !== 7, error: l.number === 7 ? { message: 'still no queue' } : undefined })), matched: part.length, done: part.filter((l) => l.number !== 7).length, failed: part.filter((l) => l.number === 7).length, left: 0, next } })
  })
  await page.evaluate(() => (location.hash = '#/health'))
  await page.getByText('refused: <b>no</b> queue').first().waitFor()
  await accessible(page, 'Health with dead letters')
  await page.getByRole('button', { name: 'Redrive 120 matching…' }).click()
  await page.getByRole('heading', { name: 'Redrive 120 dead letters?' }).waitFor()
  await accessible(page, 'Redrive dialog')
  await shot(page, 'health-redrive')
  const sure = page.getByRole('dialog').getByRole('button', { name: 'Redrive' })
  assert.equal(await sure.isDisabled(), true, 'more than 100 want their number written')
  await page.getByLabel('Write 120 to go on').fill('120')
  await sure.click()
  await page.getByText('119 done').waitFor()
  await page.getByText('Number 7: still no queue').waitFor()
  assert.deepEqual(asked.map((q) => [q.dry_run ?? false, q.after ?? '']), [[true, ''], [false, ''], [false, '100']])
  await page.getByRole('button', { name: 'Redrive…' }).first().click()
  await page.getByRole('button', { name: 'Leave them' }).click()
  assert.equal(asked.length, 4, 'leaving them does nothing')
  await page.check()
})
