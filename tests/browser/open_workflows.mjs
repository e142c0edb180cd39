// Opens every example workflow in a real browser, runs the first, and takes screenshots.
// See README.md in this folder.
import { chromium } from 'playwright-core'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const root = path.resolve(here, '../..')
const address = process.env.COMFYUI_URL ?? 'http://127.0.0.1:8188'
const shots = process.env.SCREENSHOTS
const SECONDS = 1000

// What a page says in its console by itself, with no workflow open.
const NOT_OURS = [/favicon/, /ResizeObserver loop/]

function check(condition, sentence) {
  if (!condition) throw new Error(sentence)
}

async function openPage(browser) {
  await fetch(`${address}/api/settings`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      'Comfy.TutorialCompleted': true,
      'Comfy.Workflow.ShowMissingModelsWarning': true,
      'Comfy.Workflow.ShowMissingNodesWarning': true
    })
  })
  const page = await browser.newPage({ viewport: { width: 1700, height: 1000 } })
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

async function open(page, name) {
  const text = await readFile(path.join(root, 'example_workflows', `${name}.json`), 'utf8')
  await page.evaluate(async (workflow) => {
    await window.app.loadGraphData(workflow, true, true)
  }, JSON.parse(text))
  await page.waitForTimeout(2 * SECONDS)
  await page.evaluate(async () => {
    window.app.canvas.setDirty(true, true)
    await window.app.extensionManager.command?.execute?.('Comfy.Canvas.FitView')
  })
  await page.waitForTimeout(1 * SECONDS)
}

async function dialogs(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll('[role="dialog"], .p-dialog, .comfy-modal')]
      .filter((element) => element.offsetParent !== null)
      .map((element) => element.textContent.trim().slice(0, 200))
  )
}

async function missingNodes(page) {
  return page.evaluate(() => {
    const known = Object.keys(window.LiteGraph.registered_node_types)
    return window.app.graph._nodes.map((node) => node.type).filter((type) => !known.includes(type))
  })
}

// The first node whose inputs are not those of the API graph that the tests run. Newer hosts add
// widgets to their own nodes; ours must agree to the last one.
async function differsFromTwin(page, name) {
  const made = await page.evaluate(async () => (await window.app.graphToPrompt()).output)
  const file = path.join(root, 'tests', 'comfyui', 'workflows', `${name}.json`)
  const twin = JSON.parse(await readFile(file, 'utf8'))
  if (Object.keys(made).sort().join() !== Object.keys(twin).sort().join()) return 'node ids'
  for (const [id, { class_type: kind, inputs }] of Object.entries(twin)) {
    const names = Object.keys(kind.startsWith('GPEN_') ? { ...inputs, ...made[id].inputs } : inputs)
    const value = (graph, each) => JSON.stringify(graph[id].inputs[each])
    const wrong = names.find((each) => value(made, each) !== value(twin, each))
    if (made[id].class_type !== kind || wrong) return `${kind}.${wrong}`
  }
  return null
}

// Saved and opened again, our nodes have the same values and links. The host's own may have
// widgets that are not saved, such as the preview of a video.
async function survivesSaving(page) {
  return page.evaluate(async () => {
    const ours = async () => {
      const nodes = Object.entries((await window.app.graphToPrompt()).output)
      return JSON.stringify(nodes.filter(([, node]) => node.class_type.startsWith('GPEN_')))
    }
    const before = await ours()
    await window.app.loadGraphData(JSON.parse(JSON.stringify(window.app.graph.serialize())))
    return before === (await ours())
  })
}

// The help page of every node of ours, as the page shows it, with its picture.
async function helpPages(page) {
  const kinds = await page.evaluate(() =>
    Object.keys(window.LiteGraph.registered_node_types).filter((kind) => kind.startsWith('GPEN_'))
  )
  const pages = (await readdir(path.join(root, 'web', 'docs'))).filter((file) => file.endsWith('.md'))
  check(kinds.length === pages.length, `registered: ${kinds}; help pages: ${pages}`)
  for (const kind of kinds) {
    const base = `${address}/extensions/gpen/docs`
    const text = await (await fetch(`${base}/${kind}.md`)).text()
    for (const [, image] of text.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)) {
      const answer = await fetch(`${base}/${image}`)
      check(answer.ok, `${kind}.md shows ${image}, which is not served`)
    }
  }
}

async function screenshot(page, name) {
  if (!shots) return
  await mkdir(shots, { recursive: true })
  await page.screenshot({ path: path.join(shots, `${name}.jpg`), type: 'jpeg', quality: 70 })
}

async function runByButton(page) {
  const button = page.getByRole('button', { name: /^Run/ }).first()
  await button.click({ timeout: 20 * SECONDS })
  await page.waitForFunction(
    () =>
      window.app.graph._nodes.some(
        (node) => /PreviewImage|SaveImage/.test(node.type) && node.imgs?.[0]?.naturalWidth > 100
      ),
    null,
    { timeout: 300 * SECONDS }
  )
  await page.waitForTimeout(3 * SECONDS)
}

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--use-gl=swiftshader']
  })
  const files = await readdir(path.join(root, 'example_workflows'))
  const names = files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -5))
  const only = process.argv[2]
  let failed = 0
  const { page, said } = await openPage(browser)
  const atStart = new Set(said)
  await helpPages(page)
  for (const name of names.sort().filter((each) => !only || each.startsWith(only))) {
    said.length = 0
    try {
      await open(page, name)
      const missing = await missingNodes(page)
      check(missing.length === 0, `missing nodes: ${missing}`)
      const open_ = await dialogs(page)
      check(!open_.some((text) => /missing node|not found|unknown/i.test(text)), `dialog: ${open_}`)
      const differs = await differsFromTwin(page, name)
      check(!differs, `the page makes another graph than the tests run: ${differs}`)
      check(await survivesSaving(page), 'saved and opened again it is another graph')
      if (name.startsWith('1-') || process.env.RUN_ALL) await runByButton(page)
      await screenshot(page, name)
      const errors = said.filter(
        (text) => !atStart.has(text) && !NOT_OURS.some((known) => known.test(text))
      )
      check(errors.length === 0, `console: ${errors.join('; ')}`)
      console.log(`ok      ${name}${open_.length ? ` (dialog: ${open_})` : ''}`)
    } catch (error) {
      failed += 1
      console.log(`FAILED  ${name}: ${error.message}`)
      await screenshot(page, `${name}-failed`)
    }
  }
  if (atStart.size) console.log(`said by the page before any workflow: ${[...atStart].join('; ')}`)
  await browser.close()
  process.exit(failed ? 1 : 0)
}

await main()
