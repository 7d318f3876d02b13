/**
 * The options of commands that connect to peers: which peers, how many, how fast, and the port to listen on.
 */
import * as Effect from "effect/Effect"
import * as PeerAddress from "../base/PeerAddress.ts"
import type * as Engine from "../engine/Engine.ts"
import type { Limits } from "../rate/RateLimits.ts"
import * as Arguments from "./Arguments.ts"
import * as Units from "./Units.ts"

/** The parsed peer options. */
export interface PeerOptions {
  readonly peers: ReadonlyArray<PeerAddress.PeerAddress>
  readonly maxConnections: number | undefined
  readonly limits: Limits
  /** `undefined` if no port was given. */
  readonly listen: Engine.ListenOptions | undefined
}

const wrong = (why: string) => Effect.fail(new Arguments.WrongUsage(why))

const number = Effect.fnUntraced(function* (args: Arguments.Arguments, name: string, min: number, max: number) {
  const text = Arguments.get(args, name)
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  return yield* wrong(`--${name} ${text} is not a number from ${min} to ${max}`)
})

const rate = Effect.fnUntraced(function* (args: Arguments.Arguments, name: string) {
  const text = Arguments.get(args, name)
  const value = text === undefined ? undefined : Units.parseRate(text)
  if (text === undefined || value !== undefined) return value
  return yield* wrong(`--${name} ${text} is not a rate: it must be bytes per second, such as 500KiB or 2MiB`)
})

/** Reads `--peer`, `--max-connections`, `--port`, `--limit-down` and `--limit-up`. Fails with `WrongUsage`. */
export const read = Effect.fnUntraced(function* (args: Arguments.Arguments) {
  const peers: Array<PeerAddress.PeerAddress> = []
  for (const text of Arguments.all(args, "peer")) {
    const peer = PeerAddress.parse(text)
    if (peer === undefined || !PeerAddress.isDialable(peer)) {
      return yield* wrong(`--peer ${text} is not an address: it must be HOST:PORT, or [IPV6]:PORT`)
    }
    peers.push(peer)
  }
  const maxConnections = yield* number(args, "max-connections", 1, 10_000)
  const port = yield* number(args, "port", 1, 65_535)
  const options: PeerOptions = {
    peers,
    maxConnections,
    limits: {
      downloadBytesPerSecond: yield* rate(args, "limit-down"),
      uploadBytesPerSecond: yield* rate(args, "limit-up")
    },
    listen: port === undefined ? undefined : { port }
  }
  return options
})
