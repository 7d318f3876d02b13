/**
 * The options of commands that use the DHT: whether, and through which routers.
 */
import * as Effect from "effect/Effect"
import * as Environment from "../base/Environment.ts"
import * as NodeDht from "../node/NodeDht.ts"
import * as ServiceFolder from "../node/ServiceFolder.ts"
import * as Arguments from "./Arguments.ts"

/** The options of the DHT; `false` for none. */
export type DhtOptions = NodeDht.Options | false

/** Reads `--dht`, `--no-dht` and `PIECEWISE_DHT_ROUTERS`. Fails with `WrongUsage`. */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  if (Arguments.has(args, "no-dht")) {
    if (!Arguments.has(args, "dht")) return false
    return yield* Effect.fail(new Arguments.WrongUsage("--dht and --no-dht cannot be used together"))
  }
  const bootstrap = yield* Environment.optional(Environment.addresses("PIECEWISE_DHT_ROUTERS")).pipe(
    Effect.mapError(({ message }) => new Arguments.WrongUsage(message))
  )
  const found: DhtOptions = { bootstrap, file: NodeDht.fileIn(ServiceFolder.defaultFolder()) }
  return found
})
