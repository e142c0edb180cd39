// Colors for the sockets and wires of our two types, in both designs of the page.
import { app } from '../../../scripts/app.js'

const COLORS = { GPEN_MODEL: '#e5a04b', GPEN_FACES: '#e58fb5' }

// The page empties the colors of types that its theme does not know whenever a theme is loaded;
// one that does know ours has its way.
function keep(colors) {
  for (const [type, ours] of Object.entries(COLORS)) {
    let theirs = ''
    Object.defineProperty(colors, type, {
      configurable: true,
      enumerable: true,
      get: () => theirs || ours,
      set: (color) => {
        theirs = color
      }
    })
  }
}

app.registerExtension({
  name: 'GPEN.Colors',
  setup() {
    keep(app.canvas.default_connection_color_byType)
    keep(app.canvas.constructor.link_type_colors)
    const style = document.createElement('style')
    const rules = Object.entries(COLORS).map(([type, color]) => `--color-datatype-${type}: ${color};`)
    style.textContent = `:root { ${rules.join(' ')} }`
    document.head.append(style)
  }
})
