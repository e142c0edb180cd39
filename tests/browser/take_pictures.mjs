// Takes the pictures of the documentation in a real browser: every node for its help page, and the
// two graphs of the README. They go where the documents look for them; look at them before they are
// committed. With a ComfyUI running, the newest, and this pack in it:
//
//   COMFYUI_URL=http://127.0.0.1:8188 node tests/browser/take_pictures.mjs
import path from 'node:path'
import { check, failure, frame, json, launch, open, openPage, root, run } from './page.mjs'

const SIZE = { width: 2400, height: 1500 }
// Degrade Image is in no template.
const DAMAGE = {
  last_node_id: 3,
  last_link_id: 2,
  nodes: [
    { id: 1, type: 'LoadImage', pos: [0, 0], size: [330, 330], flags: {}, order: 0, mode: 0,
      inputs: [], outputs: [{ name: 'IMAGE', type: 'IMAGE', links: [1] }], properties: {},
      widgets_values: ['astronaut-damaged.jpg', 'image'] },
    { id: 2, type: 'GPEN_DegradeImage', pos: [400, 0], size: [360, 100], flags: {}, order: 1,
      mode: 0, inputs: [{ name: 'image', type: 'IMAGE', link: 1 }],
      outputs: [{ name: 'IMAGE', type: 'IMAGE', links: [2] }], properties: {} },
    { id: 3, type: 'PreviewImage', pos: [850, 0], size: [330, 330], flags: {}, order: 2, mode: 0,
      inputs: [{ name: 'images', type: 'IMAGE', link: 2 }], outputs: [], properties: {} }
  ],
  links: [[1, 1, 0, 2, 0, 'IMAGE'], [2, 2, 0, 3, 0, 'IMAGE']],
  version: 0.4
}
// Nor is Select Person; who is wanted is cut out of the group.
const PERSON = {
  1: { class_type: 'LoadImage', inputs: { image: 'solvay-1927.jpg' } },
  2: { class_type: 'ImageCrop', inputs: { image: ['1', 0], width: 100, height: 110, x: 592, y: 116 } },
  3: { class_type: 'GPEN_LoadModel', inputs: { file: 'gpen-lite-256.safetensors', precision: 'auto', device: 'auto' } },
  4: { class_type: 'GPEN_DetectFaces', inputs: { image: ['1', 0], gpen_model: ['3', 0], detector: 'mtcnn', confidence: 0.9, min_size: 0, max_size: 0, sort: 'area', keep: 'all', template: 'model', crop_size: 512, rotations: false } },
  5: { class_type: 'GPEN_SelectPerson', inputs: { faces: ['4', 0], person: ['2', 0], person_threshold: 0.36 } },
  6: { class_type: 'GPEN_RestoreFaces', inputs: { gpen_model: ['3', 0], faces: ['5', 0], strength: 1, batch_size: 4, seed: 0 } },
  7: { class_type: 'PreviewImage', inputs: { images: ['6', 1] } }
}
const TAKEN = [
  { workflow: await json('example_workflows', '1 Restore faces in an old photograph.json'),
    graph: 'comfyui', kinds: ['GPEN_RestoreImage'] },
  { workflow: await json('example_workflows', '3 Choose faces in a group picture.json'),
    graph: 'comfyui-group',
    kinds: ['GPEN_LoadModel', 'GPEN_DetectFaces', 'GPEN_SelectFaces', 'GPEN_RestoreFaces',
      'GPEN_PasteFaces'] },
  { workflow: DAMAGE, graph: 'GPEN_DegradeImage', kinds: [] },
  { workflow: await json('example_workflows', '6 Restore the faces of a video.json'),
    kinds: ['GPEN_RestoreVideo'] },
  { workflow: await json('example_workflows', '7 Restore a batch of video frames.json'),
    kinds: ['GPEN_TrackFaces'] },
  { prompt: PERSON, kinds: ['GPEN_SelectPerson'] }
]

const place = (name) =>
  path.join(root, name.startsWith('GPEN_') ? 'web/docs/images' : 'docs/images', `${name}.jpg`)

// A node, or everything with its groups, as large as fits beside the page's bars.
async function take(page, kind, name) {
  const box = await frame(page, kind)
  const scale = Math.min(1.1, (SIZE.width - 700) / box.width, (SIZE.height - 330) / box.height)
  await page.evaluate(
    ([box, scale]) => {
      const { canvas } = window.app
      canvas.ds.scale = scale
      canvas.ds.offset[0] = 150 / scale - box.left
      canvas.ds.offset[1] = 180 / scale - box.top
      canvas.deselectAll?.()
      canvas.setDirty(true, true)
    },
    [box, scale]
  )
  await page.waitForTimeout(2500)
  const origin = await page.evaluate(() => {
    const { left, top } = window.app.canvas.canvas.getBoundingClientRect()
    return { left, top }
  })
  await page.screenshot({
    path: place(name),
    type: 'jpeg',
    quality: 80,
    clip: {
      x: origin.left + 150, y: origin.top + 180, width: box.width * scale,
      height: box.height * scale
    }
  })
}

// Some of them: node tests/browser/take_pictures.mjs GPEN_SelectPerson
const names = process.argv.slice(2)
const wanted = ({ graph, kinds }) =>
  names.length === 0 || [graph, ...kinds].some((name) => names.includes(name))

const browser = await launch()
const { page } = await openPage(browser, process.env.DESIGN ?? 'vue', SIZE)
for (const { workflow, prompt, graph, kinds } of TAKEN.filter(wanted)) {
  if (prompt) await page.evaluate((content) => window.app.loadApiJson(content, 'person'), prompt)
  else await open(page, workflow)
  const entry = await run(page)
  check(!failure(entry), failure(entry))
  await page.waitForTimeout(12_000) // notices of the page fade away
  if (graph) await take(page, null, graph)
  for (const kind of kinds) await take(page, kind, kind)
}
await browser.close()
