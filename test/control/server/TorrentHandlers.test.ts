import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as MemorySessionStore from "../../../src/session/provider/memory/MemorySessionStore.ts"
import { NotOpened, PathRefused } from "../../../src/session/Session.ts"
import { StoreFull } from "../../../src/session/SessionStore.ts"
import type { SessionTorrent } from "../../../src/session/SessionTorrent.ts"
import { DiskFull, FileExists, StorageError } from "../../../src/storage/Storage.ts"
import * as PeerBehaviour from "../../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../../src/testing/TestEngine.ts"
import { RemovalFailed } from "../../../src/torrent/TorrentStopped.ts"
import { other, small } from "../../simulation/torrents.ts"
import { nameOf, type Sent, test, until } from "./serving.ts"

const params = { infoHash: small.metainfo.infoHash }
const hex = InfoHash.toHex(params.infoHash)
const unknown = InfoHash.fromHex("00".repeat(20))!
const magnetHash = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
const magnet = `magnet:?xt=urn:btih:${magnetHash}&dn=A+film`
const post = (body?: unknown): Sent => ({ method: "POST", body })

/** What an answer is to a client that reads it by its form. */
const outcome = ({
  json,
  status
}: {
  readonly status: number
  readonly json: { readonly _tag?: string } | undefined
}) => (json?._tag === undefined ? status : `${status} ${json._tag}`)

describe("adding a torrent", () => {
  test("takes its file in base64, with all that can be said about it", ({ client, session }) =>
    Effect.gen(function* () {
      const added = yield* client.torrents.add({
        payload: {
          source: { _tag: "Metainfo", bytes: small.bytes },
          folder: "films",
          labels: ["one", "two"],
          isPaused: true,
          files: ["skip", "normal", "high"],
          options: { goal: { ratio: 2, time: Duration.hours(1) }, order: "sequential", maxConnections: 7 }
        }
      })
      assert.deepInclude(added, { infoHash: params.infoHash, name: "known", labels: ["one", "two"] })
      assert.deepStrictEqual(nameOf(added.state), "Paused")
      const { options } = yield* (yield* session.get(params.infoHash)).status
      assert.deepStrictEqual(options.goal, { ratio: 2, time: Duration.hours(1) })
      assert.deepInclude(options, { folder: "films", order: "sequential", maxConnections: 7 })
      const files = yield* client.torrents.files({ params })
      assert.deepStrictEqual(
        files.map(({ priority }) => priority),
        ["skip", "normal", "high"]
      )
      yield* client.torrents.add({
        payload: { source: { _tag: "Metainfo", bytes: other.bytes }, isPaused: true, place: "first" }
      })
      const { torrents } = yield* session.list
      assert.deepStrictEqual(
        torrents.map(({ name }) => name),
        ["other", "known"]
      )
    }))

  test("takes a magnet link, and answers with 201", ({ send }) =>
    Effect.gen(function* () {
      const { json, status } = yield* send("/v1/torrents", post({ source: { _tag: "Magnet", link: magnet } }))
      assert.deepStrictEqual([status, json.infoHash, json.name], [201, magnetHash, "A film"])
    }))

  test(
    "fetches a URL, and follows it to a magnet link",
    ({ client, send }) =>
      Effect.gen(function* () {
        const add = (url: string) => post({ source: { _tag: "Url", url } })
        assert.strictEqual((yield* send("/v1/torrents", add("https://a.example/file"))).json.infoHash, hex)
        assert.strictEqual((yield* send("/v1/torrents", add("HTTPS://a.example/magnet"))).json.infoHash, magnetHash)
        for (const path of ["page", "nothing"]) {
          const failed = yield* send("/v1/torrents", add(`https://a.example/${path}`))
          assert.strictEqual(outcome(failed), "502 piecewise/SourceUnavailable")
        }
        for (const url of [
          "file:///etc/passwd",
          "ftp://a.example/",
          "x",
          "javascript:alert(1)",
          ` http://a.example/`
        ]) {
          assert.strictEqual(outcome(yield* send("/v1/torrents", add(url))), "400 piecewise/RequestRefused", url)
        }
        assert.strictEqual((yield* client.torrents.list({ query: {} })).total, 2)
      }),
    {
      web: (url) => {
        if (url.endsWith("/file")) return new Response(new Uint8Array(small.bytes))
        if (url.endsWith("/magnet")) return new Response(null, { status: 302, headers: { location: magnet } })
        return new Response("<html>", { status: url.endsWith("/page") ? 200 : 404 })
      }
    }
  )

  test("takes a file as it is, with one label or several in the query", ({ client, send, session }) =>
    Effect.gen(function* () {
      const file = (query: string, body: Uint8Array | string = small.bytes) =>
        send(`/v1/torrents/file?${query}`, {
          method: "POST",
          headers: { "content-type": "application/x-bittorrent" },
          body
        })
      assert.deepStrictEqual((yield* file("labels=one&isPaused=true&folder=films&place=first")).json.labels, ["one"])
      const { folder } = (yield* (yield* session.get(params.infoHash)).status).options
      assert.strictEqual(folder, "films")
      assert.strictEqual(outcome(yield* file("labels=one")), "409 piecewise/TorrentExists")
      yield* client.torrents.remove({ params, query: {} })
      assert.deepStrictEqual((yield* file("labels=one&labels=two")).json.labels, ["one", "two"])
      yield* client.torrents.remove({ params, query: {} })
      const added = yield* client.torrents.addFile({ query: { labels: ["a"], isPaused: true }, payload: small.bytes })
      assert.deepStrictEqual([added.labels, nameOf(added.state)], [["a"], "Paused"])
      for (const query of ["labels=a%2Fb", "labels=", "folder=..%2Fx", "isPaused=2", "place=middle"]) {
        assert.strictEqual(outcome(yield* file(query)), "400 piecewise/RequestRefused", query)
      }
      assert.strictEqual(outcome(yield* file("", "no torrent")), "422 piecewise/SourceRefused")
    }))

  test("says which torrent is there already, and what is wrong with others", ({ add, client, send }) =>
    Effect.gen(function* () {
      yield* add(small)
      const error = yield* Effect.flip(
        client.torrents.add({ payload: { source: { _tag: "Metainfo", bytes: small.bytes } } })
      )
      assert.strictEqual(error._tag, "piecewise/TorrentExists")
      if (error._tag === "piecewise/TorrentExists") assert.deepStrictEqual(error.infoHash, params.infoHash)
      const source = (source: unknown, rest: object = {}) => send("/v1/torrents", post({ source, ...rest }))
      const bytes = { _tag: "Metainfo", bytes: Buffer.from(other.bytes).toString("base64") }
      const answers = [
        yield* source({ _tag: "Magnet", link: "magnet:?dn=x" }),
        yield* source({ _tag: "Magnet", link: `magnet:?xt=urn:btmh:1220${"ab".repeat(32)}` }),
        yield* source({ _tag: "Metainfo", bytes: "AAAA" }),
        yield* source({ _tag: "Metainfo", bytes: "?" }),
        yield* source({ _tag: "Path", path: "/etc/passwd" }),
        yield* source(bytes, { folder: "../x" }),
        yield* source(bytes, { labels: ["a\nb"] }),
        yield* source(bytes, { labels: Array.from({ length: 101 }, (_, index) => `${index}`) }),
        yield* source(bytes, { options: { goal: { ratio: 0 } } }),
        yield* source(bytes, { options: { maxConnections: 0 } }),
        yield* source(bytes, { files: ["maybe"] })
      ]
      assert.deepStrictEqual(answers.map(outcome), [
        "422 piecewise/SourceRefused",
        "422 piecewise/SourceRefused",
        "422 piecewise/SourceRefused",
        ...Array.from({ length: 8 }, () => "400 piecewise/RequestRefused")
      ])
      for (const { json } of answers) assert.match(json.message, /\S/)
    }))
})

describe("the list of torrents", () => {
  test("has pages, and says what has changed since a revision", ({ add, client }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true })
      yield* add(other, { isPaused: true, labels: ["b"] })
      const list = (query: Parameters<typeof client.torrents.list>[0]["query"]) => client.torrents.list({ query })
      const { revision, torrents, total } = yield* list({ limit: 1, offset: 1 })
      assert.deepStrictEqual([torrents.map(({ name }) => name), total], [["other"], 2])
      const found = yield* list({ label: "b", kind: "paused", search: "OTH", sort: "name", order: "descending" })
      assert.deepStrictEqual(
        found.torrents.map(({ name }) => name),
        ["other"]
      )

      const none = yield* client.torrents.changes({ query: { since: revision } })
      assert.deepStrictEqual([none.isAll, none.torrents.length, none.removed], [false, 0, []])
      yield* client.torrents.update({ params, payload: { labels: ["new"] } })
      yield* client.torrents.remove({ params: { infoHash: other.metainfo.infoHash }, query: {} })
      const some = yield* client.torrents.changes({ query: { since: revision } })
      assert.deepStrictEqual(
        [some.isAll, some.torrents.map(({ labels }) => labels), some.removed],
        [false, [["new"]], [other.metainfo.infoHash]]
      )
      const later = yield* client.torrents.changes({ query: { since: some.revision } })
      assert.deepStrictEqual([later.isAll, later.torrents.length, later.removed], [false, 0, []])
      for (const since of ["", "x", "another.7", `${revision}0`, "9".repeat(1_000)]) {
        const all = yield* client.torrents.changes({ query: { since } })
        assert.deepStrictEqual([all.isAll, all.torrents.length, all.removed], [true, 1, []], since)
      }
    }))

  test("refuses what is no part of it", ({ send }) =>
    Effect.gen(function* () {
      for (const query of ["limit=0", "limit=1001", "limit=1.5", "offset=-1", "sort=colour", "order=up", "kind=x"]) {
        assert.strictEqual(outcome(yield* send(`/v1/torrents?${query}`)), "400 piecewise/RequestRefused", query)
      }
      assert.strictEqual(outcome(yield* send(`/v1/torrents?search=${"x".repeat(257)}`)), "400 piecewise/RequestRefused")
      assert.strictEqual(outcome(yield* send("/v1/torrents/changes")), "400 piecewise/RequestRefused")
    }))
})

describe("a torrent", () => {
  test("is shown as it is, while it downloads and when it is paused", ({ add, client }) =>
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, { bytesPerSecond: 400_000 }))
      const torrent = yield* add(small)
      yield* until(torrent, "Active Downloading")
      const [peer] = yield* Effect.delay(client.torrents.peers({ params }), "1 second")
      assert.deepInclude(peer, { isSeed: true })
      yield* until(torrent, "Active Complete")
      const { engine, metainfo, torrent: status } = yield* client.torrents.get({ params })
      assert.deepInclude(metainfo, { name: "known", pieces: 20, totalBytes: 1_265_185 })
      assert.deepInclude(engine, { storedPieces: 20, missingBytes: 0 })
      assert.strictEqual(nameOf(status.state), "Active Complete")
      const { sources, trackers } = yield* client.torrents.trackers({ params })
      assert.deepStrictEqual([sources.map(({ source }) => source), trackers], [["the simulated world"], []])
      const { stored, ...pieces } = yield* client.torrents.pieces({ params })
      assert.deepStrictEqual(pieces, { pieceLength: 65_536, totalPieces: 20, storedPieces: 20 })
      assert.deepStrictEqual([...stored], [255, 255, 0b1111_0000])
      assert.deepStrictEqual(yield* client.torrents.metainfo({ params }), small.bytes)

      yield* client.torrents.pause({ params })
      const paused = yield* client.torrents.get({ params })
      assert.deepStrictEqual([nameOf(paused.torrent.state), paused.engine], ["Paused", undefined])
      assert.deepStrictEqual(yield* client.torrents.peers({ params }), [])
      assert.deepStrictEqual((yield* client.torrents.trackers({ params })).sources, [])
      assert.isTrue((yield* client.torrents.files({ params })).every(({ isComplete }) => isComplete))
      assert.strictEqual((yield* client.torrents.pieces({ params })).storedPieces, 20)
    }))

  test("is resumed, rechecked and moved in the queue", ({ add, client, send, session }) =>
    Effect.gen(function* () {
      yield* add(small)
      const torrent = yield* add(other, { isPaused: true })
      yield* client.torrents.resume({ params: { infoHash: torrent.infoHash }, payload: { startOver: true } })
      yield* until(torrent, "Active Downloading")
      yield* client.torrents.pause({ params })
      for (const body of [undefined, {}, null]) {
        assert.strictEqual((yield* send(`/v1/torrents/${hex}/resume`, post(body))).status, 204)
      }
      assert.notStrictEqual(nameOf((yield* (yield* session.get(params.infoHash)).status).state), "Paused")
      assert.strictEqual((yield* send(`/v1/torrents/${hex}/recheck`, post())).status, 202)
      const names = Effect.map(session.list, ({ torrents }) => torrents.map(({ name }) => name))
      yield* client.torrents.move({ params, payload: { place: "last" } })
      assert.deepStrictEqual(yield* names, ["other", "known"])
      yield* client.torrents.move({ params, payload: { place: { before: torrent.infoHash } } })
      assert.deepStrictEqual(yield* names, ["known", "other"])
    }))

  test("has its options changed one by one, and null is the default", ({ add, client, send }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true, options: {} } as never)
      const change = (options: unknown) =>
        Effect.map(send(`/v1/torrents/${hex}`, { method: "PATCH", body: { options } }), ({ json }) => json.options)
      const changed = yield* client.torrents.update({
        params,
        payload: {
          options: {
            goal: { ratio: 1.5, time: Duration.minutes(2) },
            limits: { downloadBytesPerSecond: 1_000.5 },
            superSeed: true,
            webSeeds: false
          }
        }
      })
      assert.deepStrictEqual(changed.options.goal, { ratio: 1.5, time: Duration.minutes(2) })
      assert.deepStrictEqual(changed.options.limits?.downloadBytesPerSecond, 1_000)
      const one = yield* change({ goal: null })
      assert.deepStrictEqual([one.goal, one.limits.downloadBytesPerSecond, one.superSeed], [null, 1_000, true])
      assert.deepStrictEqual(yield* change({}), one)
      assert.deepStrictEqual((yield* change({ goal: { seconds: 60 } })).goal, { ratio: null, seconds: 60 })
      const none = yield* change({ goal: null, limits: null, superSeed: null, webSeeds: null })
      assert.deepStrictEqual(
        Object.values(none).filter((value) => value !== null),
        []
      )
      const folder = yield* send(`/v1/torrents/${hex}`, { method: "PATCH", body: { options: { folder: "/x" } } })
      assert.strictEqual(folder.json.options.folder, null)
    }))

  test("keeps its labels if its options are not possible", ({ add, send, session }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true, labels: ["kept"] })
      for (const body of [
        { labels: ["new"], options: { goal: { ratio: -1 } } },
        { labels: ["new", "a/b"], options: { maxConnections: 5 } },
        { labels: "new" }
      ]) {
        const answer = yield* send(`/v1/torrents/${hex}`, { method: "PATCH", body })
        assert.strictEqual(outcome(answer), "400 piecewise/RequestRefused")
      }
      const { labels, options } = yield* (yield* session.get(params.infoHash)).status
      assert.deepStrictEqual([labels, options.maxConnections], [["kept"], undefined])
    }))

  test("has its files chosen by several clients at once, each of which says only what it wants", ({ add, client }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true })
      const wanted = ["skip", "high", "skip"] as const
      yield* Effect.forEach(
        wanted,
        (priority, index) => client.torrents.setFiles({ params, payload: { files: [{ index, priority }] } }),
        { concurrency: "unbounded" }
      )
      const files = yield* client.torrents.files({ params })
      assert.deepStrictEqual(
        files.map(({ priority }) => priority),
        [...wanted]
      )
    }))

  test("has its files chosen and renamed", ({ add, client, send }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true })
      yield* client.torrents.setFiles({ params, payload: { files: [{ index: 0, priority: "skip" }] } })
      yield* client.torrents.setFiles({ params, payload: { files: [{ index: 2, priority: "high" }] } })
      yield* client.torrents.renameFile({ params: { ...params, file: 2 }, payload: { path: ["known", "new.bin"] } })
      const files = yield* client.torrents.files({ params })
      assert.deepStrictEqual(
        files.map(({ path, priority }) => [path, priority]),
        [
          ["known/a.bin", "skip"],
          ["known/empty", "normal"],
          ["known/new.bin", "high"]
        ]
      )
      const rename = (file: string | number, path: unknown) =>
        Effect.map(send(`/v1/torrents/${hex}/files/${file}/path`, post({ path })), outcome)
      assert.strictEqual(yield* rename(9, ["x"]), "404 piecewise/FileNotFound")
      assert.strictEqual(yield* rename("-1", ["x"]), "400 piecewise/RequestRefused")
      assert.strictEqual(yield* rename("x", ["x"]), "400 piecewise/RequestRefused")
      assert.strictEqual(yield* rename(0, []), "400 piecewise/RequestRefused")
      assert.strictEqual(yield* rename(0, ["known", "new.bin"]), "409 piecewise/PathTaken")
      const choose = (files: unknown) =>
        Effect.map(send(`/v1/torrents/${hex}/files`, { method: "PATCH", body: { files } }), outcome)
      assert.strictEqual(yield* choose([{ index: 3, priority: "skip" }]), "404 piecewise/FileNotFound")
      assert.strictEqual(yield* choose([{ index: 0, priority: "never" }]), "400 piecewise/RequestRefused")
      assert.strictEqual((yield* client.torrents.files({ params }))[0]?.priority, "skip")
    }))

  test("is removed, also with its files", ({ add, client }) =>
    Effect.gen(function* () {
      yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
      const { medium } = yield* TestEngine.TestEngine
      yield* until(yield* add(small), "Active Complete")
      assert.deepStrictEqual(yield* client.torrents.remove({ params, query: { data: true } }), { keptPaths: [] })
      assert.isFalse(medium.torrent(small.metainfo.layout).isWhole)
      const again = yield* Effect.flip(client.torrents.remove({ params, query: {} }))
      assert.strictEqual(again._tag, "piecewise/TorrentNotFound")
    }))

  test("takes addresses of peers while it is active", ({ add, client, send }) =>
    Effect.gen(function* () {
      const torrent = yield* add(small, { isPaused: true })
      const payload = { addresses: [{ host: "192.0.2.1", port: 6_881 }] }
      const error = yield* Effect.flip(client.torrents.addPeers({ params, payload }))
      assert.strictEqual(error._tag, "piecewise/TorrentNotReady")
      yield* torrent.resume()
      yield* until(torrent, "Active Downloading")
      yield* client.torrents.addPeers({ params, payload })
      for (const addresses of [["192.0.2.1"], ["x:99999"], Array.from({ length: 1_001 }, () => "192.0.2.1:1")]) {
        const answer = yield* send(`/v1/torrents/${hex}/peers`, post({ addresses }))
        assert.strictEqual(outcome(answer), "400 piecewise/RequestRefused")
      }
    }))

  test("says that its metadata is not known yet", ({ send, session }) =>
    Effect.gen(function* () {
      yield* session.add({ magnet })
      const path = `/v1/torrents/${magnetHash}`
      for (const part of ["files", "pieces", "metainfo"]) {
        assert.strictEqual(outcome(yield* send(`${path}/${part}`)), "409 piecewise/TorrentNotReady", part)
      }
      assert.strictEqual(outcome(yield* send(`${path}/recheck`, post())), "409 piecewise/TorrentNotReady")
      assert.strictEqual(
        outcome(yield* send(`${path}/files/0/path`, post({ path: ["x"] }))),
        "409 piecewise/TorrentNotReady"
      )
      assert.strictEqual((yield* send(path)).json.metainfo, null)
      assert.deepStrictEqual((yield* send(`${path}/trackers`)).json.trackers, [])
    }))
})

/** An operation on a torrent, and which function of the session it fails with. */
const operations: ReadonlyArray<readonly [member: keyof SessionTorrent, method: string, path: string, body?: unknown]> =
  [
    ["status", "GET", ""],
    ["setLabels", "PATCH", "", { labels: ["a"] }],
    ["setOptions", "PATCH", "", { options: {} }],
    ["remove", "DELETE", ""],
    ["pause", "POST", "/pause"],
    ["resume", "POST", "/resume", {}],
    ["metainfo", "POST", "/recheck"],
    ["move", "POST", "/position", { place: "first" }],
    ["moveTo", "POST", "/folder", {}],
    ["files", "GET", "/files"],
    ["setFiles", "PATCH", "/files", { files: [] }],
    ["renameFile", "POST", "/files/0/path", { path: ["x"] }],
    ["torrent", "GET", "/peers"],
    ["torrent", "POST", "/peers", { addresses: [] }],
    ["metainfo", "GET", "/trackers"],
    ["stored", "GET", "/pieces"],
    ["metainfo", "GET", "/metainfo"]
  ]

const storage = (reason: StorageError["reason"]) => new StorageError({ operation: "write", reason, others: [] })

/** What fails, with which error, and what a client sees. */
const failures: ReadonlyArray<readonly [members: ReadonlyArray<string>, error: unknown, outcome: string]> = [
  [
    ["metainfo", "files", "stored", "remove", "setFiles", "renameFile", "moveTo"],
    new NotOpened({ ...params, why: "it does not open" }),
    "409 piecewise/TorrentNotReady"
  ],
  [["renameFile"], new PathRefused({ path: ["x"], why: "It is taken." }), "409 piecewise/PathTaken"],
  [["renameFile", "setFiles", "moveTo"], storage(new FileExists({ path: "x" })), "409 piecewise/PathTaken"],
  [["renameFile", "setFiles", "moveTo"], storage(new DiskFull({ path: "x" })), "503 piecewise/DiskFailed"],
  [
    ["remove"],
    new RemovalFailed({ ...params, error: storage(new DiskFull({ path: "x" })) }),
    "503 piecewise/DiskFailed"
  ]
]

describe("the errors of operations on a torrent", () => {
  test("that is not there", ({ send }) =>
    Effect.gen(function* () {
      for (const [, method, path, body] of [...operations, ["status", "POST", "/link"] as const]) {
        const answer = yield* send(`/v1/torrents/${InfoHash.toHex(unknown)}${path}`, { method, body })
        assert.strictEqual(outcome(answer), "404 piecewise/TorrentNotFound", `${method} ${path}`)
        assert.strictEqual(answer.json.infoHash, InfoHash.toHex(unknown))
        const malformed = yield* send(`/v1/torrents/${hex.slice(1)}${path}`, { method, body })
        assert.strictEqual(outcome(malformed), "400 piecewise/RequestRefused", `${method} ${path}`)
      }
    }))

  test("whose change cannot be saved", ({ add, send, session }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true })
      const { fail } = yield* MemorySessionStore.MemorySessionStore
      fail(new StoreFull({ path: "session.db" }))
      const saving: ReadonlyArray<readonly [string, string, unknown?]> = [
        ["PATCH", `/${hex}`, { labels: ["a"] }],
        ["PATCH", `/${hex}`, { options: { order: "sequential" } }],
        ["DELETE", `/${hex}`],
        ["POST", `/${hex}/resume`, {}],
        ["POST", `/${hex}/position`, { place: "first" }],
        ["GET", `/${hex}/metainfo`],
        ["POST", "", { source: { _tag: "Magnet", link: magnet } }]
      ]
      for (const [method, path, body] of saving) {
        const answer = yield* send(`/v1/torrents${path}`, { method, body })
        assert.strictEqual(outcome(answer), "503 piecewise/StoreFailed", `${method} ${path}`)
        assert.include(answer.json.message, "the disk is full")
      }
      fail(undefined)
      const [status] = (yield* session.list).torrents
      assert.deepStrictEqual([status?.labels, status && nameOf(status.state)], [[], "Paused"])
    }))

  for (const [members, error, expected] of failures) {
    test(
      `${(error as Error).message}: ${expected}`,
      ({ add, send }) =>
        Effect.gen(function* () {
          yield* add(small, { isPaused: true })
          for (const [member, method, path, body] of operations) {
            if (!members.includes(member)) continue
            const answer = yield* send(`/v1/torrents/${hex}${path}`, { method, body })
            assert.strictEqual(outcome(answer), expected, `${method} ${path}`)
            assert.include(answer.json.message, (error as Error).message)
          }
        }),
      {
        session: (session) => ({
          ...session,
          get: (infoHash) =>
            Effect.map(session.get(infoHash), (torrent) => {
              const failing = (member: string) => {
                const isEffect = Effect.isEffect(torrent[member as keyof SessionTorrent])
                return isEffect ? Effect.fail(error) : () => Effect.fail(error)
              }
              return Object.assign({}, torrent, Object.fromEntries(members.map((name) => [name, failing(name)])))
            })
        })
      }
    )
  }
})
