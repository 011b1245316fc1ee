import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { accessible, event, launch, open, shot, up } from './lib.mjs'

// A stream that the test itself plays, so that a gap comes exactly where it is wanted.

let server, browser
before(async () => {
  server = await up()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.remove()
})

test('events that a slow page was not sent are named, and loaded from the store', async () => {
  const list = Array.from({ length: 20 }, (_, i) => event('slow.event.sent', { i }))
  const acks = []
  const page = await open(browser, server.url + '/openapi.json')
  await page.routeWebSocket(/api\/v1\/stream/, (ws) => {
    ws.onMessage((m) => acks.push(JSON.parse(m)))
    const frame = (from, to) => ws.send(JSON.stringify({ first: from, last: to, events: list.slice(from - 1, to), seqs: list.slice(from - 1, to).map((_, i) => from + i), counts: { matched: to, scanned: to }, dropped: 0 }))
    ws.send('{"hello":{"position":0,"begin":0}}')
    setTimeout(() => {
      frame(1, 5)
      ws.send('{"gap":{"from":6,"to":15,"n":10}}')
      frame(16, 20)
    }, 300) // after the page has looked at the store, which is empty then
  })
  await page.goto(server.url + '/#/live')
  await page.getByText('10 events not delivered').waitFor()
  assert.equal(await page.evaluate(() => candybar.feed.received), 10)
  assert.equal(await page.evaluate(() => candybar.feed.dropped), 10)
  assert.deepEqual(acks.filter((a) => a.ack).map((a) => a.ack), [5, 20])
  await accessible(page, 'Live with a gap')
  await shot(page, 'live-gap')
  for (const e of list) await server.publish([e]) // one by one: their sequences are 1 to 20
  await page.getByRole('button', { name: 'Load from store' }).click()
  await page.getByText('10 events not delivered').waitFor({ state: 'detached' })
  const shown = await page.evaluate(() => {
    const out = []
    candybar.feed.ring.each((e) => out.push(e.preview))
    return out
  })
  assert.deepEqual(shown, list.map((e) => JSON.stringify(e.payload)))
  await page.check()
})

test('however many messages come, there is at most one redraw a picture', async () => {
  const page = await open(browser, server.url + '/openapi.json')
  await page.routeWebSocket(/api\/v1\/stream/, (ws) => {
    ws.send('{"hello":{"position":100}}')
    setTimeout(() => {
      for (let i = 101; i <= 2100; i++) ws.send(JSON.stringify({ first: i, last: i, events: [event('single.event.sent', { i })], seqs: [i], counts: { matched: i, scanned: i }, dropped: 0 }))
    }, 300)
  })
  await page.addInitScript(() => {
    window.pictures = 0
    const count = () => {
      window.pictures++
      requestAnimationFrame(count)
    }
    requestAnimationFrame(count)
  })
  await page.goto(server.url + '/#/live')
  await page.waitForFunction(() => window.candybar?.feed.received >= 2000)
  const [redraws, pictures] = await page.evaluate(() => [candybar.feed.redraws, window.pictures])
  assert.ok(redraws <= pictures + 1, `${redraws} redraws in ${pictures} pictures of the screen`)
  await page.check()
})

test('a silent connection is given up and made anew', async () => {
  const page = await open(browser, server.url + '/openapi.json')
  let made = 0
  await page.clock.install()
  await page.routeWebSocket(/api\/v1\/stream/, (ws) => {
    made++
    ws.send('{"hello":{"position":0}}')
  })
  await page.goto(server.url + '/#/live')
  await page.locator('header .chip', { hasText: 'Live' }).waitFor()
  await page.clock.runFor(20_000)
  await page.waitForFunction(() => true)
  assert.ok(made >= 2, `${made} connections`)
  await page.check()
})

test('a hidden page asks for counts alone, and is told what it missed', async () => {
  const page = await open(browser, server.url + '/openapi.json')
  const asked = []
  let socket
  await page.routeWebSocket(/api\/v1\/stream/, (ws) => {
    socket = ws
    ws.onMessage((m) => asked.push(m))
    ws.send('{"hello":{"position":1000}}')
  })
  await page.goto(server.url + '/#/live')
  await page.locator('header .chip', { hasText: 'Live' }).waitFor()
  const show = (hidden) => page.evaluate((h) => {
    Object.defineProperty(document, 'hidden', { value: h, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  }, hidden)
  await show(true)
  socket.send('{"first":1009,"last":1009,"events":[],"seqs":[],"counts":{"matched":9,"scanned":9},"dropped":0}')
  await show(false)
  socket.send('{"gap":{"from":1001,"to":1009,"n":9}}')
  await page.getByText('9 events not delivered').waitFor()
  assert.deepEqual(asked, ['{"mode":"count"}', '{"ack":1009}', '{"mode":"events"}'])
  await page.getByRole('button', { name: 'Ignore' }).click()
  await page.getByText('9 events not delivered').waitFor({ state: 'detached' })
  await page.check()
})
