// The page lists a pack's templates as the file system happens to give them; ours are numbered.
import { api } from '../../../scripts/api.js'
import { app } from '../../../scripts/app.js'

const pack = decodeURIComponent(new URL(import.meta.url).pathname.split('/extensions/')[1].split('/')[0])

app.registerExtension({
  name: 'GPEN.TemplateOrder',
  setup() {
    const list = api.getWorkflowTemplates
    api.getWorkflowTemplates = async (...given) => {
      const templates = await list.apply(api, given)
      templates[pack]?.sort()
      return templates
    }
  }
})
