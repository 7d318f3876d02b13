/**
 * Builds what the package ships: `src` compiled into a clean `dist`, and the command line made executable.
 */
import { chmod, readFile, rm, writeFile } from "node:fs/promises"
import * as path from "node:path"
import * as Command from "./command.ts"

const shebang = "#!/usr/bin/env node\n"

/** Compiles `src` into `dist`. Fails with `CommandFailed` when the compiler finds an error. */
export const build = async (): Promise<void> => {
  await rm(path.join(Command.root, "dist"), { recursive: true, force: true })
  await Command.capture("tsc", ["-p", "tsconfig.build.json"])
  const { bin } = JSON.parse(await readFile(path.join(Command.root, "package.json"), "utf8")) as {
    readonly bin: Readonly<Record<string, string>>
  }
  for (const program of Object.values(bin)) {
    const file = path.join(Command.root, program)
    const text = await readFile(file, "utf8")
    if (!text.startsWith("#!")) await writeFile(file, shebang + text)
    await chmod(file, 0o755)
  }
}

if (import.meta.main) {
  try {
    await build()
  } catch (error) {
    if (!(error instanceof Command.CommandFailed)) throw error
    process.stderr.write(`${error.output}${error.message}\n`)
    process.exitCode = 1
  }
}
