/**
 * The contract of everything that finds peers: trackers, DHT, PEX, LSD, a fixed list.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect, Stream } from "effect"
 * import { Engine, type PeerSource } from "piecewise"
 * import { KnownTorrent, PeerBehaviour, TestEngine } from "piecewise/testing"
 *
 * const program = Effect.gen(function* () {
 *   const { during, join } = yield* TestEngine.TestEngine
 *   const known = yield* KnownTorrent.make({ files: [{ path: [], length: 300_000 }], pieceLength: 65_536 })
 *   const peer = yield* join(known, PeerBehaviour.honest)
 *   const mine: PeerSource.PeerSource = {
 *     // The simulated peers have addresses of a local network.
 *     isLocal: true,
 *     peers: () => Stream.make({ _tag: "Peers", source: "my list", addresses: [peer.address] })
 *   }
 *   const engine = yield* Engine.Engine
 *   const torrent = yield* engine.add(known.metainfo, { sources: [mine] })
 *   yield* during(torrent.completed)
 *   assert.equal(peer.counters.handshakes, 1)
 * })
 * const layer = TestEngine.layer({ findsPeers: false })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer)))
 * ```
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { ListeningPort } from "../network/ListeningPort.ts"

/** What a source may report about the torrent that it finds peers for. Read when it is needed. */
export interface TransferFacts {
  /** Payload bytes received since the torrent was started, wasted ones included (BEP 3 `downloaded`). */
  readonly downloaded: number
  /** Payload bytes sent since the torrent was started. */
  readonly uploaded: number
  /**
   * Bytes of the torrent that are not stored, those of unwanted files included (BEP 3): a torrent of which only a part
   * is wanted never becomes a seed.
   */
  readonly left: number
}

/** The torrent that peers are wanted for: a running one, or one whose info dict is being fetched. */
export interface PeerSourceContext {
  readonly infoHash: InfoHash
  /** Our peer id in the swarm of this torrent, the same as in its handshakes. Each torrent has its own. */
  readonly peerId: PeerId
  /** The port that peers can connect to. It may change; a source announces its current value. */
  readonly port: ListeningPort
  /**
   * How connections to peers are encrypted, which trackers may be told: we prefer it, accept nothing else, or have none.
   * Default `off`.
   */
  readonly encryption?: "prefer" | "require" | "off" | undefined
  /** Whether only trackers may find peers (BEP 27). Always `false` for a magnet link, which cannot carry the flag. */
  readonly isPrivate: boolean
  /** The trackers' URLs in tiers (BEP 12), as in the metainfo. Some may not be valid tracker URLs. */
  readonly trackers: ReadonlyArray<ReadonlyArray<string>>
  /**
   * Whether each tier is announced to separately and at once, as for a magnet link, whose trackers have no order.
   * Default `false`: a tier is used only while the tiers before it do not answer (BEP 12), or while there are few
   * peers.
   */
  readonly allTiers?: boolean | undefined
  /** Nodes of the DHT that the torrent names (BEP 5 `nodes`), which may be any addresses; default none. */
  readonly nodes?: ReadonlyArray<PeerAddress> | undefined
  readonly facts: () => TransferFacts
  /**
   * Completes when every piece of the torrent is stored and flushed, never if some are unwanted; immediately if all
   * were stored when the torrent started.
   */
  readonly completed: Effect.Effect<void>
  /**
   * Whether pieces are wanted that are not stored, and there is no peer. A source may then ask sooner, if its rules allow
   * it.
   */
  readonly wantsMore?: (() => boolean) | undefined
  /**
   * Whether pieces are wanted that are not stored, and there are few peers. A source may then ask more than it otherwise
   * would, such as further tiers of trackers. A torrent that only uploads is found by those that lack something.
   */
  readonly hasFew?: (() => boolean) | undefined
}

/**
 * Finds peers for any torrent. An engine makes one, and it learns of a torrent only when `peers` is called for it.
 *
 * The stream finds peers while it runs. A source that has nothing more to report may end. After an interruption the
 * stream may run for a few more seconds, to announce that we leave. A stream that fails, or dies, is reported as a
 * `Failed` event and run again: after 10 seconds, then twice as long each time, at most 10 minutes, and from 10 seconds
 * on again once it has reported peers (`SourceRun`). So it never ends its torrent. A source that consists of several,
 * such as trackers, reports their failures as events itself.
 *
 * If the torrent is private, a source that asks anything except the torrent's trackers returns an empty stream (BEP
 * 27). A list of addresses that the user gave asks nobody, so it still emits them, and says that it is one (`isGiven`).
 * What others emit for a private torrent is not used.
 *
 * A source may name any public address. Others are refused unless the event says that it came from a host of that
 * kind (`from`), or the source is local or the user's. So a stranger cannot make us connect to services of the local network.
 *
 * `R` are the services that the stream needs. They are taken from the context of `Engine.add`, or of the layer that
 * provides the source to all torrents (`PeerSources.layer`). Each run of a stream has a `Scope` of its own.
 */
export interface PeerSource<out E = never, out R = never> {
  /** Its name in reports of failures before its first event; default `peer source`. */
  readonly name?: string | undefined
  /**
   * Whether it only hears of the local network. Then it may name addresses on this machine and in the local network.
   * Default `false`.
   */
  readonly isLocal?: boolean | undefined
  /**
   * Whether its addresses are from the user. Then they may be anywhere, and are used for private torrents too. Default
   * `false`.
   */
  readonly isGiven?: boolean | undefined
  readonly peers: (context: PeerSourceContext) => Stream.Stream<PeerSourceEvent, E, R>
  /**
   * The same in rounds, for a source that only asks now and then; `undefined` if it asks nothing for this torrent. A
   * torrent that runs uses them in place of `peers`, because then nothing of it waits between two rounds. Default: it
   * has only `peers`. If it throws, the source has failed, and it is called again as `peers` would be.
   */
  readonly rounds?: ((context: PeerSourceContext) => Rounds<E, R> | undefined) | undefined
}

/** The rounds of a source for one torrent. */
export interface Rounds<out E = never, out R = never> {
  /**
   * Whether a round is due at `now` (milliseconds of a clock that never goes back). Read every second while no round
   * runs, so it must be cheap. If it throws, the source has failed, and it is asked again as `peers` would be.
   */
  readonly isDue: (now: number) => boolean
  /** One round, which ends by itself. If it fails or dies, it is run again as `peers` would be. */
  readonly round: () => Stream.Stream<PeerSourceEvent, E, R>
}

/** Waits until a round is due. */
const due = Effect.fnUntraced(function* ({ isDue }: Rounds<unknown, unknown>) {
  while (!isDue(yield* Monotonic.now)) yield* Effect.sleep("1 second")
})

/** All rounds, one after another, as a source of rounds returns them from `peers`. */
export const ofRounds = <E, R>(rounds: Rounds<E, R>): Stream.Stream<PeerSourceEvent, E, R> =>
  Stream.flatMap(Stream.fromEffectRepeat(due(rounds)), rounds.round)

/** The next round, once it is due. */
export const nextRound = <E, R>(rounds: Rounds<E, R>): Stream.Stream<PeerSourceEvent, E, R> =>
  Stream.flatMap(Stream.fromEffect(due(rounds)), rounds.round)

/** Provides the services that a source needs. */
export const provideContext = <E, R>(self: PeerSource<E, R>, context: Context.Context<R>): PeerSource<E> => ({
  ...self,
  peers: (torrent) => Stream.provideContext(self.peers(torrent), context),
  rounds:
    self.rounds &&
    ((torrent) => {
      const rounds = self.rounds?.(torrent)
      return rounds && { ...rounds, round: () => Stream.provideContext(rounds.round(), context) }
    })
})

/** What a source reports. */
export type PeerSourceEvent =
  /** Addresses to try, possibly none. They may repeat, and may include our own. */
  | {
      readonly _tag: "Peers"
      readonly source: string
      readonly addresses: ReadonlyArray<PeerAddress>
      /** Those of them that are said to prefer encrypted connections, or to accept no others. */
      readonly preferringEncryption?: ReadonlyArray<PeerAddress> | undefined
      /** How many peers have everything (`seeders`), and how many do not (`leechers`), if the source knows. */
      readonly seeders?: number | undefined
      readonly leechers?: number | undefined
      /** A message from the source for the user. */
      readonly warning?: string | undefined
      /** Our own IP address as the source sees it. */
      readonly externalHost?: string | undefined
      /**
       * The IP address of whoever named them, or the host of their URL if the address is not known. Addresses in the
       * local network are taken from a host in it only, and those on this machine from a host on this machine. Default:
       * a public one, unless the source is local or the user's.
       */
      readonly from?: string | undefined
      /**
       * Whether the answer of a tracker only confirms an event, such as `completed`, and the torrent goes on using
       * another tracker. When a private torrent changes its tracker, the peers of the former leave (BEP 27).
       */
      readonly isBeside?: boolean | undefined
    }
  /**
   * The source failed and retries later. `why` is a phrase that reads well after the source's name and a colon.
   * `isFinal`: it refused for good, such as a tracker that does not want the torrent (BEP 31 `retry in never`) or is
   * gone.
   */
  | { readonly _tag: "Failed"; readonly source: string; readonly why: string; readonly isFinal?: boolean | undefined }

/** A source that emits a fixed list of addresses once, and ends. They are the user's (`isGiven`). */
export const fromAddresses = (addresses: ReadonlyArray<PeerAddress>, source = "given"): PeerSource => ({
  isGiven: true,
  peers: () => Stream.make({ _tag: "Peers", source, addresses })
})
