/**
 * Whole sessions on a network in memory: a known torrent, scripted peers on hosts of their own, and functions that let
 * time pass. Pieces of the torrent have four blocks; its last block is short.
 */
import { it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type * as Assembly from "../../src/assembly/Assembly.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import type { PeerId } from "../../src/base/PeerId.ts"
import * as Introduction from "../../src/connect/Introduction.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import type { Connection } from "../../src/network/Transport.ts"
import { Dialer, Listener } from "../../src/network/Transport.ts"
import * as PeerSession from "../../src/peer/PeerSession.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import * as Uploads from "./uploads.ts"

export const ourId = new Uint8Array(20).fill(0x50) as PeerId

/** A torrent of `pieces` pieces, of 64 KiB by default; its last block is 100 bytes short. */
export const torrent = (pieces = 4, pieceLength = 65_536) =>
  KnownTorrent.make({ files: [{ path: [], length: pieces * pieceLength - 100 }], pieceLength }).pipe(
    Effect.provide(NodePieceHasher.layer)
  )

/** What a session test runs on. */
export const layer = (options: MemoryNetwork.Options = {}) => MemoryNetwork.layer(options)

/** A test of sessions on a network in memory. */
export const test = (
  name: string,
  body: () => Generator<
    Effect.Effect<unknown, unknown, Dialer | Listener | MemoryNetwork.MemoryNetwork | Scope.Scope>,
    void,
    never
  >,
  options: MemoryNetwork.Options = {}
) => it.effect(name, () => Effect.provide(Effect.gen(body), layer(options)))

/** Lets everything happen that needs no time. */
export const settle = Effect.gen(function* () {
  for (let turn = 0; turn < 150; turn++) yield* Effect.yieldNow
})

/** Lets time pass, a second at a time, so that what wakes up on the way can act at its own time. */
export const pass = Effect.fnUntraced(function* (seconds: number, step: Duration.Input = "1 second") {
  yield* settle
  for (let turn = 0; turn < seconds; turn++) {
    yield* TestClock.adjust(step)
    yield* settle
  }
})

/** A scripted peer that serves `known` at an address of its own. */
export const serve = Effect.fnUntraced(function* (
  known: KnownTorrent.KnownTorrent,
  address: PeerAddress,
  behaviour: PeerBehaviour = {},
  peerId?: Uint8Array
) {
  const network = yield* MemoryNetwork.MemoryNetwork
  return yield* ScriptedPeer.serve({
    infoHash: known.metainfo.infoHash,
    geometry: known.metainfo.layout.geometry,
    content: known.content,
    behaviour,
    peerId,
    listen: address
  }).pipe(Effect.provideService(Listener, network.host(address.host).listener))
})

/** The state of a session that `start` began. */
export interface Running {
  session: PeerSession.PeerSession | undefined
  /** How it ended: `closed` or the reason; `undefined` while it runs. */
  ended: string | undefined
  connection: Connection | undefined
}

/** Dials `address` and runs a session in the scope at hand. */
export const start = Effect.fnUntraced(function* (
  known: KnownTorrent.KnownTorrent,
  assembly: Assembly.Assembly,
  address: PeerAddress,
  options: {
    readonly peerId?: PeerId | undefined
    readonly refuses?: PeerSession.SessionError | undefined
    /** The depth of the request pipeline at the start. */
    readonly depth?: number | undefined
    readonly upload?: Uploads.TestUpload | undefined
    readonly onInterest?: (() => void) | undefined
    /** Whether the handshake of the connection counts as encrypted. */
    readonly canEncrypt?: boolean | undefined
  } = {}
) {
  const running: Running = { session: undefined, ended: undefined, connection: undefined }
  const ourselves: Introduction.Ourselves = {
    infoHash: known.metainfo.infoHash,
    peerId: options.peerId ?? ourId,
    features: PeerSession.features
  }
  const fiber = yield* Dialer.use((dialer) => dialer.connect(address)).pipe(
    Effect.flatMap((connection) => {
      running.connection = connection
      return Introduction.dialled({ ...connection, canEncrypt: options.canEncrypt }, ourselves)
    }),
    Effect.flatMap((introduced) =>
      PeerSession.run({
        introduced,
        assembly,
        upload: options.upload ?? Uploads.make(assembly.geometry),
        id: idOf(0),
        onOpen: (session) => {
          running.session = session
          session.protocol.pipeline.depth = options.depth ?? session.protocol.pipeline.depth
          return options.refuses
        },
        onInterest: options.onInterest ?? (() => {})
      })
    ),
    Effect.scoped,
    Effect.onExit((exit) =>
      Effect.sync(() => {
        const error = Exit.findErrorOption(exit)
        const rest = Exit.hasDies(exit) ? String(exit) : "interrupted"
        running.ended = error._tag === "Some" ? error.value.why : Exit.isSuccess(exit) ? "closed" : rest
      })
    ),
    Effect.ignoreCause,
    Effect.forkScoped
  )
  yield* settle
  return { running, fiber }
})

/** A listener that hands each connection it accepts to `talk`; what a scripted peer cannot do is written there. */
export const listen = Effect.fnUntraced(function* (
  address: PeerAddress,
  talk: (connection: Connection) => Effect.Effect<void, never, Scope.Scope>
) {
  const network = yield* MemoryNetwork.MemoryNetwork
  const listening = yield* network.host(address.host).listener.listen(address)
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(listening.accept, talk)))
})
