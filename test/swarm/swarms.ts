/**
 * A swarm with its assembly on a network in memory. `start` has no verifier and no writer: complete pieces stay as they
 * are unless a test stores them. `startWhole` has both, over a medium in memory.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as Completion from "../../src/assembly/Completion.ts"
import * as Facts from "../../src/assembly/Facts.ts"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Signal from "../../src/base/Signal.ts"
import * as Ticker from "../../src/base/Ticker.ts"
import type * as Callers from "../../src/connect/Callers.ts"
import type { Accept } from "../../src/connect/Incoming.ts"
import * as Places from "../../src/connect/Places.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as MemoryStorage from "../../src/storage/provider/memory/MemoryStorage.ts"
import type { SupplierId } from "../../src/supply/SupplierId.ts"
import * as PieceSwarm from "../../src/swarm/PieceSwarm.ts"
import type { Fact } from "../../src/swarm/SwarmFact.ts"
import type * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import { makeAssembly } from "../peer/protocols.ts"
import { ourId } from "../peer/sessions.ts"
import * as Uploads from "../peer/uploads.ts"
import { openToWrite } from "../storage/openings.ts"

/** An address on its own host. */
export const at = (host: number, port = 6881): PeerAddress => ({ host: `10.0.0.${host}`, port })

/** What a swarm reported, in short: `+10.0.0.1`, `-10.0.0.1 why`, `?10.0.0.1 why`, `!10.0.0.1 why`, `~1`, `/source 1 why`. */
const inShort = (fact: Fact): string => {
  switch (fact._tag) {
    case "PeerConnected":
      return `+${fact.address.host}`
    case "PeerDisconnected":
      return `-${fact.address.host} ${fact.why}`
    case "PeerUnreachable":
      return `?${fact.address.host} ${fact.why}`
    case "PeerBanned":
      return `!${fact.address.host} ${fact.why}`
    case "PeersHungUp":
      return `~${fact.peers}`
    case "AddressesRefused":
      return `/${fact.source} ${fact.addresses} ${fact.why}`
  }
}

/** Serves until it is interrupted, or until a bug in a part of the swarm ends it. */
const serve = Effect.fnUntraced(function* (swarm: PieceSwarm.PieceSwarm) {
  const died = yield* Deferred.make<never>()
  const ticker = Ticker.make()
  yield* Signal.once(swarm.options.assembly.isNeeded, PieceSwarm.run(swarm)).pipe(
    Effect.andThen(Ticker.run(ticker)),
    Effect.andThen(Ticker.join(ticker, (now) => PieceSwarm.tick(swarm, now))),
    Effect.provideService(Signal.Defects, (defect) => Effect.asVoid(Deferred.die(died, defect)))
  )
  return yield* Deferred.await(died)
}, Effect.scoped)

/** Starts a swarm for `known`, until the scope closes. */
export const start = Effect.fnUntraced(function* (
  known: KnownTorrent.KnownTorrent,
  options: {
    readonly stored?: ReadonlyArray<number> | undefined
    readonly maxConnections?: number | undefined
    readonly seeds?: boolean | undefined
    readonly superSeeds?: boolean | undefined
    readonly uploadSlots?: number | undefined
    readonly places?: Places.Places | undefined
    readonly callers?: Callers.Callers | undefined
  } = {}
) {
  const facts: Array<string> = []
  const assembly = yield* makeAssembly({ geometry: known.metainfo.layout.geometry, stored: options.stored })
  const pieceSwarm = PieceSwarm.make(
    {
      assembly,
      infoHash: known.metainfo.infoHash,
      extensions: { info: known.metainfo.infoBytes, isPrivate: known.metainfo.isPrivate, port: () => undefined },
      peerId: ourId,
      random: Prng.make(1),
      maxConnections: options.maxConnections,
      seeds: () => options.seeds === true,
      superSeeds: options.superSeeds,
      uploadSlots: options.uploadSlots,
      places: options.places ?? Places.make(200),
      callers: options.callers,
      report: (fact) => facts.push(inShort(fact))
    },
    yield* Clock.Clock
  )
  yield* PieceSwarm.serve(pieceSwarm, Uploads.make(assembly.geometry))
  const running = yield* Effect.forkScoped(serve(pieceSwarm))
  const { accept, add, ban, announce, counts, prove, retract } = PieceSwarm
  const swarm = {
    add: (addresses: ReadonlyArray<PeerAddress>, vote?: PieceSwarm.Vote) =>
      Effect.sync(() => add(pieceSwarm, addresses, vote)),
    ban: (key: SupplierId, why: string) => ban(pieceSwarm, key, why),
    prove: (keys: Iterable<SupplierId>) => prove(pieceSwarm, keys),
    announce: (piece: PieceIndex) => announce(pieceSwarm, piece),
    retract: (pieces: ReadonlyArray<PieceIndex>) => retract(pieceSwarm, pieces),
    counts: () => counts(pieceSwarm),
    endSessions: Effect.suspend(() => PieceSwarm.endSessions(pieceSwarm)),
    /** How often each address has failed, by its host. */
    failures: () =>
      Array.from(pieceSwarm.parts?.swarm.book.peers.values() ?? [], ({ address, failures }) => [
        address.host,
        failures
      ]),
    hasParts: () => pieceSwarm.parts !== undefined
  }
  const serving = { accept: (...caller: Parameters<Accept>) => accept(pieceSwarm, ...caller) }
  return { facts, assembly, swarm, serving, running }
})

/** Starts a swarm that verifies and stores what it fetches, as a torrent does, until the scope closes. */
export const startWhole = Effect.fnUntraced(function* (
  known: KnownTorrent.KnownTorrent,
  options: Parameters<typeof start>[1] = {}
) {
  const { assembly, facts, running, serving, swarm } = yield* start(known, options)
  const { layout } = known.metainfo
  const rejected: Array<number> = []
  const services = yield* Layer.build(Layer.provideMerge(MemoryStorage.layerTest(), NodePieceHasher.layer))
  const medium = yield* Effect.gen(function* () {
    const storage = yield* openToWrite(layout)
    const digestOf = (piece: PieceIndex) => Metainfo.pieceDigest(known.metainfo, piece)
    yield* Facts.read(assembly.facts, (fact) => {
      if (fact._tag === "Passed") swarm.prove(fact.contributors)
      else if (fact._tag === "Guilty") swarm.ban(fact.supplier, `it lied about piece ${fact.piece}`)
      else if (fact._tag === "Rejected") rejected.push(fact.piece)
      else if (fact._tag === "Stored") swarm.announce(fact.piece)
    })
    yield* Completion.run(assembly, { storage, digestOf })
    yield* Assembly.sweep(assembly)
    return yield* MemoryStorage.MemoryMedium
  }).pipe(Effect.provideContext(services))
  const stored = () => medium.torrent(layout)
  const isRight = (): boolean =>
    stored().isWhole &&
    stored().paths.every((path, index) => Bytes.equals(stored().file(path)!, known.fileContent(index)))
  return { assembly, facts, swarm, serving, running, stored, rejected, isRight }
})
