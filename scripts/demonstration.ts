/**
 * What the demonstrations have in common: a temporary folder, and child processes that work in it. Both are gone when
 * the demonstration ends, also by Ctrl-C. Everything happens on this machine.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Command from "./command.ts"

/** A demonstration that was stopped by a signal. */
export class Stopped extends Error {}

/** A running child process. */
export interface Child {
  readonly process: ChildProcess
  /** Its exit code. */
  readonly ended: Promise<number | null>
}

/** What a demonstration works with. */
export interface Demonstration {
  /** The temporary folder, which is the working folder of all child processes. */
  readonly folder: string
  /** Rejects with `Stopped` once a signal has arrived. */
  readonly stopped: Promise<never>
  /** Throws `Stopped` once a signal has arrived. */
  readonly check: () => void
  /** Runs the command line in this terminal, and prints the command as a user would type it. */
  readonly piecewise: (args: ReadonlyArray<string>) => Promise<void>
  /** Starts a script of the checkout with this Node, and returns the first line that it prints. */
  readonly serve: (
    script: string,
    args: ReadonlyArray<string>
  ) => Promise<{ readonly line: string; readonly child: Child }>
}

/** Prints a line. */
export const say = (text: string): void => console.log(text)

/** Words as a user would type them in a shell. */
const typed = (words: ReadonlyArray<string>): string =>
  words.map((word) => (/^[\w./:=-]+$/.test(word) ? word : JSON.stringify(word))).join(" ")

const rootOf = (script: string) => path.join(Command.root, script)

/** Runs a demonstration, and ends the process with code 0 if it returns true. */
export const run = async (name: string, program: (self: Demonstration) => Promise<boolean>): Promise<void> => {
  const children = new Map<ChildProcess, Promise<number | null>>()
  const signal = Promise.withResolvers<never>()
  // Nobody may be waiting for it.
  signal.promise.catch(() => {})
  let isStopped = false
  let folder: string | undefined

  const check = () => {
    if (isStopped) throw new Stopped()
  }

  const start = (
    script: string,
    args: ReadonlyArray<string>,
    stdio: "inherit" | ["pipe", "pipe", "inherit"]
  ): Child => {
    check()
    const env = { ...process.env, PIECEWISE_BIND: "127.0.0.1" }
    const child = spawn(process.execPath, [rootOf(script), ...args], { cwd: folder, env, stdio })
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject)
      child.once("close", (code) => {
        children.delete(child)
        resolve(code)
      })
    })
    children.set(child, ended)
    return { process: child, ended }
  }

  const piecewise = async (args: ReadonlyArray<string>): Promise<void> => {
    say(`\n$ piecewise ${typed(args)}`)
    const code = await start("src/node/main.ts", args, "inherit").ended
    check()
    if (code !== 0) throw new Error(`piecewise ${args[0]} ended with ${code}`)
  }

  const serve = async (script: string, args: ReadonlyArray<string>) => {
    const child = start(script, args, ["pipe", "pipe", "inherit"])
    const line = new Promise<string>((resolve) => {
      child.process.stdout!.setEncoding("utf8").once("data", (text: string) => resolve(text.split("\n", 1)[0]!))
    })
    const early = child.ended.then((code): never => {
      check()
      throw new Error(`${script} ended with ${code}`)
    })
    // It can reject only before the line was printed. Afterwards nothing awaits it.
    early.catch(() => {})
    return { child, line: await Promise.race([line, early]) }
  }

  const endAll = (): void => {
    for (const child of children.keys()) child.kill("SIGTERM")
  }

  const stop = (): void => {
    isStopped = true
    signal.reject(new Stopped())
    // The command line also received Ctrl-C from the terminal, and ends by itself. Others need a signal.
    endAll()
  }
  process.on("SIGINT", stop)
  process.on("SIGTERM", stop)

  try {
    folder = await mkdtemp(path.join(tmpdir(), "piecewise-demo-"))
    process.exitCode = (await program({ folder, stopped: signal.promise, check, piecewise, serve })) ? 0 : 1
  } catch (error) {
    if (!isStopped) console.error(`${name}: ${error instanceof Error ? error.message : error}`)
    process.exitCode = isStopped ? 130 : 1
  } finally {
    endAll()
    await Promise.allSettled(children.values())
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    if (isStopped) console.error("Stopped; nothing is left behind.")
  }
}

/** Seeds a torrent from a process of its own, without a limit of rate if none is given. Returns where it listens. */
export const seed = async (
  { serve }: Demonstration,
  torrent: string,
  folder: string,
  bytesPerSecond?: number
): Promise<{ readonly address: string; readonly child: Child }> => {
  const rate = bytesPerSecond === undefined ? [] : [String(bytesPerSecond)]
  const { child, line } = await serve("scripts/seeder.ts", [torrent, folder, ...rate])
  return { child, address: line }
}
