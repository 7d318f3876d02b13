/**
 * A player that jumps to a part of a film which is not downloaded yet gets the first byte of it within a second, if the
 * film is downloaded at 4 MB/s and its pieces have at most 1 MiB.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Stream from "effect/Stream"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { Torrent } from "../../src/torrent/Torrent.ts"
import * as TorrentHttp from "../../src/web/TorrentHttp.ts"
import { make, seed } from "./torrents.ts"

const MiB = 1_048_576

const film = await make({ name: "film.mp4", seed: 9, pieceLength: MiB, files: [{ path: [], length: 100 * MiB }] })

/** In the middle of a piece, so that its first half has to be fetched as well. */
const far = 80 * MiB + 500_000

/** Asks for the film from a byte on, and consumes what is sent. Notes when the first byte came, and which it was. */
const play = Effect.fnUntraced(function* (world: Swarms.World, torrent: Torrent, begin: number) {
  const played: { at?: number; first?: number } = {}
  const request = new Request("http://localhost/film.mp4", { headers: { range: `bytes=${begin}-` } })
  const served = Effect.gen(function* () {
    const { body, status } = yield* TorrentHttp.respond(torrent)
    assert.deepStrictEqual([status, body._tag], [206, "Stream"])
    if (body._tag !== "Stream") return
    yield* Stream.runForEach(body.stream, (chunk) =>
      Effect.sync(() => {
        played.at ??= world.simulation.nowUnsafe()
        played.first ??= chunk[0]!
      })
    )
  }).pipe(Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request)))
  return { played, fiber: yield* Effect.forkScoped(served) }
})

/** A swarm whose peers send 4 MB/s together. */
interface Swarm {
  readonly behaviours: ReadonlyArray<PeerBehaviour>
  readonly options: Omit<Swarms.Options, "seed">
}

const oneLine: Swarm = {
  behaviours: [{}],
  options: { link: { latency: 20, bytesPerSecond: 4_000_000 } }
}

const fourPeers: Swarm = {
  behaviours: Array.from({ length: 4 }, () => ({ bytesPerSecond: 1_000_000 })),
  options: { link: { latency: 20 } }
}

/** Milliseconds until the first byte of the far part comes, while the film is watched from its start on. */
const seek = (swarm: Swarm, watched: "still open" | "closed") =>
  Swarms.use({ seed, ...swarm.options }, (world) =>
    Effect.gen(function* () {
      const { torrent } = yield* world.download(film, { behaviours: swarm.behaviours })
      const start = yield* play(world, torrent, 0)
      yield* world.advance("3 seconds")
      const { storedBytes } = yield* torrent.status
      if (watched === "closed") yield* Fiber.interrupt(start.fiber)

      const begun = world.simulation.nowUnsafe()
      const { played } = yield* play(world, torrent, far)
      for (let step = 0; step < 300 && played.at === undefined; step++) yield* world.advance("10 millis")

      assert.isAbove(storedBytes, 8 * MiB)
      assert.strictEqual(played.first, film.fileContent(0)[far])
      return (played.at ?? Number.POSITIVE_INFINITY) - begun
    })
  )

const test = (name: string, swarm: Swarm, watched: "still open" | "closed") =>
  it.effect(name, () => Effect.map(seek(swarm, watched), (millis) => assert.isAtMost(millis, 1_000)), 30_000)

describe("a far seek at 4 MB/s starts within a second", () => {
  test("over one line, while the stream from before is still open", oneLine, "still open")
  test("over one line, once the stream from before is closed", oneLine, "closed")
  test("from four peers, while the stream from before is still open", fourPeers, "still open")
})
