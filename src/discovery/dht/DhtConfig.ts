/**
 * The options of a DHT from outside the program: read from variables of the environment (docs/configuration.md), or
 * decoded by a schema.
 */
import * as Config from "effect/Config"
import * as Schema from "effect/Schema"
import * as Environment from "../../base/Environment.ts"
import { PeerAddress } from "../../base/PeerAddress.ts"

/** The schema of the options, for a program that keeps them or receives them from another one. */
export const DhtConfig = Schema.Struct({
  /** Nodes to ask first while no others are known; default `DhtProgram.defaultRouters`. */
  bootstrap: Schema.optional(Schema.Array(PeerAddress)),
  /** Whether to ask only, and answer nobody (BEP 43). */
  isReadOnly: Schema.optional(Schema.Boolean)
})

/** Options of a DHT. */
export type DhtConfig = typeof DhtConfig.Type

/**
 * Reads `PIECEWISE_DHT`, `PIECEWISE_DHT_ROUTERS` and `PIECEWISE_DHT_READ_ONLY`. `false` if there shall be no DHT. What
 * is not set has its default.
 */
export const fromEnvironment = (): Config.Config<DhtConfig | false> =>
  Config.map(
    Config.all({
      isOn: Environment.optional(Environment.flag("PIECEWISE_DHT")),
      bootstrap: Environment.optional(Environment.addresses("PIECEWISE_DHT_ROUTERS")),
      isReadOnly: Environment.optional(Environment.flag("PIECEWISE_DHT_READ_ONLY"))
    }),
    ({ bootstrap, isOn, isReadOnly }) => (isOn === false ? false : { bootstrap, isReadOnly })
  )
