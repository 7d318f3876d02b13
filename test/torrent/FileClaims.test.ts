import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import type { FileRecord } from "../../src/resume/ResumeStore.ts"
import { DiskFull, type FileClaim, StorageError } from "../../src/storage/Storage.ts"
import type { Standing } from "../../src/torrent/Adoption.ts"
import { ContentExists } from "../../src/torrent/ContentExists.ts"
import * as FileChanges from "../../src/torrent/FileChanges.ts"
import * as FileClaims from "../../src/torrent/FileClaims.ts"
import * as KnownFiles from "../../src/torrent/KnownFiles.ts"
import { drawn } from "../resume/ResumeStore.suite.ts"
import { pieceOf, sliceOf } from "../storage/layouts.ts"
import * as DrawnTorrent from "./drawnTorrent.ts"
import * as KnownFilesView from "./knownFilesView.ts"

const test = <E>(name: string, program: () => Effect.Effect<void, E, PieceHasher | Scope.Scope>) =>
  it.effect(name, () => Effect.suspend(program).pipe(Effect.scoped, Effect.provide(NodePieceHasher.layer)))

interface Options {
  readonly stored?: string
  /** By the index of the file; default `own`. */
  readonly standings?: Readonly<Record<number, Standing>>
  readonly overwrites?: boolean
  readonly verifies?: boolean
}

const full = StorageError.of("claim", [new DiskFull({ path: "t/b" })])

const describeClaim = (claim: FileClaim) =>
  `${claim.file} ${claim.as}${claim.as === "found" && claim.afresh ? " afresh" : ""}`

/** A torrent with no claimed file, and a log of every step that a claim takes. */
const make = Effect.fnUntraced(function* (drawing: string, disk: string, options: Options = {}) {
  const known = yield* DrawnTorrent.torrent(drawing)
  const { layout } = known
  const { look, medium, storage } = yield* DrawnTorrent.open(known, disk, { verifies: options.verifies })
  const facts = yield* look
  const stored = drawn(options.stored ?? ".".repeat(layout.geometry.pieceCount))
  const standings = new Map(
    facts.flatMap((one) => (one ? [[one.file, options.standings?.[one.file] ?? "own"] as const] : []))
  )
  const files = KnownFiles.make(layout, facts, standings, stored)
  const log: Array<string> = []
  /** How many files of a claim are made before it fails; `undefined` if it does not fail. */
  const claiming: { failsBehind?: number | undefined; waitsFor?: Effect.Effect<unknown> } = {}
  const appending: { waitsFor?: Effect.Effect<unknown> } = {}
  /** What happens before the next reservation, which begins a claim. */
  const reserving: { before?: (() => void) | undefined } = {}
  /** What happens right after the next read. */
  const reading: { behind?: Effect.Effect<unknown, StorageError> | undefined } = {}
  const changes = FileChanges.make({
    storage,
    known: files,
    stored,
    suspects: drawn(".".repeat(stored.length)),
    digestOf: known.digestOf,
    drop: () => {},
    onReplaced: () => {},
    onVerified: () => {},
    report: (fact) => log.push(fact._tag)
  })
  const claims = FileClaims.make({
    storage: {
      ...storage,
      readBlock: (...block) =>
        Effect.tap(storage.readBlock(...block), () => {
          const behind = reading.behind ?? Effect.void
          reading.behind = undefined
          return behind
        }),
      reserve: (asked) =>
        Effect.andThen(
          Effect.sync(() => {
            reserving.before?.()
            reserving.before = undefined
            log.push(`reserve ${asked.join(" ")}`)
          }),
          storage.reserve(asked)
        ),
      claim: (asked) =>
        Effect.andThen(
          Effect.suspend(() => {
            log.push(`claim ${asked.map(describeClaim).join(", ")}`)
            return claiming.waitsFor ?? Effect.void
          }),
          claiming.failsBehind === undefined
            ? storage.claim(asked)
            : Effect.andThen(storage.claim(asked.slice(0, claiming.failsBehind)), Effect.fail(full))
        )
    },
    known: files,
    changes,
    keeper: {
      noteStored: () => {},
      noteRestored: () => {},
      abandon: () => {},
      noteFlushed: () => {},
      noteDropped: () => {},
      noteFile: (file: number, { isWriting }: FileRecord) =>
        log.push(`note ${file}${isWriting ? " being written" : ""}`),
      append: (durably) =>
        Effect.andThen(
          appending.waitsFor ?? Effect.void,
          Effect.sync(() => void log.push(durably ? "append durably" : "append"))
        )
    },
    hasher: yield* PieceHasher,
    digestOf: known.digestOf,
    overwrites: options.overwrites ?? false,
    existing: (file) =>
      new ContentExists({
        files: [{ path: `${file}`, totalPieces: 1, verifiedPieces: 0, excessBytes: 0, isOther: false }]
      }),
    onForeign: ({ files }) => log.push(`foreign ${files[0]!.path}`)
  })
  return {
    ...claims,
    isReady: (index: number) => claims.isReady(pieceOf(layout, index)),
    changes,
    claiming,
    appending,
    reserving,
    reading,
    files: KnownFilesView.viewOf(files),
    log,
    medium,
    /** Makes the files of a piece writable, for its right bytes unless others are passed. */
    readyFor: (index: number, bytes?: Uint8Array) => {
      const piece = pieceOf(layout, index)
      const right = sliceOf(layout, known.content, piece)
      return claims.ready({ index: piece, bytes: bytes ?? right, sha1: known.digestOf(piece) })
    }
  }
})

describe("FileClaims", () => {
  test("reserves and claims a piece's files once, and remembers that they are being written before it returns", () =>
    Effect.gen(function* () {
      const { files, log, medium, readyFor } = yield* make("aaaa aabb cccc", "rrrr ---- ----")

      yield* readyFor(1)
      const first = log.splice(0)
      yield* readyFor(1)
      yield* readyFor(0)

      assert.deepStrictEqual(first, [
        "reserve 0 1",
        "claim 0 found",
        "note 0 being written",
        "claim 1 new",
        "note 1 being written",
        "append"
      ])
      assert.deepStrictEqual(log, [])
      assert.deepStrictEqual(medium.paths(), ["t/a", "t/b"])
      assert.deepStrictEqual(
        [...files.values()].map(({ isWriting }) => isWriting),
        [true, true]
      )
    }))

  test("renews a file of ours, which is writable then, and does not take the old one for somebody else's", () =>
    Effect.gen(function* () {
      const { changes, files, log, medium, readyFor, renew } = yield* make("aaaa aaaa bbbb", "rrrr ---- ----")
      yield* readyFor(1)
      log.length = 0
      medium.touch("t/a")
      const before = { ...files.get(0)!.facts, mtimeNs: 1n }

      yield* renew(0)
      const after = files.get(0)!
      const isCurrent = FileChanges.observe(changes, [0], [before])
      yield* readyFor(1)
      yield* FileChanges.look(changes, [0])

      assert.notStrictEqual(after.facts.identity, before.identity)
      assert.deepInclude(after, { standing: "own", isWriting: true })
      assert.isFalse(isCurrent)
      assert.deepStrictEqual([changes.suspects.count, files.get(0)], [0, after])
      assert.deepStrictEqual(log, ["reserve 0", "claim 0 found afresh", "note 0 being written", "append"])
      assert.strictEqual(medium.read("t/a")?.length, 4)
    }))

  test("copies a stale file to fresh blocks once before it is written, and claims the other files as they are", () =>
    Effect.gen(function* () {
      const { files, log, readyFor } = yield* make("aaaa aabb cccc", "rrrr rr-- ----")
      files.setStale(0, true)
      const before = files.get(0)!.facts.identity

      yield* readyFor(1)
      const first = log.splice(0)
      yield* readyFor(0)

      assert.deepStrictEqual(first, [
        "reserve 0 1",
        "reserve 0",
        "claim 0 found afresh",
        "note 0 being written",
        "append",
        "claim 1 new",
        "note 1 being written",
        "append"
      ])
      assert.deepStrictEqual(log, [])
      assert.notStrictEqual(files.get(0)!.facts.identity, before)
      assert.deepInclude(files.get(0), { isStale: false, isWriting: true })
    }))

  test("renews neither a file that is gone nor one that somebody replaced", () =>
    Effect.gen(function* () {
      const { log, medium, readyFor, renew } = yield* make("aaaa bbbb cccc", "rrrr ---- ----")
      yield* readyFor(0)
      yield* readyFor(1)
      medium.remove("t/a")
      medium.replace("t/b")
      log.length = 0

      yield* renew(0)
      yield* renew(1)

      assert.deepStrictEqual(
        log.filter((line) => line.startsWith("claim")),
        []
      )
    }))

  test("a file that could not be renewed stays as it was, and is renewed by a later attempt", () =>
    Effect.gen(function* () {
      const { claiming, files, readyFor, renew } = yield* make("aaaa bbbb cccc", "rrrr ---- ----")
      yield* readyFor(0)
      const before = files.get(0)!
      claiming.failsBehind = 0

      const error = yield* Effect.flip(renew(0))
      const between = files.get(0)
      claiming.failsBehind = undefined
      yield* renew(0)

      assert.strictEqual(error, full)
      assert.deepStrictEqual(between, before)
      assert.notStrictEqual(files.get(0)!.facts.identity, before.facts.identity)
    }))

  test("claims files that several pieces share once, although all pieces are written at the same time", () =>
    Effect.gen(function* () {
      const { log, readyFor } = yield* make("aaaa aabb bbbb", "---- ---- ----")

      yield* Effect.all([readyFor(0), readyFor(1), readyFor(2)], { concurrency: "unbounded" })

      assert.deepStrictEqual(
        log.filter((line) => line.startsWith("claim")),
        ["claim 0 new", "claim 1 new"]
      )
    }))

  /** Begins to claim the files of these pieces at once; the first claim takes until all others wait. */
  const readyAtOnce = Effect.fnUntraced(function* (
    { claiming, readyFor }: Pick<Effect.Success<ReturnType<typeof make>>, "claiming" | "readyFor">,
    pieces: ReadonlyArray<number>
  ) {
    const gate = yield* Latch.make(false)
    claiming.waitsFor = gate.await
    const fibers = yield* Effect.forEach(pieces, (piece) =>
      Effect.forkChild(readyFor(piece), { startImmediately: true })
    )
    return { fibers, go: gate.open }
  })

  test("claims the files of the pieces that came during a claim together, and remembers them at once", () =>
    Effect.gen(function* () {
      const { files, log, ...claims } = yield* make("aaaa bbbb cccc ddee", "---- ---- ---- ----")
      const { fibers, go } = yield* readyAtOnce(claims, [0, 1, 2, 3])

      yield* go
      yield* Fiber.joinAll(fibers)

      assert.deepStrictEqual(
        log.filter((line) => /^(claim|append)/.test(line)),
        ["claim 0 new", "append", "claim 1 new, 2 new, 3 new, 4 new", "append"]
      )
      assert.isTrue([...files.values()].every(({ isWriting }) => isWriting))
    }))

  test("a piece that waits for its turn is not claimed with the others once it was interrupted", () =>
    Effect.gen(function* () {
      const { log, ...claims } = yield* make("aaaa bbbb cccc", "---- ---- ----")
      const { fibers, go } = yield* readyAtOnce(claims, [0, 1, 2])

      yield* Fiber.interrupt(fibers[2]!)
      yield* go
      yield* Fiber.joinAll(fibers.slice(0, 2))

      assert.deepStrictEqual(
        log.filter((line) => line.startsWith("claim")),
        ["claim 0 new", "claim 1 new"]
      )
    }))

  test("a file that cannot be claimed fails its own piece alone", () =>
    Effect.gen(function* () {
      const { files, medium, ...claims } = yield* make("aaaa bbbb cccc dddd", "---- ---- ---- ----")
      medium.put("t/c", new Uint8Array([1, 2]))
      const { fibers, go } = yield* readyAtOnce(claims, [0, 1, 2, 3])

      yield* go
      const exits = yield* Effect.forEach(fibers, Fiber.await)

      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, true, false, true])
      assert.deepStrictEqual(
        [0, 1, 2, 3].map((file) => files.get(file)?.isWriting),
        [true, true, undefined, true]
      )
      assert.deepStrictEqual(medium.read("t/c"), new Uint8Array([1, 2]))
    }))

  test("does not overwrite a file that appeared since the last look, and remembers nothing of it", () =>
    Effect.gen(function* () {
      const { files, log, medium, readyFor } = yield* make("aaaa bbbb", "---- ----")
      medium.put("t/a", new Uint8Array([1, 2]))

      const error = yield* Effect.flip(readyFor(0))

      assert.strictEqual(error.reason._tag, "FileExists")
      assert.deepStrictEqual(medium.read("t/a"), new Uint8Array([1, 2]))
      assert.deepStrictEqual([files.size, log], [0, ["reserve 0", "claim 0 new"]])
    }))

  test("claims the files that a failed claim has made when the claim is repeated", () =>
    Effect.gen(function* () {
      const { claiming, files, log, medium, readyFor } = yield* make("aaaa aabb bbbb", "---- ---- ----")
      claiming.failsBehind = 1
      const error = yield* Effect.flip(readyFor(1))
      const made = { paths: medium.paths(), log: log.splice(0) }

      claiming.failsBehind = undefined
      yield* readyFor(1)

      assert.strictEqual(error.reason._tag, "DiskFull")
      assert.deepStrictEqual(made, { paths: ["t/a"], log: ["reserve 0 1", "claim 0 new, 1 new"] })
      assert.deepStrictEqual(log.slice(0, 2), ["reserve 0 1", "claim 0 found"])
      assert.deepStrictEqual(
        [...files.values()].map(({ isWriting, standing }) => [standing, isWriting]),
        [
          ["own", true],
          ["own", true]
        ]
      )
    }))

  test("does not take a file for its own that somebody filled since a claim failed", () =>
    Effect.gen(function* () {
      const { claiming, log, medium, readyFor } = yield* make("aaaa aabb bbbb", "---- ---- ----")
      claiming.failsBehind = 0
      medium.put("t/a", new Uint8Array([1, 2]))
      yield* Effect.flip(readyFor(1))
      log.length = 0

      claiming.failsBehind = undefined
      const error = yield* Effect.flip(readyFor(1))

      assert.strictEqual(error.reason._tag, "FileExists")
      assert.deepStrictEqual(medium.read("t/a"), new Uint8Array([1, 2]))
    }))

  test("notices before a claim that a file was changed, and claims it as it is now", () =>
    Effect.gen(function* () {
      const { files, log, medium, readyFor } = yield* make("aaaa aaaa", "rrrr ----", { stored: "*." })
      medium.modify("t/a", 0, new Uint8Array([0]))

      yield* readyFor(1)

      assert.deepStrictEqual(log, ["reserve 0", "FilesChanged", "claim 0 found", "note 0 being written", "append"])
      assert.isTrue(files.get(0)!.isWriting)
    }))

  describe("fault 78: a file of ours that somebody replaces before the first write", () => {
    type Medium = Effect.Success<ReturnType<typeof make>>["medium"]
    const theirs = new Uint8Array(8).fill(9)
    const replacements: ReadonlyArray<readonly [string, (medium: Medium) => void]> = [
      ["by a rename", (medium) => medium.put("t/a", theirs)],
      [
        "by deleting it and making another one",
        (medium) => {
          medium.remove("t/a")
          medium.put("t/a", theirs)
        }
      ]
    ]
    for (const [name, replace] of replacements)
      for (const isStale of [false, true])
        test(`${name}, is compared before it is claimed${isStale ? ", although it was stale" : ""}`, () =>
          Effect.gen(function* () {
            const { files, log, medium, readyFor } = yield* make("aaaa aaaa", "rrrr ----", { stored: "*." })
            files.setStale(0, isStale)
            replace(medium)

            const error = yield* Effect.flip(readyFor(1))
            yield* Effect.forkScoped(readyFor(1), { startImmediately: true })
            yield* Effect.yieldNow

            assert.strictEqual(error.reason._tag, "FileChanged")
            assert.deepStrictEqual(
              log.filter((line) => /^(claim|foreign)/.test(line)),
              ["foreign 0"]
            )
            assert.deepStrictEqual(medium.read("t/a"), theirs)
          }))
  })

  test("compares a file without a written byte that somebody fills before it is claimed", () =>
    Effect.gen(function* () {
      const { log, medium, readyFor } = yield* make("aaaa aaaa", "____ ____")
      medium.modify("t/a", 0, new Uint8Array(8).fill(9))

      const error = yield* Effect.flip(readyFor(0))
      yield* Effect.forkScoped(readyFor(0), { startImmediately: true })
      yield* Effect.yieldNow

      assert.strictEqual(error.reason._tag, "FileChanged")
      assert.include(log, "foreign 0")
      assert.deepStrictEqual(medium.read("t/a"), new Uint8Array(8).fill(9))
    }))

  test("does not compare a file that it filled itself, whatever others then do to its time", () =>
    Effect.gen(function* () {
      const { changes, files, medium, readyFor } = yield* make("aaaa aaaa", "____ ____")
      yield* readyFor(0)
      medium.modify("t/a", 0, new Uint8Array(4).fill(9))
      files.setWriting(0, false)

      yield* FileChanges.look(changes, [0])
      yield* readyFor(0)

      assert.deepInclude(files.get(0), { standing: "own", isWriting: true })
    }))

  test("claims files without a piece only if none was replaced meanwhile", () =>
    Effect.gen(function* () {
      const { claim, log, medium } = yield* make("aaaa bbbb", "rrrr ----")
      medium.put("t/a", new Uint8Array(4).fill(9))

      const error = yield* Effect.flip(claim([0]))

      assert.strictEqual(error.reason._tag, "FileChanged")
      assert.deepStrictEqual(log, ["reserve 0", "FilesChanged"])
    }))

  test("fails for a foreign file without touching it", () =>
    Effect.gen(function* () {
      const { log, readyFor } = yield* make("aaaa aabb", "xxxx xx--", { standings: { 0: "foreign" } })

      const error = yield* Effect.flip(readyFor(1))

      assert.strictEqual(error.reason._tag, "FileExists")
      assert.deepStrictEqual(log, [])
    }))

  test("overwrites foreign files if it may, and leaves nothing to compare", () =>
    Effect.gen(function* () {
      const { files, log, medium, readyFor } = yield* make("aaaa aabb", "xxxx xx--", {
        standings: { 0: "foreign" },
        overwrites: true
      })
      medium.cut("t/a", 20)

      yield* readyFor(1)

      assert.deepStrictEqual(log, [
        "reserve 0 1",
        "FilesChanged",
        "claim 0 overwritten",
        "note 0 being written",
        "claim 1 overwritten",
        "note 1 being written",
        "append"
      ])
      assert.strictEqual(medium.read("t/a")!.length, 6)
      assert.strictEqual(files.get(0)!.standing, "own")
    }))

  describe("an undecided file", () => {
    const undecided = { standings: { 1: "undecided" } } as const

    test("is compared with each of its missing pieces, and is own once all of them were equal", () =>
      Effect.gen(function* () {
        const { files, log, readyFor } = yield* make("aaaa aabb bbcc", "---- --rr rr--", undecided)

        yield* readyFor(1)
        const between = { standing: files.get(1)!.standing, log: log.splice(0) }
        yield* readyFor(2)

        assert.deepStrictEqual(between, {
          standing: "undecided",
          log: ["reserve 0 1", "claim 1 found", "claim 0 new", "note 0 being written", "append"]
        })
        assert.strictEqual(files.get(1)!.standing, "own")
      }))

    test("is compared only within its length", () =>
      Effect.gen(function* () {
        const { files, readyFor } = yield* make("aaaa aabb bbcc", "---- --r- ----", undecided)

        yield* readyFor(1)
        yield* readyFor(2)

        assert.strictEqual(files.get(1)!.standing, "own")
      }))

    test("ends the torrent before anything is reserved or made if it differs", () =>
      Effect.gen(function* () {
        const { files, log, medium, readyFor } = yield* make("aaaa aabb bbcc", "---- --rx rr--", undecided)

        yield* Effect.forkScoped(readyFor(1), { startImmediately: true })
        yield* Effect.yieldNow

        assert.deepStrictEqual(log, ["foreign 1"])
        assert.strictEqual(files.get(1)!.standing, "foreign")
        assert.deepStrictEqual(medium.paths(), ["t/b"])
      }))

    test("that is replaced while it is compared is not proved by the bytes of the old one", () =>
      Effect.gen(function* () {
        const { changes, files, log, medium, reading, readyFor } = yield* make(
          "aaaa aabb bbcc",
          "---- --rr ----",
          undecided
        )
        reading.behind = Effect.suspend(() => {
          medium.put("t/b", new Uint8Array([9, 9]))
          return FileChanges.look(changes, [1])
        })

        const error = yield* Effect.flip(readyFor(1))
        const { standing } = files.get(1)!
        yield* Effect.forkScoped(readyFor(1), { startImmediately: true })
        yield* Effect.yieldNow

        assert.strictEqual(error.reason._tag, "FileChanged")
        assert.strictEqual(standing, "undecided")
        assert.deepStrictEqual(log, ["FilesChanged", "foreign 1"])
        assert.deepStrictEqual(medium.read("t/b"), new Uint8Array([9, 9]))
      }))

    test("that is replaced by the right bytes while it is compared is not called foreign", () =>
      Effect.gen(function* () {
        const { changes, files, log, medium, reading, readyFor } = yield* make(
          "aaaa aabb bbcc",
          "---- --xr rr--",
          undecided
        )
        const right = yield* make("aaaa aabb bbcc", "---- --rr rr--", undecided)
        reading.behind = Effect.suspend(() => {
          medium.put("t/b", right.medium.read("t/b")!)
          return FileChanges.look(changes, [1])
        })

        const error = yield* Effect.flip(readyFor(1))
        yield* readyFor(1)
        yield* readyFor(2)

        assert.strictEqual(error.reason._tag, "FileChanged")
        assert.notInclude(log, "foreign 1")
        assert.strictEqual(files.get(1)!.standing, "own")
      }))

    test("that is shorter is not made longer if one of its pieces is wrong", () =>
      Effect.gen(function* () {
        const { log, medium, readyFor } = yield* make("aaaa aaaa aaaa", "rrrr rrrr ----", { stored: "**." })
        const theirs = new Uint8Array(5).fill(9)
        medium.put("t/a", theirs)

        const error = yield* Effect.flip(readyFor(2))
        yield* Effect.forkScoped(readyFor(2), { startImmediately: true })
        yield* Effect.yieldNow

        assert.strictEqual(error.reason._tag, "FileChanged")
        assert.strictEqual(log.at(-1), "foreign 0")
        assert.deepStrictEqual(medium.read("t/a"), theirs)
      }))

    test("that is shorter is made longer if one of its pieces is right", () =>
      Effect.gen(function* () {
        const { files, medium, readyFor } = yield* make("aaaa aaaa aaaa", "rrrr rrrr ----", { stored: "**." })
        medium.put("t/a", medium.read("t/a")!.slice(0, 5))

        yield* Effect.flip(readyFor(2))
        yield* readyFor(2)

        assert.deepInclude(files.get(0), { standing: "undecided", isWriting: true })
      }))

    test("is compared again if it is changed in its place", () =>
      Effect.gen(function* () {
        const { log, medium, readyFor } = yield* make("aaaa aabb bbcc", "---- --rr ----", undecided)
        medium.modify("t/b", 2, new Uint8Array([9, 9]))

        const error = yield* Effect.flip(readyFor(1))
        yield* readyFor(1)
        yield* Effect.forkScoped(readyFor(2), { startImmediately: true })
        yield* Effect.yieldNow

        assert.strictEqual(error.reason._tag, "FileChanged")
        assert.include(log, "foreign 1")
        assert.deepStrictEqual(medium.read("t/b")!.slice(2), new Uint8Array([9, 9]))
      }))

    test("is compared again if it is changed after that, before it is claimed", () =>
      Effect.gen(function* () {
        const { log, medium, readyFor, reserving } = yield* make("aaaa aabb bbcc", "---- --rr rr--", undecided)
        reserving.before = () => medium.modify("t/b", 1, new Uint8Array([9]))

        const error = yield* Effect.flip(readyFor(1))
        yield* Effect.forkScoped(readyFor(1), { startImmediately: true })
        yield* Effect.yieldNow

        assert.strictEqual(error.reason._tag, "FileChanged")
        assert.include(log, "foreign 1")
      }))

    test("is not called foreign because of unverified bytes, if the medium verifies", () =>
      Effect.gen(function* () {
        const verified = { ...undecided, verifies: true }
        const { files, log, readyFor } = yield* make("aaaa aabb bbcc", "---- --rr rr--", verified)

        const error = yield* Effect.flip(readyFor(1, new Uint8Array(4)))
        yield* readyFor(1)

        assert.strictEqual(error.reason._tag, "DigestMismatch")
        assert.notInclude(log, "foreign 1")
        assert.deepStrictEqual([...files.get(1)!.toCompare], [2])
      }))
  })

  test("has no piece of a file written before the file is remembered", () =>
    Effect.gen(function* () {
      const { appending, isReady, readyFor } = yield* make("aaaa aaaa", "---- ----")
      const latch = yield* Latch.make()
      appending.waitsFor = latch.await

      const first = yield* Effect.forkChild(readyFor(0), { startImmediately: true })
      yield* Effect.yieldNow
      const second = yield* Effect.forkChild(readyFor(1), { startImmediately: true })
      yield* Effect.yieldNow
      const before = [isReady(0), isReady(1), first.pollUnsafe(), second.pollUnsafe()]
      yield* latch.open
      yield* Fiber.join(first)
      yield* Fiber.join(second)

      assert.deepStrictEqual(before, [false, false, undefined, undefined])
      assert.deepStrictEqual([isReady(0), isReady(1)], [true, true])
    }))

  test("has nothing written to a copy of a file before the copy is remembered", () =>
    Effect.gen(function* () {
      const { appending, isReady, readyFor, renew } = yield* make("aaaa aaaa", "rrrr ----")
      yield* readyFor(1)
      const latch = yield* Latch.make()
      appending.waitsFor = latch.await

      const renewing = yield* Effect.forkChild(renew(0), { startImmediately: true })
      yield* Effect.yieldNow
      const before = [isReady(1), renewing.pollUnsafe()]
      yield* latch.open
      yield* Fiber.join(renewing)

      assert.deepStrictEqual(before, [false, undefined])
      assert.isTrue(isReady(1))
    }))

  test("remembers a file although the claim was interrupted before that", () =>
    Effect.gen(function* () {
      const { appending, log, readyFor } = yield* make("aaaa aaaa", "---- ----")
      appending.waitsFor = Effect.never

      const first = yield* Effect.forkChild(readyFor(0), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Fiber.interrupt(first)
      const before = log.includes("append")
      delete appending.waitsFor
      yield* readyFor(1)

      assert.isFalse(before)
      assert.strictEqual(log.at(-1), "append")
    }))

  test("claims files without a piece, and does nothing for an empty list", () =>
    Effect.gen(function* () {
      const { claim, log, medium } = yield* make("aaaa bbbb", "rrrr ----")

      yield* claim([])
      yield* claim([1])

      assert.deepStrictEqual(log, ["reserve 1", "claim 1 new", "note 1 being written", "append"])
      assert.deepStrictEqual(medium.paths(), ["t/a", "t/b"])
    }))
})
