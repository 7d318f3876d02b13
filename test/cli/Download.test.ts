import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import * as path from "node:path"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as ResumeFile from "../../src/resume/ResumeFile.ts"
import { serve } from "../network/httpServer.ts"
import { assertStored, entries, only, prepare, seed, services } from "./downloads.ts"
import { endedOf, eventsOf, runScoped, startScoped } from "./program.ts"

describe("piecewise download", () => {
  it.live("stores everything and writes each event as a line of JSON", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)

      const ended = yield* runScoped(["download", "known.torrent", "-o", "out", "--peer", address, "--json"], folder)

      assert.strictEqual(ended.code, 0, ended.stderr)
      yield* assertStored(known, path.join(folder, "out"))
      const pieces = only("PieceStored", ended.stdout)
      assert.sameMembers(
        pieces.map(({ piece }) => piece),
        [...Array(10).keys()]
      )
      assert.deepStrictEqual(
        pieces.map(({ storedPieces }) => storedPieces),
        Array.from({ length: 10 }, (_, index) => index + 1)
      )
      assert.include(eventsOf(ended.stdout)[0], { _tag: "Begun", version: 1, command: "download" })
      assert.include(only("Torrent", ended.stdout)[0], { name: "known", pieces: 10, totalBytes: 320_001, files: 3 })
      assert.include(only("Started", ended.stdout)[0], { storedPieces: 0, missingPieces: 10, totalPieces: 10 })
      assert.include(only("PeerConnected", ended.stdout)[0], { address })
      const { exit, status, why } = endedOf(ended.stdout)
      assert.deepStrictEqual([exit, why], ["success", null])
      assert.include(status, { storedPieces: 10, storedBytes: 320_001, missingBytes: 0, wastedBytes: 0 })
      assert.strictEqual(ended.stderr, "")
    }).pipe(Effect.provide(services))
  )

  it.live("in a log, says that it is complete and where it is stored", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)

      const ended = yield* runScoped(["download", "known.torrent", "-o", "out", "--peer", address], folder)

      assert.match(
        ended.stdout,
        /^known: complete in \d+\.\d s, .*\/s, 100\.0%, 312\.5 KiB of 312\.5 KiB\nstored in out\/known\n$/
      )
      assert.deepStrictEqual([ended.code, ended.stderr], [0, ""])
    }).pipe(Effect.provide(services))
  )

  it.live("writes nothing with --quiet", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare([["http://127.0.0.1:1/announce"]])
      const { address } = yield* seed(known)

      const ended = yield* runScoped(["download", "known.torrent", "-o", "out", "--peer", address, "-q"], folder)

      assert.deepStrictEqual([ended.code, ended.stdout, ended.stderr], [0, "", ""])
      yield* assertStored(known, path.join(folder, "out"))
    }).pipe(Effect.provide(services))
  )

  it.live("writes the engine's logs to standard error with --log-level, and no passkey", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare([["http://127.0.0.1:1/9f8e7d6c5b4a/announce"]])
      const { address } = yield* seed(known)
      const options = ["-o", "out", "--peer", address, "--quiet", "--log-level", "debug"]

      // Others may be using the DHT's file of all tests.
      const environment = { XDG_STATE_HOME: path.join(folder, "state") }
      const ended = yield* runScoped(["download", "known.torrent", ...options], folder, environment)

      const infoHash = InfoHash.toHex(known.metainfo.infoHash)
      const lines = ended.stderr.trimEnd().split("\n")
      assert.strictEqual(ended.code, 0, ended.stderr)
      // The DHT is not that of a torrent.
      for (const line of lines.filter((line) => !/^\w+: [^=]*\bDHT\b/.test(line))) {
        assert.include(line, ` infoHash="${infoHash}" torrent="known"`)
      }
      assert.match(lines[0]!, /^info: a torrent is added /)
      assert.match(lines.at(-1)!, /^info: a torrent is removed /)
      assert.match(ended.stderr, new RegExp(`^debug: a peer is connected .* address="${address}"$`, "m"))
      assert.match(ended.stderr, /^debug: a source of peers failed .* source="127.0.0.1:1" why="connection refused"$/m)
      assert.match(ended.stderr, /^info: the torrent is complete /m)
      assert.notInclude(ended.stderr, "9f8e7d6c5b4a")
      assert.strictEqual(ended.stdout, "")
    }).pipe(Effect.provide(services))
  )

  it.live("needs no peer if everything is stored", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address, peer } = yield* seed(known)
      yield* runScoped(["download", "known.torrent", "--peer", address], folder)
      const { requests } = peer.counters

      const ended = yield* runScoped(["download", "known.torrent", "--json"], folder)

      assert.strictEqual(ended.code, 0, ended.stderr)
      assert.deepStrictEqual(only("PieceStored", ended.stdout), [])
      assert.include(endedOf(ended.stdout).status, { storedPieces: 10, downloadedBytes: 0 })
      assert.strictEqual(peer.counters.requests, requests)
    }).pipe(Effect.provide(services))
  )

  it.live("keeps nothing on disk with --storage memory", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      const words = ["download", "known.torrent", "-o", "out", "--peer", address, "--storage", "memory", "--json"]

      const ended = yield* runScoped(words, folder)

      assert.strictEqual(ended.code, 0, ended.stderr)
      assert.include(endedOf(ended.stdout).status, { storedPieces: 10 })
      assert.deepStrictEqual(yield* entries(folder), [])
    }).pipe(Effect.provide(services))
  )

  it.live("stops at SIGINT with 130, keeps what is stored, and continues from there", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address, peer } = yield* seed(known, { bytesPerSecond: 150_000 })
      const words = ["download", "known.torrent", "-o", "out", "--peer", address, "--json"]
      const first = yield* startScoped(words, folder)
      yield* Effect.promise(() => first.wrote('"storedPieces":2}'))

      first.child.kill("SIGINT")
      const stopped = yield* Effect.promise(() => first.ended)
      const second = yield* runScoped(words, folder)

      assert.deepStrictEqual([stopped.code, stopped.stderr], [130, ""])
      assert.deepStrictEqual(only("Completed", stopped.stdout), [])
      const { exit, status } = endedOf(stopped.stdout)
      assert.strictEqual(exit, "stopped")
      assert.strictEqual(only("PieceStored", stopped.stdout).length, status.storedPieces)
      assert.strictEqual(second.code, 0, second.stderr)
      const pieces = [...only("PieceStored", stopped.stdout), ...only("PieceStored", second.stdout)].map(
        ({ piece }) => piece
      )
      assert.sameMembers(pieces, [...Array(10).keys()])
      assert.isAtLeast(peer.counters.connections, 2)
      yield* assertStored(known, path.join(folder, "out"))
    }).pipe(Effect.provide(services))
  )

  it.live("says at SIGINT what is kept and how to go on", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known, { bytesPerSecond: 150_000 })
      const kept = ["download", "known.torrent", "-o", "out", "--peer", address]
      const first = yield* startScoped(kept, folder)
      const { infoHash, layout } = known.metainfo
      const resume = path.join(folder, "out", ".piecewise", `${InfoHash.toHex(infoHash)}.resume`)
      const open = { infoHash, pieceCount: layout.geometry.pieceCount, fileCount: layout.files.length }
      const isAnyStored = (bytes: Uint8Array): boolean =>
        Result.match(ResumeFile.decode(bytes, open), {
          onFailure: () => false,
          onSuccess: ({ stored }) => stored.count > 0
        })
      yield* Effect.promise(async () => {
        while (!(await readFile(resume).then(isAnyStored, () => false))) await new Promise(setImmediate)
      })
      first.child.kill("SIGINT")
      // A dead peer, so that nothing is stored.
      const second = yield* startScoped(["download", "known.torrent", "-o", "none", "--peer", "127.0.0.1:1"], folder)
      yield* Effect.promise(() => second.wrote("has not answered"))
      const third = yield* startScoped([...kept.slice(0, -2), "--peer", "127.0.0.1:1", "--storage", "memory"], folder)
      yield* Effect.promise(() => third.wrote("has not answered"))

      for (const { child } of [second, third]) child.kill("SIGINT")
      const [some, none, memory] = yield* Effect.promise(() => Promise.all([first.ended, second.ended, third.ended]))

      assert.match(some.stderr, /^stopped; \d+\.\d% is stored in out\/known; the same command goes on from there$/m)
      assert.deepStrictEqual(
        [none.stderr, memory.stderr],
        ["stopped; nothing is stored yet\n", "stopped; nothing is kept in memory\n"]
      )
    }).pipe(Effect.provide(services))
  )

  it.live("ends at once at the second signal", () =>
    Effect.gen(function* () {
      const goodbyes: Array<string> = []
      const url = yield* serve((request, response) => {
        // Answers announces except `stopped`, whose answer the program waits for.
        if (request.url?.includes("event=stopped")) goodbyes.push(request.url)
        else response.end("d8:intervali1800e5:peers0:e")
      })
      const { folder } = yield* prepare([[`${url}/announce`]])
      const program = yield* startScoped(["download", "known.torrent", "--json"], folder)
      yield* Effect.promise(() => program.wrote('"SourceAnswered"'))

      const began = performance.now()
      program.child.kill("SIGINT")
      while (goodbyes.length === 0) yield* Effect.promise(() => new Promise(setImmediate))
      // A signal that follows at once counts as the same key press, so send more than one.
      while (program.child.exitCode === null) {
        program.child.kill("SIGINT")
        yield* Effect.promise(() => new Promise(setImmediate))
      }
      const ended = yield* Effect.promise(() => program.ended)

      assert.deepStrictEqual([ended.code, ended.stderr], [130, ""])
      assert.isBelow(performance.now() - began, 1_900, "the announce of `stopped` would have taken 2 seconds")
    }).pipe(Effect.provide(services))
  )

  it.live("ends without a message when its output is closed", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known, { bytesPerSecond: 100_000 })
      const program = yield* startScoped(["download", "known.torrent", "--peer", address, "--json"], folder)
      yield* Effect.promise(() => program.wrote("Started"))

      program.child.stdout.destroy()
      const ended = yield* Effect.promise(() => program.ended)

      assert.deepStrictEqual([ended.code, ended.stderr], [141, ""])
    }).pipe(Effect.provide(services))
  )

  it.live("bans a peer that sends wrong bytes, says so, and gets the right bytes", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const liar = yield* seed(known, { corrupts: "every block" })
      const silent = yield* seed(known, { unchokes: "never", seed: 2 })
      const program = yield* startScoped(
        ["download", "known.torrent", "-o", "out", "--peer", silent.address, "--peer", liar.address, "--json"],
        folder
      )
      yield* Effect.promise(() => program.wrote('"PeerBanned"'))
      program.child.kill("SIGTERM")

      const ended = yield* Effect.promise(() => program.ended)

      assert.strictEqual(ended.code, 130)
      const [banned] = only("PeerBanned", ended.stdout)
      assert.include(banned, { address: liar.address })
      assert.include(ended.stderr, `${liar.address} is banned: `)
      assert.deepStrictEqual(only("PieceStored", ended.stdout), [])
    }).pipe(Effect.provide(services))
  )

  it.live("reports a tracker's failure once and continues", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare([["http://127.0.0.1:1/announce"]])
      const { address } = yield* seed(known, { bytesPerSecond: 200_000 })

      const ended = yield* runScoped(["download", "known.torrent", "--peer", address, "--json"], folder)

      assert.strictEqual(ended.code, 0)
      assert.match(ended.stderr, /^http:\/\/127\.0\.0\.1:1\/announce: [^\n]+\n$/)
      assert.include(only("SourceFailed", ended.stdout)[0], { source: "http://127.0.0.1:1/announce" })
    }).pipe(Effect.provide(services))
  )

  it.live("fetches the torrent file from a URL", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      const url = yield* serveHttp({
        "/t.torrent": known.bytes,
        "/packed": gzipSync(known.bytes),
        "/page": new TextEncoder().encode("\ufeff\r\n<!DOCTYPE html>")
      })

      const good = yield* runScoped(["download", `${url}/t.torrent`, "-o", "out", "--peer", address, "-q"], folder)
      const moved = yield* runScoped(["info", `${url}/moved`], folder)
      const packed = yield* runScoped(["info", `${url}/packed`], folder)
      const missing = yield* runScoped(["download", `${url}/none`], folder)
      const page = yield* runScoped(["download", `${url}/page`], folder)
      const nobody = yield* runScoped(["download", "http://127.0.0.1:1/x.torrent"], folder)

      assert.deepStrictEqual([good.code, good.stderr], [0, ""])
      yield* assertStored(known, path.join(folder, "out"))
      assert.include(moved.stdout, "known")
      assert.strictEqual(packed.stdout, moved.stdout)
      assert.strictEqual(missing.stderr, `piecewise: ${url}/none: HTTP status 404\n`)
      assert.match(page.stderr, /\/page: the server sent a web page, not a torrent file\n$/)
      assert.strictEqual(nobody.stderr, "piecewise: http://127.0.0.1:1/x.torrent: connection refused\n")
      assert.deepStrictEqual([missing.code, page.code, nobody.code], [1, 1, 1])
    }).pipe(Effect.provide(services))
  )

  it.live("takes a URL that redirects to a magnet link for that link", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const link = `magnet:?xt=urn:btih:${InfoHash.toHex(known.metainfo.infoHash)}`
      const url = yield* serve((_, response) => response.writeHead(302, { location: link }).end())

      const fetched = yield* runScoped(["download", url, "-o", "out", "--no-dht"], folder)
      const shown = yield* runScoped(["info", url], folder)
      const seeded = yield* runScoped(["seed", url, "."], folder)

      assert.match(fetched.stderr, /^piecewise: the magnet link names no tracker and no peer/)
      assert.include(shown.stdout, InfoHash.toHex(known.metainfo.infoHash))
      assert.strictEqual(seeded.stderr, `piecewise: ${url}: a magnet link does not suffice here, only a torrent file\n`)
    }).pipe(Effect.provide(services))
  )

  it.live("waits with a magnet link without any source for peers that connect, as with a torrent, if it seeds", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      const link = `magnet:?xt=urn:btih:${InfoHash.toHex(known.metainfo.infoHash)}`
      const waiting = yield* startScoped(["download", link, "-o", "one", "--seed", "--json"], folder)
      let written = ""
      waiting.child.stdout.on("data", (text: string) => {
        written += text
      })
      yield* Effect.promise(() => waiting.wrote('"MetadataProgress"'))
      const { port } = only("Listening", written)[0]!

      const from = ["--peer", address, "--peer", `127.0.0.1:${port}`]
      yield* startScoped(["download", "known.torrent", "-o", "two", "--seed", "-q", ...from], folder)
      yield* Effect.promise(() => waiting.wrote('"Completed"'))

      waiting.child.kill("SIGINT")
      yield* Effect.promise(() => waiting.ended)
      yield* assertStored(known, path.join(folder, "one"))
    }).pipe(Effect.provide(services))
  )

  it.live("starts from the URL of a torrent file in a magnet link, also behind a redirect", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      const files = yield* serveHttp({ "/t.torrent": known.bytes, "/wrong.torrent": new Uint8Array(9) })
      const hash = `magnet:?xt=urn:btih:${InfoHash.toHex(known.metainfo.infoHash)}`
      const link = `${hash}&xs=${files}/wrong.torrent&xs=${files}/t.torrent`
      const url = yield* serve((_, response) => response.writeHead(302, { location: link }).end())

      const good = yield* runScoped(["download", url, "-o", "out", "--peer", address, "-q"], folder)
      const alone = yield* runScoped(["download", `${hash}&as=${files}/t.torrent`, "-o", "other", "--no-dht"], folder)
      const wrong = yield* runScoped(
        ["download", `${hash}&xs=${files}/wrong.torrent&as=${files}/moved`, "--no-dht"],
        folder
      )
      const shown = yield* runScoped(["info", `${hash}&as=${files}/t.torrent`], folder)

      assert.deepStrictEqual([good.code, good.stderr], [0, ""])
      yield* assertStored(known, path.join(folder, "out"))
      assert.match(alone.stderr, /: there are no peers to download from, because it names no tracker/)
      assert.match(
        wrong.stderr,
        /^piecewise: no URL that the magnet link names has its torrent file, and it names no tracker and no peer; add a peer/
      )
      assert.deepStrictEqual([alone.code, wrong.code], [1, 1])
      assert.include(shown.stdout, `sources    ${files}/t.torrent`)
    }).pipe(Effect.provide(services))
  )

  it.live("listens and announces its port by default, and lets nobody connect with --no-listen", () =>
    Effect.gen(function* () {
      const ports: Array<string | null> = []
      const url = yield* serve((request, response) => {
        ports.push(new URL(request.url ?? "", "http://t").searchParams.get("port"))
        response.end("d8:intervali1800e5:peers0:e")
      })
      const { folder, known } = yield* prepare([[`${url}/announce`]])
      const { address } = yield* seed(known, { bytesPerSecond: 200_000 })
      const from = ["--peer", address, "--json"]

      const usual = yield* runScoped(["download", "known.torrent", "-o", "one", ...from], folder)
      const silent = yield* runScoped(["download", "known.torrent", "-o", "two", "--no-listen", ...from], folder)

      const listening = only("Listening", usual.stdout).map(({ port }) => Number(port))
      assert.deepStrictEqual([usual.code, silent.code, only("Listening", silent.stdout)], [0, 0, []])
      assert.deepStrictEqual(new Set(ports), new Set([...listening.map(String), "1"]))
      assert.isTrue(listening.length === 1 && listening[0]! >= 1_024)
    }).pipe(Effect.provide(services))
  )

  it.live("fails at once if there are no peers to download from, and writes nothing", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare()
      const { folder: other } = yield* prepare([["wss://tracker.example:1/announce"]])

      const none = yield* runScoped(["download", "known.torrent", "-o", "out", "--no-dht"], folder)
      const unsupported = yield* runScoped(["download", "known.torrent", "-o", "out", "--no-dht"], other)

      assert.match(
        none.stderr,
        /^piecewise: known\.torrent: there are no peers to download from, because it names no tracker; .*\n$/
      )
      assert.match(
        unsupported.stderr,
        /^piecewise: known\.torrent: there are no peers .* wss:\/\/tracker\.example:1\/announce are not .*\n$/
      )
      assert.deepStrictEqual([none.code, unsupported.code], [1, 1])
      assert.deepStrictEqual([yield* entries(folder), yield* entries(other)], [[], []])
    }).pipe(Effect.provide(services))
  )

  it.live("fails before asking any peer if nothing can be stored", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare()
      yield* Effect.promise(() => writeFile(path.join(folder, "out"), "mine"))

      // Nothing listens there, so without the check it would wait forever.
      const words = ["download", "known.torrent", "-o", "out/deeper", "--peer", "127.0.0.1:1"]
      const ended = yield* runScoped(words, folder)

      assert.strictEqual(ended.stderr, "piecewise: out/deeper: a file is in the way of a folder\n")
      assert.strictEqual(ended.code, 1)
    }).pipe(Effect.provide(services))
  )

  it.live.each([
    ["a file in the way of the folder", "out"],
    ["a file in the way of the torrent's folder", "out/known"],
    ["a folder in the way of a file", "out/known/a.bin/"]
  ])("fails with one sentence for %s", ([, obstacle]) =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known)
      yield* Effect.promise(async () => {
        await mkdir(path.dirname(path.join(folder, obstacle!)), { recursive: true })
        if (obstacle!.endsWith("/")) await mkdir(path.join(folder, obstacle!))
        else await writeFile(path.join(folder, obstacle!), "mine")
      })

      const ended = yield* runScoped(["download", "known.torrent", "-o", "out", "--peer", address, "-q"], folder)

      assert.match(ended.stderr, /^piecewise: .*(in the way).*\n$/)
      assert.deepStrictEqual([ended.code, ended.stdout], [1, ""])
      if (!obstacle!.endsWith("/")) {
        const kept = yield* Effect.promise(() => readFile(path.join(folder, obstacle!), "utf8"))
        assert.strictEqual(kept, "mine")
      }
    }).pipe(Effect.provide(services))
  )

  it.live("stores only the files that are selected, and later the others", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address, peer } = yield* seed(known)
      const words = ["download", "known.torrent", "-o", "out", "--peer", address, "--json"]
      const names = () => readdir(path.join(folder, "out", "known"), { recursive: true })

      const some = yield* runScoped([...words, "--select", "b/**"], folder)
      const selected = yield* Effect.promise(names)
      const { blockBytes } = peer.counters
      const same = yield* runScoped(["download", "known.torrent", "-o", "out", "--select", "b/*", "--json"], folder)
      const all = yield* runScoped(words, folder)

      // Piece 6 contains the end of a.bin and the beginning of c.bin.
      assert.deepStrictEqual([some.code, same.code, all.code], [0, 0, 0], some.stderr + same.stderr + all.stderr)
      assert.include(only("Started", some.stdout)[0], { missingPieces: 4, totalPieces: 10 })
      assert.sameMembers(
        only("PieceStored", some.stdout).map(({ piece }) => piece),
        [6, 7, 8, 9]
      )
      assert.sameMembers(selected, ["b", path.join("b", "c.bin"), path.join("b", "empty")])
      assert.strictEqual(blockBytes, 320_001 - 6 * 32_768)
      assert.include(only("Started", same.stdout)[0], { storedPieces: 4, missingPieces: 0 })
      assert.sameMembers(
        only("PieceStored", all.stdout).map(({ piece }) => piece),
        [0, 1, 2, 3, 4, 5]
      )
      yield* assertStored(known, path.join(folder, "out"))
    }).pipe(Effect.provide(services))
  )

  it.live("refuses a glob that matches no file", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare()

      const words = ["download", "known.torrent", "-o", "out", "--peer", "127.0.0.1:1"]
      const ended = yield* runScoped([...words, "--select", "b/**", "--select", "c.bin"], folder)

      assert.strictEqual(
        ended.stderr,
        "piecewise: --select c.bin matches no file of known; run piecewise info to see its files\n"
      )
      assert.strictEqual(ended.code, 1)
      assert.deepStrictEqual(yield* entries(folder), [])
    }).pipe(Effect.provide(services))
  )

  it.live("stores pieces in order with --sequential", () =>
    Effect.gen(function* () {
      const { folder, known } = yield* prepare()
      const { address } = yield* seed(known, { bytesPerSecond: 1_000_000 })

      const ended = yield* runScoped(["download", "known.torrent", "--sequential", "--peer", address, "--json"], folder)

      const indices = only("PieceStored", ended.stdout).map(({ piece }) => Number(piece))
      assert.strictEqual(new Set(indices).size, 10)
      // Pieces that are written at the same time may be stored in any order; at random, they would be 3.3 places off.
      const displaced = indices.reduce((sum, index, place) => sum + Math.abs(index - place), 0)
      assert.isAtMost(displaced / indices.length, 1.5, `${indices}`)
    }).pipe(Effect.provide(services))
  )

  it.live("reports what is wrong with a magnet link, and writes nothing", () =>
    Effect.gen(function* () {
      const { folder } = yield* prepare()

      const broken = yield* runScoped(["download", "magnet:?dn=x", "-o", "out"], folder)
      const nobody = yield* runScoped(
        ["download", `magnet:?xt=urn:btih:${"0".repeat(40)}`, "-o", "out", "--no-dht"],
        folder
      )

      assert.match(broken.stderr, /^piecewise: Bad magnet link: [^\n]*\n$/)
      assert.match(nobody.stderr, /^piecewise: the magnet link names no tracker and no peer; add a peer[^\n]*\n$/)
      assert.deepStrictEqual([broken.code, nobody.code], [1, 1])
      assert.deepStrictEqual(yield* entries(folder), [])
    }).pipe(Effect.provide(services))
  )
})

/** Serves these paths and redirects `/moved` to `/t.torrent`. All other paths get 404. */
const serveHttp = (bodies: Readonly<Record<string, Uint8Array>>) =>
  serve((request, response) => {
    const body = bodies[request.url ?? ""]
    if (request.url === "/moved") response.writeHead(302, { location: "/t.torrent" }).end()
    else if (body === undefined) response.writeHead(404).end()
    else response.end(body)
  })
