/**
 * The options of an engine from outside the program: read from variables of the environment (docs/configuration.md), or
 * decoded by a schema.
 */
import * as Config from "effect/Config"
import * as Schema from "effect/Schema"
import * as Environment from "../base/Environment.ts"
import * as Size from "../base/Size.ts"
import { Policy } from "../connect/Encryption.ts"
import * as RateLimits from "../rate/RateLimits.ts"

/** The smallest sizes, in bytes. A buffer of a smaller size cannot hold one block of a piece. */
const min = { bufferBytes: 65_536, readCacheBytes: 0, maxMetadataBytes: 1 } as const

/** How many connections there may be at most. */
const connections = { minimum: 1, maximum: 100_000 } as const

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))

/**
 * The schema of the options, for a program that keeps them or receives them from another one. What is decoded can be
 * passed to `Engine.layer`. Its bounds are those of `fromEnvironment`.
 */
export const EngineOptions = Schema.Struct({
  bufferBytes: Schema.optional(Size.atLeast(min.bufferBytes)),
  readCacheBytes: Schema.optional(Size.atLeast(min.readCacheBytes)),
  maxConnections: Schema.optional(Schema.Int.check(Schema.isBetween(connections))),
  maxMetadataBytes: Schema.optional(Size.atLeast(min.maxMetadataBytes)),
  limits: Schema.optional(RateLimits.Limits),
  listen: Schema.optional(
    Schema.Struct({
      host: Schema.optional(Schema.String),
      port: Schema.Union([Port, Schema.Array(Port).check(Schema.isNonEmpty())])
    })
  ),
  encryption: Schema.optional(Policy),
  telemetry: Schema.optional(
    Schema.Struct({
      metrics: Schema.optional(Schema.Boolean),
      byTorrent: Schema.optional(Schema.Boolean),
      logs: Schema.optional(Schema.Boolean),
      pieces: Schema.optional(Schema.Boolean)
    })
  )
})

/** Reads where to listen: `PIECEWISE_LISTEN_PORT` and, if that is set, `PIECEWISE_BIND`. */
const listen = () =>
  Config.map(
    Config.all({
      port: Environment.optional(Environment.ports("PIECEWISE_LISTEN_PORT")),
      host: Environment.optional(Environment.ipAddress(Environment.bindName))
    }),
    ({ host, port }) => (port === undefined ? undefined : { host, port })
  )

/**
 * Reads `PIECEWISE_BUFFER_BYTES`, `PIECEWISE_READ_CACHE_BYTES`, `PIECEWISE_MAX_METADATA_BYTES`,
 * `PIECEWISE_MAX_CONNECTIONS`, `PIECEWISE_DOWNLOAD_LIMIT`, `PIECEWISE_UPLOAD_LIMIT`, `PIECEWISE_LISTEN_PORT`,
 * `PIECEWISE_BIND` and `PIECEWISE_ENCRYPTION`. What is not set has its default; without a port the engine does not listen.
 */
export const fromEnvironment = () =>
  Config.all({
    bufferBytes: Environment.optional(Environment.size("PIECEWISE_BUFFER_BYTES", min.bufferBytes)),
    readCacheBytes: Environment.optional(Environment.size("PIECEWISE_READ_CACHE_BYTES", min.readCacheBytes)),
    maxMetadataBytes: Environment.optional(Environment.size("PIECEWISE_MAX_METADATA_BYTES", min.maxMetadataBytes)),
    maxConnections: Environment.optional(
      Environment.integer("PIECEWISE_MAX_CONNECTIONS", connections.minimum, connections.maximum)
    ),
    limits: Config.all({
      downloadBytesPerSecond: Environment.optional(
        Environment.size("PIECEWISE_DOWNLOAD_LIMIT", RateLimits.minBytesPerSecond)
      ),
      uploadBytesPerSecond: Environment.optional(
        Environment.size("PIECEWISE_UPLOAD_LIMIT", RateLimits.minBytesPerSecond)
      )
    }),
    listen: listen(),
    encryption: Environment.optional(Config.Literals(Policy.literals, "PIECEWISE_ENCRYPTION"))
  })
