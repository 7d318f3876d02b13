/** The io-daemon built from `native-host`, for tests that talk to the real one. */
import * as NFS from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { IoDaemon } from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonProtocol from "../../src/io-daemon/IoDaemonProtocol.ts"
import * as IoDaemonProcess from "../../src/io-daemon/node/IoDaemonProcess.ts"

/** The program that `cargo build --release` makes. */
export const program = fileURLToPath(new URL("../../native-host/target/release/piecewise-io-daemon", import.meta.url))

const { CI } = process.env

/** Without a build the tests of the live daemon are left out, except in CI, where all must run. */
const isWanted = NFS.existsSync(program) || CI === "true"

/** Defines the tests of the live daemon in `define`, or leaves them out with one line. */
export const live = (name: string, define: () => void): void => {
  if (isWanted) define()
  else it.skip(`${name}: the io-daemon is not built (cargo build --release in native-host)`, () => {})
}

/** A daemon that ends with the layer; its output is dropped. `roots` are folders by name. */
export const layer = (roots: Readonly<Record<string, string>> = {}): Layer.Layer<IoDaemon> =>
  Layer.orDie(IoDaemonProcess.layer({ program, roots }))

/** A daemon that can be killed: its program appends the number of each process to a file in `folder`. */
export const mortal = (folder: string) => {
  const list = Path.join(folder, "pids")
  const script = Path.join(folder, "daemon")
  NFS.writeFileSync(script, `#!/bin/sh\necho $$ >> '${list}'\nexec '${program}' "$@"\n`, { mode: 0o755 })
  const pids = () => NFS.readFileSync(list, "utf8").trim().split("\n").map(Number)
  return { program: script, pids, kill: () => killNow(pids().at(-1)!) }
}

/** Kills a process that may have ended. */
const killNow = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}

/** Sends a request without a body. */
export const request = Effect.fnUntraced(function* (method: "GET" | "POST", route: string) {
  const { token, url } = yield* Effect.orDie((yield* IoDaemon).endpoint)
  const headers = { authorization: `Bearer ${Redacted.value(token)}` }
  return yield* Effect.promise(() => fetch(`${url}${route}`, { method, headers }))
})

const decodeStats = Schema.decodeUnknownSync(IoDaemonProtocol.Stats)

/** The daemon's counters, which include this request. */
export const stats = Effect.flatMap(request("GET", IoDaemonProtocol.statsRoute), (response) =>
  Effect.promise(async () => decodeStats(await response.json()))
)
