/**
 * The options of commands that use the DHT: whether, and through which routers.
 */
import * as Os from "node:os"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Environment from "../base/Environment.ts"
import * as NodeDht from "../node/NodeDht.ts"
import * as Arguments from "./Arguments.ts"

/** The options of the DHT; `false` for none. */
export type DhtOptions = NodeDht.Options | false

/**
 * The folder for what programs of this user remember from one run to the next (XDG Base Directory Specification,
 * `$XDG_STATE_HOME`). A relative path in the variable is invalid, and ignored.
 */
const stateFolder = (): string => {
  const { XDG_STATE_HOME: folder = "" } = process.env
  return Path.isAbsolute(folder) ? folder : Path.join(Os.homedir(), ".local", "state")
}

/** Reads `--dht`, `--no-dht` and `PIECEWISE_DHT_ROUTERS`. Fails with `WrongUsage`. */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  if (Arguments.has(args, "no-dht")) {
    if (!Arguments.has(args, "dht")) return false
    return yield* Effect.fail(new Arguments.WrongUsage("--dht and --no-dht cannot be used together"))
  }
  const bootstrap = yield* Environment.optional(Environment.addresses("PIECEWISE_DHT_ROUTERS")).pipe(
    Effect.mapError(({ message }) => new Arguments.WrongUsage(message))
  )
  const found: DhtOptions = { bootstrap, file: NodeDht.fileIn(Path.join(stateFolder(), "piecewise")) }
  return found
})
