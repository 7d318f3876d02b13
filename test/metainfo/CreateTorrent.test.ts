import { execFile } from "node:child_process"
import * as Crypto from "node:crypto"
import { rm } from "node:fs/promises"
import { promisify } from "node:util"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as CreateTorrent from "../../src/metainfo/CreateTorrent.ts"
import * as Metainfo from "../../src/metainfo/Metainfo.ts"
import * as Arbitrary from "../../src/testing/arbitrary/Metainfo.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

const disk = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, WebCryptoPieceHasher.layer)

const noise = (length: number, seed = 1) => {
  const bytes = new Uint8Array(length)
  KnownTorrent.fill(bytes, 0, seed)
  return bytes
}

const sha1 = (bytes: Uint8Array) => new Uint8Array(Crypto.createHash("sha1").update(bytes).digest())

const accept = (bytes: Uint8Array) => Result.getOrThrow(Metainfo.decode(bytes))

const pathsOf = (structure: Metainfo.Structure) => structure.layout.files.map(({ path }) => path.join("/"))

/** A folder with the given files, removed after the test. */
const folderOf = Effect.fnUntraced(function* (files: { readonly [path: string]: Uint8Array }) {
  const fileSystem = yield* FileSystem.FileSystem
  const root = `${yield* fileSystem.makeTempDirectoryScoped()}/folder`
  yield* fileSystem.makeDirectory(root)
  for (const [path, bytes] of Object.entries(files)) {
    const at = `${root}/${path}`
    yield* fileSystem.makeDirectory(at.slice(0, at.lastIndexOf("/")), { recursive: true })
    yield* fileSystem.writeFile(at, bytes)
  }
  return root
})

/** The disk, with one file that behaves differently. */
const withFile = (name: string, change: (file: FileSystem.File) => Partial<FileSystem.File>) =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fileSystem) => ({
      ...fileSystem,
      open: (path: string, options?: { readonly flag?: FileSystem.OpenFlag | undefined }) =>
        Effect.map(fileSystem.open(path, options), (file) =>
          path.endsWith(name) ? ({ ...file, stat: file.stat, ...change(file) } as FileSystem.File) : file
        )
    }))
  ).pipe(Layer.provide(NodeFileSystem.layer))

describe("CreateTorrent.encode", () => {
  it("writes bencode's canonical form", () => {
    const bytes = CreateTorrent.encode({
      name: "t",
      files: [
        { path: ["a", "b"], length: 3 },
        { path: [".pad", "1"], length: 1, padding: true }
      ],
      pieceLength: 16_384,
      digests: new Uint8Array(20).fill(0x41),
      trackers: [["http://a.example"], [], ["udp://b.example:1"]],
      webSeeds: ["http://s.example/"],
      isPrivate: true,
      comment: "é",
      createdBy: "p",
      creationDate: 7
    })

    assert.strictEqual(
      new TextDecoder().decode(bytes),
      "d8:announce16:http://a.example13:announce-listll16:http://a.exampleel17:udp://b.example:1ee7:comment2:é" +
        "10:created by1:p13:creation datei7e4:infod5:filesld6:lengthi3e4:pathl1:a1:beed4:attr1:p6:lengthi1e4:pathl4:.pad" +
        `1:1eee4:name1:t12:piece lengthi16384e6:pieces20:${"A".repeat(20)}7:privatei1ee8:url-listl17:http://s.example/ee`
    )
  })

  it("writes nodes of the DHT beside info, and refuses them for a private torrent", () => {
    const nodes = [
      { host: "router.example", port: 6_881 },
      { host: "2001:db8::1", port: 1 }
    ]
    const contents = { name: "t", files: [{ path: [], length: 3 }], pieceLength: 16_384, digests: new Uint8Array(20) }
    const bytes = CreateTorrent.encode({ ...contents, nodes })

    assert.include(new TextDecoder().decode(bytes), "5:nodesll14:router.examplei6881eel11:2001:db8::1i1eee")
    assert.deepStrictEqual(accept(bytes).nodes, nodes)
    assert.notInclude(new TextDecoder().decode(CreateTorrent.encode(contents)), "nodes")
  })

  it("what is decoded describes what was encoded", () => {
    fc.assert(
      fc.property(Arbitrary.metainfo, ({ bytes, digests, plan }) => {
        const structure = accept(bytes)

        const name = plan.name ?? "known"
        assert.strictEqual(structure.name, name)
        assert.deepStrictEqual(
          structure.layout.files.map(({ length, padding, path }) => ({ path, length, padding })),
          plan.files.map(({ length, padding = false, path }) => ({ path: [name, ...path], length, padding }))
        )
        assert.strictEqual(structure.layout.geometry.pieceLength, plan.pieceLength)
        assert.deepStrictEqual(structure.pieceDigests, digests)
        assert.deepStrictEqual(structure.trackers, plan.trackers)
        assert.deepStrictEqual(structure.webSeeds, plan.webSeeds)
        assert.strictEqual(structure.isPrivate, plan.isPrivate)
        assert.strictEqual(structure.comment, plan.comment)
        assert.strictEqual(structure.createdBy, plan.createdBy)
        assert.strictEqual(structure.creationDate, plan.creationDate)
      }),
      { numRuns: 200 }
    )
  })
})

describe("CreateTorrent.pieceLengthFor", () => {
  it("is a power of two and makes 1,025 to 2,048 pieces between its bounds", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 53 - 1 }), (totalLength) => {
        const length = CreateTorrent.pieceLengthFor(totalLength)
        const count = Math.ceil(totalLength / length)

        assert.strictEqual(Math.log2(length) % 1, 0)
        assert.isAtLeast(length, 16_384)
        if (length > 16_384) assert.isAbove(count, 1_024)
        if (length < 16_777_216) assert.isAtMost(count, 2_048)
        if (totalLength <= 2 ** 50) assert.isAtMost(count, Metainfo.maxPieceCount)
      })
    )
    assert.strictEqual(CreateTorrent.pieceLengthFor(1), 16_384)
    assert.strictEqual(CreateTorrent.pieceLengthFor(2 ** 30), 524_288)
    assert.strictEqual(CreateTorrent.pieceLengthFor(2 ** 30 + 1), 1_048_576)
    assert.strictEqual(CreateTorrent.pieceLengthFor(2 ** 45), 16_777_216)
    assert.strictEqual(CreateTorrent.pieceLengthFor(2 ** 45 + 1), 33_554_432)
  })
})

describe("CreateTorrent.fromPath", () => {
  it.live("makes a single-file torrent of a file", () =>
    Effect.gen(function* () {
      const content = noise(40_000)
      const root = yield* folderOf({ "a b.bin": content })

      const structure = accept(yield* CreateTorrent.fromPath(`${root}/a b.bin`))

      assert.deepStrictEqual(pathsOf(structure), ["a b.bin"])
      assert.deepStrictEqual(structure.layout.geometry, { totalLength: 40_000, pieceLength: 16_384, pieceCount: 3 })
      const digests = [0, 16_384, 32_768].map((begin) => sha1(content.subarray(begin, begin + 16_384)))
      assert.deepStrictEqual(structure.pieceDigests, new Uint8Array(Buffer.concat(digests)))
    }).pipe(Effect.provide(disk))
  )

  it.live("takes a folder's files in the order of their bytes, hidden and empty ones too", () =>
    Effect.gen(function* () {
      const files = {
        "b/x": noise(1_000, 1),
        "b-": noise(700, 2),
        C: noise(3, 3),
        ".hidden/.file": noise(10, 4),
        empty: noise(0),
        "\uffee": noise(5, 6),
        "😀": noise(4, 7),
        é: noise(2, 5)
      }
      const root = yield* folderOf(files)

      const structure = accept(yield* CreateTorrent.fromPath(root, { pieceLength: 999 }))

      const order = [".hidden/.file", "C", "b/x", "b-", "empty", "é", "\uffee", "😀"] as const
      assert.deepStrictEqual(
        pathsOf(structure),
        order.map((path) => `folder/${path}`)
      )
      const content = Buffer.concat(order.map((path) => files[path]))
      const digests = [sha1(content.subarray(0, 999)), sha1(content.subarray(999))]
      assert.deepStrictEqual(structure.pieceDigests, new Uint8Array(Buffer.concat(digests)))
    }).pipe(Effect.provide(disk))
  )

  it.live("makes the same bytes each time", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ a: noise(100), "c/d": noise(200) })

      assert.deepStrictEqual(yield* CreateTorrent.fromPath(root), yield* CreateTorrent.fromPath(`${root}/c/..`))
    }).pipe(Effect.provide(disk))
  )

  it.live("takes links to the folder's own files, and reports all other links as left out", () =>
    Effect.gen(function* () {
      const fileSystem = yield* FileSystem.FileSystem
      const root = yield* folderOf({ "sub/a": noise(9) })
      yield* fileSystem.writeFile(`${root}/../secret`, noise(1))
      yield* fileSystem.symlink("sub/a", `${root}/inside`)
      yield* fileSystem.symlink("../secret", `${root}/outside`)
      yield* fileSystem.symlink("nowhere", `${root}/dangling`)
      yield* fileSystem.symlink("..", `${root}/sub/up`)
      const leftOut: Array<string> = []

      const bytes = yield* CreateTorrent.fromPath(root, {
        onProgress: (progress) =>
          Effect.sync(() => {
            if (progress._tag === "LeftOut") leftOut.push(`${progress.path.slice(root.length + 1)}: ${progress.why}`)
          })
      })

      assert.deepStrictEqual(pathsOf(accept(bytes)), ["folder/inside", "folder/sub/a"])
      assert.deepStrictEqual(leftOut.sort(), [
        "dangling: a symbolic link that leads nowhere",
        "outside: a symbolic link that leaves the folder",
        "sub/up: a symbolic link that does not lead to a file"
      ])
    }).pipe(Effect.provide(disk))
  )

  it.live("reports which files downloads store under another name, and refuses names that nobody could load", () =>
    Effect.gen(function* () {
      const fileSystem = yield* FileSystem.FileSystem
      const root = yield* folderOf({ "Make/x": noise(1), make: noise(2), "a\\b": noise(3), fine: noise(4) })
      const renamed: Array<string> = []

      yield* CreateTorrent.fromPath(root, {
        onProgress: (progress) =>
          Effect.sync(() => {
            if (progress._tag === "Renamed")
              renamed.push(`${progress.path.slice(root.length + 1)}: ${progress.storedAs}`)
          })
      })
      const deep = Array.from({ length: 101 }, () => "d").join("/")
      yield* fileSystem.makeDirectory(`${root}/${deep}`, { recursive: true })
      yield* fileSystem.writeFile(`${root}/${deep}/x`, noise(1))
      const error = yield* Effect.flip(CreateTorrent.fromPath(root))

      assert.deepStrictEqual(renamed, ["a\\b: folder/ab", "make: folder/make.1"])
      assert.strictEqual(error.message, `${root}: a file's path has 103 components, more than the 101 that are allowed`)
    }).pipe(Effect.provide(disk))
  )

  it.live("reports its progress, piece by piece", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ a: noise(25) })
      const told: Array<readonly [number, number]> = []

      yield* CreateTorrent.fromPath(root, {
        pieceLength: 10,
        onProgress: (progress) =>
          Effect.sync(() => {
            if (progress._tag === "Hashed") told.push([progress.hashedPieces, progress.hashedBytes])
            if (progress._tag === "Hashed") assert.deepStrictEqual([progress.totalPieces, progress.totalBytes], [3, 25])
          })
      })

      assert.deepStrictEqual(told, [
        [0, 0],
        [1, 10],
        [2, 20],
        [3, 25]
      ])
    }).pipe(Effect.provide(disk))
  )

  it.live("refuses what is missing or has no bytes", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ "only/empty": noise(0) })
      const fileSystem = yield* FileSystem.FileSystem
      yield* fileSystem.makeDirectory(`${root}/none`)

      const why = (path: string) => Effect.map(Effect.flip(CreateTorrent.fromPath(path)), ({ message }) => message)

      assert.strictEqual(yield* why(`${root}/gone`), `${root}/gone: no such file or folder`)
      assert.strictEqual(yield* why(`${root}/none`), `${root}/none: the folder has no files`)
      assert.strictEqual(yield* why(root), `${root}: there are no bytes in it`)
      assert.strictEqual(yield* why(`${root}/only/empty`), `${root}/only/empty: there are no bytes in it`)
    }).pipe(Effect.provide(disk))
  )

  it.live("refuses options that make no torrent, before it reads", () =>
    Effect.gen(function* () {
      const why = (options: CreateTorrent.FromPathOptions) =>
        Effect.map(Effect.flip(CreateTorrent.fromPath("/nowhere", options)), ({ message }) => message)

      assert.match(
        yield* why({ trackers: [["http://ok.example"], ["file:///x"]] }),
        /^file:\/\/\/x is no URL of a tracker/
      )
      assert.match(yield* why({ webSeeds: ["udp://x.example:1"] }), /^udp:.* is no URL of a web seed/)
      const nodes = [{ host: "router.example", port: 6_881 }]
      assert.match(yield* why({ nodes, isPrivate: true }), /^a private torrent has no nodes/)
      assert.match(yield* why({ nodes: [{ host: "a b", port: 1 }] }), /^a b:1 is no address of a node/)
      assert.match(yield* why({ creationDate: 1.5 }), /^1.5 is no creation date/)
      for (const pieceLength of [0, -1, 0.5, 2 ** 29 + 1, Number.NaN]) {
        assert.match(yield* why({ pieceLength }), /^a piece length of .* is not allowed/)
      }
    }).pipe(Effect.provide(disk))
  )

  it.live("refuses a piece length that makes too many pieces", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ a: noise(1) })
      const fileSystem = yield* FileSystem.FileSystem
      yield* fileSystem.truncate(`${root}/a`, 2_097_153)

      const error = yield* Effect.flip(CreateTorrent.fromPath(root, { pieceLength: 1 }))

      assert.match(error.message, /more than 2097152 pieces; choose a larger piece length$/)
    }).pipe(Effect.provide(disk))
  )

  it.live("refuses to make more metadata than anybody here reads", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ a: noise(1) })

      const error = yield* Effect.flip(CreateTorrent.fromPath(root, { comment: "x".repeat(67_108_864) }))

      assert.strictEqual(error.message, `${root}: its metadata is longer than 64 MiB, the most that is accepted`)
    }).pipe(Effect.provide(disk))
  )

  it.live("does not wait at a FIFO that took the place of a file", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ a: noise(5_000), victim: noise(5_000) })
      let swapped = false
      const swap = Effect.promise(async () => {
        if (swapped) return
        swapped = true
        await rm(`${root}/victim`)
        await promisify(execFile)("mkfifo", [`${root}/victim`])
      })

      const error = yield* Effect.flip(CreateTorrent.fromPath(root, { onProgress: () => swap }))

      assert.strictEqual(error.message, `${root}/victim is not a regular file any more`)
    }).pipe(Effect.provide(disk))
  )

  it.live("names a file that grows, shrinks or cannot be read", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ a: noise(5_000), victim: noise(5_000), z: noise(5) })
      const denied = PlatformError.systemError({ _tag: "PermissionDenied", module: "FileSystem", method: "read" })
      const whyWith = (change: (file: FileSystem.File) => Partial<FileSystem.File>) =>
        CreateTorrent.fromPath(root).pipe(
          Effect.flip,
          Effect.map(({ message }) => message),
          Effect.provide(withFile("victim", change))
        )

      const grown = yield* whyWith(() => ({ read: (buffer) => Effect.succeed(buffer.length) }))
      const shrunk = yield* whyWith((file) => ({
        read: (buffer, options) =>
          options?.position === 0n ? file.read(buffer.subarray(0, 100), options) : Effect.succeed(0)
      }))
      const unreadable = yield* whyWith(() => ({ read: () => Effect.fail(denied) }))

      assert.strictEqual(grown, `${root}/victim became longer while it was read`)
      assert.strictEqual(shrunk, `${root}/victim became shorter while it was read`)
      assert.strictEqual(unreadable, `${root}/victim: permission denied`)
    }).pipe(Effect.provide(disk))
  )

  it.live("continues after short reads", () =>
    Effect.gen(function* () {
      const root = yield* folderOf({ slow: noise(3_000) })
      const whole = yield* CreateTorrent.fromPath(root, { pieceLength: 1_000 })

      const slow = yield* CreateTorrent.fromPath(root, { pieceLength: 1_000 }).pipe(
        Effect.provide(
          withFile("slow", (file) => ({ read: (buffer, options) => file.read(buffer.subarray(0, 7), options) }))
        )
      )

      assert.deepStrictEqual(slow, whole)
    }).pipe(Effect.provide(disk))
  )
})
