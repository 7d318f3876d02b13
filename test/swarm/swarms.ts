/**
 * A swarm with its download on a network in memory, without verifier and writer: completed pieces stay where they are
 * unless a test stores them.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Swarm from "../../src/swarm/Swarm.ts"
import type * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import { makeDownload } from "../peer/protocols.ts"
import { ourId } from "../peer/sessions.ts"

/** An address of a host of its own. */
export const at = (host: number, port = 6881): PeerAddress => ({ host: `10.0.0.${host}`, port })

/** What a swarm told, in short: `+10.0.0.1`, `-10.0.0.1 why`, `!10.0.0.1 why`. */
const inShort = (fact: Swarm.Fact): string => {
  switch (fact._tag) {
    case "PeerConnected":
      return `+${fact.address.host}`
    case "PeerDisconnected":
      return `-${fact.address.host} ${fact.why}`
    case "PeerBanned":
      return `!${fact.address.host} ${fact.why}`
  }
}

/** Starts a swarm for `known`, until the scope closes. */
export const start = Effect.fnUntraced(function* (
  known: KnownTorrent.KnownTorrent,
  options: {
    readonly stored?: ReadonlyArray<number> | undefined
    readonly maxConnections?: number | undefined
    readonly permits?: Semaphore.Semaphore | undefined
  } = {}
) {
  const facts: Array<string> = []
  const download = yield* makeDownload({ geometry: known.metainfo.layout.geometry, stored: options.stored })
  const swarm = yield* Swarm.make({
    download,
    infoHash: known.metainfo.infoHash,
    peerId: ourId,
    random: Prng.make(1),
    maxConnections: options.maxConnections,
    permits: options.permits ?? (yield* Semaphore.make(200)),
    report: (fact) => facts.push(inShort(fact))
  })
  return { facts, download, swarm }
})
