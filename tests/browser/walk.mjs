// Opens and runs every template in one node design, then does what a person does with the pack:
// searches, paints a mask, bypasses, reloads, opens an old workflow. See README.md in this folder.
//
//   COMFYUI_URL=http://127.0.0.1:8188 node walk.mjs classic|vue [first letters of a step]
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import {
  address, check, dialogs, failure, fit, json, launch, layoutFaults, missingNodes, open, openPage,
  root, run, screenshot, SECONDS, settings
} from './page.mjs'

const design = process.argv[2] ?? 'classic'
const only = process.argv[3] ?? ''
// These need a file that nobody ships with a pack: the page must offer it.
const MISSING = { '2': 'v1-5-pruned-emaonly-fp16.safetensors', '5': 'RealESRGAN_x4plus.pth' }
// How such a template is run all the same.
const STAND_IN = { '2': aPictureInsteadOfTheSampler, '5': aTinyUpscaleModel }
// What a page says in its console by itself, or because it must not look on the network.
const NOT_OURS = [
  /favicon/, /ResizeObserver loop/, /Content Security Policy/, /status of 404/, /net::ERR_FAILED/,
  /Error fetching file size/
]

const NEWER = await fetch(`${address}/node_replacements`).then((answer) => answer.ok)
const browser = await launch()
let { page, said } = await openPage(browser, design)
const atStart = new Set(said)

class Skip extends Error {}

const ours = () => page.evaluate(async () => (await window.app.graphToPrompt()).output)
const byKind = (prompt, kind) =>
  Object.entries(prompt).filter(([, node]) => node.class_type === kind).map(([id]) => id)

async function template(letter) {
  const files = await readdir(path.join(root, 'example_workflows'))
  const file = files.find((each) => each.startsWith(letter) && each.endsWith('.json'))
  return { name: file.slice(0, -5), workflow: await json('example_workflows', file) }
}

// The first input of ours that is not what the tests over HTTP run. Newer hosts add widgets to their
// own nodes.
async function differsFromTwin(name) {
  const made = await ours()
  const twin = await json('tests', 'comfyui', 'workflows', `${name}.json`)
  if (Object.keys(made).sort().join() !== Object.keys(twin).sort().join()) return 'node ids'
  for (const [id, { class_type: kind, inputs }] of Object.entries(twin)) {
    const names = Object.keys(kind.startsWith('GPEN_') ? { ...inputs, ...made[id].inputs } : inputs)
    const value = (graph, each) => JSON.stringify(graph[id].inputs[each])
    const wrong = names.find((each) => each in made[id].inputs && value(made, each) !== value(twin, each))
    if (made[id].class_type !== kind || wrong) return `${kind}.${wrong}`
  }
  return null
}

// Saved and opened again, our nodes have the same values and links.
async function survivesSaving() {
  const nodes = async () =>
    JSON.stringify(Object.entries(await ours()).filter(([, node]) => /^GPEN_/.test(node.class_type)))
  const before = await nodes()
  await page.evaluate(async () => {
    await window.app.loadGraphData(JSON.parse(JSON.stringify(window.app.graph.serialize())))
  })
  return before === (await nodes())
}

async function noFaults() {
  // Where the new design was young it left out text widgets and notes, and made nodes wider than
  // they were saved: nobody lays out for it.
  if (design === 'vue' && !NEWER) return
  const faults = await layoutFaults(page)
  check(faults.length === 0, `layout: ${faults.join('; ')}`)
}

async function offersModel(file) {
  await page.waitForTimeout(2 * SECONDS)
  const text = await page.evaluate(() => document.body.innerText)
  check(text.includes(file), `the page does not say that ${file} is missing`)
  const details = page.getByRole('button', { name: /View details/i }).first()
  if (await details.count()) await details.click()
  await page.waitForTimeout(2 * SECONDS)
  const offer = page.getByRole('button', { name: /download|copy url/i }).first()
  check((await offer.count()) > 0, `the page does not offer ${file}`)
}

async function closeDialogs() {
  await page.waitForTimeout(1 * SECONDS)
  for (let i = 0; i < 5 && (await dialogs(page)).length; i++) {
    await page.keyboard.press('Escape')
    await page.waitForTimeout(500)
  }
}

// The status text that a node of ours shows, in either design.
async function shownText(kind) {
  return page.evaluate((kind) => {
    const node = window.app.graph._nodes.find((each) => each.type === kind)
    const widgets = (node.widgets ?? []).map((widget) => String(widget.value ?? ''))
    const element = document.querySelector(`[data-node-id="${node.id}"]`)
    return [...widgets, element?.innerText ?? ''].join('\n')
  }, kind)
}

async function setWidget(kind, name, value) {
  await page.evaluate(
    ([kind, name, value]) => {
      const node = window.app.graph._nodes.find((each) => each.type === kind)
      const widget = node.widgets.find((each) => each.name === name)
      widget.value = value
      widget.callback?.(value)
    },
    [kind, name, value]
  )
}

// The colors of a picture that a run gave: mean absolute difference to another, 0..255.
async function difference(one, other) {
  return page.evaluate(async ([one, other]) => {
    const pixels = async (address) => {
      const image = new Image()
      image.src = address
      await image.decode()
      const canvas = Object.assign(document.createElement('canvas'), {
        width: image.naturalWidth, height: image.naturalHeight
      })
      const context = canvas.getContext('2d')
      context.drawImage(image, 0, 0)
      return context.getImageData(0, 0, canvas.width, canvas.height).data
    }
    const [a, b] = [await pixels(one), await pixels(other)]
    if (a.length !== b.length) return Infinity
    let sum = 0
    for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i])
    return sum / a.length
  }, [one, other])
}

function saved(entry, id) {
  const { filename, subfolder, type } = entry.outputs[id].images[0]
  return `/view?${new URLSearchParams({ filename, subfolder, type })}`
}

const PHOTO = '/view?filename=astronaut-damaged.jpg&type=input'

// --- the templates -------------------------------------------------------------------------------

async function templateOpensAndRuns(letter) {
  const { name, workflow } = await template(letter)
  await open(page, workflow)
  const missing = await missingNodes(page)
  check(missing.length === 0, `missing nodes: ${missing}`)
  if (MISSING[letter]) {
    await screenshot(page, `${design}-${letter}-offers`)
    await offersModel(MISSING[letter])
    await screenshot(page, `${design}-${letter}-offered`)
    await closeDialogs()
  } else {
    const shown = await dialogs(page)
    check(shown.length === 0, `dialog: ${shown}`)
  }
  await noFaults()
  const differs = await differsFromTwin(name)
  check(!differs, `the page makes another prompt than the tests run: ${differs}`)
  check(await survivesSaving(), 'saved and opened again it is another workflow')
  await fit(page)
  if (MISSING[letter]) {
    await closeDialogs()
    await STAND_IN[letter]()
  }
  const entry = await run(page)
  check(!failure(entry), failure(entry))
  await page.waitForTimeout(2 * SECONDS)
  await screenshot(page, `${design}-${letter}-ran`)
  await noFaults()
}

async function aTinyUpscaleModel() {
  await setWidget('UpscaleModelLoader', 'model_name', 'tiny_x2.pth')
}

// Everything that leads to the decoded picture is taken out.
async function aPictureInsteadOfTheSampler() {
  await page.evaluate(() => {
    const graph = window.app.graph
    const restore = graph._nodes.find((node) => node.type === 'GPEN_RestoreImage')
    const before = ['CheckpointLoaderSimple', 'CLIPTextEncode', 'EmptyLatentImage', 'KSampler', 'VAEDecode']
    for (const node of graph._nodes.filter((each) => before.includes(each.type))) graph.remove(node)
    const photo = window.LiteGraph.createNode('LoadImage')
    graph.add(photo)
    photo.widgets.find((widget) => widget.name === 'image').value = 'astronaut-damaged.jpg'
    photo.connect(0, restore, 'image')
  })
}

// --- what a person does --------------------------------------------------------------------------

const SEARCHES = ['face', 'portrait', 'upscale face', 'restore', 'codeformer', 'reactor', '人脸修复']

async function searchFindsTheNode() {
  if (!NEWER) throw new Skip('this host knows no search aliases')
  await page.evaluate(() => window.app.loadGraphData({ nodes: [], links: [], version: 0.4 }))
  for (const text of SEARCHES) {
    await page.mouse.dblclick(850, 500)
    await page.waitForTimeout(1 * SECONDS)
    await page.keyboard.type(text)
    await page.waitForTimeout(1.5 * SECONDS)
    const rows = await page.evaluate(() => {
      const options = [...document.querySelectorAll('[role="option"], .p-autocomplete-option')]
      return options.filter((each) => each.offsetParent).map((each) => each.innerText.trim())
    })
    await screenshot(page, `${design}-search-${SEARCHES.indexOf(text)}`)
    const place = rows.findIndex((row) => /Face Restore \(GPEN\)/.test(row))
    check(place >= 0 && place < 5, `"${text}" shows ${place < 0 ? 'no' : `as number ${place + 1}`} Face Restore (GPEN): ${rows.slice(0, 5).join(' | ')}`)
    await page.keyboard.press('Escape')
    await page.waitForTimeout(400)
    await closeDialogs()
  }
}

async function oneNodeRestoresAPicture() {
  const id = (await template('1')).workflow.nodes.find((node) => node.type === 'SaveImage').id
  await open(page, (await template('1')).workflow)
  const entry = await run(page)
  check(!failure(entry), failure(entry))
  check((await difference(saved(entry, id), PHOTO)) > 0.05, 'the picture is the original')
}

// Load Image's mask editor writes the strokes into the alpha of a copy of the picture. The strokes
// are made by the pointer, in the editor that the page opens.
async function aPaintedMaskLimitsTheFaces() {
  const { workflow } = await template('1')
  const photo = workflow.nodes.find((node) => node.type === 'LoadImage')
  const save = workflow.nodes.find((node) => node.type === 'SaveImage').id
  await open(page, workflow)
  await page.evaluate(() => {
    const { graph } = window.app
    const photo = graph._nodes.find((node) => node.type === 'LoadImage')
    const restore = graph._nodes.find((node) => node.type === 'GPEN_RestoreImage')
    photo.connect(1, restore, restore.inputs.findIndex((input) => input.name === 'mask'))
  })
  // What Load Image gives where nobody painted is no mask: the face is restored.
  const unpainted = await run(page)
  check(!failure(unpainted), failure(unpainted))
  check((await difference(saved(unpainted, save), PHOTO)) > 0.05, 'an unpainted mask hides the face')
  await page.evaluate((id) => {
    const { canvas, graph } = window.app
    const node = graph.getNodeById(id)
    canvas.selectNode ? canvas.selectNode(node) : canvas.select(node)
  }, photo.id)
  await page.evaluate(() =>
    window.app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor')
  )
  await page.waitForTimeout(4 * SECONDS)
  await screenshot(page, `${design}-mask-editor`)
  // A stroke in a corner, far from the face.
  const canvas = await page.evaluate(() => {
    const all = [...document.querySelectorAll('canvas')].filter((each) => each.offsetParent)
    const editor = all.filter((each) => each.id !== 'graph-canvas').map((each) => {
      const { left, top, width, height } = each.getBoundingClientRect()
      return { left, top, width, height }
    })
    return editor.sort((a, b) => a.width * a.height - b.width * b.height)
      .find((each) => each.width > 200 && each.height > 200)
  })
  check(canvas, 'the mask editor shows no canvas')
  const [x, y] = [canvas.left + canvas.width * 0.12, canvas.top + canvas.height * 0.9]
  await page.mouse.move(x, y)
  await page.mouse.down()
  for (let i = 1; i <= 8; i++) await page.mouse.move(x + i * 3, y)
  await page.mouse.up()
  await page.waitForTimeout(1 * SECONDS)
  await screenshot(page, `${design}-mask-painted`)
  const button = page.locator('button:visible').filter({ hasText: /^\s*Save\s*$/ }).first()
  await button.click({ timeout: 10 * SECONDS })
  await page.waitForTimeout(4 * SECONDS)
  const painted = await run(page)
  check(!failure(painted), failure(painted))
  await screenshot(page, `${design}-mask-ran`)
  const input = (await ours())[String(photo.id)].inputs.image
  check(/clipspace|painted|masked/.test(String(input)), `Load Image still shows ${input}`)
  check((await difference(saved(painted, save), PHOTO)) < 0.05, 'the face is changed outside the mask')
}

async function bypassedNodesPassThePictureOn() {
  const { workflow } = await template('3')
  const save = workflow.nodes.find((node) => node.type === 'SaveImage').id
  let original = ''
  for (const kind of ['GPEN_PasteFaces', 'GPEN_RestoreFaces', 'GPEN_SelectFaces']) {
    await open(page, workflow)
    await page.evaluate((kind) => {
      const { canvas, graph } = window.app
      const node = graph._nodes.find((each) => each.type === kind)
      canvas.deselectAll?.()
      canvas.selectNode ? canvas.selectNode(node) : canvas.select(node)
      canvas.canvas.focus()
    }, kind)
    await page.keyboard.press('Control+b')
    await page.waitForTimeout(500)
    const mode = await page.evaluate(
      (kind) => window.app.graph._nodes.find((each) => each.type === kind).mode, kind
    )
    check(mode === 4, `Ctrl+B did not bypass ${kind}`)
    // Without Select every face would be restored; one is enough to see.
    if (kind === 'GPEN_SelectFaces') await setWidget('GPEN_DetectFaces', 'keep', 'largest')
    const entry = await run(page)
    check(!failure(entry), `${kind} bypassed: ${failure(entry)}`)
    await screenshot(page, `${design}-bypassed-${kind}`)
    const text = await page.evaluate(() => document.body.innerText)
    check(!/required input/i.test(text), `${kind} bypassed: the page misses an input`)
    // Without Paste Back the picture passes as it is, and is what the others are compared with.
    original ||= saved(entry, save)
    const changed = await difference(saved(entry, save), original)
    const expected = kind === 'GPEN_SelectFaces'
    check((changed > 0) === expected, `${kind} bypassed changes the picture by ${changed}`)
  }
}

async function whatIsKeptAndShownSurvivesAReload() {
  const { workflow } = await template('3')
  await open(page, workflow)
  await setWidget('GPEN_SelectFaces', 'keep', '-1')
  // So that it runs: a node whose result the host kept says nothing.
  await setWidget('GPEN_DetectFaces', 'confidence', 0.91 + 0.05 * Math.random())
  const entry = await run(page)
  check(!failure(entry), failure(entry))
  await page.waitForTimeout(2 * SECONDS)
  const before = { detect: await shownText('GPEN_DetectFaces'), select: await shownText('GPEN_SelectFaces') }
  check(/face/.test(before.detect), `Detect says nothing: ${before.detect}`)
  check(/face/.test(before.select), `Select says nothing: ${before.select}`)
  await screenshot(page, `${design}-kept`)
  const sentences = ['detect', 'select'].map((name) =>
    before[name].split('\n').find((line) => /\d+ face/.test(line))
  )
  // The tab is reloaded; the page keeps what was open, once it has noticed a change.
  await page.mouse.click(400, 900)
  await page.waitForTimeout(3 * SECONDS)
  await page.reload()
  await page.waitForFunction(() => window.app?.graph?._nodes.length > 3, null, { timeout: 90 * SECONDS })
  await page.waitForTimeout(4 * SECONDS)
  await fit(page)
  await screenshot(page, `${design}-reloaded`)
  const after = await shownText('GPEN_DetectFaces') + (await shownText('GPEN_SelectFaces'))
  check(sentences.every((sentence) => after.includes(sentence)), `after a reload: ${after}`)

  await setWidget('GPEN_SelectFaces', 'keep', 'none')
  const nobody = await run(page)
  check(!failure(nobody), failure(nobody))
  await page.waitForTimeout(1 * SECONDS)
  check(/keep/.test(await shownText('GPEN_SelectFaces')), 'nothing says that keep leaves nobody')
  await screenshot(page, `${design}-nobody`)
}

async function aWrongKeepIsToldBeforeTheRun() {
  await open(page, (await template('1')).workflow)
  await setWidget('GPEN_RestoreImage', 'keep', 'everybody')
  await page.getByRole('button', { name: /^Run/ }).first().click()
  await page.waitForTimeout(3 * SECONDS)
  // What the page says beside the nodes, whose labels are text too in the new design.
  const text = await page.evaluate(() =>
    [...document.querySelectorAll('[data-node-id]')].reduce(
      (text, node) => text.replace(node.innerText, ''), document.body.innerText
    )
  )
  await screenshot(page, `${design}-wrong-keep`)
  check(/keep/.test(text) && !/mask_type/.test(text), 'the message does not name keep alone')
  said.length = 0 // the page reports the refusal there too
  await closeDialogs()
}

// --- workflows that keep working -----------------------------------------------------------------

// As the pack facerestore_cf saved them, and ReActor.
function oldWorkflow() {
  const node = (id, type, x, inputs, outputs, values) => ({
    id, type, pos: [x, 100], size: [300, 200], flags: {}, order: id, mode: 0, inputs, outputs,
    properties: { 'Node name for S&R': type }, widgets_values: values
  })
  return {
    last_node_id: 5,
    last_link_id: 5,
    nodes: [
      node(1, 'LoadImage', 0, [], [
        { name: 'IMAGE', type: 'IMAGE', links: [1] }, { name: 'MASK', type: 'MASK', links: [] }
      ], ['astronaut-damaged.jpg', 'image']),
      node(2, 'FaceRestoreModelLoader', 350, [],
        [{ name: 'FACERESTORE_MODEL', type: 'FACERESTORE_MODEL', links: [2] }], ['codeformer.pth']),
      node(3, 'FaceRestoreCFWithModel', 700, [
        { name: 'facerestore_model', type: 'FACERESTORE_MODEL', link: 2 },
        { name: 'image', type: 'IMAGE', link: 1 }
      ], [{ name: 'IMAGE', type: 'IMAGE', links: [3] }], ['retinaface_resnet50', 0.5]),
      node(4, 'ReActorRestoreFace', 1100, [{ name: 'image', type: 'IMAGE', link: 3 }],
        [{ name: 'IMAGE', type: 'IMAGE', links: [4] }],
        ['retinaface_resnet50', 'GFPGANv1.4.pth', 0.6, 0.5]),
      node(5, 'SaveImage', 1500, [{ name: 'images', type: 'IMAGE', link: 4 }], [], ['old'])
    ],
    links: [
      [1, 1, 0, 3, 1, 'IMAGE'], [2, 2, 0, 3, 0, 'FACERESTORE_MODEL'], [3, 3, 0, 4, 0, 'IMAGE'],
      [4, 4, 0, 5, 0, 'IMAGE']
    ],
    groups: [],
    version: 0.4
  }
}

async function anOldWorkflowIsReplaced() {
  if (!NEWER) throw new Skip('this host knows no node replacements')
  await open(page, oldWorkflow())
  await page.waitForTimeout(2 * SECONDS)
  await screenshot(page, `${design}-old-opened`)
  const details = page.getByRole('button', { name: /View details/i }).first()
  if (await details.count()) await details.click()
  await page.waitForTimeout(1 * SECONDS)
  await screenshot(page, `${design}-old-details`)
  await page.getByRole('button', { name: /replace all/i }).first().click({ timeout: 10 * SECONDS })
  await page.waitForTimeout(2 * SECONDS)
  await fit(page)
  await screenshot(page, `${design}-old-replaced`)
  const missing = await missingNodes(page)
  check(missing.length === 0, `still missing: ${missing}`)
  const prompt = await ours()
  const [loader] = byKind(prompt, 'GPEN_LoadModel')
  const restorers = byKind(prompt, 'GPEN_RestoreImage')
  check(restorers.length === 2, `replaced by ${Object.values(prompt).map((node) => node.class_type)}`)
  check(prompt['3'].inputs.gpen_model?.[0] === loader, 'the loader is not connected any more')
  check(prompt['4'].inputs.strength === 0.6, `visibility became ${prompt['4'].inputs.strength}`)
  const entry = await run(page)
  check(!failure(entry), failure(entry))
  check((await difference(saved(entry, '5'), PHOTO)) > 0.05, 'the picture is the original')
}

async function aMissingModelIsOffered() {
  const { workflow } = await template('3')
  const loader = workflow.nodes.find((node) => node.type === 'GPEN_LoadModel')
  loader.widgets_values[0] = 'GPEN-BFR-512.pth'
  await open(page, workflow)
  await offersModel('GPEN-BFR-512.pth')
  await screenshot(page, `${design}-missing-model`)
  await closeDialogs()
}

async function theBlueprintRuns() {
  if (!NEWER) throw new Skip('this host knows no blueprints')
  const blueprint = await json('subgraphs', 'Face Restore step by step (GPEN).json')
  const [node] = blueprint.nodes
  Object.assign(node, { id: 2, pos: [450, 60] })
  node.inputs[0].link = 1
  node.outputs[0].links = [2]
  await open(page, {
    ...blueprint,
    last_node_id: 3,
    last_link_id: 2,
    nodes: [
      { id: 1, type: 'LoadImage', pos: [0, 60], size: [330, 330], flags: {}, order: 0, mode: 0,
        inputs: [], outputs: [{ name: 'IMAGE', type: 'IMAGE', links: [1] }], properties: {},
        widgets_values: ['astronaut-damaged.jpg', 'image'] },
      node,
      { id: 3, type: 'SaveImage', pos: [900, 60], size: [400, 400], flags: {}, order: 2, mode: 0,
        inputs: [{ name: 'images', type: 'IMAGE', link: 2 }], outputs: [], properties: {},
        widgets_values: ['blueprint'] }
    ],
    links: [[1, 1, 0, 2, 0, 'IMAGE'], [2, 2, 0, 3, 0, 'IMAGE']]
  })
  const widgets = await page.evaluate(
    () => window.app.graph.getNodeById(2).widgets.map((widget) => widget.name)
  )
  check(['file', 'keep', 'strength'].every((name) => widgets.includes(name)), `widgets: ${widgets}`)
  const entry = await run(page)
  await screenshot(page, `${design}-blueprint`)
  check(!failure(entry), failure(entry))
  check((await difference(saved(entry, '3'), PHOTO)) > 0.05, 'the picture is the original')
  await page.evaluate(() => {
    const { canvas, graph } = window.app
    canvas.setGraph(graph.getNodeById(2).subgraph)
  })
  await page.waitForTimeout(1 * SECONDS)
  await fit(page)
  await screenshot(page, `${design}-blueprint-inside`)
  await page.evaluate(() => window.app.canvas.setGraph(window.app.graph))
}

async function ourTypesHaveColors() {
  await open(page, (await template('3')).workflow)
  for (const theme of ['light', 'dark']) {
    await page.evaluate((theme) => window.app.extensionManager.setting.set('Comfy.ColorPalette', theme), theme)
    await page.waitForTimeout(1.5 * SECONDS)
    const colors = await page.evaluate(() => ['GPEN_MODEL', 'GPEN_FACES'].flatMap((type) => [
      window.app.canvas.default_connection_color_byType[type],
      window.app.canvas.constructor.link_type_colors[type],
      getComputedStyle(document.documentElement).getPropertyValue(`--color-datatype-${type}`).trim()
    ]))
    check(colors.every((color) => /^#/.test(color)), `colors in the theme ${theme}: ${colors}`)
    check(new Set(colors).size === 2, `the two types look alike: ${colors}`)
  }
}

async function templatesAreListedInOrder() {
  await page.evaluate(() => window.app.extensionManager.command.execute('Comfy.BrowseTemplates'))
  await page.waitForTimeout(4 * SECONDS)
  const entry = page.getByText(/^(gpen|GPEN Face Restoration)$/).last()
  await entry.scrollIntoViewIfNeeded({ timeout: 5 * SECONDS }).catch(() => null)
  await entry.click({ timeout: 10 * SECONDS })
  await page.waitForTimeout(3 * SECONDS)
  await screenshot(page, `${design}-templates`)
  const text = await page.evaluate(() => document.body.innerText)
  for (const letter of '1234567')
    check(text.includes((await template(letter)).name), `no template ${letter} in the list`)
  await closeDialogs()
}

// The restored video is played: time passes, and it has sound and the film's length.
async function aRestoredVideoPlays() {
  const { workflow } = await template('6')
  await open(page, workflow)
  const entry = await run(page)
  check(!failure(entry), failure(entry))
  const id = workflow.nodes.find((node) => node.type === 'SaveVideo').id
  const played = await page.evaluate(async (source) => {
    const video = Object.assign(document.createElement('video'), { src: source, muted: true })
    document.body.append(video)
    try {
      await video.play()
      await new Promise((resolve) => setTimeout(resolve, 1500))
      return { time: video.currentTime, width: video.videoWidth, length: video.duration }
    } catch (error) {
      return { error: String(error) }
    } finally {
      video.remove()
    }
  }, saved(entry, id))
  check(!played.error, `the video does not play: ${played.error}`)
  check(played.time > 0 && played.width > 0, `nothing moves: ${JSON.stringify(played)}`)
}

async function helpPagesAreServed() {
  const kinds = await page.evaluate(() =>
    Object.keys(window.LiteGraph.registered_node_types).filter((kind) => kind.startsWith('GPEN_'))
  )
  for (const kind of kinds)
    for (const name of [`${kind}.md`, `${kind}/zh.md`]) {
      const base = `${address}/extensions/gpen/docs`
      const answer = await fetch(`${base}/${name}`)
      check(answer.ok, `${name} is not served`)
      for (const [, image] of (await answer.text()).matchAll(/!\[[^\]]*\]\(([^)]+)\)/g))
        check((await fetch(`${base}/${image}`)).ok, `${name} shows ${image}, which is not there`)
    }
}

async function thePageSpeaksChinese() {
  await settings({ 'Comfy.Locale': 'zh' })
  try {
    await page.close()
    ;({ page, said } = await openPage(browser, design))
    await open(page, (await template('3')).workflow)
    await screenshot(page, `${design}-chinese`)
    const titles = await page.evaluate(() => window.app.graph._nodes.map((node) => node.title))
    check(titles.includes('检测并对齐人脸'), `the titles are ${titles}`)
  } finally {
    await settings({ 'Comfy.Locale': 'en' })
    await page.close()
    ;({ page, said } = await openPage(browser, design))
  }
}

const STEPS = {
  ...Object.fromEntries('1234567'.split('').map((letter) => [
    `template ${letter}`, () => templateOpensAndRuns(letter)
  ])),
  'search finds the node': searchFindsTheNode,
  'one node restores a picture': oneNodeRestoresAPicture,
  'a painted mask limits the faces': aPaintedMaskLimitsTheFaces,
  'bypassed nodes pass the picture on': bypassedNodesPassThePictureOn,
  'what is kept and shown survives a reload': whatIsKeptAndShownSurvivesAReload,
  'a wrong keep is told before the run': aWrongKeepIsToldBeforeTheRun,
  'an old workflow is replaced': anOldWorkflowIsReplaced,
  'a missing model is offered': aMissingModelIsOffered,
  'the blueprint runs': theBlueprintRuns,
  'a restored video plays': aRestoredVideoPlays,
  'our types have colors': ourTypesHaveColors,
  'templates are listed': templatesAreListedInOrder,
  'help pages are served': helpPagesAreServed,
  'the page speaks Chinese': thePageSpeaksChinese
}

const begun = Date.now()
const count = { passed: 0, failed: 0, skipped: 0 }
for (const [name, walk] of Object.entries(STEPS).filter(([each]) => each.startsWith(only))) {
  said.length = 0
  try {
    await walk()
    const errors = said.filter(
      (text) => !atStart.has(text) && !NOT_OURS.some((known) => known.test(text))
    )
    check(errors.length === 0, `console: ${errors.join('; ')}`)
    count.passed += 1
    console.log(`ok      ${design}: ${name}`)
  } catch (error) {
    const kind = error instanceof Skip ? 'skipped' : 'failed'
    count[kind] += 1
    console.log(`${kind.padEnd(7)} ${design}: ${name}: ${error.message}`)
    if (kind === 'failed') {
      // The next step begins on a page of its own.
      await screenshot(page, `${design}-failed-${name.replaceAll(' ', '-')}`)
      await page.close()
      ;({ page, said } = await openPage(browser, design))
    }
  }
}
await browser.close()
const seconds = ((Date.now() - begun) / 1000).toFixed(2)
console.log(Object.entries(count).filter(([, n]) => n).map(([kind, n]) => `${n} ${kind}`).join(', ') + ` in ${seconds}s`)
process.exit(count.failed ? 1 : 0)
