/**
 * Runs the tools of the checkout. Programs are looked up in `node_modules/.bin` and beside the running Node first, so a
 * script behaves the same whether npm or a person starts it.
 */
import { spawn } from "node:child_process"
import { tmpdir } from "node:os"
import * as path from "node:path"

/** The root folder of the checkout. */
export const root = path.resolve(import.meta.dirname, "..")

// Of this process too, for whoever starts a program without `environment`: nothing that a script runs may look outside
// this machine, or change what programs of the user remember.
Object.assign(process.env, { PIECEWISE_OFFLINE: "1", XDG_STATE_HOME: path.join(tmpdir(), "piecewise-tests") })

const { PATH } = process.env

/** The environment of every tool. The installed tools and this Node come before the machine's in `PATH`. */
export const environment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: [path.dirname(process.execPath), path.join(root, "node_modules", ".bin"), PATH].join(path.delimiter)
}

/** How a program is run. */
export interface Options {
  /** The working folder; default the checkout. */
  readonly cwd?: string | undefined
  /** Variables added to `environment`. */
  readonly env?: NodeJS.ProcessEnv | undefined
}

/** A program failed. `output` is what it wrote to both its streams, or empty if that was shown already. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed"
  readonly output: string

  constructor(program: string, why: string, output: string) {
    super(`${program} ${why}`)
    this.output = output
  }
}

const run = (program: string, args: ReadonlyArray<string>, quiet: boolean, options: Options): Promise<string> => {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const child = spawn(program, args, {
    cwd: options.cwd ?? root,
    env: { ...environment, ...options.env },
    stdio: quiet ? ["ignore", "pipe", "pipe"] : "inherit"
  })
  const output: Array<string> = []
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => output.push(text))
  }
  child.on("error", (error) => reject(new CommandFailed(program, `did not start: ${error.message}`, "")))
  child.on("close", (code, signal) => {
    if (code === 0) resolve(output.join(""))
    else
      reject(new CommandFailed(program, signal === null ? `ended with ${code}` : `ended by ${signal}`, output.join("")))
  })
  return promise
}

/** Runs a program whose output goes to this terminal. Fails with `CommandFailed`. */
export const show = async (program: string, args: ReadonlyArray<string>, options: Options = {}): Promise<void> => {
  await run(program, args, false, options)
}

/** Runs a program and returns its output without showing it. Fails with `CommandFailed`, which carries the output. */
export const capture = (program: string, args: ReadonlyArray<string>, options: Options = {}): Promise<string> =>
  run(program, args, true, options)

/** Whether a program can be run successfully. Shows no output. */
export const works = async (program: string, args: ReadonlyArray<string>): Promise<boolean> => {
  try {
    await capture(program, args)
    return true
  } catch {
    return false
  }
}
