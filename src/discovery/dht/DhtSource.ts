/**
 * Finds peers through the DHT: looks a torrent up while its stream runs, and announces us there. A private torrent is
 * neither looked up nor announced (BEP 27).
 *
 * This is the shell of `DhtSchedule.ts`, in rounds: one for each lookup. It runs while the consumer pulls, so a slow
 * consumer slows it down.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Monotonic from "../../base/Monotonic.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as ListeningPort from "../../network/ListeningPort.ts"
import * as PeerSource from "../PeerSource.ts"
import { PeerSources } from "../PeerSources.ts"
import { Dht } from "./Dht.ts"
import * as DhtSchedule from "./DhtSchedule.ts"
import type { DhtStatus } from "./DhtStatus.ts"

/** The name of the source in events. */
export const name = "DHT"

/** Why it fails while no node of the DHT is known. */
export const noNodes = "no node of the DHT answers"

/** Makes a source over a DHT. Its stream never ends or fails by itself, unless the torrent is private: then it is empty. */
export const of = (dht: Dht["Service"]): PeerSource.PeerSource => {
  const rounds = (context: PeerSource.PeerSourceContext) => (context.isPrivate ? undefined : roundsOf(context, dht))
  return {
    name,
    rounds,
    peers: (context) =>
      Stream.suspend(() => {
        const own = rounds(context)
        return own === undefined ? Stream.empty : PeerSource.ofRounds(own)
      })
  }
}

/** Makes a source over the DHT at hand. */
export const make: Effect.Effect<PeerSource.PeerSource, never, Dht> = Effect.map(Dht, of)

/** Provides `PeerSources` with one source: the DHT. */
export const layer: Layer.Layer<PeerSources, never, Dht> = Layer.effect(
  PeerSources,
  Effect.map(make, (source) => [source])
)

const roundsOf = (context: PeerSource.PeerSourceContext, dht: Dht["Service"]): PeerSource.Rounds => {
  const schedule = DhtSchedule.make()
  // What the schedule said last, and about what. Most of the time there is nothing new to ask it.
  let until = Number.NEGATIVE_INFINITY
  let port: number | undefined
  let isSeed = false
  let hasNodes = false

  const step = (now: number): DhtSchedule.Step => {
    const hasFew = context.hasFew?.() === true || context.wantsMore?.() === true
    const next = DhtSchedule.next(schedule, { hasFew, isSeed, port }, now)
    until = next._tag === "Wait" ? next.until : now
    return next
  }

  const isDue = (now: number): boolean => {
    const portNow = ListeningPort.current(context.port) || undefined
    const isSeedNow = context.facts().left === 0
    if (now < until && port === portNow && isSeed === isSeedNow) return false
    port = portNow
    isSeed = isSeedNow
    return step(now)._tag === "LookUp"
  }

  const lookUp = (announce: DhtSchedule.Announcement | undefined, begunAt: number) => {
    let hasFound = false
    const found = Stream.map(dht.peers(context.infoHash, { announce, noSeeds: isSeed }), ({ from, peers }) => {
      hasFound = true
      return answer(peers, from.host)
    })
    const end = Effect.gen(function* () {
      hasNodes = hasFound || knowsNodes(yield* dht.status)
      const isFailure = DhtSchedule.ended(schedule, { announce, begunAt, hasNodes }, yield* Monotonic.now)
      if (hasFound || !(hasNodes || isFailure)) return []
      return [hasNodes ? answer([]) : ({ _tag: "Failed", source: name, why: noNodes } as const)]
    })
    return Stream.concat(found, Stream.unwrap(Effect.map(end, Stream.fromIterable)))
  }

  const round = Effect.gen(function* () {
    const now = yield* Monotonic.now
    const next = step(now)
    if (next._tag === "Wait") return Stream.empty
    // They may not have been asked before, because the DHT had not begun, or may not have answered.
    if (!hasNodes) yield* Effect.forEach(context.nodes ?? [], dht.addNode, { discard: true })
    return lookUp(next.announce, now)
  })

  return { isDue, round: () => Stream.unwrap(round) }
}

const answer = (addresses: ReadonlyArray<PeerAddress>, from?: string): PeerSource.PeerSourceEvent => ({
  _tag: "Peers",
  source: name,
  addresses,
  ...(from !== undefined && { from })
})

const knowsNodes = ({ ipv4, ipv6 }: DhtStatus): boolean => (ipv4?.nodes ?? 0) + (ipv6?.nodes ?? 0) > 0
