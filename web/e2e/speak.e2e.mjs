import assert from 'node:assert/strict'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { accessible, launch, open, shot, up } from './lib.mjs'

const wav = join(dirname(fileURLToPath(import.meta.url)), '../../cli/demo.wav')
const microphone = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-audio-capture=${wav}%noloop`]
let server, browser

before(async () => {
  server = await up()
  browser = await launch(microphone)
})
after(async () => {
  await browser?.close()
  await server?.remove()
})

const speaking = async () => (await server.get('/status')).voice.ok

test('from the microphone to an event and its trace', async (t) => {
  if (!(await speaking())) return t.skip('no recogniser is installed')
  const page = await open(browser, server.url + '/#/speak')
  await page.getByRole('heading', { name: 'Speak' }).waitFor()
  await accessible(page, 'Speak, idle')
  await page.getByRole('button', { name: 'Talk' }).click()
  await page.locator('main .chip', { hasText: 'Live' }).waitFor()
  await page.locator('.captions .partial, .captions .stamp').first().waitFor()
  await shot(page, 'speak-live')
  await accessible(page, 'Speak, live')
  await page.locator('.captions .stamp').first().waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.locator('main .chip', { hasText: 'Ended' }).waitFor()
  const line = (await page.locator('.captions p').first().innerText()).toLowerCase()
  assert.match(line, /ten|meeting|morning|start/, 'what the clip says was heard')
  await shot(page, 'speak-ended')
  const href = await page.locator('.captions .event').first().getAttribute('href')
  const id = href.split('/').pop()
  const event = await server.get('/events/' + id)
  assert.equal(event.event_type, 'transcription.voice.completed')
  assert.equal(event.payload.source, 'whisperlivekit')
  await page.locator('.captions .event', { hasText: 'event' }).first().click()
  await page.getByRole('heading', { name: 'transcription.voice.completed' }).waitFor()
  await page.check()
})

test('a connection that breaks loses no word', async (t) => {
  if (!(await speaking())) return t.skip('no recogniser is installed')
  const page = await open(browser, server.url + '/', { allow: [/WebSocket|ERR_/] })
  // The page's sockets are kept, so that the test can cut one.
  await page.addInitScript(() => {
    window.sockets = []
    const Real = WebSocket
    window.WebSocket = class extends Real {
      constructor(...a) {
        super(...a)
        window.sockets.push(this)
      }
    }
  })
  await page.goto(server.url + '/#/speak')
  await page.reload()
  await page.getByRole('button', { name: 'Talk' }).click()
  await page.getByText(/sent \d\d+ KB/).waitFor()
  await page.evaluate(() => window.sockets.find((s) => s.url.includes('/asr') && s.readyState === 1).close())
  await page.waitForFunction(() => window.sockets.filter((s) => s.url.includes('resume_token')).length > 0)
  await page.locator('main .chip', { hasText: 'Live' }).waitFor()
  await page.locator('.captions .stamp').first().waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.locator('main .chip', { hasText: 'Ended' }).waitFor()
  const sessions = await page.evaluate(() => new Set(window.sockets.filter((s) => s.url.includes('session_id')).map((s) => new URL(s.url).searchParams.get('session_id'))).size)
  assert.equal(sessions, 1)
  const closed = await server.get('/events?q=type:transcription.session.closed&limit=10')
  const opened = await server.get('/events?q=type:transcription.session.opened&limit=10')
  assert.equal(closed.events.length, opened.events.length, 'each session was opened and closed once')
  await page.check()
})

test('the space bar is held to talk', async (t) => {
  if (!(await speaking())) return t.skip('no recogniser is installed')
  const page = await open(browser, server.url + '/#/speak')
  await page.getByRole('heading', { name: 'Speak' }).waitFor()
  await page.keyboard.down(' ')
  await page.locator('main .chip', { hasText: 'Live' }).waitFor()
  await page.keyboard.up(' ')
  await page.locator('main .chip', { hasText: 'Ended' }).waitFor()
  await page.check()
})

test('a refused microphone says what to do', async () => {
  const page = await open(browser, server.url + '/#/speak', { theme: 'light', width: 360, height: 740 })
  await page.getByRole('heading', { name: 'Speak' }).waitFor()
  await shot(page, 'speak-small')
  await page.evaluate(() => (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))))
  await page.getByRole('button', { name: 'Talk' }).click()
  await page.getByText('The microphone is not allowed for this page.').waitFor()
  await accessible(page, 'Speak, denied')
  await shot(page, 'speak-denied-small')
  await page.check()
})

test('without a secure address the tunnel is named', async () => {
  const page = await open(browser, server.url + '/#/live')
  await page.evaluate(() => Object.defineProperty(window, 'isSecureContext', { value: false }))
  await page.evaluate(() => (location.hash = '#/speak'))
  await page.getByRole('button', { name: 'Talk' }).click()
  await page.getByText('ssh -L').waitFor()
  await accessible(page, 'Speak, insecure')
  await shot(page, 'speak-insecure')
  await page.check()
})
