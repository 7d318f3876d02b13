/**
 * Writes and verifies 256 MiB on the file system and through the io-daemon. Measures MiB/s, and the CPU time of this
 * process with its disk threads, which is the more reliable figure on a shared machine; it does not include the
 * daemon's CPU time. The page cache is warm, and nothing is flushed.
 *
 * `vitest bench test/bench/Storage.bench.ts`
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as NodeIoDaemon from "../../src/node/NodeIoDaemon.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import { temporaryFolder } from "../storage/disk.ts"
import { layoutOf, piecesOf } from "../storage/layouts.ts"
import { openToWrite } from "../storage/openings.ts"

const totalLength = 256 << 20
const runs = 3
// As many writes as an engine has in flight.
const writesInFlight = 4

const measure = <A, E, R>(title: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const cpu = process.cpuUsage()
    const start = performance.now()
    const value = yield* effect
    const seconds = (performance.now() - start) / 1_000
    const { system, user } = process.cpuUsage(cpu)
    const rate = (totalLength / 1_048_576 / seconds).toFixed(0)
    console.log(`${title}: ${rate} MiB/s, CPU ${(user / 1e6).toFixed(2)} s user, ${(system / 1e6).toFixed(2)} s system`)
    return value
  })

const hasher = NodePieceHasher.layer

/** The storages under test, each in a given folder. */
const media = {
  FileSystemStorage: (directory: string) => Layer.provide(FileSystemStorage.layer({ directory }), hasher),
  IoDaemonStorage: (directory: string) =>
    Layer.provide(NodeIoDaemon.layerStorage({ root: "bench" }), Daemon.layer({ bench: directory }))
}

/** The digest of a piece. It is not part of the cost, because an engine has just verified it. */
const sha1 = (piece: Uint8Array) =>
  Effect.provide(
    Effect.flatMap(PieceHasher, (hasher) => hasher.sha1(piece)),
    hasher
  )

for (const [name, pieceLength, fileCount] of [
  ["pieces of 1 MiB in one file", 1 << 20, 1],
  ["pieces of 16 KiB in one file", 1 << 14, 1],
  ["pieces of 1 MiB over 2,048 files", 1 << 20, 2_048]
] as const) {
  it.each(Object.entries(media))(`%s: ${name}`, { timeout: 120_000 }, async (medium, storageIn) => {
    const entries = Array.from({ length: fileCount }, (_, index) => [`t/${index}`, totalLength / fileCount] as const)
    const layout = layoutOf(pieceLength, ...entries)
    const piece = new Uint8Array(pieceLength).fill(7)
    const once = Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const digest = yield* sha1(piece)
      yield* Effect.gen(function* () {
        const torrent = yield* openToWrite(layout)
        yield* measure(
          `${medium}, ${name}, write`,
          Effect.forEach(piecesOf(layout), (index) => torrent.writePiece(index, piece, digest), {
            concurrency: writesInFlight,
            discard: true
          })
        )
        const stored = yield* measure(
          `${medium}, ${name}, verify`,
          Stream.runFold(
            torrent.digests(piecesOf(layout)),
            () => 0,
            (count, { sha1 }) => (sha1 === undefined ? count : count + 1)
          )
        )
        assert.strictEqual(stored, layout.geometry.pieceCount)
      }).pipe(Effect.provide(storageIn(directory)))
    })

    for (let run = 0; run < runs; run++) await Effect.runPromise(Effect.scoped(once))
  })
}
