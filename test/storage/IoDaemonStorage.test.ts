import * as Crypto from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import { IoDaemon } from "../../src/io-daemon/IoDaemon.ts"
import * as IoDaemonStorage from "../../src/storage/provider/io-daemon/IoDaemonStorage.ts"
import type { TorrentStorage } from "../../src/storage/Storage.ts"
import { contentOf, layoutOf, pieceOf, piecesOf, sliceOf } from "./layouts.ts"
import { infoHashOf } from "./openings.ts"

const layout = layoutOf(16, ["t/a", 10], ["t/b", 30], ["t/empty", 0])
const content = contentOf(layout)
const first = pieceOf(layout, 0)
const infoHash = infoHashOf(layout)

const bodyOf = ({ body }: HttpClientRequest.HttpClientRequest): string =>
  body._tag === "Uint8Array" ? Buffer.from(body.body).toString() : ""

const digestOf = (bytes: Uint8Array) => `sha=:${Crypto.createHash("sha1").update(bytes).digest("base64")}:`

/** An answer of the daemon, or the loss of the connection. */
type Answer = Response | "lost" | "never"

const refusal = (status: number, kind: string, more: object = {}): Response =>
  Response.json({ kind, message: `it is ${kind}`, ...more }, { status })

const done = () => new Response(null, { status: 204 })

/** The outcome of a file in a line. */
const facts = (length = 0, inode = 1) => ({
  kind: "file",
  length,
  mtimeNs: "1700000000123456789",
  identity: `1:${inode}`,
  isHole: length === 0,
  isAside: false,
  otherNames: 0
})

/** An answer with a line for each file. */
const told = (...lines: ReadonlyArray<object | null>) =>
  new Response(lines.map((line) => `${JSON.stringify(line)}\n`).join(""))

const blockOf = (bytes: Uint8Array<ArrayBuffer>, files: string | undefined) =>
  new Response(bytes, { status: 206, headers: files === undefined ? {} : { "piecewise-files": files } })

const refused = (kind: string, more: object = {}) => ({ error: { kind, message: `it is ${kind}`, ...more } })

/** The answer if everything succeeds. */
const well = (what: string, request: HttpClientRequest.HttpClientRequest): Response => {
  if (!["claim", "flush", "look"].includes(what)) return done()
  const body = JSON.parse(bodyOf(request)) as {
    readonly files?: ReadonlyArray<number>
    readonly claims?: ReadonlyArray<{ readonly file: number }>
  }
  const files = body.files ?? body.claims!.map(({ file }) => file)
  return told(...files.map((file) => facts(0, file)))
}

/**
 * A daemon whose answers `say` chooses; it gets `PUT` for a registration and the last part of the path for others. If
 * it returns nothing, the request succeeds: every file that is claimed, flushed or looked at exists and is empty.
 */
const scripted = (say: (what: string, nth: number) => Answer | undefined) => {
  const asked: Array<{
    readonly what: string
    readonly url: URL
    readonly request: HttpClientRequest.HttpClientRequest
  }> = []
  const endpoint = { url: "http://127.0.0.1:4710", token: Redacted.make("token") }
  const state = { endpoint }
  const http = HttpClient.make((request, url) =>
    Effect.suspend(() => {
      const what =
        request.method === "POST" || request.method === "GET" ? url.pathname.split("/").at(-1)! : request.method
      const nth = asked.filter((before) => before.what === what).length
      asked.push({ what, url, request })
      const answer = say(what, nth) ?? well(what, request)
      if (answer === "never") return Effect.never
      return answer === "lost"
        ? Effect.fail(
            new HttpClientError.HttpClientError({
              reason: new HttpClientError.TransportError({ request, cause: new Error("ECONNRESET") })
            })
          )
        : Effect.succeed(HttpClientResponse.fromWeb(request, answer))
    })
  )
  const services = Layer.mergeAll(
    Layer.succeed(HttpClient.HttpClient, http),
    Layer.succeed(IoDaemon, IoDaemon.of({ endpoint: Effect.sync(() => state.endpoint) })),
    NodePieceHasher.layer
  )
  return {
    asked,
    services,
    state,
    names: () => asked.map(({ what }) => what),
    /** The JSON that was sent with each request of a kind. */
    bodies: (kind: string) =>
      asked.filter(({ what }) => what === kind).map(({ request }) => JSON.parse(bodyOf(request)) as unknown)
  }
}

/** Runs a program with an open torrent against a scripted daemon, on a clock that moves by itself. */
const withTorrent = <A, E>(
  daemon: ReturnType<typeof scripted>,
  program: (torrent: TorrentStorage) => Effect.Effect<A, E>
) =>
  Effect.gen(function* () {
    const storage = yield* IoDaemonStorage.make({ root: "downloads", directory: "d" })
    return yield* program(yield* storage.open({ infoHash, layout }))
  }).pipe(Effect.scoped, Effect.provide(daemon.services))

/** The same with all files claimed, for tests to which earlier requests do not matter. */
const withClaimed = <A, E>(
  daemon: ReturnType<typeof scripted>,
  program: (torrent: TorrentStorage) => Effect.Effect<A, E>
) => withTorrent(daemon, (torrent) => Effect.andThen(claimAll(torrent), program(torrent)))

const claimAll = (torrent: TorrentStorage) =>
  Effect.orDie(
    Effect.andThen(torrent.reserve([0, 1, 2]), torrent.claim([0, 1, 2].map((file) => ({ file, as: "new" as const }))))
  )

/** How a program ends that waits for the clock again and again: time passes until it does. */
const passing = Effect.fnUntraced(function* <A, E, R>(program: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(program, { startImmediately: true })
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
  return yield* Fiber.join(fiber)
})

const write = (torrent: TorrentStorage) => torrent.writePiece(first, sliceOf(layout, content, first))

const writeError = (torrent: TorrentStorage) => Effect.flip(write(torrent))

describe("IoDaemonStorage", () => {
  it.effect("stores a piece over several files in one request, with its place and digest in headers", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)

      yield* withClaimed(daemon, write)

      assert.deepStrictEqual(daemon.names(), ["PUT", "reserve", "claim", "write", "DELETE"])
      const { request, url } = daemon.asked[3]!
      assert.match(url.href, /^http:\/\/127\.0\.0\.1:4710\/v1\/sets\/[0-9a-f]{64}\/write$/)
      assert.deepStrictEqual(
        { ...request.headers },
        {
          authorization: "Bearer token",
          "content-digest": digestOf(sliceOf(layout, content, first)),
          "content-range": "bytes 0-15/*",
          "content-type": "application/octet-stream",
          "content-length": "16"
        }
      )
    })
  )

  it.effect("writes every piece of a torrent to the same URL", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)

      yield* withClaimed(daemon, (torrent) =>
        Effect.forEach(piecesOf(layout), (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)))
      )

      const urls = daemon.asked.filter(({ what }) => what === "write").map(({ url }) => url.href)
      assert.strictEqual(urls.length, 3)
      assert.strictEqual(new Set(urls).size, 1)
    })
  )

  it.effect("sends the digest it was given and computes none", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)
      const sha1 = new Uint8Array(20).fill(7)

      yield* withClaimed(daemon, (torrent) => torrent.writePiece(first, sliceOf(layout, content, first), sha1))

      assert.strictEqual(daemon.asked[3]?.request.headers["content-digest"], "sha=:BwcHBwcHBwcHBwcHBwcHBwcHBwc=:")
    })
  )

  it.effect("sends nothing before it is asked to store", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)

      yield* withTorrent(daemon, (torrent) => torrent.flush([]))

      assert.deepStrictEqual(daemon.names(), [])
    })
  )

  it.effect("sends which files are unwanted, and none if all are wanted", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)

      yield* withTorrent(daemon, (torrent) => Effect.andThen(torrent.prepare([0, 1, 2]), torrent.prepare([1])))

      assert.deepStrictEqual(daemon.names(), ["PUT", "prepare", "prepare", "DELETE"])
      assert.deepStrictEqual(daemon.bodies("prepare"), [{ skipped: [] }, { skipped: [0, 2] }])
    })
  )

  it.effect(
    "sends the unwanted files again to a daemon that has forgotten the set, before and after it registers",
    () =>
      Effect.gen(function* () {
        const daemon = scripted((what, nth) =>
          what === "write" && nth === 0 ? refusal(404, "unknown_set") : undefined
        )

        yield* withClaimed(daemon, (torrent) => Effect.andThen(torrent.prepare([1]), write(torrent)))

        assert.deepStrictEqual(daemon.names(), [
          ...["PUT", "reserve", "claim", "prepare", "write"],
          ...["PUT", "prepare", "reserve", "claim", "write", "DELETE"]
        ])
        assert.deepStrictEqual(
          daemon.bodies("PUT").map((body) => (body as { readonly skipped: unknown }).skipped),
          [[], [0, 2]]
        )
        assert.deepStrictEqual(daemon.bodies("prepare"), [{ skipped: [0, 2] }, { skipped: [0, 2] }])
      })
  )

  it.effect("repeats a selection that failed, and keeps to the last that succeeded", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => {
        if (what === "prepare" && nth === 1) return refusal(403, "refused", { path: "t/b", why: "permission denied" })
        return what === "write" && nth === 0 ? refusal(404, "unknown_set") : undefined
      })

      const error = yield* withClaimed(daemon, (torrent) =>
        Effect.gen(function* () {
          yield* torrent.prepare([0])
          const error = yield* Effect.flip(torrent.prepare([0, 1, 2]))
          yield* write(torrent)
          return error
        })
      )

      assert.deepStrictEqual([error.operation, error.message], ["prepare", "d/t/b: permission denied"])
      assert.deepStrictEqual(daemon.bodies("prepare"), [{ skipped: [1, 2] }, { skipped: [] }, { skipped: [1, 2] }])
    })
  )

  it.effect("continues to write after a daemon's restart if a file cannot be moved to its place", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => {
        if (what === "prepare" && nth === 1) return refusal(403, "refused", { path: "t/b", why: "permission denied" })
        return what === "write" && nth === 0 ? refusal(404, "unknown_set") : undefined
      })

      yield* withClaimed(daemon, (torrent) => Effect.andThen(torrent.prepare([0]), write(torrent)))

      assert.deepStrictEqual(daemon.names(), [
        ...["PUT", "reserve", "claim", "prepare", "write"],
        ...["PUT", "prepare", "reserve", "claim", "write", "DELETE"]
      ])
    })
  )

  it.effect("sends no new selection while an old one is under way, which might arrive later", () =>
    Effect.gen(function* () {
      let isForgotten = false
      const daemon = scripted((what, nth) => {
        if (what === "PUT") isForgotten = false
        if (isForgotten) return refusal(404, "unknown_set")
        return what === "prepare" && nth === 1 ? "never" : undefined
      })

      const fiber = yield* Effect.forkChild(
        withClaimed(daemon, (torrent) =>
          Effect.gen(function* () {
            yield* torrent.prepare([0])
            isForgotten = true
            yield* Effect.all([torrent.prepare([0, 1]), write(torrent)], { concurrency: "unbounded" })
          })
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("10 seconds")
      const between = daemon.bodies("prepare")
      yield* passing(Fiber.join(fiber))

      // The second was for a set that was unknown.
      assert.deepStrictEqual(between, [{ skipped: [1, 2] }, { skipped: [2] }, { skipped: [1, 2] }])
      assert.deepStrictEqual(daemon.bodies("prepare").at(-1), { skipped: [2] })
    })
  )

  it.effect("registers again with a daemon that has forgotten the set, once for all writes that were refused", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) =>
        what === "write" && nth >= 1 && nth <= 3 ? refusal(404, "unknown_set") : undefined
      )

      yield* withClaimed(daemon, (torrent) =>
        Effect.andThen(
          write(torrent),
          Effect.forEach(piecesOf(layout), (piece) => torrent.writePiece(piece, sliceOf(layout, content, piece)), {
            concurrency: "unbounded"
          })
        )
      )

      assert.strictEqual(daemon.names().filter((name) => name === "PUT").length, 2)
      assert.strictEqual(daemon.names().filter((name) => name === "write").length, 7)
    })
  )

  it.effect("lets the first write go alone, and the others when it has its answer, whatever that is", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) =>
        what !== "write" ? undefined : nth === 0 ? "never" : nth === 1 ? refusal(409, "digest_mismatch") : undefined
      )
      const writes = () => daemon.names().filter((name) => name === "write").length

      const fiber = yield* Effect.forkChild(
        withClaimed(daemon, (torrent) =>
          Effect.forEach(Array.from({ length: 4 }), () => Effect.exit(write(torrent)), { concurrency: "unbounded" })
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("29 seconds")
      const before = writes()
      // The one that hangs is retried, and refused then.
      yield* TestClock.adjust("3 seconds")
      const exits = yield* Fiber.join(fiber)

      assert.strictEqual(before, 1)
      assert.deepStrictEqual(
        exits.map(({ _tag }) => _tag),
        ["Failure", "Success", "Success", "Success"]
      )
    })
  )

  it.effect("fault 53: repeats a write whose answer was lost, at the daemon that is there now", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => {
        if (what !== "write" || nth > 1) return undefined
        daemon.state.endpoint = { url: "http://127.0.0.1:4711", token: Redacted.make("another") }
        return nth === 0 ? "lost" : refusal(404, "unknown_set")
      })

      yield* passing(withClaimed(daemon, write))

      assert.deepStrictEqual(daemon.names(), [
        ...["PUT", "reserve", "claim", "write", "write"],
        ...["PUT", "reserve", "claim", "write", "DELETE"]
      ])
      const { request, url } = daemon.asked[4]!
      const { authorization } = request.headers
      assert.deepStrictEqual([url.port, authorization], ["4711", "Bearer another"])
    })
  )

  it.effect("fault 53: takes a refused token for that of an ended daemon if there is another one", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => {
        if (what !== "write" || nth > 0) return undefined
        daemon.state.endpoint = { ...daemon.state.endpoint, token: Redacted.make("another") }
        return refusal(401, "unauthorized")
      })

      yield* passing(withClaimed(daemon, write))

      assert.deepStrictEqual(daemon.names(), ["PUT", "reserve", "claim", "write", "write", "DELETE"])
    })
  )

  it.effect("registers anew if the root has moved since an answer was lost", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => (what === "PUT" && nth === 0 ? refusal(409, "set_conflict") : undefined))

      yield* withClaimed(daemon, write)

      assert.deepStrictEqual(daemon.names(), ["PUT", "DELETE", "PUT", "reserve", "claim", "write", "DELETE"])
    })
  )

  it.effect("reports at once a token that the daemon refuses", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => refusal(401, "unauthorized"))

      const { reason } = yield* withTorrent(daemon, (torrent) => Effect.flip(torrent.reserve([0])))

      assert.strictEqual(reason._tag, "StorageRefused")
      assert.deepStrictEqual(daemon.names(), ["PUT"])
    })
  )

  it.effect("gives up a daemon that is away for half a minute, with one sentence", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => "lost")

      const error = yield* passing(withTorrent(daemon, (torrent) => Effect.flip(torrent.look([0]))))

      assert.strictEqual(error.message, "d: the io-daemon is not there: the connection to it broke")
      assert.strictEqual(error.reason._tag, "StorageUnavailable")
      const seconds = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) / 1000
      assert.isAtLeast(seconds, 30)
      assert.isAtMost(seconds, 33)
      // Quick at first, then about once a second.
      assert.isAtLeast(daemon.asked.length, 30)
      assert.isAtMost(daemon.asked.length, 60)
    })
  )

  it.effect("fault 55: retries a daemon that hangs after half a minute", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => (what === "write" && nth === 0 ? "never" : undefined))

      yield* passing(withClaimed(daemon, write))

      assert.deepStrictEqual(daemon.names(), ["PUT", "reserve", "claim", "write", "write", "DELETE"])
    })
  )

  it.effect("fault 55: has no more requests in flight than allowed, however many pieces wait", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => (what === "write" && nth > 0 ? "never" : undefined))

      const fiber = yield* Effect.forkChild(
        withClaimed(daemon, (torrent) =>
          Effect.andThen(
            write(torrent),
            Effect.forEach(Array.from({ length: 64 }), () => write(torrent), { concurrency: "unbounded" })
          )
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("10 seconds")

      assert.strictEqual(
        daemon.names().filter((name) => name === "write").length,
        1 + IoDaemonStorage.defaultRequestsInFlight
      )
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("never repeats a write that the daemon found to be damaged", () =>
    Effect.gen(function* () {
      const daemon = scripted((what) => (what === "write" ? refusal(409, "digest_mismatch") : undefined))

      const { reason } = yield* withClaimed(daemon, writeError)

      assert.strictEqual(reason._tag, "DigestMismatch")
      assert.deepStrictEqual(daemon.names(), ["PUT", "reserve", "claim", "write", "DELETE"])
    })
  )

  it.effect("fault 48: reports a full disk at once", () =>
    Effect.gen(function* () {
      const daemon = scripted((what) => (what === "write" ? refusal(507, "disk_full", { path: "t/b" }) : undefined))

      const error = yield* withClaimed(daemon, writeError)

      assert.strictEqual(error.message, "the disk is full: d/t/b cannot grow")
      assert.strictEqual(error.reason._tag, "DiskFull")
    })
  )

  it.effect.each([
    [403, "refused", "StorageRefused", "d/t/a: permission denied"],
    [500, "unavailable", "StorageUnavailable", "d/t/a: permission denied"],
    [503, "root_gone", "StorageUnavailable", "d/t/a: permission denied"],
    [416, "not_stored", "NotStored", "d/t/a does not hold the bytes asked for"],
    [404, "unknown_root", "StorageRefused", "d/t/a: permission denied"]
  ] as const)("tells of %i %s as %s", ([status, kind, tag, message]) =>
    Effect.gen(function* () {
      const blamed = { path: "t/a", why: "permission denied" }
      const daemon = scripted((what) => (what === "read" ? refusal(status, kind, blamed) : undefined))

      const error = yield* Effect.flip(withTorrent(daemon, (torrent) => torrent.readBlock(first, 0, 4)))

      assert.strictEqual(error.reason._tag, tag)
      assert.strictEqual(error.message, message)
    })
  )

  it.effect("waits for a daemon that has no room", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) => (what === "write" && nth < 2 ? refusal(503, "busy") : undefined))

      yield* passing(withClaimed(daemon, write))

      assert.strictEqual(daemon.names().filter((name) => name === "write").length, 3)
    })
  )

  it.effect("repeats a read whose answer was too short", () =>
    Effect.gen(function* () {
      const daemon = scripted((what, nth) =>
        what === "read" ? blockOf(content.slice(0, nth === 0 ? 3 : 4), "[]") : undefined
      )

      const block = yield* passing(withTorrent(daemon, (torrent) => torrent.readBlock(first, 0, 4)))

      assert.deepStrictEqual(block, { bytes: content.slice(0, 4), files: [] })
    })
  )

  it.effect("returns what the files look like with a block, and asks if the answer does not say", () =>
    Effect.gen(function* () {
      const header = JSON.stringify([{ file: 1, ...facts(30, 7) }])
      const daemon = scripted((what, nth) => {
        if (what === "read") return blockOf(content.slice(8, 12), nth === 0 ? header : undefined)
        return what === "look" ? told(null, facts(30, 7)) : undefined
      })
      const known = { ...facts(30, 7), file: 1, mtimeNs: 1_700_000_000_123_456_789n }

      const [first, second] = yield* withTorrent(daemon, (torrent) =>
        Effect.all([torrent.readBlock(pieceOf(layout, 0), 8, 4), torrent.readBlock(pieceOf(layout, 0), 8, 4)])
      )

      assert.deepStrictEqual([first.files, second.files], [[known], [known]])
      assert.deepStrictEqual(daemon.names(), ["PUT", "read", "read", "look", "DELETE"])
      assert.deepStrictEqual(daemon.bodies("look"), [{ files: [0, 1] }])
    })
  )

  it.effect(
    "claims again what the daemon forgot, with the written length, and fails writes to files that have changed",
    () =>
      Effect.gen(function* () {
        const daemon = scripted((what, nth) => {
          if (what === "claim" && nth === 1)
            return told(facts(10), refused("file_changed", { path: "t/b", why: "was cut off" }), facts())
          return what === "write" && nth === 1 ? refusal(404, "unknown_set") : undefined
        })

        const [error, again] = yield* withClaimed(daemon, (torrent) =>
          Effect.gen(function* () {
            yield* write(torrent)
            const error = yield* writeError(torrent)
            yield* torrent.claim([{ file: 1, as: "overwritten" }])
            return [error, yield* write(torrent)] as const
          })
        )

        assert.strictEqual(error.message, "d/t/b was cut off while the torrent was open")
        assert.deepStrictEqual([error.operation, error.reason._tag, again], ["write", "FileChanged", undefined])
        assert.deepStrictEqual(daemon.bodies("reserve")[1], { files: [0, 1, 2], again: true })
        assert.deepStrictEqual(daemon.bodies("claim")[1], {
          claims: [
            { file: 0, as: "again", identity: "1:0", length: 10 },
            { file: 1, as: "again", identity: "1:1", length: 6 },
            { file: 2, as: "again", identity: "1:2", length: 0 }
          ]
        })
        // The write that failed was not sent again.
        assert.strictEqual(daemon.names().filter((name) => name === "write").length, 3)
      })
  )

  it.effect(
    "yields to another program that took the files while the daemon was away, until it reserves them again",
    () =>
      Effect.gen(function* () {
        const daemon = scripted((what, nth) => {
          if (what === "reserve" && nth === 1)
            return refusal(409, "writer_conflict", { path: "t/a", holder: "another process" })
          return what === "write" && nth === 0 ? refusal(404, "unknown_set") : undefined
        })

        const errors = yield* withClaimed(daemon, (torrent) =>
          Effect.gen(function* () {
            const errors = [yield* writeError(torrent), yield* writeError(torrent)]
            const [flushed] = yield* torrent.flush([0])
            yield* torrent
              .readBlock(first, 0, 4)
              .pipe(Effect.ignore, Effect.timeoutOption("1 millis"), Effect.forkChild)
            yield* claimAll(torrent)
            yield* write(torrent)
            return [...errors.map(({ reason }) => reason), "reason" in flushed! ? flushed.reason : undefined]
          })
        )

        assert.deepStrictEqual(
          errors.map((reason) => reason?.message),
          Array(3).fill("d/t/a is being written by another process")
        )
      })
  )

  it.effect("claims an empty file that a daemon made before its answer was lost", () =>
    Effect.gen(function* () {
      const exists = told(refused("file_exists", { path: "t/a" }))
      const daemon = scripted((what, nth) =>
        what !== "claim" ? undefined : nth === 0 ? "lost" : nth === 1 ? exists : undefined
      )

      const [claimed] = yield* passing(
        withTorrent(daemon, (torrent) => Effect.andThen(torrent.reserve([0]), torrent.claim([{ file: 0, as: "new" }])))
      )

      assert.strictEqual(claimed?.identity, "1:0")
      assert.deepStrictEqual(daemon.names(), ["PUT", "reserve", "claim", "claim", "look", "claim", "DELETE"])
    })
  )

  it.effect("leaves an empty file alone that was there before", () =>
    Effect.gen(function* () {
      const daemon = scripted((what) => (what === "claim" ? told(refused("file_exists", { path: "t/a" })) : undefined))

      const error = yield* withTorrent(daemon, (torrent) =>
        Effect.andThen(torrent.reserve([0]), Effect.flip(torrent.claim([{ file: 0, as: "new" }])))
      )

      assert.strictEqual(error.message, "d/t/a exists already, and is not a file of this torrent")
      assert.deepStrictEqual(daemon.names(), ["PUT", "reserve", "claim", "DELETE"])
    })
  )

  it.effect("waits for a slow file as long as the daemon reports progress", () =>
    Effect.gen(function* () {
      const line = (text: string) => new TextEncoder().encode(`${text}\n`)
      const slow = Stream.fromIterable(["", "", "", JSON.stringify(facts(8))]).pipe(
        Stream.mapEffect((text) => Effect.as(Effect.sleep("20 seconds"), line(text)))
      )
      const body = yield* Stream.toReadableStreamEffect(slow)
      const daemon = scripted((what) => (what === "flush" ? new Response(body) : undefined))

      const flushed = yield* passing(withTorrent(daemon, (torrent) => torrent.flush([0])))

      assert.deepStrictEqual(
        flushed.map((one) => "facts" in one && one.facts.length),
        [8]
      )
      assert.deepStrictEqual(daemon.names(), ["PUT", "flush", "DELETE"])
    })
  )

  it.effect("asks about many files in a few requests, and reports how each ended", () =>
    Effect.gen(function* () {
      const many = layoutOf(16, ...Array.from({ length: 5_000 }, (_, index) => [`t/${index}`, 1] as const))
      const daemon = scripted((what, nth) => {
        if (what !== "flush" || nth === 0) return undefined
        return told(
          ...Array.from({ length: 903 }, () => facts()),
          refused("unavailable", { path: "t/4999", why: "the disk failed" })
        )
      })

      const flushed = yield* Effect.gen(function* () {
        const storage = yield* IoDaemonStorage.make({ root: "downloads", directory: "d" })
        const torrent = yield* storage.open({ infoHash, layout: many })
        return yield* torrent.flush([...many.files.keys()])
      }).pipe(Effect.scoped, Effect.provide(daemon.services))

      assert.deepStrictEqual(daemon.names(), ["PUT", "flush", "flush", "DELETE"])
      assert.deepStrictEqual(
        flushed.map(({ file }) => file),
        [...many.files.keys()]
      )
      const [last] = flushed.slice(-1)
      assert.strictEqual("reason" in last! && last.reason.message, "d/t/4999: the disk failed")
      assert.strictEqual(flushed.filter((one) => "facts" in one).length, 4_999)
    })
  )

  it.effect("shows that it is in use while it has files reserved and sends nothing else", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)

      yield* withTorrent(daemon, (torrent) =>
        Effect.gen(function* () {
          yield* torrent.reserve([0])
          yield* TestClock.adjust("2 minutes")
          yield* torrent.release([0])
          yield* TestClock.adjust("3 minutes")
        })
      )

      assert.deepStrictEqual(daemon.names(), ["PUT", "reserve", "look", "release", "DELETE"])
    })
  )

  it.effect("dies and sends nothing if a file is not reserved or claimed", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)

      const exits = yield* withTorrent(daemon, (torrent) =>
        Effect.all(
          [torrent.claim([{ file: 1, as: "new" }]), torrent.rename(1, ["x"]), torrent.remove([1]), write(torrent)].map(
            (effect) => Effect.exit<unknown, unknown, never>(effect)
          )
        )
      )

      assert.deepStrictEqual(exits.map(Exit.hasDies), [true, true, true, true])
      assert.deepStrictEqual(daemon.names(), [])
    })
  )

  it.effect("registers a set of its own for each opening, with the torrent and the program it is for", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)
      const opened = Effect.gen(function* () {
        const storage = yield* IoDaemonStorage.make({ root: "downloads" })
        for (let index = 0; index < 2; index++) yield* (yield* storage.open({ infoHash, layout })).look([0])
      })

      yield* Effect.andThen(opened, opened).pipe(Effect.scoped, Effect.provide(daemon.services))

      const puts = daemon.asked.filter(({ what }) => what === "PUT")
      const bodies = daemon.bodies("PUT") as ReadonlyArray<{ readonly torrent: string; readonly owner: string }>
      assert.strictEqual(new Set(puts.map(({ url }) => url.href)).size, 4)
      assert.deepStrictEqual(new Set(bodies.map(({ torrent }) => torrent)), new Set([InfoHash.toHex(infoHash)]))
      assert.deepStrictEqual(
        bodies.map(({ owner }) => owner === bodies[0]!.owner),
        [true, true, false, false]
      )
    })
  )

  it.effect("continues with the remaining digests if their stream breaks off", () =>
    Effect.gen(function* () {
      const line = (byte: number) => JSON.stringify(Buffer.alloc(20, byte).toString("base64"))
      const daemon = scripted((what, nth) =>
        what === "digests" ? new Response(nth === 0 ? `${line(1)}\n` : `null\n${line(3)}\n`) : undefined
      )

      const digests = yield* passing(
        withTorrent(daemon, (torrent) => Stream.runCollect(torrent.digests(piecesOf(layout))))
      )

      assert.deepStrictEqual(
        digests.map(({ piece, sha1 }) => [piece, sha1?.[0]]),
        [
          [0, 1],
          [1, undefined],
          [2, 3]
        ]
      )
      assert.deepStrictEqual(daemon.bodies("digests"), [
        {
          algorithm: "sha1",
          ranges: [
            [0, 16],
            [16, 16],
            [32, 8]
          ]
        },
        {
          algorithm: "sha1",
          ranges: [
            [16, 16],
            [32, 8]
          ]
        }
      ])
    })
  )

  it.effect("sends no headers of tracing", () =>
    Effect.gen(function* () {
      const daemon = scripted(() => undefined)

      yield* withClaimed(daemon, write).pipe(Effect.withSpan("download"))

      for (const { request } of daemon.asked) {
        assert.deepStrictEqual(
          Object.keys(request.headers).filter((name) => /^(traceparent|b3|baggage)/.test(name)),
          []
        )
      }
    })
  )

  it.effect("closes a torrent within two seconds when the daemon does not answer", () =>
    Effect.gen(function* () {
      const daemon = scripted((what) => (what === "DELETE" ? "never" : undefined))

      yield* passing(withClaimed(daemon, write))

      assert.isAtMost(yield* Effect.clockWith((clock) => clock.currentTimeMillis), 3_000)
    })
  )
})
