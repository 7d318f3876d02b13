/**
 * What every `PeerSource` does, for sources of your own.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Stream } from "effect"
 * import { InfoHash, PeerSource } from "piecewise"
 * import { PeerSourceSuite } from "piecewise/testing"
 *
 * const infoHash = InfoHash.fromHex("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")
 * assert(infoHash !== undefined)
 * const known = PeerSource.fromAddresses([{ host: "192.0.2.1", port: 6881 }])
 * // As a source must that asks others: it finds nobody for a private torrent.
 * const source: PeerSource.PeerSource = {
 *   peers: (torrent) => (torrent.isPrivate ? Stream.empty : known.peers(torrent))
 * }
 * for (const { run } of PeerSourceSuite.cases({ source, infoHash })) await Effect.runPromise(run)
 *
 * const silent = PeerSource.fromAddresses([])
 * const [first] = PeerSourceSuite.cases({ source: silent, infoHash })
 * assert(first !== undefined)
 * const failure = await Effect.runPromise(Effect.flip(first.run))
 * assert.equal(failure.test, first.name)
 * ```
 *
 * The source must know a peer of the torrent `infoHash`, and report it without waiting for time to pass.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { InfoHash } from "../../base/InfoHash.ts"
import * as PeerAddress from "../../base/PeerAddress.ts"
import * as PeerId from "../../base/PeerId.ts"
import type { PeerSource, PeerSourceContext, PeerSourceEvent } from "../../discovery/PeerSource.ts"
import * as ListeningPort from "../../network/ListeningPort.ts"
import * as Assert from "./Assert.ts"
import * as Suite from "./Suite.ts"
import * as TransportProbe from "./TransportProbe.ts"

const { settle } = TransportProbe

/** The source, and a torrent that it knows. */
export interface Options<E, R> {
  readonly source: PeerSource<E, R>
  readonly infoHash: InfoHash
  /** The trackers of the torrent, in tiers; default none. */
  readonly trackers?: ReadonlyArray<ReadonlyArray<string>> | undefined
  /** Whether it reports peers of private torrents (BEP 27), as only trackers and given lists may. Default: no. */
  readonly findsPrivate?: boolean | undefined
}

type Found = Extract<PeerSourceEvent, { _tag: "Peers" }>

const hasPeers = (event: PeerSourceEvent): event is Found => event._tag === "Peers" && event.addresses.length > 0

/** What every source does. */
export const cases = <E, R>(options: Options<E, R>): ReadonlyArray<Suite.Case<Exclude<R, Scope.Scope>>> => {
  const { findsPrivate = false, infoHash, source, trackers = [] } = options
  const contextOf = Effect.fnUntraced(function* (more: Partial<PeerSourceContext> = {}) {
    const context: PeerSourceContext = {
      infoHash,
      peerId: PeerId.make((bytes) => bytes.fill(7)),
      port: yield* ListeningPort.make(6_881),
      isPrivate: false,
      trackers,
      completed: Effect.never,
      facts: () => ({ downloaded: 0, uploaded: 0, left: 1 }),
      ...more
    }
    return context
  })
  const firstPeers = Effect.flatMap(contextOf(), (context) =>
    source.peers(context).pipe(Stream.filter(hasPeers), Stream.runHead, Effect.map(Option.getOrUndefined))
  )
  const isDialable = ({ host, port }: PeerAddress.PeerAddress) => PeerAddress.make(host, port) !== undefined

  return [
    Suite.test(
      "reports addresses that can be dialled, under a name",
      Effect.gen(function* () {
        const found = yield* firstPeers

        Assert.isTrue(found !== undefined, "the source reports a peer")
        Assert.isTrue(found?.addresses.every(isDialable), `addresses ${Assert.show(found?.addresses)}`)
        Assert.match(found?.source, /\S/, "the name of the source")
      })
    ),

    Suite.test(
      "reports peers in each of its runs, one after another and at once",
      Effect.gen(function* () {
        const runs = [yield* firstPeers, ...(yield* Effect.all([firstPeers, firstPeers], { concurrency: 2 }))]

        Assert.deepStrictEqual(
          runs.map((found) => found !== undefined),
          [true, true, true]
        )
      })
    ),

    Suite.test(
      findsPrivate ? "reports peers of a private torrent" : "asks nobody for a private torrent, and ends",
      Effect.gen(function* () {
        const events: Array<PeerSourceEvent> = []
        const context = yield* contextOf({ isPrivate: true })
        const running = yield* source.peers(context).pipe(
          Stream.runForEach((event) => Effect.sync(() => void events.push(event))),
          Effect.forkChild({ startImmediately: true })
        )
        yield* settle
        const ended = running.pollUnsafe() !== undefined
        yield* Fiber.interrupt(running)

        if (findsPrivate) Assert.isTrue(events.some(hasPeers), "it reports peers")
        else Assert.deepStrictEqual<unknown>([events, ended], [[], true])
      })
    ),

    Suite.test(
      "can be interrupted before and after its first event",
      Effect.gen(function* () {
        for (const turns of [0, 1, 20]) {
          const context = yield* contextOf()
          const running = yield* Effect.forkChild(Stream.runDrain(source.peers(context)), { startImmediately: true })
          for (let turn = 0; turn < turns; turn++) yield* settle

          yield* Fiber.interrupt(running)
        }
      })
    )
  ]
}
