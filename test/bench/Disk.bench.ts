/**
 * A piece on its way from the assembly to a real disk, in pieces that are small enough for many turns: its digest, its
 * way through the queue of complete pieces, and its writes to one file and over many.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Assembly from "../../src/assembly/Assembly.ts"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import * as Completion from "../../src/assembly/Completion.ts"
import * as PieceTable from "../../src/assembly/PieceTable.ts"
import * as Requests from "../../src/assembly/Requests.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import { layoutOf, piecesOf } from "../storage/layouts.ts"
import { openToWrite } from "../storage/openings.ts"
import { idOf, join } from "../supply/ScriptedSupplier.ts"
import { type Operation, scoped, seen } from "./Operation.ts"

const { blockLength } = PieceGeometry
const hasher = NodePieceHasher.make()
const bytes = new Uint8Array(blockLength).fill(7)

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "piecewise-bench-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

/** Pieces written one after the other, and again from the first in the next turn. */
const writing = (pieceLength: number, fileCount: number): Operation => {
  const pieceCount = 16
  const totalLength = pieceCount * pieceLength
  const entries = Array.from({ length: fileCount }, (_, index) => [`t/${index}`, totalLength / fileCount] as const)
  const layout = layoutOf(pieceLength, ...entries)
  const piece = new Uint8Array(pieceLength).fill(7)
  return scoped(
    `FileSystemStorage: a piece of ${pieceLength >>> 10} KiB written, ${fileCount} files of ${pieceCount} pieces`,
    pieceCount,
    Effect.gen(function* () {
      const directory = yield* temporaryFolder
      const services = Layer.provide(FileSystemStorage.layer({ directory }), NodePieceHasher.layer)
      const torrent = yield* Effect.provideContext(openToWrite(layout), yield* Layer.build(services))
      const digest = yield* hasher.sha1(piece)
      return Effect.forEach(piecesOf(layout), (index) => torrent.writePiece(index, piece, digest), {
        discard: true
      }).pipe(Effect.orDie)
    }).pipe(Effect.orDie),
    4
  )
}

/** Torrents of small files in folders, each opened, claimed and written where nothing exists yet. */
const creating = (): Operation => {
  const pieceLength = 65_536
  const fileCount = 64
  const entries = Array.from({ length: fileCount }, (_, index) => [`t/${index % 8}/${index}`, 16_384] as const)
  const layout = layoutOf(pieceLength, ...entries)
  const piece = new Uint8Array(pieceLength).fill(7)
  return scoped(
    `FileSystemStorage: a new file of 16 KiB made and written, ${fileCount} files in 8 folders`,
    fileCount,
    Effect.gen(function* () {
      const digest = yield* hasher.sha1(piece)
      const parent = yield* temporaryFolder
      let torrents = 0
      return Effect.gen(function* () {
        // Paths of the same length each time.
        const directory = path.join(parent, String(torrents++).padStart(8, "0"))
        const services = Layer.provide(FileSystemStorage.layer({ directory }), NodePieceHasher.layer)
        const torrent = yield* Effect.provideContext(openToWrite(layout), yield* Layer.build(services))
        for (const index of piecesOf(layout)) yield* torrent.writePiece(index, piece, digest)
      }).pipe(Effect.scoped, Effect.orDie)
    }),
    1
  )
}

/** Downloads a torrent of pieces of one block, which are verified and stored without a disk. */
const completing = (): Operation => {
  const pieceCount = 64
  const geometry = PieceGeometry.make({ pieceLength: blockLength, totalLength: pieceCount * blockLength })
  return scoped(
    "Completion: a piece of one block verified and stored, with its share of a torrent",
    pieceCount,
    Effect.gen(function* () {
      const digest = yield* hasher.sha1(bytes)
      const budget = yield* BufferBudget.BufferBudget
      const turn = Effect.gen(function* () {
        const self = yield* Assembly.make({ geometry, stored: Bitfield.make(pieceCount), random: Prng.make(1) })
        const storage = { verifies: false, writePiece: () => Effect.void } as unknown as Completion.PieceStore
        const completion = yield* Effect.forkScoped(
          Effect.provideService(Completion.run(self, { storage, digestOf: () => digest }), PieceHasher, hasher)
        )
        const supplier = join(self, idOf(0))
        let now = 0
        while (!PieceTable.isComplete(self.table)) {
          now++
          while (RequestPipeline.room(supplier.pipeline) > 0) {
            if (Requests.nextBlock(self, supplier, now) !== undefined) continue
            const next = Requests.nextPiece(self, supplier)
            if (next === undefined || Requests.begin(self, supplier, next) === undefined) break
          }
          for (const request of [...supplier.pipeline.requests.values()]) {
            request.buffer.bytes.set(bytes)
            Assembly.received(self, supplier, request, now)
          }
          yield* Effect.yieldNow
        }
        yield* Fiber.interrupt(completion)
      })
      return Effect.provideService(Effect.scoped(turn), BufferBudget.BufferBudget, budget)
    }),
    2
  )
}

export const operations: ReadonlyArray<Operation> = [
  scoped(
    "NodePieceHasher: a block digested",
    16,
    Effect.succeed(
      Effect.gen(function* () {
        for (let turn = 0; turn < 16; turn++) seen.value += (yield* hasher.sha1(bytes))[0]!
      })
    )
  ),
  completing(),
  creating(),
  writing(65_536, 1),
  writing(65_536, 64)
]
