/**
 * The client WebTorrent for the interop matrix: a pinned version in a cache folder of the checkout. It is no dependency
 * of the package, and no lock file records it.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises"
import * as path from "node:path"
import * as Command from "./command.ts"

/** The folder with its `node_modules`. */
export const folder = path.join(Command.root, ".cache", "webtorrent")

/** The pinned version. */
export const version = "3.0.21"

/** Its native parts are left out: the matrix uses TCP, and no script of a package is run. */
const manifest = JSON.stringify({
  private: true,
  type: "module",
  dependencies: { webtorrent: version },
  overrides: { "webrtc-polyfill": "npm:noop-package@1.0.0" }
})

const options = ["--no-package-lock", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--silent"]

/** Installs it, unless the pinned version is there. Fails with `CommandFailed`. */
export const prepare = async (): Promise<void> => {
  // Written last, so that an interrupted installation is repeated.
  const mark = path.join(folder, "installed.json")
  if ((await readFile(mark, "utf8").catch(() => undefined)) === manifest) return
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await writeFile(path.join(folder, "package.json"), manifest)
  await Command.capture("npm", ["install", ...options], { cwd: folder })
  await writeFile(mark, manifest)
}
