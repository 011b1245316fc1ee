import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { accessible, event, launch, open, shot, story, up } from './lib.mjs'

let server, browser
before(async () => {
  server = await up()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.remove()
})

const grid = (page) => page.getByRole('grid', { name: 'Live events' })
const received = (page) => page.evaluate(() => candybar.feed.received)

test('an empty server says how to begin', async () => {
  for (const theme of ['dark', 'light']) {
    const page = await open(browser, server.url, { theme })
    await page.getByText('Nothing published yet').waitFor()
    await accessible(page, 'Live, empty, ' + theme)
    await shot(page, 'live-empty-' + theme)
    await page.check()
  }
})

test('events come as they are published, and open', async () => {
  const page = await open(browser, server.url)
  await page.locator('header .chip', { hasText: 'Live' }).waitFor()
  const s = story()
  await server.publish(s.list)
  await grid(page).getByText('workflow.step.failed').waitFor()
  await accessible(page, 'Live')
  await grid(page).getByText('llm.response').click()
  await page.getByRole('heading', { name: 'llm.response' }).waitFor()
  await page.getByText(/stored, number \d+/).waitFor()
  assert.match(await page.locator('.causes').innerText(), /Caused by \(6\)/)
  await accessible(page, 'Live with an event')
  await shot(page, 'live-open')
  await page.keyboard.press('Escape')
  await page.getByRole('complementary').waitFor({ state: 'detached' })
  await page.check()
})

test('digits of large numbers stay as they were sent', async () => {
  const id = crypto.randomUUID()
  await server.publish(`[{"event_id":"${id}","event_type":"big.number.sent","payload":{"tokens":9007199254740993,"ratio":1.50}}]`)
  const page = await open(browser, `${server.url}/#/e/${id}`)
  await page.getByText('9007199254740993').waitFor()
  await page.getByText('1.50', { exact: true }).waitFor()
  await page.check()
})

test('a burst of 5,000 is counted to the last one and drawn in few pictures', async () => {
  const page = await open(browser, server.url)
  await page.locator('header .chip', { hasText: 'Live' }).waitFor()
  await page.waitForFunction(() => candybar.feed.ready)
  const [before, redraws] = await page.evaluate(() => [candybar.feed.received + candybar.feed.dropped, candybar.feed.redraws])
  for (let i = 0; i < 10; i++) await server.publish(Array.from({ length: 500 }, (_, k) => event('burst.event.sent', { i: i * 500 + k })))
  await page.waitForFunction((n) => candybar.feed.received + candybar.feed.dropped >= n, before + 5000)
  assert.equal(await page.evaluate(() => candybar.feed.received + candybar.feed.dropped), before + 5000)
  const drawn = (await page.evaluate(() => candybar.feed.redraws)) - redraws
  assert.ok(drawn < 2500, `${drawn} redraws for 5,000 events`)
  const rows = await page.locator('[role=row]').count()
  const seen = await grid(page).evaluate((g) => Math.ceil(g.clientHeight / 28))
  assert.ok(rows <= seen + 13, `${rows} rows are drawn where ${seen} are seen`)
  assert.ok((await page.evaluate(() => document.querySelectorAll('*').length)) < 1500)
  await shot(page, 'live-busy')
  await page.check()
})

test('the page keeps 20,000 and no more', async () => {
  const page = await open(browser, server.url)
  await page.waitForFunction(() => candybar.feed.ready)
  const from = await received(page)
  for (let i = 0; i < 11; i++) await server.publish(Array.from({ length: 2000 }, (_, k) => event('many.event.sent', { i: i * 2000 + k })), 'wal')
  await page.waitForFunction((n) => candybar.feed.received + candybar.feed.dropped >= n, from + 22_000, { timeout: 60_000 })
  assert.ok((await page.evaluate(() => candybar.feed.ring.length)) <= 20_000)
  const box = page.getByRole('searchbox', { name: 'Filter of the live events' })
  await box.fill('payload.i:21999')
  await page.waitForFunction(() => document.querySelectorAll('[role=row]:not(.gap)').length === 1)
  await page.evaluate(() => candybar.feed.clear())
  await server.publish([event('one.more.sent', {})])
  await box.fill('nothingatall')
  await page.getByText(/None of the [\d,]+ events that are kept fits/).waitFor()
  await accessible(page, 'Live, nothing fits')
  await page.check()
})

test('pause keeps the rows, counts what is new, and goes on at the end', async () => {
  const page = await open(browser, server.url)
  await grid(page).waitFor()
  await grid(page).focus()
  await page.keyboard.press(' ')
  await page.getByText('Paused – 0 new below').waitFor()
  const top = () => page.locator('[role=row]').first().innerText()
  const still = await top()
  await server.publish(Array.from({ length: 7 }, (_, i) => event('later.event.sent', { i })))
  await page.getByText('Paused – 7 new below').waitFor()
  assert.equal(await top(), still)
  await accessible(page, 'Live, paused')
  await shot(page, 'live-paused')
  await page.keyboard.press('End')
  await page.getByText('later.event.sent').last().waitFor()
  await page.locator('.paused').waitFor({ state: 'detached' })
  await grid(page).evaluate((g) => (g.scrollTop -= 500)) // as a user does
  await page.getByText('Paused – 0 new below').waitFor()
  await page.check()
})

test('a bad filter is told, and the last good one stays', async () => {
  const page = await open(browser, server.url)
  await grid(page).waitFor()
  const box = page.getByRole('searchbox', { name: 'Filter of the live events' })
  await box.fill('type:later.*')
  await page.getByText(/shown 7 of/).waitFor()
  await box.fill('type:later.* foo:bar')
  await page.getByText(/This term has a key that is not known/).waitFor()
  await page.getByText(/shown 7 of/).waitFor()
  await accessible(page, 'Live, bad filter')
  await shot(page, 'live-bad-filter')
  assert.match(await page.evaluate(() => location.hash), /q=type%3Alater/)
  await page.check()
})

test('the keyboard alone leads from an event to its trace and back', async () => {
  const s = story()
  await server.publish(s.list)
  const page = await open(browser, server.url + '/#/live?q=workflow.*')
  await grid(page).getByText('workflow.step.failed').first().waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter') // the skip link
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main')
  await grid(page).focus()
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('t')
  await page.getByRole('heading', { name: /^Trace/ }).waitFor()
  await page.keyboard.press('g')
  await page.keyboard.press('h')
  await page.getByRole('heading', { name: 'Health' }).waitFor()
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox').fill(s.answer.event_id)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'llm.response' }).waitFor()
  await page.keyboard.press('?')
  await page.getByRole('heading', { name: 'Keys and help' }).waitFor()
  await accessible(page, 'Help')
  await page.keyboard.press('Escape')
  await page.check()
})

test('markup in an event is text wherever it is shown', async () => {
  const evil = `"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`
  const e = event('evil.markup.failed', { text: evil, [evil]: evil, session_id: evil }, { source: { host: evil, type: 'manual', app: evil, meta: { a: evil } }, agent_context: { type: 'custom', name: evil } })
  const child = event('evil.child.sent', { text: evil }, { correlation_ids: [e.event_id] })
  await server.publish([e, child])
  const hashes = ['#/live?q=evil.*', `#/e/${e.event_id}`, `#/t/${e.event_id}`, `#/t/${e.event_id}?view=time`, `#/t/${e.event_id}?view=list`, '#/q?q=type:evil.*', `#/s/${encodeURIComponent(evil)}`, `#/publish?from=${e.event_id}`, `#/diff?a=${e.event_id}&b=${child.event_id}`, '#/' + encodeURIComponent(evil)]
  const page = await open(browser, server.url, { allow: [/400|404|422/] })
  for (const hash of hashes) {
    await page.evaluate((h) => (location.hash = h), hash)
    await page.waitForTimeout(400)
    assert.equal(await page.evaluate(() => window.hacked), undefined, hash)
    assert.equal(await page.locator('img').count(), 0, hash)
  }
  await page.check()
})

test('a server that dies and comes back costs no event', async () => {
  const page = await open(browser, server.url, { allow: [/ERR_|WebSocket|Failed to load/] })
  await page.locator('header .chip', { hasText: 'Live' }).waitFor()
  await server.publish([event('before.crash.sent', {})])
  await page.getByText('before.crash.sent').first().waitFor()
  await server.end('SIGKILL')
  await page.getByText(/Reconnecting in/).waitFor()
  await accessible(page, 'Live, disconnected')
  await shot(page, 'live-disconnected')
  assert.ok(await page.getByText('before.crash.sent').first().isVisible(), 'what was there stays')
  const again = await up({ dir: server.dir, listen: server.listen })
  Object.assign(server, { end: again.end })
  await again.publish([event('after.crash.sent', {})])
  await page.getByRole('button', { name: 'Now' }).click({ timeout: 3000 }).catch(() => {}) // it may be back by itself
  await page.getByText('after.crash.sent').first().waitFor()
  assert.equal(await page.getByText('after.crash.sent').count(), 1)
  await page.check()
})
