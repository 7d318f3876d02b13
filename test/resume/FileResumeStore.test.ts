import { execFile } from "node:child_process"
import * as FileSystem from "node:fs/promises"
import * as OperatingSystem from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as BootIdentity from "../../src/resume/BootIdentity.ts"
import * as FileResumeStore from "../../src/resume/provider/node/FileResumeStore.ts"
import * as ResumeFile from "../../src/resume/ResumeFile.ts"
import {
  type OpenOptions,
  ResumeError,
  ResumeStore,
  type Snapshot,
  type TorrentResume
} from "../../src/resume/ResumeStore.ts"
import { CrashingFiles, crashes } from "./CrashingFiles.ts"
import {
  draw,
  drawFiles,
  drawn,
  fileCount,
  hashOf,
  noFiles,
  pieces,
  record,
  reload,
  suite
} from "./ResumeStore.suite.ts"

const temporaryDirectory = Effect.acquireRelease(
  Effect.promise(() => FileSystem.mkdtemp(Path.join(OperatingSystem.tmpdir(), "piecewise-resume-"))),
  (path) => Effect.promise(() => FileSystem.rm(path, { recursive: true }))
)

let boots = 0
suite(
  "files",
  Layer.unwrap(
    Effect.map(temporaryDirectory, (directory) =>
      FileResumeStore.layer({
        directory: Path.join(directory, "state", "torrents"),
        boot: Effect.sync(() => BootIdentity.fromName(`boot-${boots}`))
      })
    )
  ),
  Effect.sync(() => {
    boots++
  })
)

const infoHash = hashOf(0xab)
const name = `${Bytes.toHex(infoHash)}.resume`
const open: OpenOptions = { infoHash, pieceCount: 8, fileCount }

/** Runs `use` with the resume data of a torrent of eight pieces in `files`. */
const withResume = <A, E>(files: FileResumeStore.Files, use: (resume: TorrentResume) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(FileResumeStore.make({ directory: "/state", files, boot }).open(open), use))

const boot = Effect.succeed(BootIdentity.fromName("boot"))

const loadFrom = (files: FileResumeStore.Files) =>
  reload(infoHash, 8).pipe(
    Effect.provideService(ResumeStore, FileResumeStore.make({ directory: "/state", files, boot }))
  )

const old: Snapshot = {
  stored: drawn("**......"),
  flushed: drawn("*......."),
  files: new Map([[0, record("a", { isWriting: true })]])
}
const fresh: Snapshot = {
  stored: drawn("..***..."),
  flushed: drawn("..*....."),
  files: new Map([
    [0, record("a")],
    [3, record("b")]
  ])
}
const noPieces: Snapshot = { stored: Bitfield.make(8), flushed: Bitfield.make(8), files: noFiles }
const said = ({ files, flushed, stored }: Snapshot) => ({
  stored: draw(stored),
  flushed: draw(flushed),
  files: drawFiles(files),
  isSameBoot: true
})

/**
 * A file of version 1 with the pieces 0 and 2 stored, 0 flushed, and 3 appended; another program computed its checks.
 */
const firstVersion = Bytes.fromHex(
  [
    ...["7077726573756d65", "0001", "ab".repeat(20), "00000008", "09", "6e616d653a626f6f74", "a0", "80", "8c0a7d30"],
    ...["00000003", "0aaeaa85"]
  ].join("")
)!

describe("FileResumeStore and files that it never wrote", () => {
  const plants: ReadonlyArray<readonly [name: string, plant: (path: string) => Promise<unknown>]> = [
    ["a FIFO", (path) => promisify(execFile)("mkfifo", [path])],
    ["/dev/zero", (path) => FileSystem.symlink("/dev/zero", path)],
    [
      "a file of 2 GiB",
      async (path) => {
        await FileSystem.writeFile(path, "")
        await FileSystem.truncate(path, 2 ** 31)
      }
    ]
  ]

  it.live.each(plants)("does not take %s for resume data, and replaces it by its own", ([, plant]) =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const store = FileResumeStore.make({ directory, boot })
      yield* Effect.promise(() => plant(Path.join(directory, name)))

      const found = yield* Effect.scoped(Effect.flatMap(store.open(open), (resume) => resume.load))
      yield* Effect.scoped(Effect.flatMap(store.open(open), (resume) => resume.append({ stored: pieces(2) })))

      const saved = yield* reload(infoHash, 8).pipe(Effect.provideService(ResumeStore, store))
      assert.isUndefined(found)
      assert.strictEqual(saved?.stored, "..*.....")
    })
  )
})

describe("FileResumeStore", () => {
  it.effect("fault 51: a kill or power cut at any call of a save leaves the old data or the new", () =>
    Effect.gen(function* () {
      const seen = new Set<string>()
      for (let stopAt = 0; ; stopAt++) {
        const files = new CrashingFiles()
        yield* withResume(files, (resume) => resume.save(old))
        const start = files.calls.length
        files.stopAt = start + stopAt

        const saved = yield* Effect.exit(withResume(files, (resume) => resume.save(fresh)))

        for (const crash of crashes) {
          const found = JSON.stringify(yield* loadFrom(files.after(crash)))
          assert.include([JSON.stringify(said(old)), JSON.stringify(said(fresh))], found, `${files.calls.slice(start)}`)
          if (Exit.isSuccess(saved)) assert.strictEqual(found, JSON.stringify(said(fresh)), JSON.stringify(crash))
          seen.add(found)
        }
        if (Exit.isSuccess(saved)) {
          assert.isAtLeast(stopAt, 8)
          break
        }
      }
      assert.strictEqual(seen.size, 2)
    })
  )

  const change = {
    files: new Map([
      [0, record("a", { length: 7 })],
      [1, record("c")]
    ]),
    dropped: pieces(0),
    stored: pieces(4, 5),
    flushed: pieces(1)
  }

  /**
   * Everything that a kill may leave of `change` behind `old`: if a part of it is there, so is everything before it.
   */
  const stages = [
    { files: [], stored: ".*......", flushed: "........" },
    { files: [0], stored: ".*......", flushed: "........" },
    { files: [0, 1], stored: ".*......", flushed: "........" },
    { files: [0, 1], stored: ".*..*...", flushed: "........" },
    { files: [0, 1], stored: ".*..**..", flushed: "........" },
    { files: [0, 1], stored: ".*..**..", flushed: ".*......" }
  ].map(({ files, ...drawing }) => ({
    ...drawing,
    files: drawFiles(new Map([...change.files].filter(([file]) => files.includes(file)))),
    isSameBoot: true
  }))
  const possible = [said(old), ...stages].map((data) => JSON.stringify(data))

  for (const durably of [false, true]) {
    it.effect(
      `fault 51: a kill at any call of an append leaves a beginning of it${durably ? ", also a durable one" : ""}`,
      () =>
        Effect.gen(function* () {
          const seen = new Set<string>()
          for (let stopAt = 0; ; stopAt++) {
            const files = new CrashingFiles()
            yield* withResume(files, (resume) => resume.save(old))
            files.stopAt = files.calls.length + stopAt

            const appended = yield* Effect.exit(withResume(files, (resume) => resume.append(change, { durably })))

            const found = JSON.stringify(yield* loadFrom(files.after({ names: "written", contents: "written" })))
            assert.include(possible, found)
            seen.add(found)
            if (Exit.isSuccess(appended)) {
              assert.strictEqual(found, possible.at(-1))
              break
            }
          }
          assert.isAtLeast(seen.size, 3)
        })
    )
  }

  it.effect(
    "a power cut at any call of a durable append leaves a beginning of it, or all of it once it has returned",
    () =>
      Effect.gen(function* () {
        for (let stopAt = 0; ; stopAt++) {
          const files = new CrashingFiles()
          yield* withResume(files, (resume) => resume.save(old))
          files.stopAt = files.calls.length + stopAt

          const appended = yield* withResume(files, (resume) => Effect.exit(resume.append(change, { durably: true })))

          for (const crash of crashes) {
            const found = JSON.stringify(yield* loadFrom(files.after(crash)))
            assert.include(possible, found)
            if (Exit.isSuccess(appended)) assert.strictEqual(found, possible.at(-1), JSON.stringify(crash))
          }
          if (Exit.isSuccess(appended)) break
        }
      })
  )

  it.effect("flushes durable appends, and no others", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const calls = yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          const before = files.calls.length
          yield* resume.append({ stored: pieces(3) })
          yield* resume.append({ flushed: pieces(3) }, { durably: true })
          yield* resume.append({ stored: pieces(4) }, { durably: false })
          return files.calls.slice(before)
        })
      )

      assert.deepStrictEqual(calls, [
        ...["open r+", "write", "close"],
        ...["open r+", "write", "sync", "close"],
        ...["open r+", "write", "close"]
      ])
    })
  )

  it.effect("fault 52: a power cut after an append leaves the flushed snapshot", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      yield* withResume(files, (resume) =>
        Effect.andThen(resume.save({ ...old, flushed: old.stored }), resume.append({ stored: pieces(7) }))
      )

      const found = yield* loadFrom(files.after({ names: "flushed", contents: "flushed" }))

      assert.strictEqual(found?.stored, "**......")
      assert.strictEqual(found?.flushed, "**......")
    })
  )

  it.effect("keeps the old data, closes its file and leaves nothing behind when any call of a save fails", () =>
    Effect.gen(function* () {
      for (let call = 0; ; call++) {
        const files = new CrashingFiles()
        yield* withResume(files, (resume) => resume.save(old))
        files.failAt = { call: files.calls.length + call, code: "ENOSPC" }

        const failed = yield* withResume(files, (resume) => Effect.flip(resume.save(fresh))).pipe(Effect.option)

        assert.strictEqual(files.openHandles, 0)
        if (failed._tag === "None") break
        files.failAt = undefined
        assert.strictEqual(failed.value.message, `/state/${name}: the disk is full`)
        assert.deepStrictEqual([...files.written.keys()], [`/state/${name}`])
        yield* withResume(files, (resume) => resume.append({ stored: pieces(7) }))
        assert.include(["**.....*", "..***..*"], (yield* loadFrom(files))?.stored)
      }
    })
  )

  it.effect("appends to the right place after an append that failed half-way", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const stored = yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          files.failAt = { call: files.calls.length + 2, code: "EIO" }
          const failed = yield* Effect.flip(resume.append({ stored: pieces(3, 4, 5, 6) }))
          yield* resume.append({ stored: pieces(7) })
          assert.strictEqual(failed.operation, "append")
          return yield* Effect.map(resume.load, (data) => draw(data!.stored))
        })
      )

      assert.strictEqual(stored, "**.....*")
    })
  )

  it.effect("fails if a disk accepts nothing, instead of trying for ever", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      yield* withResume(files, (resume) => resume.save(old))
      files.takesNothing = true

      const failed = yield* withResume(files, (resume) => Effect.flip(resume.save(fresh)))

      assert.strictEqual(failed.message, `/state/${name}: the disk took nothing`)
      assert.strictEqual(files.openHandles, 0)
      assert.deepStrictEqual([...files.written.keys()], [`/state/${name}`])
    })
  )

  it.effect("ignores a temporary file that was left over, and removes it", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      yield* withResume(files, (resume) => resume.save(old))
      files.stopAt = files.calls.length + 3
      yield* Effect.ignore(withResume(files, (resume) => resume.save(fresh)))
      const next = files.after({ names: "written", contents: "written" })
      assert.isTrue(next.written.has(`/state/${name}.tmp`))

      const found = yield* loadFrom(next)

      assert.deepStrictEqual(found, said(old))
      assert.deepStrictEqual([...next.written.keys()], [`/state/${name}`])
    })
  )

  it.effect("begins anew if its file was deleted meanwhile", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          files.written.clear()
          yield* resume.append({ stored: pieces(7) })
        })
      )

      const found = yield* loadFrom(files)

      assert.strictEqual(found?.stored, ".......*")
    })
  )

  it.effect("makes nothing in the place of its disk if that went away, and goes on when it is back", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const [append, save, made] = yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          const onDisk = new Map(files.written)
          files.device = 2
          files.written.clear()
          const append = yield* Effect.flip(resume.append({ stored: pieces(7) }))
          const save = yield* Effect.flip(resume.save(old))
          const made = files.written.size
          files.device = 1
          for (const [path, content] of onDisk) files.written.set(path, content)
          yield* resume.append({ stored: pieces(7) })
          return [append.message, save.message, made] as const
        })
      )

      const found = yield* loadFrom(files)

      assert.match(append, /its disk is away$/)
      assert.match(save, /its disk is away$/)
      assert.deepStrictEqual([made, found?.stored], [0, "**.....*"])
    })
  )

  it.effect("ignores the flush of a piece of which a deleted file had the record", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          yield* resume.append({ stored: pieces(6) })
          files.written.clear()
          yield* resume.append({ flushed: pieces(6) }, { durably: true })
          yield* resume.append({ stored: pieces(7) })
        })
      )

      const found = yield* loadFrom(files)

      assert.deepInclude(found, { stored: ".......*", flushed: "........" })
    })
  )

  it.effect("writes a whole batch of appended pieces at once", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const calls = yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          const before = files.calls.length
          yield* resume.append({ stored: pieces(6, 7) })
          return files.calls.slice(before)
        })
      )

      assert.deepStrictEqual(calls, ["open r+", "write", "close"])
    })
  )

  it.effect("fault 56: keeps no file open between operations, however many torrents are open", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const store = FileResumeStore.make({ directory: "/state", files, boot })
      const open = yield* Effect.scoped(
        Effect.gen(function* () {
          for (let torrent = 0; torrent < 20; torrent++) {
            const resume = yield* store.open({ infoHash: hashOf(torrent), pieceCount: 8, fileCount })
            yield* resume.save(old)
            yield* resume.append({ stored: pieces(7) })
          }
          return files.openHandles
        })
      )

      assert.strictEqual(open, 0)
    })
  )

  it.effect("opens and writes nothing before it is asked to", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()

      yield* withResume(files, () => Effect.void)

      assert.deepStrictEqual(files.calls, [])
    })
  )

  it.effect("refuses to work after its scope closed, which waits for what was under way", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      let escaped: TorrentResume | undefined
      yield* withResume(files, (resume) => {
        escaped = resume
        return Effect.forkDetach(resume.save(old), { startImmediately: true })
      })

      const refused = yield* Effect.flip(escaped!.append({ stored: pieces(1) }))

      assert.instanceOf(refused, ResumeError)
      assert.deepStrictEqual(yield* loadFrom(files), said(old))
    })
  )

  it.effect("leaks no handle and loses no finished piece, wherever it is interrupted", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(7), fc.boolean(), fc.nat(30)), { minLength: 1, maxLength: 8 }),
          async (steps) => {
            const files = new CrashingFiles()
            const done = Bitfield.make(8)
            const begun = Bitfield.make(8)
            await Effect.runPromise(
              withResume(files, (resume) =>
                Effect.forEach(steps, ([piece, whole, turns]) =>
                  Effect.gen(function* () {
                    Bitfield.add(begun, piece)
                    const now = Bitfield.copy(done)
                    Bitfield.add(now, piece)
                    const fiber = yield* Effect.forkChild(
                      whole
                        ? resume.save({ stored: now, flushed: now, files: noFiles })
                        : resume.append({ stored: pieces(piece) }),
                      { startImmediately: true }
                    )
                    for (let turn = 0; turn < turns; turn++) yield* Effect.promise(() => Promise.resolve())
                    yield* Fiber.interrupt(fiber)
                    const exit = yield* Fiber.await(fiber)
                    if (Exit.isSuccess(exit)) Bitfield.add(done, piece)
                    else assert.isTrue(Cause.hasInterruptsOnly(exit.cause))
                    // The file that records are added to stays open.
                    assert.isAtMost(files.openHandles, 1)
                  })
                )
              )
            )
            assert.strictEqual(files.openHandles, 0)
            assert.isFalse(files.overlapped)
            const found = await Effect.runPromise(loadFrom(files))
            for (let piece = 0; piece < 8; piece++) {
              if (found?.stored[piece] === "*") assert.isTrue(Bitfield.has(begun, piece))
              else assert.isFalse(Bitfield.has(done, piece))
            }
          }
        ),
        { numRuns: 60 }
      )
    )
  )

  it.live("loads damaged, cut and foreign files as nothing, logs that, and replaces them", () => {
    const warnings: Array<string> = []
    const logger = Logger.make((entry) => {
      warnings.push(String(entry.message))
    })
    return Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const path = Path.join(directory, name)
      const resume = yield* FileResumeStore.make({ directory }).open(open)
      yield* resume.save(old)
      const good = yield* Effect.promise(() => FileSystem.readFile(path))
      const bad = {
        "ends too early": good.subarray(0, -1),
        "is damaged": Buffer.alloc(good.length),
        "is of another torrent": Buffer.from(good).fill(1, 10, 11),
        "is of another version": Buffer.from(good).fill(9, 8, 9)
      }

      for (const [reason, bytes] of Object.entries(bad)) {
        yield* Effect.promise(() => FileSystem.writeFile(path, bytes))
        assert.strictEqual(yield* resume.load, undefined)
        assert.strictEqual(warnings.at(-1), `${path} ${reason}; the torrent will be verified`)
        yield* resume.append({ stored: pieces(3) })
        assert.strictEqual(draw((yield* resume.load)!.stored), "...*....")
      }
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("believes nothing of a file that was planted from another torrent, and replaces it", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const other = Bytes.toHex(hashOf(0xcd))
      yield* FileResumeStore.make({ directory: "/state", files, boot })
        .open({ ...open, infoHash: hashOf(0xcd) })
        .pipe(
          Effect.flatMap((resume) => resume.save({ ...fresh, stored: Bitfield.full(8), flushed: Bitfield.full(8) })),
          Effect.scoped
        )
      files.written.set(`/state/${name}`, files.written.get(`/state/${other}.resume`)!)

      const planted = yield* loadFrom(files)
      yield* withResume(files, (resume) => resume.append({ stored: pieces(2) }))

      assert.strictEqual(planted, undefined)
      assert.deepStrictEqual(yield* loadFrom(files), said({ ...noPieces, stored: drawn("..*.....") }))
    })
  )

  it.effect("loads version 1 as a hint, and the first append replaces it by a snapshot of this version", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const content = { written: firstVersion, flushed: firstVersion }
      files.written.set(`/state/${name}`, content)
      files.flushed.set(`/state/${name}`, content)
      const versionOf = () => files.written.get(`/state/${name}`)!.written[9]

      const before = yield* loadFrom(files)
      const untouched = versionOf()
      const after = yield* withResume(files, (resume) =>
        Effect.andThen(
          resume.load,
          Effect.andThen(resume.append({ stored: pieces(5), files: new Map([[1, record("a")]]) }), loadFrom(files))
        )
      )

      const hint = { stored: "*.**....", flushed: "*.......", files: [], isSameBoot: true }
      assert.deepStrictEqual(before, hint)
      assert.deepStrictEqual(after, { ...hint, stored: "*.**.*..", files: drawFiles(new Map([[1, record("a")]])) })
      assert.deepStrictEqual([untouched, versionOf()], [1, 2])
    })
  )

  it.effect("a kill or power cut at any call of the first append to version 1 leaves all that was known", () =>
    Effect.gen(function* () {
      for (let stopAt = 0; ; stopAt++) {
        const files = new CrashingFiles()
        const content = { written: firstVersion, flushed: firstVersion }
        files.written.set(`/state/${name}`, content)
        files.flushed.set(`/state/${name}`, content)
        files.stopAt = stopAt

        const appended = yield* Effect.exit(withResume(files, (resume) => resume.append({ stored: pieces(5) })))

        for (const crash of crashes) {
          const found = yield* loadFrom(files.after(crash))
          assert.include(["*.**....", "*.**.*.."], found?.stored, `${stopAt} ${JSON.stringify(crash)}`)
        }
        if (Exit.isSuccess(appended)) {
          assert.isAtLeast(stopAt, 8)
          break
        }
      }
    })
  )

  it.effect("merges a long tail of records into a snapshot, and loses nothing of it", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const length = () => files.written.get(`/state/${name}`)!.written.length
      const many = Math.ceil(FileResumeStore.maxRecordBytes / ResumeFile.pieceRecordLength)
      const lengths = yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          yield* resume.append({
            stored: Array.from({ length: many }, (_, index) => (index % 3) + 2) as Array<PieceIndex>
          })
          const snapshotted = length()
          yield* resume.append({ dropped: pieces(0), files: new Map([[2, record("d")]]) })
          const long = length()
          yield* resume.append({ flushed: pieces(4) })
          return [snapshotted, long, length()] as const
        })
      )

      assert.isAbove(lengths[0], FileResumeStore.maxRecordBytes)
      assert.isBelow(lengths[1], 1_000)
      assert.strictEqual(lengths[2], lengths[1] + ResumeFile.pieceRecordLength)
      assert.deepStrictEqual(
        yield* loadFrom(files),
        said({
          stored: drawn(".****..."),
          flushed: drawn("....*..."),
          files: new Map([...old.files, [2, record("d")] as const])
        })
      )
    })
  )

  it.effect("counts the records that an earlier owner left when it merges", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const half = Math.ceil(FileResumeStore.maxRecordBytes / ResumeFile.pieceRecordLength / 2) + 1
      const append = withResume(files, (resume) =>
        resume.append({ stored: Array.from({ length: half }, () => 2 as PieceIndex) })
      )
      yield* append
      yield* append
      const long = files.written.get(`/state/${name}`)!.written.length
      yield* withResume(files, (resume) => resume.append({ stored: pieces(3) }))

      assert.isAbove(long, FileResumeStore.maxRecordBytes)
      assert.isBelow(files.written.get(`/state/${name}`)!.written.length, 1_000)
      assert.strictEqual((yield* loadFrom(files))?.stored, "..**....")
    })
  )

  it.live("says in one sentence what keeps it from saving", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const file = Path.join(directory, "file")
      yield* Effect.promise(() => FileSystem.writeFile(file, ""))
      const resume = yield* FileResumeStore.make({ directory: Path.join(file, "state") }).open(open)

      const failed = yield* Effect.flip(resume.save(old))

      assert.strictEqual(failed.message, `${Path.join(file, "state", name)}: a part of the path is not a folder`)
    })
  )

  it.live("recognizes this start of the machine when it is asked again", () =>
    Effect.gen(function* () {
      const first = yield* FileResumeStore.systemBoot
      const second = yield* FileResumeStore.systemBoot

      assert.isTrue(BootIdentity.isSame(first, second))
    })
  )
})
