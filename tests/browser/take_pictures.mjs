// Takes the pictures of the documentation in a real browser: each node for its help page, each
// workflow's thumbnail, and the graph for the README. Run like open_workflows.mjs; writes PNG files
// into the folder PICTURES names.
import { chromium } from 'playwright-core'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
const address = process.env.COMFYUI_URL ?? 'http://127.0.0.1:8188'
const target = process.env.PICTURES ?? 'pictures'
// These need a file that a test machine does not have; they are shown before a run.
const NOT_RUN = /^(2|5)-/
const MARGIN = 14

async function box(page, kind) {
  return page.evaluate(
    ([kind, margin]) => {
      const { canvas, graph } = window.app
      const nodes = graph._nodes.filter((node) => !kind || node.type === kind)
      const edges = (kind ? nodes.slice(0, 1) : nodes).map((node) => node.getBounding())
      const left = Math.min(...edges.map((edge) => edge[0])) - margin
      const top = Math.min(...edges.map((edge) => edge[1])) - margin
      const right = Math.max(...edges.map((edge) => edge[0] + edge[2])) + margin
      const bottom = Math.max(...edges.map((edge) => edge[1] + edge[3])) + margin
      const { scale, offset } = canvas.ds
      const frame = canvas.canvas.getBoundingClientRect()
      return {
        x: frame.left + (left + offset[0]) * scale,
        y: frame.top + (top + offset[1]) * scale,
        width: (right - left) * scale,
        height: (bottom - top) * scale
      }
    },
    [kind, MARGIN]
  )
}

// Node or graph to the middle of the page, clear of the side bar and the menus.
async function show(page, kind, width, height) {
  await page.evaluate(
    ([kind, width, height]) => {
      const { canvas, graph } = window.app
      const nodes = graph._nodes.filter((node) => !kind || node.type === kind)
      const edges = (kind ? nodes.slice(0, 1) : nodes).map((node) => node.getBounding())
      const left = Math.min(...edges.map((edge) => edge[0]))
      const top = Math.min(...edges.map((edge) => edge[1]))
      const wide = Math.max(...edges.map((edge) => edge[0] + edge[2])) - left
      const tall = Math.max(...edges.map((edge) => edge[1] + edge[3])) - top
      const scale = Math.min(1.25, (width - 260) / wide, (height - 260) / tall)
      canvas.ds.scale = scale
      canvas.ds.offset[0] = 130 / scale - left
      canvas.ds.offset[1] = 150 / scale - top
      canvas.deselectAll?.()
      canvas.setDirty(true, true)
    },
    [kind, width, height]
  )
  await page.waitForTimeout(1000)
}

async function run(page) {
  await page.getByRole('button', { name: /^Run/ }).first().click()
  await page.waitForTimeout(1500)
  const end = Date.now() + 300_000
  while (Date.now() < end) {
    const queue = await (await fetch(`${address}/queue`)).json()
    if (queue.queue_running.length + queue.queue_pending.length === 0) break
    await page.waitForTimeout(500)
  }
  await page.waitForTimeout(12_000)
}

async function main() {
  await mkdir(target, { recursive: true })
  const width = 2000
  const height = 1250
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--use-gl=swiftshader']
  })
  await fetch(`${address}/api/settings`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ 'Comfy.TutorialCompleted': true, 'Comfy.Minimap.Visible': false })
  })
  const page = await browser.newPage({ viewport: { width, height } })
  await page.goto(address, { timeout: 90_000 })
  await page.waitForFunction(() => window.app?.graph && window.app?.extensionManager)
  await page.waitForTimeout(3000)
  const files = await readdir(path.join(root, 'example_workflows'))
  const taken = new Set()
  for (const file of files.filter((each) => each.endsWith('.json')).sort()) {
    const text = await readFile(path.join(root, 'example_workflows', file), 'utf8')
    await page.evaluate((workflow) => window.app.loadGraphData(workflow, true, true), JSON.parse(text))
    await page.waitForTimeout(2500)
    if (!NOT_RUN.test(file)) await run(page)
    await show(page, null, width, height)
    const name = file.slice(0, -5)
    await page.screenshot({ path: path.join(target, `${name}.png`), clip: await box(page, null) })
    const kinds = await page.evaluate(() => window.app.graph._nodes.map((node) => node.type))
    const wanted = kinds.filter((kind) => kind.startsWith('GPEN_') && !taken.has(kind))
    for (const kind of NOT_RUN.test(file) ? [] : wanted) {
      taken.add(kind)
      await show(page, kind, width, height)
      await page.screenshot({ path: path.join(target, `${kind}.png`), clip: await box(page, kind) })
    }
    console.log(name)
  }
  await browser.close()
}

await main()
