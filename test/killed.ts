/** Runs programs that are killed. */
import { spawn } from "node:child_process"

/** How often a program is killed, and the seed of all chance. */
export const { PIECEWISE_KILLS: kills = "10", PIECEWISE_SEED: seed = String(Date.now() % 2 ** 31) } = process.env

/**
 * Starts a program, and kills it so many milliseconds after it has printed a line that begins with `when`. Returns the
 * lines that it has printed.
 */
export const killed = (
  program: string,
  args: ReadonlyArray<string>,
  when: string,
  millis: number
): Promise<ReadonlyArray<string>> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    let errors = ""
    let isTimed = false
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (isTimed || !`\n${output}`.includes(`\n${when}`)) return
      isTimed = true
      setTimeout(() => child.kill("SIGKILL"), millis)
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text
    })
    child.on("close", (_, signal) => {
      if (signal !== "SIGKILL") return reject(new Error(`${program} ended by itself: ${errors}`))
      // The last line may be cut.
      resolve(output.split("\n").slice(0, -1))
    })
  })
