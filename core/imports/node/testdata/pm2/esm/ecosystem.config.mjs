import path from 'path'
import { fileURLToPath } from 'url'

const here = path.dirname(fileURLToPath(import.meta.url))

export default {
  apps: [{ name: 'web', script: path.resolve(here, 'web.js'), env: { PORT: 8081 } }],
}
