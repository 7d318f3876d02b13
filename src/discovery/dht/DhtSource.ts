/**
 * Finds peers through the DHT: looks a torrent up while its stream runs, and announces us there. A private torrent is
 * neither looked up nor announced (BEP 27).
 *
 * This is the shell of `DhtSchedule.ts`. A lookup runs while the consumer pulls, so a slow consumer slows it down.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Monotonic from "../../base/Monotonic.ts"
import type { PeerAddress } from "../../base/PeerAddress.ts"
import * as ListeningPort from "../../network/ListeningPort.ts"
import type { PeerSource, PeerSourceContext, PeerSourceEvent } from "../PeerSource.ts"
import { PeerSources } from "../PeerSources.ts"
import { Dht } from "./Dht.ts"
import * as DhtSchedule from "./DhtSchedule.ts"
import type { DhtStatus } from "./DhtStatus.ts"

/** The name of the source in events. */
export const name = "DHT"

/** Why it fails while no node of the DHT is known. */
export const noNodes = "no node of the DHT answers"

/** Makes a source over a DHT. Its stream never ends or fails by itself, unless the torrent is private: then it is empty. */
export const of = (dht: Dht["Service"]): PeerSource => ({
  name,
  peers: (context) => (context.isPrivate ? Stream.empty : Stream.unwrap(start(context, dht)))
})

/** Makes a source over the DHT at hand. */
export const make: Effect.Effect<PeerSource, never, Dht> = Effect.map(Dht, of)

/** Provides `PeerSources` with one source: the DHT. */
export const layer: Layer.Layer<PeerSources, never, Dht> = Layer.effect(
  PeerSources,
  Effect.map(make, (source) => [source])
)

const start = Effect.fnUntraced(function* (context: PeerSourceContext, dht: Dht["Service"]) {
  const schedule = DhtSchedule.make()
  let isSeed = false
  // Wakes the loop. One that waits is enough, because the loop looks at everything when it wakes.
  const changes = yield* Queue.sliding<void>(1)
  yield* context.completed.pipe(
    Effect.andThen(
      Effect.sync(() => {
        isSeed = true
        Queue.offerUnsafe(changes, undefined)
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  // Lets a torrent that is already complete be announced as that.
  yield* Effect.yieldNow
  yield* SubscriptionRef.changes(context.port).pipe(
    Stream.runForEach(() => Queue.offer(changes, undefined)),
    Effect.forkScoped
  )
  const { nodes = [] } = context
  const scope = yield* Effect.scope
  // Not waited for, because names may have to be resolved.
  const askNodes = Effect.forEach(
    nodes,
    (node) => Effect.forkIn(dht.addNode(node), scope, { startImmediately: true }),
    {
      discard: true
    }
  )
  yield* askNodes

  const factsNow = (): DhtSchedule.Facts => ({
    hasFew: context.hasFew?.() === true || context.wantsMore?.() === true,
    isSeed,
    port: ListeningPort.current(context.port) || undefined
  })

  /** Waits until a lookup is due. */
  const due = Effect.gen(function* () {
    while (true) {
      yield* Queue.clear(changes)
      const now = yield* Monotonic.now
      const step = DhtSchedule.next(schedule, factsNow(), now)
      if (step._tag === "LookUp") return { announce: step.announce, begunAt: now }
      yield* Effect.timeoutOption(Queue.take(changes), step.until - now)
    }
  })

  const lookUp = ({ announce, begunAt }: Effect.Success<typeof due>): Stream.Stream<PeerSourceEvent> => {
    let hasFound = false
    const found = Stream.map(dht.peers(context.infoHash, { announce, noSeeds: isSeed }), ({ from, peers }) => {
      hasFound = true
      return answer(peers, from.host)
    })
    const end = Effect.gen(function* () {
      const hasNodes = hasFound || knowsNodes(yield* dht.status)
      // They may not have been asked yet, because the DHT had not begun, or may not have answered.
      if (!hasNodes) yield* askNodes
      const isFailure = DhtSchedule.ended(schedule, { announce, begunAt, hasNodes }, yield* Monotonic.now)
      if (hasFound || !(hasNodes || isFailure)) return Option.none()
      return Option.some<PeerSourceEvent>(hasNodes ? answer([]) : { _tag: "Failed", source: name, why: noNodes })
    })
    return Stream.concat(found, Stream.unwrap(Effect.map(end, (event) => Stream.fromIterable(Option.toArray(event)))))
  }

  return Stream.flatMap(Stream.fromEffectRepeat(due), lookUp)
})

const answer = (addresses: ReadonlyArray<PeerAddress>, from?: string): PeerSourceEvent => ({
  _tag: "Peers",
  source: name,
  addresses,
  ...(from !== undefined && { from })
})

const knowsNodes = ({ ipv4, ipv6 }: DhtStatus): boolean => (ipv4?.nodes ?? 0) + (ipv6?.nodes ?? 0) > 0
