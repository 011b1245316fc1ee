import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

const server = process.env.BB_URL ?? 'http://127.0.0.1:8682'
const paths = ['/events', '/api', '/asr', '/schemas', '/validate', '/dlq', '/status', '/readyz', '/sessions', '/export']

// The build must be the same bytes everywhere: no source maps, no clock, no paths.
export default defineConfig({
  plugins: [svelte()],
  base: './',
  build: {
    outDir: '../webui/dist',
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: false,
    assetsInlineLimit: 0, // a data: URL would break the policy of the page
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: Object.fromEntries(paths.map((p) => [p, { target: server, ws: true }])) },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
})
