import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as Bytes from "../../src/base/Bytes.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import type { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import type { MemoryMedium } from "../../src/storage/provider/memory/MemoryStorage.ts"
import { type FileFacts, StorageUnavailable } from "../../src/storage/Storage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as BlockReader from "../../src/torrent/BlockReader.ts"
import * as FileChanges from "../../src/torrent/FileChanges.ts"
import * as KnownFiles from "../../src/torrent/KnownFiles.ts"
import { draw, drawn } from "../resume/ResumeStore.suite.ts"
import { layoutOf, pieceOf, sliceOf } from "../storage/layouts.ts"
import * as DrawnTorrent from "./drawnTorrent.ts"
import * as KnownFilesView from "./knownFilesView.ts"

const test = <E>(name: string, program: () => Effect.Effect<void, E, PieceHasher | Scope.Scope>) =>
  it.effect(name, () => Effect.suspend(program).pipe(Effect.scoped, Effect.provide(NodePieceHasher.layer)))

/** A torrent whose files are known and watched. Nothing is verified before `verify` or `isRight`. */
const make = Effect.fnUntraced(function* (drawing: string, disk: string, state: { stored: string; doubtful?: string }) {
  const known = yield* DrawnTorrent.torrent(drawing)
  const { layout } = known
  const { look, medium, storage } = yield* DrawnTorrent.open(known, disk)
  const facts = yield* look
  const stored = drawn(state.stored)
  const files = KnownFiles.make(
    layout,
    facts,
    new Map(facts.flatMap((one) => (one ? [[one.file, "own"]] : []))),
    stored
  )
  const log: Array<string> = []
  const replaced: Array<number> = []
  /** What each piece waits for after its digest was computed. */
  const digesting = { gates: new Map<number, Effect.Effect<unknown>>() }
  /** What happens between a look, or a read, and its answer. */
  const looking = { behind: Effect.void as Effect.Effect<void> }
  const changes = FileChanges.make({
    storage: {
      look: (asked) => Effect.tap(storage.look(asked), () => looking.behind),
      digests: (pieces) => Stream.tap(storage.digests(pieces), ({ piece }) => digesting.gates.get(piece) ?? Effect.void)
    },
    known: files,
    stored,
    suspects: drawn(state.doubtful ?? ".".repeat(state.stored.length)),
    digestOf: known.digestOf,
    drop: (pieces) => {
      for (const piece of pieces) Bitfield.remove(stored, piece)
    },
    onReplaced: (file) => replaced.push(file),
    onVerified: (file) => log.push(`verified ${file}`),
    report: (fact) => {
      const pieces = fact._tag === "PiecesLost" ? ` ${fact.pieces.join(" ")} of` : ""
      log.push(`${fact._tag}${pieces}${"paths" in fact ? ` ${fact.paths.join(" ")}` : ""}`)
    }
  })
  return {
    run: FileChanges.run(changes),
    lookAtAll: FileChanges.lookAtAll(changes),
    settled: FileChanges.settled(changes),
    doubt: (files: ReadonlyArray<number>) => FileChanges.doubt(changes, files),
    look: (files: ReadonlyArray<number>) => FileChanges.look(changes, files),
    isRight: (piece: PieceIndex) => FileChanges.isRight(changes, piece),
    isGone: (file: number) => FileChanges.isGone(changes, file),
    digesting,
    looking,
    reader: BlockReader.make({
      storage: { readBlock: (...block) => Effect.tap(storage.readBlock(...block), () => looking.behind) },
      known: files,
      changes
    }),
    settle: (facts: FileFacts) => {
      KnownFiles.setFacts(files, facts)
      KnownFiles.setWriting(files, facts.file, false)
    },
    files: KnownFilesView.viewOf(files),
    stored,
    known,
    layout,
    log,
    medium,
    replaced,
    state: () => ({ stored: draw(stored), suspects: draw(changes.suspects) }),
    /** Verifies in the background until no suspect piece is left. */
    verify: Effect.scoped(Effect.andThen(FileChanges.run(changes), FileChanges.settled(changes))),
    /** Reads a piece as an upload does; `undefined` if the read is refused. */
    read: Effect.fnUntraced(function* (index: number) {
      const piece = pieceOf(layout, index)
      if (!(yield* FileChanges.isRight(changes, piece))) return undefined
      const size = sliceOf(layout, known.content, piece).length
      const read = yield* Effect.option(storage.readBlock(piece, 0, size))
      if (read._tag === "None") {
        yield* FileChanges.look(changes, KnownFiles.filesOf(files, piece))
        return undefined
      }
      return FileChanges.observe(changes, KnownFiles.filesOf(files, piece), read.value.files)
        ? read.value.bytes
        : undefined
    })
  }
})

const two = ["aaaa aabb bbbb", "rrrr rrrr rrrr", { stored: "***" }] as const

describe("FileChanges", () => {
  test("reports nothing and verifies nothing if nobody changed a file", () =>
    Effect.gen(function* () {
      const { log, look, state, verify } = yield* make(...two)

      const isSame = yield* look([0, 1])
      yield* verify

      assert.isTrue(isSame)
      assert.deepStrictEqual(state(), { stored: "***", suspects: "..." })
      assert.deepStrictEqual(log, [])
    }))

  const kinds: ReadonlyArray<
    readonly [string, (medium: MemoryMedium["Service"]) => void, stored: string, lost: ReadonlyArray<string>]
  > = [
    ["touched", (medium) => medium.touch("t/b"), "***", []],
    ["replaced by a copy", (medium) => medium.replace("t/b"), "***", []],
    ["modified", (medium) => medium.modify("t/b", 3, new Uint8Array([0])), "**.", ["PiecesLost 2 of t/b"]],
    [
      "modified where a piece is shared",
      (medium) => medium.modify("t/b", 0, new Uint8Array([0])),
      "*.*",
      ["PiecesLost 1 of t/b"]
    ],
    ["cut", (medium) => medium.cut("t/b", 3), "**.", ["PiecesLost 2 of t/b"]],
    ["made longer", (medium) => medium.cut("t/b", 9), "***", []],
    ["replaced by another", (medium) => medium.put("t/b", new Uint8Array(6)), "*..", ["PiecesLost 1 2 of t/b"]],
    ["replaced by a folder or link", (medium) => medium.block("t/b"), "*..", ["PiecesLost 1 2 of t/b"]]
  ]
  for (const [name, change, stored, lost] of kinds) {
    test(`the pieces of a file that was ${name} are verified one by one`, () =>
      Effect.gen(function* () {
        const { log, look, medium, state, verify } = yield* make(...two)
        change(medium)

        const isSame = yield* look([0, 1])
        const before = state()
        yield* verify
        const isSameAgain = yield* look([0, 1])

        assert.deepStrictEqual([isSame, isSameAgain], [false, true])
        assert.deepStrictEqual(before, { stored: "***", suspects: ".**" })
        assert.deepStrictEqual(state(), { stored, suspects: "..." })
        assert.deepStrictEqual(log, ["FilesChanged t/b", ...lost, "verified 1", "Verified"])
      }))
  }

  const places: ReadonlyArray<
    readonly [string, (medium: MemoryMedium["Service"]) => void, met: string, verified: string]
  > = [
    ["with the same bytes", (medium) => medium.replace("t/b"), "undecided 1 2", "own "],
    ["with other bytes", (medium) => medium.put("t/b", new Uint8Array(6)), "undecided 1 2", "undecided 1 2"],
    ["that is shorter", (medium) => medium.put("t/b", new Uint8Array(2)), "undecided 1", "undecided 1"],
    ["that is empty", (medium) => medium.put("t/b", 0), "own ", "own "],
    ["that is no regular file", (medium) => medium.block("t/b"), "foreign ", "foreign "]
  ]
  for (const [name, change, met, verified] of places) {
    test(`a file ${name} that replaced another one has to prove by its content whose it is`, () =>
      Effect.gen(function* () {
        const { files, look, medium, replaced, verify } = yield* make(...two)
        const draw = () => `${files.get(1)!.standing} ${[...files.get(1)!.toCompare].join(" ")}`
        change(medium)

        yield* look([0, 1])
        const before = draw()
        yield* verify

        assert.deepStrictEqual([before, draw()], [met, verified])
        assert.deepStrictEqual(replaced, [1])
      }))
  }

  test("a file that was only changed stays the torrent's own", () =>
    Effect.gen(function* () {
      const { files, look, medium, replaced } = yield* make(...two)
      medium.modify("t/b", 3, new Uint8Array([0]))

      yield* look([0, 1])

      assert.deepStrictEqual([files.get(1)!.standing, replaced], ["own", []])
    }))

  for (const slow of [1, 2]) {
    test(`drops a wrong piece once, even if it was stored again while a verification waited for piece ${slow}`, () =>
      Effect.gen(function* () {
        const { digesting, isRight, layout, log, run, state, stored } = yield* make(
          "aaaa aaaa aaaa",
          "rrrr xxxx rrrr",
          { stored: "***", doubtful: ".**" }
        )
        const gate = yield* Latch.make(false)
        digesting.gates.set(slow, gate.await)
        yield* Effect.forkScoped(run, { startImmediately: true })
        yield* TestClock.adjust("1 millis")
        digesting.gates.clear()
        const wasRight = yield* isRight(pieceOf(layout, 1))
        Bitfield.add(stored, pieceOf(layout, 1))

        yield* gate.open
        yield* TestClock.adjust("1 millis")

        assert.isFalse(wasRight)
        assert.deepStrictEqual(state(), { stored: "***", suspects: "..." })
        assert.deepStrictEqual(log, ["PiecesLost 1 of t/a", "verified 0", "Verified"])
      }))
  }

  test("looks once at what was seen of each file, however many files there are", () =>
    Effect.gen(function* () {
      const count = 1_000
      const layout = layoutOf(4, ...Array.from({ length: count }, (_, file) => [`${file}`, 4] as const))
      const seen = Array.from({ length: count }, (_, file): FileFacts => {
        const facts = { mtimeNs: 7n, identity: `${file}`, isHole: false, isAside: false, otherNames: 0 }
        return { file, kind: "file", length: 4, ...facts }
      })
      const stored = Bitfield.full(count)
      const changes = FileChanges.make({
        storage: { look: () => Effect.die("it only observes"), digests: () => Stream.die("it only observes") },
        known: KnownFiles.make(layout, seen, new Map(seen.map(({ file }) => [file, "own"])), stored),
        stored,
        suspects: Bitfield.make(count),
        digestOf: () => new Uint8Array(20),
        drop: () => {},
        onReplaced: () => {},
        onVerified: () => {},
        report: () => {}
      })
      let reads = 0
      const counted = new Proxy(seen, {
        get: (all, key, self) => {
          if (typeof key === "string" && /^[0-9]+$/.test(key)) reads++
          return Reflect.get(all, key, self)
        }
      })

      const isSame = FileChanges.observe(
        changes,
        seen.map(({ file }) => file),
        counted
      )

      assert.isTrue(isSame)
      assert.strictEqual(reads, count)
    }))

  test("a file that is gone loses its pieces, including shared ones, if another file is still there", () =>
    Effect.gen(function* () {
      const { files, isGone, log, look, medium, state, verify } = yield* make(...two)
      medium.remove("t/b")

      const isSame = yield* look([0, 1])
      const wasGone = isGone(1)
      yield* verify

      assert.deepStrictEqual([isSame, wasGone, isGone(1), files.has(1)], [false, true, false, false])
      assert.deepStrictEqual(state(), { stored: "*..", suspects: "..." })
      assert.deepStrictEqual(log, ["PiecesLost 1 2 of t/b", "Verified"])
    }))

  test("a file that is gone and comes back before its pieces are dropped loses nothing if it is right", () =>
    Effect.gen(function* () {
      const { known, look, medium, state, verify } = yield* make(...two)
      medium.remove("t/b")
      yield* look([1])
      DrawnTorrent.put(medium, known, "---- --rr rrrr")
      yield* verify
      const isSame = yield* look([1])
      yield* verify

      assert.isFalse(isSame)
      assert.deepStrictEqual(state(), { stored: "***", suspects: "..." })
    }))

  test("drops nothing and does nothing more if all files with stored pieces are gone", () =>
    Effect.gen(function* () {
      const { log, look, medium, run, state } = yield* make(...two)
      medium.remove("t/a")
      medium.remove("t/b")
      yield* look([1])
      yield* Effect.forkScoped(run)
      yield* TestClock.adjust("1 hour")

      assert.deepStrictEqual(log, ["AllGone"])
      assert.strictEqual(state().stored, "***")
    }))

  test("of a file that is being written notices only a replacement, which has to be claimed again", () =>
    Effect.gen(function* () {
      const { files, look, medium, state } = yield* make(...two)
      files.setWriting(1, true)
      medium.modify("t/b", 0, new Uint8Array([7]))
      const isSame = yield* look([1])
      medium.replace("t/b")
      const isOther = !(yield* look([1]))

      assert.deepStrictEqual([isSame, isOther, files.get(1)!.isWriting], [true, true, false])
      assert.strictEqual(state().suspects, ".**")
    }))

  test("a file that is finished between a look, or a read, and its answer is not taken for one that others changed", () =>
    Effect.gen(function* () {
      const { files, log, look, looking, medium, reader, settle } = yield* make(...two)
      let time = 5n
      looking.behind = Effect.sync(() => {
        medium.touch("t/b")
        settle({ ...files.get(1)!.facts, mtimeNs: ++time })
      })

      files.setWriting(1, true)
      const isSame = yield* look([1])
      files.setWriting(1, true)
      yield* reader.readBlock(2 as PieceIndex, 0, 4)

      assert.deepStrictEqual([isSame, log], [true, []])
    }))

  test("verifies a doubtful piece once, when it is asked about or in the background", () =>
    Effect.gen(function* () {
      const { isRight, log, state, verify, layout } = yield* make("aaaa aaaa aaaa", "rrrr xxxx rrrr", {
        stored: "***",
        doubtful: ".**"
      })

      const first = yield* isRight(pieceOf(layout, 1))
      const between = state()
      yield* verify

      assert.isFalse(first)
      assert.deepStrictEqual(between, { stored: "*.*", suspects: "..*" })
      assert.deepStrictEqual(state(), { stored: "*.*", suspects: "..." })
      assert.deepStrictEqual(log, ["PiecesLost 1 of t/a", "verified 0", "Verified"])
    }))

  test("isRight answers without a read if nothing is suspect", () =>
    Effect.gen(function* () {
      const { isRight, layout, medium } = yield* make("aaaa aaaa", "rrrr rrrr", { stored: "*." })
      medium.damage(layout, 0, 1)

      assert.deepStrictEqual([yield* isRight(pieceOf(layout, 0)), yield* isRight(pieceOf(layout, 1))], [true, false])
    }))

  test("goes on after the medium could not be looked at for a while", () =>
    Effect.gen(function* () {
      const { log, look, medium, run, state } = yield* make(...two)
      medium.remove("t/b")
      yield* look([1])
      medium.failLooks(new StorageUnavailable({ path: "t", why: "it is away" }))
      yield* Effect.forkScoped(run)
      yield* TestClock.adjust("8 seconds")
      const during = [...log]
      medium.failLooks(undefined)
      yield* TestClock.adjust(FileChanges.retryAfter)

      assert.deepStrictEqual(during, [])
      assert.strictEqual(log[0], "PiecesLost 1 2 of t/b")
      assert.strictEqual(state().stored, "*..")
    }))

  test("reports that all files are gone if some are and looks at the others keep failing", () =>
    Effect.gen(function* () {
      const { log, look, medium, run, state } = yield* make(...two)
      medium.remove("t/b")
      yield* look([1])
      medium.failLooks(new StorageUnavailable({ path: "t", why: "it is away" }))
      yield* Effect.forkScoped(run)
      yield* TestClock.adjust("1 minute")

      assert.deepStrictEqual(log, ["AllGone"])
      assert.strictEqual(state().stored, "***")
    }))

  test("verifies files that it was made to doubt, whatever they look like", () =>
    Effect.gen(function* () {
      const { doubt, layout, medium, state, verify } = yield* make(...two)
      medium.damage(layout, 2, 0)
      doubt([1])
      const before = state()
      yield* verify

      assert.strictEqual(before.suspects, ".**")
      assert.deepStrictEqual(state(), { stored: "**.", suspects: "..." })
    }))

  test("looks at all known files", () =>
    Effect.gen(function* () {
      const { log, lookAtAll, medium } = yield* make(...two)
      medium.touch("t/a")
      medium.touch("t/b")

      yield* lookAtAll

      assert.deepStrictEqual(log, ["FilesChanged t/a t/b"])
    }))

  it.effect(
    "law: whatever a user does, no wrong byte is returned, and only pieces that were wrong at some time are dropped",
    () => {
      type Watched = Effect.Success<ReturnType<typeof make>>
      interface Model {
        watched: Watched | undefined
        /** Pieces that were wrong at some time. */
        readonly wereWrong: Set<number>
      }
      const torrent = "aaaa aabb bbcc cccc c"
      const pieceCount = 5
      const use = <A, E>(model: Model, effect: (watched: Watched) => Effect.Effect<A, E, Scope.Scope>) =>
        Effect.gen(function* () {
          model.watched ??= yield* make(torrent, "rrrr rrrr rrrr rrrr r", { stored: "*****" })
          const { known, layout, medium, state } = model.watched
          yield* effect(model.watched)
          const bytes = Bytes.concat(
            layout.files.map(({ length }, file) => {
              const there = medium.read(DrawnTorrent.pathOf(layout, file)) ?? new Uint8Array()
              // 0 is never a right byte here, and stands for a missing one.
              const padded = new Uint8Array(length)
              padded.set(there.subarray(0, length))
              return padded
            })
          )
          for (let index = 0; index < pieceCount; index++) {
            const piece = pieceOf(layout, index)
            const isRight = Bytes.equals(sliceOf(layout, bytes, piece), sliceOf(layout, known.content, piece))
            if (!isRight) model.wereWrong.add(index)
          }
          const { stored } = state()
          for (let index = 0; index < pieceCount; index++)
            if (stored[index] === ".") assert.isTrue(model.wereWrong.has(index), `piece ${index} was dropped`)
        })
      const file = fc.constantFrom("t/a", "t/b", "t/c")
      const user = fc
        .record({
          path: file,
          kind: fc.constantFrom("modify", "touch", "cut", "replace", "remove", "restore"),
          at: fc.nat(8)
        })
        .map(({ at, kind, path }) => ({
          name: `${kind}(${path}, ${at})`,
          run: (model: Model) =>
            use(model, ({ known, layout, medium }) =>
              Effect.sync(() => {
                const length = medium.read(path)?.length
                const index = layout.files.findIndex((_, file) => DrawnTorrent.pathOf(layout, file) === path)
                const { length: whole, offset } = layout.files[index]!
                if (kind === "restore") medium.put(path, known.content.slice(offset, offset + whole))
                else if (length === undefined) return
                else if (kind === "modify") medium.modify(path, Math.min(at, length), new Uint8Array([0]))
                else if (kind === "cut") medium.cut(path, Math.min(at, length))
                else medium[kind as "touch" | "replace" | "remove"](path)
              })
            )
        }))
      const read = fc.nat(pieceCount - 1).map((index) => ({
        name: `read(${index})`,
        run: (model: Model) =>
          use(model, ({ known, layout, read }) =>
            Effect.map(read(index), (bytes) => {
              if (bytes === undefined) return
              assert.deepStrictEqual(bytes, sliceOf(layout, known.content, index as PieceIndex))
            })
          )
      }))
      const verify = fc.constant({
        name: "verify",
        run: (model: Model) =>
          use(model, ({ lookAtAll, run, settled }) =>
            Effect.andThen(
              Effect.andThen(lookAtAll, Effect.forkScoped(run)),
              Effect.raceFirst(
                settled,
                Effect.forEach(Array.from({ length: 20 }), () => Effect.promise(() => new Promise(setImmediate)))
              )
            ).pipe(Effect.scoped)
          )
      })
      return Property.commands([user, read, verify], {
        model: (): Model => ({ watched: undefined, wereWrong: new Set() }),
        layer: NodePieceHasher.layer,
        maxCommands: 20,
        runs: 300
      })
    }
  )
})
