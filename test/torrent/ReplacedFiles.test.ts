/** Files that somebody replaces after the check at the start and before the first write, on every medium. */
import * as Crypto from "node:crypto"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as NodeIoDaemon from "../../src/node/NodeIoDaemon.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import type { Storage } from "../../src/storage/Storage.ts"
import { MediumFiles } from "../../src/testing/suite/MediumFiles.ts"
import type { ContentExists } from "../../src/torrent/ContentExists.ts"
import * as ResumeKeeper from "../../src/torrent/ResumeKeeper.ts"
import * as TorrentFiles from "../../src/torrent/TorrentFiles.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import { drawn } from "../resume/ResumeStore.suite.ts"
import { filesIn, temporaryFolder } from "../storage/disk.ts"
import { contentOf, layoutOf, pieceOf, sliceOf } from "../storage/layouts.ts"
import * as Memory from "../storage/memory.ts"
import { open } from "../storage/openings.ts"

const layout = layoutOf(8, ["t/a", 32])
const content = contentOf(layout)
const digestOf = (piece: PieceIndex) => Crypto.hash("sha1", sliceOf(layout, content, piece), "buffer")
const theirs = new Uint8Array(32).fill(0xee)

/** A run that found the first two of four pieces stored, in a file of its own. */
const start = Effect.gen(function* () {
  const files = yield* MediumFiles
  yield* files.put("t/a", content.slice(0, 16))
  const storage = yield* open(layout)
  const facts = yield* storage.look([0])
  const foreign = yield* Deferred.make<ContentExists>()
  const torrent = yield* TorrentFiles.make({
    layout,
    storage,
    budget: BufferBudget.make(1 << 20),
    resume: ResumeKeeper.noResume,
    facts,
    standings: new Map([[0, "own"]]),
    records: undefined,
    found: {
      stored: drawn("**.."),
      doubtful: drawn("...."),
      flushed: drawn("**.."),
      present: drawn("**.."),
      zeros: drawn("....")
    },
    stored: drawn("**.."),
    digestOf,
    wanted: { files: [0], pieces: drawn("****") },
    overwrites: false,
    isReadOnly: false,
    drop: () => {},
    onKept: () => {},
    onResumeFailure: () => {},
    report: (fact) => {
      if (fact._tag === "Foreign") Deferred.doneUnsafe(foreign, Effect.succeed(fact.error))
    }
  })
  /** Writes a piece until that succeeds, or the file turns out to be somebody else's. */
  const write = (index: number) => {
    const piece = pieceOf(layout, index)
    return Effect.suspend(() =>
      torrent.writer.writePiece(piece, sliceOf(layout, content, piece), digestOf(piece))
    ).pipe(
      Effect.retry({ schedule: Schedule.recurs(3) }),
      Effect.as("written"),
      Effect.race(Effect.as(Deferred.await(foreign), "foreign"))
    )
  }
  return { files, write }
})

const suite = (name: string, layer: Layer.Layer<Storage | MediumFiles, unknown>) => {
  const test = (title: string, replace: (files: MediumFiles["Service"]) => Effect.Effect<void>, left: Uint8Array) =>
    it.live(`a file that is replaced ${title} keeps its bytes (${name})`, () =>
      Effect.gen(function* () {
        const { files, write } = yield* start
        yield* replace(files)

        const outcome = yield* write(2)

        assert.strictEqual(outcome, "foreign")
        assert.deepStrictEqual([...(yield* files.list)], [["t/a", left]])
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(layer, NodePieceHasher.layer)))
    )

  test("by another one", (files) => files.put("t/a", theirs), theirs)
  test("by a shorter one", (files) => files.put("t/a", theirs.slice(0, 10)), theirs.slice(0, 10))
  test("after it was deleted", (files) => Effect.andThen(files.remove("t/a"), files.put("t/a", theirs)), theirs)

  it.live(`a file that is replaced by its own bytes is written (${name})`, () =>
    Effect.gen(function* () {
      const { files, write } = yield* start
      yield* files.replace("t/a")

      const outcomes = [yield* write(2), yield* write(3)]

      assert.deepStrictEqual(outcomes, ["written", "written"])
      assert.deepStrictEqual([...(yield* files.list)], [["t/a", content]])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(layer, NodePieceHasher.layer)))
  )
}

const onDisk = Layer.unwrap(
  Effect.map(temporaryFolder, (directory) =>
    Layer.merge(
      Layer.provide(FileSystemStorage.layer({ directory }), NodePieceHasher.layer),
      Layer.succeed(MediumFiles, MediumFiles.of(filesIn(directory)))
    )
  )
)

const root = "downloads"
const throughDaemon = Layer.unwrap(
  Effect.map(temporaryFolder, (folder) => {
    const directory = Path.join(folder, root)
    return Layer.merge(
      Layer.provide(NodeIoDaemon.layerStorage({ root }), Daemon.layer({ [root]: directory })),
      Layer.succeed(MediumFiles, MediumFiles.of(filesIn(directory)))
    )
  })
)

describe("fault 78: files that are replaced before the first write", () => {
  suite("memory", Layer.provideMerge(Memory.files, Memory.layer()))
  suite("file system", onDisk)
  Daemon.live("through the daemon", () => suite("io-daemon", throughDaemon))
})
