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
import { Dht, type LookupEnd } from "./Dht.ts"
import * as DhtSchedule from "./DhtSchedule.ts"

/** The name of the source in events. */
export const name = "DHT"

/** Why it fails while no node of the DHT answers. */
export const noNodes = "no node of the DHT answers"

/** Why it fails while nodes answer, and none of them takes our announce. */
export const notTaken = "no node of the DHT takes our announce, so peers do not find us there"

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

/** One torrent. There may be thousands that wait for their next lookups, so it is kept small. */
interface Looking {
  readonly context: PeerSource.PeerSourceContext
  readonly dht: Dht["Service"]
  readonly schedule: DhtSchedule.DhtSchedule
  /** Until when there is nothing to do, if the port and whether we have everything are what they were. */
  until: number
  port: number | undefined
  isSeed: boolean
  /** Whether any node answered the last lookup. */
  hasNodes: boolean
}

const roundsOf = (context: PeerSource.PeerSourceContext, dht: Dht["Service"]): PeerSource.Rounds => {
  const self: Looking = {
    context,
    dht,
    schedule: DhtSchedule.make(),
    until: Number.NEGATIVE_INFINITY,
    port: undefined,
    isSeed: false,
    hasNodes: false
  }
  return { isDue: (now) => isDue(self, now), round: () => Stream.unwrap(round(self)) }
}

const next = (self: Looking, now: number): DhtSchedule.Step => {
  const { context, isSeed, port, schedule } = self
  const hasFew = context.hasFew?.() === true || context.wantsMore?.() === true
  const step = DhtSchedule.next(schedule, { hasFew, isSeed, port }, now)
  self.until = step._tag === "Wait" ? step.until : now
  return step
}

const isDue = (self: Looking, now: number): boolean => {
  const port = ListeningPort.current(self.context.port) || undefined
  const isSeed = self.context.facts().left === 0
  if (now < self.until && port === self.port && isSeed === self.isSeed) return false
  self.port = port
  self.isSeed = isSeed
  return next(self, now)._tag === "LookUp"
}

const round = Effect.fnUntraced(function* (self: Looking) {
  const { context, dht } = self
  const begunAt = yield* Monotonic.now
  const step = next(self, begunAt)
  if (step._tag === "Wait") return Stream.empty
  // They may not have been asked before, because the DHT had not begun, or may not have answered.
  if (!self.hasNodes) yield* Effect.forEach(context.nodes ?? [], (node) => dht.addNode(node), { discard: true })
  const { announce } = step
  let hasFound = false
  let end: LookupEnd = { answered: 0, announced: 0 }
  const onEnd = (ended: LookupEnd) => {
    end = ended
  }
  const lookup = dht.peers(context.infoHash, { announce, noSeeds: self.isSeed, onEnd })
  const found = Stream.map(lookup, ({ from, peers }) => {
    hasFound = true
    return answer(peers, from.host)
  })
  const report = Effect.map(Monotonic.now, (now): ReadonlyArray<PeerSource.PeerSourceEvent> => {
    self.hasNodes = end.answered > 0
    const trouble = DhtSchedule.ended(self.schedule, { announce, begunAt, ...end }, now)
    if (trouble !== undefined) {
      return [{ _tag: "Failed", source: name, why: trouble === "NoAnswer" ? noNodes : notTaken }]
    }
    return hasFound || !self.hasNodes ? [] : [answer([])]
  })
  return Stream.concat(found, Stream.unwrap(Effect.map(report, Stream.fromIterable)))
})

const answer = (addresses: ReadonlyArray<PeerAddress>, from?: string): PeerSource.PeerSourceEvent => ({
  _tag: "Peers",
  source: name,
  addresses,
  ...(from !== undefined && { from })
})
