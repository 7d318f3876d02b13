/** The io-daemon as it is built from `native-host`, for tests that talk to the real one. */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { IoDaemon } from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonProcess from "../../src/io-daemon/IoDaemonProcess.ts"
import * as IoDaemonProtocol from "../../src/io-daemon/IoDaemonProtocol.ts"

/** Where `cargo build --release` puts it. */
export const program = fileURLToPath(new URL("../../native-host/target/release/piecewise-io-daemon", import.meta.url))

const { CI } = process.env

/** Where nothing is built the tests of the live daemon are left out, but never where all must run. */
const isWanted = existsSync(program) || CI === "true"

/** Defines the tests of the live daemon in `define`, or leaves them out with one line. */
export const live = (name: string, define: () => void): void => {
  if (isWanted) define()
  else it.skip(`${name}: the io-daemon is not built (cargo build --release in native-host)`, () => {})
}

/** A daemon that ends with the layer; what it says of itself goes to nobody. `roots` are folders by name. */
export const layer = (roots: Readonly<Record<string, string>> = {}): Layer.Layer<IoDaemon> =>
  Layer.orDie(IoDaemonProcess.layer({ program, roots }))

/** Asks the daemon something without a body. */
export const request = Effect.fnUntraced(function* (method: "GET" | "POST", route: string) {
  const { token, url } = yield* Effect.orDie((yield* IoDaemon).endpoint)
  const headers = { authorization: `Bearer ${Redacted.value(token)}` }
  return yield* Effect.promise(() => fetch(`${url}${route}`, { method, headers }))
})

const decodeStats = Schema.decodeUnknownSync(IoDaemonProtocol.Stats)

/** What the daemon counts, this question among it. */
export const stats = Effect.flatMap(request("GET", IoDaemonProtocol.statsRoute), (response) =>
  Effect.promise(async () => decodeStats(await response.json()))
)
