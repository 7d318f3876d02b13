/** Content on a disk, used through the program: made into a torrent, verified, seeded and downloaded. */
import { mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as Daemon from "../io-daemon/daemon.ts"
import { hasNtfs, ntfs } from "../storage/foldingDisk.ts"
import { entries, seed, services, startListening } from "./downloads.ts"
import { folderScoped, runScoped } from "./program.ts"

const put = (folder: string, files: Readonly<Record<string, string>>) =>
  Effect.promise(async () => {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(path.dirname(path.join(folder, name)), { recursive: true })
      await writeFile(path.join(folder, name), text)
    }
  })

/** All files below a folder with their contents. Follows symbolic links. */
const contentOf = (folder: string) =>
  Effect.promise(async () => {
    const found = await readdir(folder, { recursive: true, withFileTypes: true })
    const files = found.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
    const texts = await Promise.all(files.map((file) => readFile(file, "utf8")))
    return Object.fromEntries(files.map((file, index) => [path.relative(folder, file), texts[index]] as const))
  })

const link = (target: string, at: string) => Effect.promise(() => symlink(target, at))

/** Seeds a torrent from `folder` with the extra arguments `words`, and downloads it to `out`. */
const seedAndDownload = Effect.fnUntraced(function* (folder: string, torrent: string, ...words: ReadonlyArray<string>) {
  const { address } = yield* startListening(["seed", torrent, ...words, "--json"], folder)
  return yield* runScoped(["download", torrent, "-o", "out", "--peer", address], folder)
})

/** Names that other file systems cannot store, or cannot tell apart. */
const odd = {
  "ReadMe.txt": "one",
  "readme.txt": "another",
  "README.TXT": "a third",
  make: "a file like a folder",
  "Make/x": "in the folder",
  CON: "a device elsewhere",
  "a:b?": "a stream elsewhere",
  "dots..": "cut elsewhere",
  é: "composed",
  "e\u0301": "decomposed"
}

describe("names as they are on disk", () => {
  const unsafe = { "back\\slash": "no separator here", "Icon\r": "of a Mac", "zero\u200bwidth": "unseen" }

  it.live("a folder with unusual names is seeded, verified and downloaded under its names", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* put(path.join(folder, "t"), { ...odd, ...unsafe })
      const created = yield* runScoped(["create", "t"], folder)
      assert.strictEqual(created.code, 0, created.stderr)
      assert.include(created.stderr, "t/back\\slash will be stored as t/backslash\n")
      assert.match(
        created.stderr,
        /t\/make will be stored as t\/make\.1 on file systems that cannot tell its name from another/
      )

      const verified = yield* runScoped(["verify", "t.torrent", "t"], folder)
      const downloaded = yield* seedAndDownload(folder, "t.torrent", "t")

      assert.deepStrictEqual([verified.code, verified.stderr], [0, ""], verified.stdout)
      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      assert.deepStrictEqual(yield* contentOf(path.join(folder, "out", "t")), {
        ...odd,
        backslash: "no separator here",
        Icon_: "of a Mac",
        zerowidth: "unseen"
      })
    })
  )

  it.live("content that another system stored under portable names is verified and continued under them", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* put(path.join(folder, "t"), odd)
      yield* runScoped(["create", "t"], folder)
      const portable = {
        "README.TXT": "a third",
        "ReadMe.1.txt": "one",
        "readme.2.txt": "another",
        "make.1": "a file like a folder",
        "Make/x": "in the folder",
        _CON: "a device elsewhere",
        a_b_: "a stream elsewhere",
        dots: "cut elsewhere"
      }
      yield* put(path.join(folder, "out", "t"), portable)

      const before = yield* runScoped(["verify", "t.torrent", "out", "--json"], folder)
      const downloaded = yield* seedAndDownload(folder, "t.torrent", "t")

      const { faults } = JSON.parse(before.stdout) as { faults: ReadonlyArray<{ path: string; why: string }> }
      assert.deepStrictEqual(
        faults
          .filter(({ why }) => why === "missing")
          .map(({ path }) => path)
          .sort(),
        ["t/e\u0301", "t/é"]
      )
      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      assert.deepStrictEqual(Object.keys(yield* contentOf(path.join(folder, "out", "t"))).sort(), [
        ...[...Object.keys(portable), "e\u0301", "é"].sort()
      ])
    })
  )
})

Daemon.live("names through the io-daemon", () => {
  it.live("are those that the file system can store, and content under either name is continued", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* put(path.join(folder, "t"), odd)
      yield* runScoped(["create", "t"], folder)
      yield* put(path.join(folder, "out", "t"), { "readme.2.txt": "another", a_b_: "a stream" })
      const { address } = yield* startListening(["seed", "t.torrent", "t", "--json"], folder)
      const words = ["download", "t.torrent", "-o", "out", "--peer", address, "--storage", "io-daemon"]

      const downloaded = yield* runScoped(words, folder)
      const verified = yield* runScoped(["verify", "t.torrent", "out"], folder)

      const { "readme.txt": second, "a:b?": stream, ...others } = odd
      assert.deepStrictEqual([downloaded.code, downloaded.stderr], [0, ""])
      assert.strictEqual(verified.code, 0, verified.stdout)
      assert.deepStrictEqual(yield* contentOf(path.join(folder, "out", "t")), {
        ...others,
        "readme.2.txt": second,
        a_b_: stream
      })
    })
  )
})

describe.skipIf(!hasNtfs)("names on NTFS", () => {
  it.live("a torrent with names that Windows cannot store or tell apart is downloaded, verified and seeded there", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const drive = yield* ntfs
      yield* put(path.join(folder, "t"), odd)
      yield* runScoped(["create", "t"], folder)
      const { address } = yield* startListening(["seed", "t.torrent", "t", "--json"], folder)

      const downloaded = yield* runScoped(["download", "t.torrent", "-o", drive, "--peer", address], folder)
      const verified = yield* runScoped(["verify", "t.torrent", drive], folder)
      const back = yield* seedAndDownload(folder, "t.torrent", drive)

      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      assert.strictEqual(verified.code, 0, verified.stdout)
      assert.strictEqual(back.code, 0, back.stderr)
      assert.deepStrictEqual(yield* contentOf(path.join(folder, "out", "t")), odd)
    })
  )
})

describe("the folder .piecewise", () => {
  it.live("is left out of a new torrent at any depth and in any spelling, with a note", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      yield* put(path.join(folder, "t"), {
        a: "a",
        ".piecewise/x.resume": "resume data",
        "sub/.PIECEWISE": "a file",
        "sub/PIECEW~1/y": "by its short name",
        "sub/.piecewise2": "another name"
      })

      const created = yield* runScoped(["create", "t"], folder)
      const info = yield* runScoped(["info", "t.torrent", "--json"], folder)
      const named = yield* runScoped(["create", "t/.piecewise", "-o", "x.torrent"], folder)

      const left = created.stderr
        .split("\n")
        .filter((line) => line.includes("is left out"))
        .sort()
      assert.deepStrictEqual(
        left.map((line) => line.replace(folder, "")),
        ["/t/.piecewise", "/t/sub/.PIECEWISE", "/t/sub/PIECEW~1"].map(
          (name) => `${name} is left out: piecewise keeps its own data in a folder of this name`
        )
      )
      const { files } = JSON.parse(info.stdout) as { files: ReadonlyArray<{ path: string }> }
      assert.deepStrictEqual(
        files.map((file) => file.path),
        ["t/a", "t/sub/.piecewise2"]
      )
      assert.strictEqual(named.code, 1)
      assert.include(named.stderr, "a torrent cannot be named .piecewise")
    })
  )
})

describe("a torrent that is named .piecewise", () => {
  it.live("stores nothing in .piecewise, so that no other torrent finds resume data there", () =>
    Effect.gen(function* () {
      const folder = yield* folderScoped
      const known = yield* KnownTorrent.make({
        name: ".PieceWise\u200d.",
        files: [
          { path: ["0123456789abcdef0123456789abcdef01234567.resume"], length: 40_000 },
          { path: ["parts", "t", "a"], length: 40_000 }
        ],
        pieceLength: 16_384
      })
      yield* Effect.promise(() => writeFile(path.join(folder, "x.torrent"), known.bytes))
      const { address } = yield* seed(known)

      const downloaded = yield* runScoped(["download", "x.torrent", "-o", "out", "--peer", address], folder)

      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      assert.deepStrictEqual(yield* entries(path.join(folder, "out")), ["_.PieceWise."])
    }).pipe(Effect.provide(services))
  )
})

describe("symbolic links", () => {
  /** A model cache: a snapshot of links to blobs, with a link to a folder and a link that makes a cycle. */
  const cache = Effect.gen(function* () {
    const folder = yield* folderScoped
    const blobs = { "blobs/1": "weights ".repeat(5_000), "blobs/2": "{}", "shared/vocab": "a b c" }
    yield* put(folder, blobs)
    yield* put(folder, { "snapshots/main/plain": "a file" })
    yield* link("../../blobs/1", path.join(folder, "snapshots/main/model.bin"))
    yield* link("../../blobs/2", path.join(folder, "snapshots/main/config.json"))
    yield* link("../../shared", path.join(folder, "snapshots/main/tokens"))
    yield* link("..", path.join(folder, "snapshots/main/round"))
    yield* link("nowhere", path.join(folder, "snapshots/main/dangling"))
    return { folder, blobs }
  })
  const whole = {
    "config.json": "{}",
    "model.bin": "weights ".repeat(5_000),
    plain: "a file",
    "tokens/vocab": "a b c"
  }

  it.live("are followed by create, verify and seed with --follow-links, and their targets do not change", () =>
    Effect.gen(function* () {
      const { blobs, folder } = yield* cache

      const created = yield* runScoped(["create", "snapshots/main", "--follow-links"], folder)
      const verified = yield* runScoped(["verify", "main.torrent", "snapshots/main", "--follow-links"], folder)
      const within = yield* runScoped(["verify", "main.torrent", "snapshots", "--follow-links"], folder)
      const downloaded = yield* seedAndDownload(folder, "main.torrent", "snapshots/main", "--follow-links")

      const at = (name: string) => path.join(folder, "snapshots/main", name)
      assert.deepStrictEqual(
        created.stderr
          .split("\n")
          .filter((line) => line !== "")
          .sort(),
        [
          `${at("dangling")} is left out: a symbolic link that leads nowhere`,
          `${at("round/main")} is left out: a symbolic link that leads back to a folder it lies in`
        ]
      )
      assert.deepStrictEqual([verified.code, within.code], [0, 0], verified.stderr + within.stderr)
      assert.strictEqual(downloaded.code, 0, downloaded.stderr)
      assert.deepStrictEqual(yield* contentOf(path.join(folder, "out", "main")), whole)
      for (const [name, text] of Object.entries(blobs)) {
        assert.strictEqual(yield* Effect.promise(() => readFile(path.join(folder, name), "utf8")), text)
      }
      assert.strictEqual(yield* Effect.promise(() => readlink(at("model.bin"))), "../../blobs/1")
    })
  )

  it.live("are refused by verify and seed without it, naming link and option; a dangling link counts as missing", () =>
    Effect.gen(function* () {
      const { folder } = yield* cache
      yield* runScoped(["create", "snapshots/main", "--follow-links"], folder)
      yield* Effect.promise(() => rm(path.join(folder, "blobs/2")))

      const verified = yield* runScoped(["verify", "main.torrent", "snapshots/main"], folder)
      const seeded = yield* runScoped(["seed", "main.torrent", "snapshots/main"], folder)
      const followed = yield* runScoped(["verify", "main.torrent", "snapshots/main", "--follow-links"], folder)

      for (const ended of [verified, seeded]) {
        assert.strictEqual(ended.code, 1)
        assert.match(
          ended.stderr,
          /snapshots\/main\/\S+: a symbolic link (is in the way of a file|leads out of the download folder).*; use --follow-links to read what it points to\n$/
        )
      }
      assert.strictEqual(followed.code, 1)
      assert.match(followed.stdout, /^main\/config\.json: missing$/m)
    })
  )

  it.live("are left out by create without it, with a note that names the option", () =>
    Effect.gen(function* () {
      const { folder } = yield* cache

      const created = yield* runScoped(["create", "snapshots/main"], folder)

      const left = created.stderr.split("\n").filter((line) => line.includes("left out"))
      assert.strictEqual(left.length, 5)
      assert.strictEqual(
        left.filter((line) => line.endsWith("; use --follow-links to include what it points to")).length,
        4
      )
      assert.deepStrictEqual(yield* entries(folder), ["blobs", "shared", "snapshots"])
    })
  )
})
