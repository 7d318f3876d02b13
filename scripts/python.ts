/**
 * The Python for the interop tests: a virtual environment in the checkout with exactly the versions that
 * `test/interop/requirements.txt` pins.
 */
import { createHash } from "node:crypto"
import { readFile, rm, writeFile } from "node:fs/promises"
import { availableParallelism } from "node:os"
import * as path from "node:path"
import * as Command from "./command.ts"

const folder = path.join(Command.root, ".venv")
const requirements = path.join(Command.root, "test", "interop", "requirements.txt")
/** Written last, so that an interrupted installation is repeated. */
const mark = path.join(folder, "requirements.sha256")

/** The interpreter of the virtual environment. */
export const interpreter = path.join(folder, "bin", "python")

/** Why no virtual environment can be made here; `undefined` if one can. */
export const missing = async (): Promise<string | undefined> => {
  if (!(await Command.works("python3", ["--version"]))) return "python3 is not installed"
  if (!(await Command.works("python3", ["-c", "import venv, ensurepip"]))) {
    return "python3 cannot make virtual environments (Debian: apt-get install python3-venv)"
  }
  return undefined
}

/** Makes the environment, unless the existing one has the same pins. Fails with `CommandFailed`. */
export const prepare = async (): Promise<void> => {
  const wanted = createHash("sha256")
    .update(await readFile(requirements))
    .digest("hex")
  const found = await readFile(mark, "utf8").catch(() => undefined)
  if (found === wanted && (await Command.works(interpreter, ["--version"]))) return
  await rm(folder, { recursive: true, force: true })
  await Command.capture("python3", ["-m", "venv", folder])
  await Command.capture(interpreter, ["-m", "pip", "install", "--quiet", "--requirement", requirements])
  await writeFile(mark, wanted)
}

/** Three tests a core at a time, because most of them wait for clients and timers; with many cores enough of them. */
const workers = Math.min(3 * availableParallelism(), 16)

/**
 * Runs the tests. Each worker is given one test after the other, so that none has a queue while another has nothing to
 * do. Fails with `CommandFailed`.
 */
export const test = (env: Readonly<Record<string, string>> = {}): Promise<void> => {
  const several = ["--numprocesses", String(workers), "--maxschedchunk", "1"]
  return Command.show(interpreter, ["-m", "pytest", "-q", ...several, "test/interop"], { env })
}
