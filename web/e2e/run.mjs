// Runs the tests in a real browser, or says plainly why not.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bb, executable } from './lib.mjs'

const here = dirname(fileURLToPath(import.meta.url))
if (!executable) {
  console.log('SKIP the tests of Candybar in a browser: no Chromium is installed (apt-get install chromium-headless-shell)')
  process.exit(0)
}
if (!existsSync(bb)) {
  console.error(`there is no ${bb}; run make build first`)
  process.exit(1)
}
const wanted = process.argv.slice(2)
const files = readdirSync(here).filter((f) => f.endsWith('.e2e.mjs') && (wanted.length === 0 || wanted.some((w) => f.includes(w)))).map((f) => join(here, f))
const run = spawnSync(process.execPath, ['--test', '--test-concurrency=1', '--test-force-exit', '--test-timeout=300000', '--test-reporter=spec', ...files], { stdio: 'inherit' })
process.exit(run.status ?? 1)
