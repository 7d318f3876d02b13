/**
 * A small seeder for the demonstrations, in a process of its own: `node scripts/seeder.ts FILE.torrent FOLDER`. Reads the
 * torrent's files below FOLDER and serves them on a free port of 127.0.0.1, which it prints. A third argument is how many
 * bytes a second it sends to each peer at most. It ends on SIGTERM, or when its standard input closes, as it does if its
 * parent process dies.
 *
 * It is a scripted peer of the test tools, not a client: it verifies nothing and downloads nothing.
 */

import { closeSync, openSync, readFileSync, readSync } from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type PieceIndex, pieceSize } from "../src/base/PieceGeometry.ts"
import * as NodePieceHasher from "../src/hash/provider/node/NodePieceHasher.ts"
import * as FileLayout from "../src/metainfo/FileLayout.ts"
import * as Metainfo from "../src/metainfo/Metainfo.ts"
import * as TcpTransport from "../src/network/provider/node/TcpTransport.ts"
import * as ScriptedPeer from "../src/testing/ScriptedPeer.ts"

const [torrent, folder, rate] = process.argv.slice(2) as [string, string, string?]

const program = Effect.gen(function* () {
  const metainfo = yield* Metainfo.fromBytes(readFileSync(torrent))
  const { layout } = metainfo
  const files = new Map<number, number>()
  const fileOf = (index: number): number => {
    const open = files.get(index) ?? openSync(path.join(folder, ...layout.files[index]!.path), "r")
    files.set(index, open)
    return open
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const file of files.values()) closeSync(file)
    })
  )

  const content = (piece: PieceIndex): Uint8Array => {
    const bytes = new Uint8Array(pieceSize(layout.geometry, piece))
    for (const span of FileLayout.pieceSpans(layout, piece)) {
      if (layout.files[span.file]!.padding) continue
      const read = readSync(fileOf(span.file), bytes, span.begin, span.length, span.fileOffset)
      if (read !== span.length) throw new Error(`${layout.files[span.file]!.path.join("/")} became shorter`)
    }
    return bytes
  }
  const { infoHash } = metainfo
  const behaviour = rate === undefined ? {} : { bytesPerSecond: Number(rate) }
  const { address } = yield* ScriptedPeer.serve({ infoHash, geometry: layout.geometry, content, behaviour })
  process.stdout.write(`${address.host}:${address.port}\n`)
  return yield* Effect.never
}).pipe(Effect.scoped, Effect.provide([NodePieceHasher.layer, TcpTransport.layerListener]))

const fiber = Effect.runFork(program)
fiber.addObserver(() => process.exit())
const stop = () => Effect.runFork(Fiber.interrupt(fiber))
process.stdin.on("close", stop).resume()
process.on("SIGTERM", stop)
// Ctrl-C reaches the whole process group of the terminal. The demonstration decides when this process ends.
process.on("SIGINT", () => {})
