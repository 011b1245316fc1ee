// Takes pictures of screens for people: node e2e/look.mjs [name=hash ...]

import { launch, open, shot, story, up } from './lib.mjs'

const server = await up()
const { list } = story()
for (let i = 0; i < 3; i++) await server.publish(i === 0 ? list : story().list)
const browser = await launch()
for (const part of process.argv.slice(2)) {
  const [name, hash = ''] = part.split(/=(.*)/s)
  for (const [suffix, options] of [['dark', {}], ['light', { theme: 'light' }], ['small', { width: 360, height: 740 }]]) {
    const page = await open(browser, `${server.url}/${hash.replace('FAILED', list.at(-1).event_id).replace('SESSION', '0198c000-0000-7000-8000-000000000001')}`, options)
    await page.waitForTimeout(1300)
    await shot(page, `look-${name}-${suffix}`)
    await page.check().catch((e) => console.log(name, suffix, e.message))
  }
}
await browser.close()
await server.remove()
