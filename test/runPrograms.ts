/**
 * Runs programs by importing them, one after the other, and prints what went wrong with those that failed: `node
 * test/runPrograms.ts FILE...`. They share one process, because loading the engine takes longer than most of them.
 */
import * as path from "node:path"
import { pathToFileURL } from "node:url"

for (const file of process.argv.slice(2)) {
  try {
    await import(pathToFileURL(path.resolve(file)).href)
  } catch (error) {
    process.exitCode = 1
    console.log(`${file}: ${error instanceof Error ? error.stack : String(error)}`)
  }
}
