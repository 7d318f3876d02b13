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
import * as BootIdentity from "../../src/resume/BootIdentity.ts"
import * as FileResumeStore from "../../src/resume/FileResumeStore.ts"
import { ResumeError, ResumeStore, type TorrentResume } from "../../src/resume/ResumeStore.ts"
import { CrashingFiles, crashes } from "./CrashingFiles.ts"
import { draw, drawn, hashOf, pieces, reload, suite } from "./ResumeStore.suite.ts"

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

/** Runs `use` with the resume data of a torrent of eight pieces in `files`. */
const withResume = <A, E>(files: FileResumeStore.Files, use: (resume: TorrentResume) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(FileResumeStore.make({ directory: "/state", files, boot }).open(infoHash, 8), use))

const boot = Effect.succeed(BootIdentity.fromName("boot"))

const loadFrom = (files: FileResumeStore.Files) =>
  reload(infoHash, 8).pipe(
    Effect.provideService(ResumeStore, FileResumeStore.make({ directory: "/state", files, boot }))
  )

const old = { stored: drawn("**......"), flushed: drawn("*.......") }
const fresh = { stored: drawn("..***..."), flushed: drawn("..*.....") }
const said = (pieces: { readonly stored: Bitfield.Bitfield; readonly flushed: Bitfield.Bitfield }) => ({
  stored: draw(pieces.stored),
  flushed: draw(pieces.flushed),
  trusted: draw(pieces.stored)
})

describe("FileResumeStore and what it never wrote", () => {
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

  it.live.each(plants)("takes %s for no resume data, and puts its own in that place", ([, plant]) =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const store = FileResumeStore.make({ directory, boot })
      yield* Effect.promise(() => plant(Path.join(directory, name)))

      const found = yield* Effect.scoped(Effect.flatMap(store.open(infoHash, 8), (resume) => resume.load))
      yield* Effect.scoped(Effect.flatMap(store.open(infoHash, 8), (resume) => resume.append(pieces(2))))

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

  it.effect("fault 51: a kill at any call of an append loses none of the pieces before it", () =>
    Effect.gen(function* () {
      for (let stopAt = 0; ; stopAt++) {
        const files = new CrashingFiles()
        yield* withResume(files, (resume) => resume.save(old))
        files.stopAt = files.calls.length + stopAt

        const appended = yield* Effect.exit(withResume(files, (resume) => resume.append(pieces(4, 5, 6))))

        const found = yield* loadFrom(files.after({ names: "written", contents: "written" }))
        assert.include(["**......", "**..*...", "**..**..", "**..***."], found?.stored)
        assert.strictEqual(found?.flushed, "*.......")
        if (Exit.isSuccess(appended)) {
          assert.strictEqual(found?.stored, "**..***.")
          break
        }
      }
    })
  )

  it.effect("fault 52: a power cut after an append leaves the flushed snapshot", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      yield* withResume(files, (resume) =>
        Effect.andThen(resume.save({ stored: old.stored, flushed: old.stored }), resume.append(pieces(7)))
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
        yield* withResume(files, (resume) => resume.append(pieces(7)))
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
          const failed = yield* Effect.flip(resume.append(pieces(3, 4, 5, 6)))
          yield* resume.append(pieces(7))
          assert.strictEqual(failed.operation, "append")
          return yield* Effect.map(resume.load, (data) => draw(data!.stored))
        })
      )

      assert.strictEqual(stored, "**.....*")
    })
  )

  it.effect("fails where a disk takes nothing, instead of asking for ever", () =>
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

  it.effect("begins anew when its file was deleted below it", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          files.written.clear()
          yield* resume.append(pieces(7))
        })
      )

      const found = yield* loadFrom(files)

      assert.strictEqual(found?.stored, ".......*")
    })
  )

  it.effect("writes a whole batch of appended pieces at once", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      const calls = yield* withResume(files, (resume) =>
        Effect.gen(function* () {
          yield* resume.save(old)
          const before = files.calls.length
          yield* resume.append(pieces(6, 7))
          return files.calls.slice(before)
        })
      )

      assert.deepStrictEqual(calls, ["open r+", "write"])
    })
  )

  it.effect("opens nothing and writes nothing before it is asked to", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()

      yield* withResume(files, () => Effect.void)

      assert.deepStrictEqual(files.calls, [])
    })
  )

  it.effect("refuses to work after its scope closed, having waited for what was under way", () =>
    Effect.gen(function* () {
      const files = new CrashingFiles()
      let escaped: TorrentResume | undefined
      yield* withResume(files, (resume) => {
        escaped = resume
        return Effect.forkDetach(resume.save(old), { startImmediately: true })
      })

      const refused = yield* Effect.flip(escaped!.append(pieces(1)))

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
                      whole ? resume.save({ stored: now, flushed: now }) : resume.append(pieces(piece)),
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

  it.live("loads damaged, cut and foreign files as nothing, says so, and takes their place", () => {
    const warnings: Array<string> = []
    const logger = Logger.make((entry) => {
      warnings.push(String(entry.message))
    })
    return Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const path = Path.join(directory, name)
      const resume = yield* FileResumeStore.make({ directory }).open(infoHash, 8)
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
        yield* resume.append(pieces(3))
        assert.strictEqual(draw((yield* resume.load)!.stored), "...*....")
      }
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.live("tells in one sentence what keeps it from saving", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const file = Path.join(directory, "file")
      yield* Effect.promise(() => FileSystem.writeFile(file, ""))
      const resume = yield* FileResumeStore.make({ directory: Path.join(file, "state") }).open(infoHash, 8)

      const failed = yield* Effect.flip(resume.save(old))

      assert.strictEqual(failed.message, `${Path.join(file, "state", name)}: a part of the path is not a folder`)
    })
  )

  it.live("knows this start of the machine when asked again", () =>
    Effect.gen(function* () {
      const first = yield* FileResumeStore.systemBoot
      const second = yield* FileResumeStore.systemBoot

      assert.isTrue(BootIdentity.isSame(first, second))
    })
  )
})
