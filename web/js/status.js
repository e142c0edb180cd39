// What our nodes said of their last run stays on them when the workflow is saved, reloaded or run
// from the host's cache; the page itself forgets such texts.
import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'

const PROPERTY = 'GPEN status'

// As if the host had just sent it.
function show(node) {
  const text = node.properties?.[PROPERTY]
  if (!text) return
  const detail = { nodeId: String(node.id), text }
  api.dispatchEvent(new CustomEvent('progress_text', { detail }))
}

app.registerExtension({
  name: 'GPEN.Status',
  beforeRegisterNodeDef(type, definition) {
    if (!definition.name.startsWith('GPEN_')) return
    const executed = type.prototype.onExecuted
    type.prototype.onExecuted = function (output) {
      executed?.call(this, output)
      if (!output?.text) return
      this.properties[PROPERTY] = output.text.join(' ')
      show(this)
    }
  },
  afterConfigureGraph() {
    // The page takes texts only for the graph that it shows, so not before it does.
    setTimeout(() => {
      for (const node of app.canvas.graph._nodes) {
        if (node.type?.startsWith('GPEN_')) show(node)
      }
    })
  }
})
