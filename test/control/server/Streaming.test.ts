/**
 * The files of torrents through the routes of a service, without a socket, in simulated time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as Security from "../../../src/control/security/Security.ts"
import { Tickets } from "../../../src/control/security/Tickets.ts"
import * as Streaming from "../../../src/control/server/Streaming.ts"
import * as MemorySessionStore from "../../../src/session/provider/memory/MemorySessionStore.ts"
import * as Session from "../../../src/session/Session.ts"
import * as TorrentFolders from "../../../src/session/TorrentFolders.ts"
import type { PeerBehaviour } from "../../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../../src/testing/TestEngine.ts"
import { fileOf, type Needs, until } from "../../session/sessions.ts"
import { other, seed, small } from "../../simulation/torrents.ts"
import { bearer, credentials } from "../security/serving.ts"

const { infoHash, layout } = small.metainfo

/** The largest file of the torrent, of 16 pieces or so. */
const film = 2
const length = layout.files[film]!.length

/** Where a file is, for a client with the token. */
const pathOf = (file: number) =>
  `/v1/torrents/${InfoHash.toHex(infoHash)}/content/${layout.files[file]!.path.map(encodeURIComponent).join("/")}`

/** An answer, as far as its body has come, and whether it has broken off. */
interface Answer {
  response: HttpServerResponse.HttpServerResponse | undefined
  readonly chunks: Array<Uint8Array>
  hasBroken: boolean
}

const bytesOf = ({ chunks }: Answer) => Buffer.concat(chunks)

/** How a request is made, and how long its client takes for each chunk. */
interface Asked {
  readonly method?: "GET" | "HEAD"
  readonly headers?: Readonly<Record<string, string>>
  readonly each?: Effect.Effect<unknown>
}

/** The routes of the session, behind the checks of a service. */
const serve = Effect.fnUntraced(function* (session: Session.Session["Service"]) {
  const services = yield* Layer.build(Layer.provideMerge(Security.services(), credentials()))
  const routes = Streaming.layer.pipe(
    Layer.provide(Security.layer()),
    Layer.provide(Layer.succeed(Session.Session, session)),
    Layer.provide(Layer.succeedContext(services))
  )
  const app = yield* HttpRouter.toHttpEffect(routes)

  /** Sends a request, and takes its answer as a client does. */
  const take = (answer: Answer, path: string, { each = Effect.void, headers = bearer, method = "GET" }: Asked) =>
    HttpEffect.toHandled(app, (_, response) =>
      Effect.suspend(() => {
        answer.response = response
        const { body } = response
        if (method === "HEAD" || body._tag === "Empty") return Effect.void
        if (body._tag === "Uint8Array") return Effect.sync(() => answer.chunks.push(body.body))
        if (body._tag !== "Stream") return Effect.die(`a body that is ${body._tag}`)
        const taking = Stream.runForEach(body.stream, (chunk) =>
          Effect.suspend(() => {
            answer.chunks.push(chunk)
            return each
          })
        )
        // As the server of Node does: a client may go at any time.
        return Effect.catch(Effect.interruptible(taking), () =>
          Effect.sync(() => {
            answer.hasBroken = true
          })
        )
      })
    ).pipe(
      Effect.provideService(
        HttpServerRequest.HttpServerRequest,
        HttpServerRequest.fromWeb(
          new Request(`http://localhost${path}`, { method, headers: { host: "localhost", ...headers } })
        )
      )
    )

  const open = Effect.fnUntraced(function* (path: string, asked: Asked = {}) {
    const answer: Answer = { response: undefined, chunks: [], hasBroken: false }
    const fiber = yield* Effect.forkScoped(take(answer, path, asked) as Effect.Effect<void>)
    return { answer, fiber }
  })
  const get = Effect.fnUntraced(function* (path: string, asked: Asked = {}) {
    const { answer, fiber } = yield* open(path, asked)
    yield* Fiber.join(fiber)
    return { ...answer.response!, bytes: bytesOf(answer) }
  })
  return { open, get, tickets: Context.get(services, Tickets) }
})

type Served = Effect.Success<ReturnType<typeof serve>>

/** A service in a world of its own. */
const test = <E>(
  name: string,
  use: (served: Served, session: Session.Session["Service"]) => Effect.Effect<void, E, Needs>,
  options: TestEngine.Options = {}
) =>
  it.effect(name, () => {
    const served = Effect.flatMap(Session.make, (session) =>
      Effect.flatMap(serve(session), (served) => use(served, session))
    )
    const program = Effect.provide(served, [MemorySessionStore.layer, TorrentFolders.layer])
    return TestEngine.run(Effect.scoped(program), { seed, engine: { listen: { port: 6_881 } }, ...options })
  })

/** Adds the torrent, which a peer has. */
const add = Effect.fnUntraced(function* (
  session: Session.Session["Service"],
  behaviour: PeerBehaviour = {},
  options: Session.AddOptions = {}
) {
  yield* TestEngine.TestEngine.use(({ join }) => join(small, behaviour))
  return yield* session.add(fileOf(small), options)
})

const complete = Effect.fnUntraced(function* (session: Session.Session["Service"]) {
  const torrent = yield* add(session)
  yield* until(torrent, "Active Complete")
  return torrent
})

const wantedPieces = (torrent: Session.SessionTorrent) =>
  Effect.map(
    Effect.flatMap(torrent.torrent, (found) => Option.getOrThrow(found).status),
    (status) => status.wantedPieces
  )

describe("the files of a service", () => {
  test("are served with the token below the torrent, and to anybody below a ticket for it", ({
    get,
    tickets
  }, session) =>
    Effect.gen(function* () {
      yield* complete(session)
      const ticket = yield* tickets.make(infoHash)
      const below = pathOf(film).replace(/^.*\/content\//, `/v1/stream/${ticket}/`)

      const own = yield* get(pathOf(film))
      const linked = yield* get(below, { headers: {} })
      const list = yield* get(`/v1/stream/${ticket}/`, { headers: {} })
      const nobody = yield* get(pathOf(film), { headers: {} })
      const forged = yield* get(below.replace(ticket, "x".repeat(ticket.length)), { headers: {} })

      assert.deepStrictEqual([own.status, linked.status, list.status], [200, 200, 200])
      assert.isTrue(own.bytes.equals(small.fileContent(film)))
      assert.isTrue(linked.bytes.equals(small.fileContent(film)))
      assert.strictEqual(JSON.parse(list.bytes.toString()).files.length, 3)
      assert.deepStrictEqual([nobody.status, forged.status], [401, 403])
    }))

  test("are served by range, and answer HEAD, If-Range and ranges outside", ({ get }, session) =>
    Effect.gen(function* () {
      yield* complete(session)
      const ask = (headers: Record<string, string>, method?: "HEAD") =>
        get(pathOf(film), { headers: { ...bearer, ...headers }, ...(method && { method }) })
      const content = small.fileContent(film)

      const head = yield* ask({}, "HEAD")
      const { etag = "" } = head.headers
      const middle = yield* ask({ range: "bytes=70000-70009" })
      const last = yield* ask({ range: "bytes=-5" })
      const open = yield* ask({ range: `bytes=${length - 7}-` })
      const outside = yield* ask({ range: `bytes=${length}-` })
      const same = yield* ask({ range: "bytes=0-9", "if-range": etag })
      const another = yield* ask({ range: "bytes=0-9", "if-range": '"another"' })
      const known = yield* ask({ "if-none-match": etag })

      assert.deepStrictEqual([head.status, head.bytes.length], [200, 0])
      assert.deepStrictEqual([head.headers["content-length"], head.headers["accept-ranges"]], [`${length}`, "bytes"])
      assert.deepStrictEqual([middle.status, last.status, open.status], [206, 206, 206])
      assert.isTrue(middle.bytes.equals(content.subarray(70_000, 70_010)))
      assert.isTrue(last.bytes.equals(content.subarray(-5)))
      assert.isTrue(open.bytes.equals(content.subarray(-7)))
      assert.strictEqual(middle.headers["content-range"], `bytes 70000-70009/${length}`)
      assert.deepStrictEqual([outside.status, outside.headers["content-range"]], [416, `bytes */${length}`])
      assert.deepStrictEqual([same.status, same.bytes.length], [206, 10])
      assert.deepStrictEqual([another.status, another.bytes.length], [200, length])
      assert.strictEqual(known.status, 304)
    }))

  test("are wanted while a client reads them, and not after a hundred clients have gone", ({ open }, session) =>
    Effect.gen(function* () {
      const torrent = yield* add(session, { bytesPerSecond: 20_000 }, { files: ["skip", "skip", "skip"] })
      yield* until(torrent, "Active Complete")
      const wanted: Array<number> = []
      for (let client = 0; client < 100; client++) {
        const range = `bytes=${client * 5_000}-`
        const { fiber } = yield* open(pathOf(film), { headers: { ...bearer, range } })
        yield* Effect.sleep(100 * (client % 10))
        if (client % 10 === 9) wanted.push(yield* wantedPieces(torrent))
        yield* Fiber.interrupt(fiber)
      }
      yield* Effect.sleep("1 second")

      assert.isAbove(Math.min(...wanted), 0)
      assert.strictEqual(yield* wantedPieces(torrent), 0)
    }))

  test("are served to twenty clients at once, whom one that takes its time does not hold up", ({
    get,
    open
  }, session) =>
    Effect.gen(function* () {
      const torrent = yield* add(session, { bytesPerSecond: 500_000 })
      const slow = yield* open(pathOf(film), { each: Effect.never })
      const begins = Array.from({ length: 20 }, (_, client) => Math.floor((client * length) / 20))

      const answers = yield* Effect.forEach(
        begins,
        (begin) => get(pathOf(film), { headers: { ...bearer, range: `bytes=${begin}-` } }),
        { concurrency: "unbounded" }
      )
      yield* until(torrent, "Active Complete")

      for (const [client, { bytes, status }] of answers.entries()) {
        assert.strictEqual(status, 206)
        assert.isTrue(bytes.equals(small.fileContent(film).subarray(begins[client]!)))
      }
      // What it has not taken was not read for it.
      assert.strictEqual(slow.answer.chunks.length, 1)
    }))

  for (const [name, end] of [
    ["paused", (torrent: Session.SessionTorrent) => Effect.asVoid(torrent.pause)],
    ["removed", (torrent: Session.SessionTorrent) => Effect.asVoid(torrent.remove({ data: true }))]
  ] as const) {
    test(`break off when the torrent is ${name}, and say so afterwards`, ({ get, open }, session) =>
      Effect.gen(function* () {
        const torrent = yield* add(session, { bytesPerSecond: 100_000 })
        const streams = yield* Effect.forEach([0, 400_000], (begin) =>
          open(pathOf(film), { headers: { ...bearer, range: `bytes=${begin}-` } })
        )
        yield* Effect.sleep("2 seconds")

        yield* Effect.orDie(end(torrent) as Effect.Effect<void, unknown>)
        yield* Effect.forEach(streams, ({ fiber }) => Fiber.await(fiber))
        const after = yield* get(pathOf(film))

        for (const { answer } of streams) {
          assert.deepStrictEqual([answer.response?.status, answer.hasBroken], [206, true])
          assert.isBelow(bytesOf(answer).length, length - 400_000)
        }
        const { _tag, message } = JSON.parse(after.bytes.toString())
        if (name === "paused") assert.deepStrictEqual([after.status, _tag], [409, "piecewise/TorrentNotReady"])
        else assert.deepStrictEqual([after.status, _tag], [404, "piecewise/TorrentNotFound"])
        assert.match(message, /^\S.* /)
      }))
  }

  test("of a magnet link are waited for, as long as the client is there", ({ open }, session) =>
    Effect.gen(function* () {
      const torrent = yield* session.add({ magnet: `magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}` })
      yield* until(torrent, "Active FetchingMetadata")
      const gone = yield* open(pathOf(film))
      const stays = yield* open(pathOf(film))
      yield* Effect.sleep("1 minute")
      const early = [gone, stays].map(({ answer }) => answer.response)
      yield* Fiber.interrupt(gone.fiber)
      const late = gone.answer.response?.status

      yield* TestEngine.TestEngine.use(({ join }) => join(small, {}))
      yield* Fiber.join(stays.fiber)

      assert.deepStrictEqual(early, [undefined, undefined])
      // Nobody receives it.
      assert.strictEqual(late, 503)
      assert.isTrue(bytesOf(stays.answer).equals(small.fileContent(film)))
    }))

  test("of a torrent that was added a moment ago are there, and of one that waits in the queue are not", ({
    get
  }, session) =>
    Effect.gen(function* () {
      yield* session.setLimits({ downloads: 1 })
      yield* add(session, { bytesPerSecond: 20_000 })
      const first = yield* get(pathOf(film), { headers: { ...bearer, range: "bytes=0-9" } })
      yield* session.add(fileOf(other))

      const { bytes, status } = yield* get(
        pathOf(0)
          .replace(InfoHash.toHex(infoHash), InfoHash.toHex(other.metainfo.infoHash))
          .replace(/content.*/, "content/")
      )

      assert.strictEqual(first.status, 206)
      const { _tag, message } = JSON.parse(bytes.toString())
      assert.deepStrictEqual([status, _tag], [409, "piecewise/TorrentNotReady"])
      assert.include(message, "it waits in the queue")
    }))
})
