import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import { assertStored, only, prepare, seed, services, startListening } from "./downloads.ts"
import { runScoped, startScoped } from "./program.ts"

const store = (known: KnownTorrent, folder: string) =>
  Effect.promise(async () => {
    for (const [index, file] of known.metainfo.layout.files.entries()) {
      const name = path.join(folder, ...file.path)
      await mkdir(path.dirname(name), { recursive: true })
      await writeFile(name, known.fileContent(index))
    }
  })

const downloadFrom = (address: string, folder: string) =>
  runScoped(["download", "known.torrent", "-o", "out", "--peer", address, "--json"], folder)

describe("piecewise seed", () => {
  it.live("uploads everything to peers that connect, until it is stopped", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      yield* store(known, path.join(folder, "stored"))
      const seeding = yield* startListening(["seed", "known.torrent", "stored", "--json"], folder)

      const downloaded = yield* downloadFrom(seeding.address, folder)
      seeding.child.kill("SIGINT")
      const ended = yield* Effect.promise(() => seeding.ended)

      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      yield* assertStored(known, path.join(folder, "out"))
      assert.deepStrictEqual([ended.code, ended.stderr], [130, ""])
      assert.include(only("Started", ended.stdout)[0], { storedPieces: 10, totalPieces: 10 })
    }).pipe(Effect.provide(services))
  )

  it.live("finds the content by its own name, also after a rename", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      yield* store(known, folder)
      yield* Effect.promise(() => rename(path.join(folder, "known"), path.join(folder, "renamed")))
      const seeding = yield* startListening(["seed", "known.torrent", "renamed", "--json"], folder)

      const downloaded = yield* downloadFrom(seeding.address, folder)

      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      yield* assertStored(known, path.join(folder, "out"))
    }).pipe(Effect.provide(services))
  )

  it.live("refuses content that is wrong, and does not change it", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      yield* store(known, folder)
      const file = path.join(folder, "known", "a.bin")
      const wrong = Buffer.from(known.fileContent(0)).fill(0, 40_000, 40_001)
      yield* Effect.promise(() => writeFile(file, wrong))
      yield* Effect.promise(() => rm(path.join(folder, "known", "b", "empty")))

      const ended = yield* runScoped(["seed", "known.torrent", "known", "--peer", address], folder)

      assert.strictEqual(ended.code, 1)
      assert.match(
        ended.stderr,
        /^piecewise: known: 1 of 10 pieces are missing or wrong; run piecewise verify to see which$/m
      )
      assert.isTrue(wrong.equals(yield* Effect.promise(() => readFile(file))))
      const isMade = yield* Effect.promise(() =>
        stat(path.join(folder, "known", "b", "empty")).then(
          () => true,
          () => false
        )
      )
      assert.isFalse(isMade)
    }).pipe(Effect.provide(services))
  )

  it.live("reports in one sentence what is wrong with a port or a path", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { peer } = yield* seed(known)
      yield* store(known, folder)
      const taken = String(peer.address.port)

      const ends = yield* Effect.forEach(
        [["known", "--port", taken], ["known", "--port", "0"], ["nowhere"]],
        (args) => runScoped(["seed", "known.torrent", ...args], folder),
        { concurrency: 3 }
      )

      assert.deepStrictEqual(
        ends.map(({ code, stderr }) => [code, stderr]),
        [
          [1, `piecewise: port ${taken} is in use\n`],
          [2, "piecewise: --port 0 is not a number from 1 to 65535 (see piecewise seed --help)\n"],
          [1, "piecewise: nowhere: no such file or folder\n"]
        ]
      )
    }).pipe(Effect.provide(services))
  )
})

describe("piecewise download --seed", () => {
  it.live("uploads what it has downloaded, and cleans up when it is stopped", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      const args = ["download", "known.torrent", "-o", "first", "--peer", address, "--seed", "--json"]
      const seeding = yield* startListening(args, folder)

      const downloaded = yield* downloadFrom(seeding.address, folder)
      seeding.child.kill("SIGINT")
      const ended = yield* Effect.promise(() => seeding.ended)

      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      assert.strictEqual(ended.code, 130)
      yield* assertStored(known, path.join(folder, "first"))
      yield* assertStored(known, path.join(folder, "out"))
    }).pipe(Effect.provide(services))
  )

  it.live("waits for a peer to connect if it knows none", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      yield* store(known, path.join(folder, "stored"))
      const waiting = yield* startScoped(["download", "known.torrent", "-o", "out", "--seed", "--json"], folder)
      let written = ""
      waiting.child.stdout.on("data", (text: string) => {
        written += text
      })
      yield* Effect.promise(() => waiting.wrote('"Started"'))
      const { port } = only("Listening", written)[0]!
      const peer = `127.0.0.1:${port}`

      yield* startScoped(["seed", "known.torrent", "stored", "--peer", peer], folder)
      yield* Effect.promise(() => waiting.wrote('"Completed"'))
      waiting.child.kill("SIGINT")
      yield* Effect.promise(() => waiting.ended)

      yield* assertStored(known, path.join(folder, "out"))
    }).pipe(Effect.provide(services))
  )
})
