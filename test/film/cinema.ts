/**
 * A service that downloads a film from a peer at 4 MB/s, for players. The peer lacks a part of the film that no test
 * plays, so the download is never complete.
 */
import { readFile } from "node:fs/promises"
import * as Path from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Film from "../../scripts/film.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as ControlClient from "../../src/control/ControlClient.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as CreateTorrent from "../../src/metainfo/CreateTorrent.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import * as NodeService from "../../src/node/NodeService.ts"
import * as ServiceFolder from "../../src/node/ServiceFolder.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import * as Disk from "../storage/disk.ts"

/** Seconds of the film, of about 1 MB each. */
export const seconds = 30

const name = "film.mp4"
const pieceLength = 1_048_576

/** The parts of the film that the peer does not have, in pieces. */
const missing = [8, 9, 10, 11]

/** A film, and a torrent of it. */
const make = Effect.gen(function* () {
  const folder = yield* Disk.temporaryFolder
  const file = Path.join(folder, name)
  const bytes = yield* Effect.promise(async () => {
    await Film.make(file, seconds)
    return new Uint8Array(await readFile(file))
  })
  const geometry = PieceGeometry.make({ pieceLength, totalLength: bytes.length })
  const hasher = yield* PieceHasher
  const content = (piece: number) => bytes.slice(piece * pieceLength, (piece + 1) * pieceLength)
  const digests = new Uint8Array(geometry.pieceCount * Metainfo.digestLength)
  for (let piece = 0; piece < geometry.pieceCount; piece++) {
    digests.set(yield* hasher.sha1(content(piece)), piece * Metainfo.digestLength)
  }
  const torrent = CreateTorrent.encode({ name, files: [{ path: [], length: bytes.length }], pieceLength, digests })
  const { infoHash } = yield* Effect.orDie(Metainfo.fromBytes(torrent))
  return { torrent, infoHash, geometry, content }
})

/** The film of a test file. */
export class TestFilm extends Context.Service<TestFilm, Effect.Success<typeof make>>()("piecewise/test/film/TestFilm") {
  static readonly layer = Layer.effect(TestFilm, make).pipe(Layer.provide(NodePieceHasher.layer))
}

/**
 * Starts a service that downloads the film, until the scope closes. Returns the link of the film, and whether the
 * service has all of it.
 */
export const open = Effect.fnUntraced(function* (options: Pick<NodeService.Options, "allowedOrigins"> = {}) {
  const { content, geometry, infoHash, torrent } = yield* TestFilm
  const pieces = Array.from({ length: geometry.pieceCount }, (_, piece) => piece).filter(
    (piece) => !missing.includes(piece)
  )
  const { address } = yield* ScriptedPeer.serve({
    infoHash,
    geometry,
    content,
    behaviour: { bytesPerSecond: 4_000_000, pieces }
  }).pipe(Effect.provide(TcpTransport.layerListener))

  const folder = yield* Disk.temporaryFolder
  const state = Path.join(folder, "state")
  const served = NodeService.layer({
    ...options,
    directory: Path.join(folder, "downloads"),
    state,
    http: { port: 0 },
    listen: { host: "127.0.0.1", port: 0 },
    dht: false
  })
  // It logs what clients do.
  const service = yield* Effect.provideService(Layer.build(served), References.MinimumLogLevel, "Warn")
  const url = yield* Effect.provideService(
    NodeService.url(),
    HttpServer.HttpServer,
    Context.get(service, HttpServer.HttpServer)
  )
  const token = (yield* ServiceFolder.readToken(state))!
  const { torrents } = yield* ControlClient.make({ url, token }).pipe(Effect.provide(FetchHttpClient.layer))
  const params = { infoHash }
  yield* torrents.addFile({ query: {}, payload: torrent })
  // It is in the queue for a moment.
  const addPeers = torrents.addPeers({ params, payload: { addresses: [address] } })
  yield* Effect.retry(addPeers, { times: 200, schedule: Schedule.spaced("50 millis") })
  const { path } = yield* torrents.link({ params })
  return {
    link: new URL(`${path}${name}`, url).href,
    isComplete: Effect.map(torrents.get({ params }), ({ torrent }) => torrent.progress?.missingBytes === 0)
  }
})
