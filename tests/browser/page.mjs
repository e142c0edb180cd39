// A ComfyUI page in a real browser: what the walk and the pictures share. See README.md here.
import { mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
export const address = new URL(process.env.COMFYUI_URL ?? 'http://127.0.0.1:8188').origin
export const SECONDS = 1000
const shots = process.env.SCREENSHOTS

export function check(condition, sentence) {
  if (!condition) throw new Error(sentence)
}

export async function settings(values) {
  await fetch(`${address}/api/settings`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(values)
  })
}

export async function launch() {
  const folder = process.env.PLAYWRIGHT ?? path.join(homedir(), '.cache/gpen/browser')
  const { chromium } = createRequire(path.join(folder, 'here'))('playwright-core')
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--use-gl=swiftshader']
  })
}

// A page in one of the two node designs ('classic' or 'vue'), and what it complains of.
export async function openPage(browser, design, size = { width: 1700, height: 1000 }) {
  await settings({
    'Comfy.TutorialCompleted': true,
    'Comfy.Workflow.Persist': true,
    'Comfy.Minimap.Visible': false,
    'Comfy.VueNodes.Enabled': design === 'vue',
    'Comfy.VueNodes.AutoScaleLayout': true
  })
  const page = await browser.newPage({ viewport: size })
  // The page asks for the sizes of missing files; tests never use the network.
  await page.route((url) => url.origin !== address, (route) => route.abort())
  const said = []
  page.on('console', (message) => {
    if (message.type() === 'error') said.push(`${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', (error) => said.push(String(error)))
  await page.goto(address, { timeout: 90 * SECONDS })
  await page.waitForFunction(() => window.app?.graph && window.app?.extensionManager, null, {
    timeout: 90 * SECONDS
  })
  await page.waitForTimeout(3 * SECONDS)
  return { page, said }
}

export async function json(...names) {
  return JSON.parse(await readFile(path.join(root, ...names), 'utf8'))
}

// A workflow as if its file had been dropped on the page, fitted into the window.
export async function open(page, workflow) {
  await page.evaluate(async (content) => {
    await window.app.loadGraphData(content, true, true)
  }, workflow)
  await page.waitForTimeout(2 * SECONDS)
  await fit(page)
}

export async function fit(page) {
  await page.evaluate(async () => {
    window.app.canvas.setDirty(true, true)
    await window.app.extensionManager.command?.execute?.('Comfy.Canvas.FitView')
  })
  await page.waitForTimeout(1 * SECONDS)
}

export async function screenshot(page, name, options = {}) {
  if (!shots) return
  await mkdir(shots, { recursive: true })
  await page.screenshot({ path: path.join(shots, `${name}.png`), ...options })
}

export async function dialogs(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll('[role="dialog"], .p-dialog, .comfy-modal')]
      .filter((element) => element.offsetParent !== null)
      .map((element) => element.textContent.trim().slice(0, 300))
  )
}

export async function missingNodes(page) {
  return page.evaluate(() => {
    const known = Object.keys(window.LiteGraph.registered_node_types)
    return window.app.graph._nodes.map((node) => node.type).filter((type) => !known.includes(type))
  })
}

// What is wrong with the layout: nodes on each other, nodes outside of the group they start in,
// wires from right to left, and wires that run behind a node.
export async function layoutFaults(page) {
  return page.evaluate(() => {
    const { graph } = window.app
    const name = (node) => `${node.title} (${node.id})`
    const nodes = graph._nodes.map((node) => {
      const [x, y, width, height] = node.getBounding()
      return { node, left: x, top: y, right: x + width, bottom: y + height }
    })
    const faults = []
    const apart = (a, b) =>
      a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top
    for (const [index, a] of nodes.entries())
      for (const b of nodes.slice(index + 1))
        if (!apart(a, b)) faults.push(`${name(a.node)} lies on ${name(b.node)}`)
    for (const group of graph._groups) {
      const [left, top] = group.pos
      const box = { left, top, right: left + group.size[0], bottom: top + group.size[1] }
      for (const each of nodes) {
        const inside =
          each.left >= box.left && each.right <= box.right && each.top >= box.top &&
          each.bottom <= box.bottom
        if (!apart(each, box) && !inside)
          faults.push(`${name(each.node)} crosses the border of ${group.title}`)
      }
    }
    const links = graph.links instanceof Map ? [...graph.links.values()] : Object.values(graph.links)
    for (const link of links) {
      const from = graph.getNodeById(link.origin_id)
      const to = graph.getNodeById(link.target_id)
      const a = from.getConnectionPos(false, link.origin_slot)
      const b = to.getConnectionPos(true, link.target_slot)
      const wire = `the wire from ${name(from)} to ${name(to)}`
      if (b[0] < a[0]) faults.push(`${wire} runs from right to left`)
      const reach = Math.hypot(b[0] - a[0], b[1] - a[1]) / 4
      const mix = (t, p0, p1, p2, p3) =>
        (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t ** 2 * p2 + t ** 3 * p3
      for (const each of nodes) {
        if (each.node === from || each.node === to) continue
        for (let t = 0.02; t < 1; t += 0.02) {
          const x = mix(t, a[0], a[0] + reach, b[0] - reach, b[0])
          const y = mix(t, a[1], a[1], b[1], b[1])
          if (x > each.left && x < each.right && y > each.top && y < each.bottom) {
            faults.push(`${wire} runs behind ${name(each.node)}`)
            break
          }
        }
      }
    }
    return faults
  })
}

// Presses the page's Run button and waits until nothing is left to do. The node that failed, or null.
export async function run(page, seconds = 300) {
  const before = Object.keys(await (await fetch(`${address}/history`)).json())
  await page.getByRole('button', { name: /^Run/ }).first().click({ timeout: 20 * SECONDS })
  const end = Date.now() + seconds * SECONDS
  while (Date.now() < end) {
    await page.waitForTimeout(500)
    const queue = await (await fetch(`${address}/queue`)).json()
    const history = await (await fetch(`${address}/history`)).json()
    const fresh = Object.keys(history).filter((id) => !before.includes(id))
    if (queue.queue_running.length + queue.queue_pending.length === 0 && fresh.length) {
      await page.waitForTimeout(2 * SECONDS)
      return history[fresh.at(-1)]
    }
  }
  throw new Error(`the prompt did not end in ${seconds} s`)
}

export function failure(entry) {
  const failed = entry.status.messages.find(([event]) => event === 'execution_error')
  return failed ? `${failed[1].node_type}: ${failed[1].exception_message}` : null
}

export async function frame(page, kind, margin = 14) {
  return page.evaluate(
    ([kind, margin]) => {
      const { canvas, graph } = window.app
      const nodes = graph._nodes.filter((node) => !kind || node.type === kind)
      const boxes = (kind ? nodes.slice(0, 1) : nodes).map((node) => node.getBounding())
      if (!kind && graph._groups.length) boxes.push(...graph._groups.map((group) => [...group.pos, ...group.size]))
      const left = Math.min(...boxes.map((box) => box[0])) - margin
      const top = Math.min(...boxes.map((box) => box[1])) - margin
      const right = Math.max(...boxes.map((box) => box[0] + box[2])) + margin
      const bottom = Math.max(...boxes.map((box) => box[1] + box[3])) + margin
      return { left, top, width: right - left, height: bottom - top }
    },
    [kind, margin]
  )
}
