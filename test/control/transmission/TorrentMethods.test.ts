import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as PeerBehaviour from "../../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../../src/testing/TestEngine.ts"
import { fileOf, inEngine, test, until } from "../../session/sessions.ts"
import { other, small } from "../../simulation/torrents.ts"
import * as Rpc from "./rpc.ts"

const hash = InfoHash.toHex(small.metainfo.infoHash)
const otherHash = InfoHash.toHex(other.metainfo.infoHash)
const inBase64 = (known: typeof small) => Base64.encode(fileOf(known).metainfo)
const join = TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
const magnet = `magnet:?xt=urn:btih:${hash}&dn=A+film`

type Client = Parameters<Parameters<typeof Rpc.withRpc>[0]>[0]

/** Adds the first torrent paused. */
const add = ({ ask }: Client, more: object = {}) =>
  ask("torrent-add", { metainfo: inBase64(small), paused: true, ...more })

describe("torrent-add", () => {
  test(
    "adds a torrent file, and says so if it is there already",
    Rpc.withRpc(({ ask, call, fields }) =>
      Effect.gen(function* () {
        const added = yield* ask("torrent-add", {
          metainfo: inBase64(small),
          paused: true,
          labels: ["a", "b"],
          "peer-limit": 7
        })
        const again = yield* ask("torrent-add", { metainfo: inBase64(small) })
        const one = { id: 1, name: "known", hashString: hash }

        assert.deepStrictEqual(added, { "torrent-added": one })
        assert.deepStrictEqual(again, { "torrent-duplicate": one })
        assert.deepStrictEqual(yield* fields(1, "labels", "status", "peer-limit", "downloadDir", "totalSize"), {
          labels: ["a", "b"],
          status: 0,
          "peer-limit": 7,
          downloadDir: "/downloads",
          totalSize: small.metainfo.layout.geometry.totalLength
        })
        assert.strictEqual((yield* call("torrent-add", { metainfo: "!" })).result, "metainfo: this is not base64")
        assert.match((yield* call("torrent-add", { metainfo: "AAAA" })).result, /^this is not a torrent file/)
      })
    )
  )

  test(
    "adds a magnet link or an info hash, whose files become known later",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { ask, call, fields } = client
        const added = yield* ask("torrent-add", { filename: magnet, "download-dir": "/else where" })
        yield* Effect.sleep("1 second")
        const before = yield* fields(
          hash,
          "metadataPercentComplete",
          "files",
          "status",
          "downloadDir",
          "name",
          "uploadRatio"
        )
        const early = yield* call("torrent-set", { ids: hash, "files-wanted": [0] })
        yield* ask("torrent-add", { filename: otherHash.toUpperCase() })
        yield* join
        yield* until(yield* session.get(small.metainfo.infoHash), "Active Complete")

        assert.strictEqual(added["torrent-added"].name, "A film")
        assert.deepStrictEqual(before, {
          metadataPercentComplete: 0,
          files: [],
          status: 4,
          downloadDir: "/else where",
          name: "A film",
          uploadRatio: -1
        })
        assert.strictEqual(early.result, "the files of the torrent are not known yet")
        assert.deepInclude(yield* fields(hash, "metadataPercentComplete", "name"), {
          metadataPercentComplete: 1,
          name: "known"
        })
        assert.strictEqual((yield* fields(otherHash, "hashString")).hashString, otherHash)
        assert.strictEqual(
          (yield* call("torrent-add", { filename: magnet, "files-unwanted": [0] })).result,
          "the files of a magnet link are not known yet: choose them with torrent-set later"
        )
      })
    )
  )

  const page: Rpc.Web = (url) => {
    if (url.endsWith("/link"))
      return new Response(null, { status: 302, headers: { location: `${magnet}&x.pe=127.0.0.1:22` } })
    return url.endsWith("/t") ? new Response(Uint8Array.from(fileOf(other).metainfo)) : new Response("<html>")
  }

  test(
    "fetches a URL, and follows its redirect to a magnet link",
    Rpc.withRpc(
      ({ ask, call }) =>
        Effect.gen(function* () {
          const file = yield* ask("torrent-add", { filename: "https://a.example/t", paused: true })
          const link = yield* ask("torrent-add", { filename: "https://a.example/link", paused: true })
          const bad = yield* call("torrent-add", { filename: "https://a.example/page" })

          assert.strictEqual(file["torrent-added"].hashString, otherHash)
          assert.strictEqual(link["torrent-added"].hashString, hash)
          assert.strictEqual(bad.result, "https://a.example/page: the server sent a web page, not a torrent file")
        }),
      { web: page }
    )
  )

  test(
    "starts torrents or not as was chosen, and chooses files",
    Rpc.withRpc(({ ask, call, fields }) =>
      Effect.gen(function* () {
        yield* ask("session-set", { "start-added-torrents": false })
        yield* ask("torrent-add", { metainfo: inBase64(small), "files-unwanted": [1, 2], "priority-high": [0] })
        const bad = yield* call("torrent-add", { metainfo: inBase64(other), "files-wanted": [1] })

        assert.deepStrictEqual(yield* fields(1, "status", "wanted", "priorities"), {
          status: 0,
          wanted: [1, 0, 0],
          priorities: [1, 0, 0]
        })
        assert.strictEqual(bad.result, "there is no file 1: the torrent has 1")
      })
    )
  )

  test(
    "refuses what it cannot do",
    Rpc.withRpc(({ call }) =>
      Effect.gen(function* () {
        const file = { metainfo: inBase64(small) }
        const results = yield* Effect.forEach(
          [
            {},
            { filename: " " },
            { ...file, cookies: "a=b" },
            { ...file, bandwidthPriority: 1 },
            { ...file, "download-dir": "x" },
            { ...file, "download-dir": "/a/../b" },
            { ...file, "priority-low": [0] },
            { ...file, labels: ["a/b"] }
          ],
          (given) => Effect.map(call("torrent-add", given), ({ result }) => result)
        )

        assert.deepStrictEqual(results, [
          "no filename or metainfo specified",
          "no filename or metainfo specified",
          "cookies are not sent: give the torrent file itself",
          "torrents have no bandwidth priority here",
          "download-dir: the path is not absolute",
          "folder cannot be used: Expected a folder without .. in its path",
          "a file cannot have a low priority here: it is wanted or not, and normal or high",
          "labels.0 cannot be used: Expected text without /"
        ])
      })
    )
  )
})

describe("torrent-get", () => {
  test(
    "selects torrents by number, by info hash, or all, and leaves out what is not there",
    Rpc.withRpc((client) =>
      Effect.gen(function* () {
        yield* add(client)
        yield* client.ask("torrent-add", { metainfo: inBase64(other), paused: true })
        const idsOf = (ids?: unknown) =>
          Effect.map(client.ask("torrent-get", { ids, fields: ["id"] }), ({ torrents }) =>
            torrents.map(({ id }: { id: number }) => id)
          )

        assert.deepStrictEqual(yield* idsOf(), [1, 2])
        assert.deepStrictEqual(yield* idsOf(2), [2])
        assert.deepStrictEqual(yield* idsOf([2, hash, 9, "recently-active"]), [1, 2])
        assert.deepStrictEqual(yield* idsOf(hash.toUpperCase()), [1])
        assert.deepStrictEqual(yield* idsOf([]), [])
        assert.deepStrictEqual(yield* idsOf("recently-active"), [1, 2])
      })
    )
  )

  test(
    "gives the same values as objects and as a table, without names that nobody knows",
    Rpc.withRpc((client) =>
      Effect.gen(function* () {
        yield* add(client)
        const fields = ["id", "nothing", "name", "constructor", "name"]

        assert.deepStrictEqual((yield* client.ask("torrent-get", { fields })).torrents, [{ id: 1, name: "known" }])
        assert.deepStrictEqual((yield* client.ask("torrent-get", { fields, format: "table" })).torrents, [
          ["id", "name"],
          [1, "known"]
        ])
      })
    )
  )

  test(
    "tells those that have changed or gone within a minute, and gives a number once",
    Rpc.withRpc((client) =>
      Effect.gen(function* () {
        const { ask } = client
        const recent = () => ask("torrent-get", { ids: "recently-active", fields: ["id"] })
        yield* add(client)
        yield* ask("torrent-add", { metainfo: inBase64(other), paused: true })
        const first = yield* recent()
        yield* Effect.sleep("61 seconds")
        const idle = yield* recent()
        yield* ask("torrent-set", { ids: 2, labels: ["x"] })
        yield* ask("torrent-remove", { ids: 1 })
        const changed = yield* recent()
        yield* add(client)
        const again = yield* recent()
        yield* Effect.sleep("61 seconds")

        assert.deepStrictEqual(first, { torrents: [{ id: 1 }, { id: 2 }], removed: [] })
        assert.deepStrictEqual(idle, { torrents: [], removed: [] })
        assert.deepStrictEqual(changed, { torrents: [{ id: 2 }], removed: [1] })
        assert.deepStrictEqual(again, { torrents: [{ id: 2 }, { id: 3 }], removed: [1] })
        assert.deepStrictEqual(yield* recent(), { torrents: [], removed: [] })
      })
    )
  )

  test(
    "tells the state, files, pieces and trackers of a torrent that downloads, seeds and is paused",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { ask, fields } = client
        // The clock begins in 1970.
        yield* Effect.sleep("1 minute")
        yield* join
        yield* ask("torrent-add", { metainfo: inBase64(small) })
        const torrent = yield* session.get(small.metainfo.infoHash)
        const queued = yield* fields(1, "status", "leftUntilDone", "percentDone", "doneDate", "eta")
        yield* until(torrent, "Active Complete")
        const names = [
          "status",
          "leftUntilDone",
          "percentDone",
          "percentComplete",
          "haveValid",
          "files",
          "fileStats",
          "pieces",
          "pieceCount",
          "isFinished",
          "downloadedEver",
          "errorString",
          "error"
        ]
        const seeding = yield* fields(1, ...names)
        const { peers, peersConnected } = yield* fields(1, "peers", "peersConnected")
        const { doneDate } = yield* fields(1, "doneDate")
        yield* ask("torrent-stop", { ids: [1] })
        const paused = yield* fields(1, ...names)
        const { layout } = small.metainfo
        const { totalLength } = layout.geometry

        assert.deepStrictEqual(queued, { status: 3, leftUntilDone: totalLength, percentDone: 0, doneDate: 0, eta: -1 })
        assert.deepInclude(seeding, {
          status: 6,
          leftUntilDone: 0,
          percentDone: 1,
          percentComplete: 1,
          haveValid: totalLength,
          pieceCount: 20,
          isFinished: false,
          error: 0,
          errorString: ""
        })
        assert.deepStrictEqual(seeding.files, [
          { name: "known/a.bin", length: 500_000, bytesCompleted: 500_000, beginPiece: 0, endPiece: 8 },
          { name: "known/empty", length: 0, bytesCompleted: 0, beginPiece: 7, endPiece: 7 },
          {
            name: "known/b/c.bin",
            length: totalLength - 500_000,
            bytesCompleted: totalLength - 500_000,
            beginPiece: 7,
            endPiece: 20
          }
        ])
        assert.deepStrictEqual(seeding.pieces, "///w")
        assert.isAtLeast(seeding.downloadedEver, totalLength)
        assert.isAbove(doneDate, 0)
        assert.strictEqual(peers.length, peersConnected)
        assert.deepStrictEqual(paused, { ...seeding, status: 0 })
      })
    )
  )
})

describe("actions of the Transmission RPC", () => {
  test(
    "start, stop and verify torrents",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { ask, call } = client
        yield* join
        yield* add(client)
        const torrent = yield* session.get(small.metainfo.infoHash)
        yield* ask("torrent-start", { ids: [1] })
        yield* until(torrent, "Active Complete")
        yield* ask("torrent-stop")
        assert.deepStrictEqual(yield* inEngine, [])
        yield* ask("torrent-verify", { ids: hash })
        yield* ask("torrent-start-now", { ids: hash })
        yield* until(torrent, "Active Complete")
        yield* ask("torrent-add", { filename: `magnet:?xt=urn:btih:${otherHash}`, paused: true })
        assert.match(
          (yield* call("torrent-verify", { ids: otherHash })).result,
          /^the metadata of the torrent is not known/
        )
      })
    )
  )

  test(
    "remove torrents, with their files or without",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { ask } = client
        const { medium } = yield* TestEngine.TestEngine
        yield* join
        yield* ask("torrent-add", { metainfo: inBase64(small) })
        yield* until(yield* session.get(small.metainfo.infoHash), "Active Complete")
        yield* ask("torrent-remove", { ids: [] })
        const kept = (yield* ask("torrent-get", { fields: ["id"] })).torrents
        yield* ask("torrent-remove", { ids: [1] })
        const files = medium.paths()
        yield* ask("torrent-add", { metainfo: inBase64(small) })
        yield* until(yield* session.get(small.metainfo.infoHash), "Active Complete")
        yield* ask("torrent-remove", { ids: "recently-active", "delete-local-data": true })

        assert.strictEqual(kept.length, 1)
        assert.isAbove(files.length, 0)
        assert.deepStrictEqual(medium.paths(), [])
        assert.deepStrictEqual((yield* session.list).torrents, [])
      })
    )
  )

  test(
    "say that a file of somebody else's was not deleted",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { medium } = yield* TestEngine.TestEngine
        medium.put("known/a.bin", new Uint8Array(7))
        yield* join
        yield* client.ask("torrent-add", { metainfo: inBase64(small) })
        yield* until(yield* session.get(small.metainfo.infoHash), "Failed")
        const failed = yield* client.fields(1, "status", "error", "errorString")
        const { result } = yield* client.call("torrent-remove", { ids: 1, "delete-local-data": true })

        assert.deepInclude(failed, { status: 0, error: 3 })
        assert.match(failed.errorString, /known\/a\.bin/)
        assert.strictEqual(result, "the torrent was removed, but not known/a.bin: it may be somebody else's")
        assert.deepStrictEqual((yield* session.list).torrents, [])
      })
    )
  )

  test(
    "move torrents to another folder",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { ask, call, fields } = client
        yield* ask("torrent-add", { filename: magnet, paused: true, "download-dir": "/downloads/" })
        const torrent = yield* session.get(small.metainfo.infoHash)
        yield* ask("torrent-set-location", { ids: 1, location: "/downloads/", move: true })
        const before = (yield* torrent.status).options.folder
        yield* ask("torrent-set-location", { ids: 1, location: "/else where/", move: true })
        const moved = yield* fields(1, "downloadDir")
        yield* ask("torrent-set", { ids: 1, location: "/downloads" })
        const back = (yield* torrent.status).options.folder
        const results = yield* Effect.forEach(
          [{ location: "x", move: true }, { location: "/x/../y", move: true }, { location: "/x" }, { move: true }],
          (given) => Effect.map(call("torrent-set-location", { ids: 1, ...given }), ({ result }) => result)
        )

        assert.deepStrictEqual([before, moved, back], [undefined, { downloadDir: "/else where" }, undefined])
        assert.strictEqual(results[0], "location: the path is not absolute")
        assert.match(results[1]!, /^folder cannot be used: /)
        assert.strictEqual(results[2], "the files of a torrent can be moved, but not looked for in another folder")
        assert.match(results[3]!, /^location: /)
      })
    )
  )

  test(
    "rename files, and all files in a folder",
    Rpc.withRpc((client) =>
      Effect.gen(function* () {
        const { ask, call, fields } = client
        yield* add(client)
        const renamed = yield* ask("torrent-rename-path", { ids: [1], path: "known/a.bin", name: "b.bin" })
        yield* ask("torrent-rename-path", { ids: [1], path: "known", name: "mine" })
        const { files } = yield* fields(1, "files")
        const results = yield* Effect.forEach(
          [
            { ids: [1], path: "nothing", name: "x" },
            { ids: [1], path: "mine/b.bin", name: "../x" },
            { ids: [9], path: "mine/b.bin", name: "x" },
            { ids: [1], path: "", name: "" }
          ],
          (given) => Effect.map(call("torrent-rename-path", given), ({ result }) => result)
        )

        assert.deepStrictEqual(renamed, { path: "known/a.bin", name: "b.bin", id: 1 })
        assert.deepStrictEqual(
          files.map(({ name }: { name: string }) => name),
          ["mine/b.bin", "mine/empty", "mine/b/c.bin"]
        )
        assert.deepStrictEqual(results.slice(2), [
          "exactly one torrent must be named",
          "the torrent has no file or folder "
        ])
        assert.strictEqual(results[0], "the torrent has no file or folder nothing")
        assert.match(results[1]!, /^mine\/\.\.\/x: /)
      })
    )
  )

  test(
    "refuse what does not exist here",
    Rpc.withRpc(({ call }) =>
      Effect.gen(function* () {
        for (const method of [
          "torrent-reannounce",
          "blocklist-update",
          "port-test",
          "group-set",
          "session-close",
          "free-space"
        ]) {
          const { result } = yield* call(method, { location: "/x", path: "/", name: "x" })
          assert.notStrictEqual(result, "success", method)
        }
        assert.deepStrictEqual((yield* call("group-get")).arguments, { group: [] })
      })
    )
  )
})

describe("torrent-set", () => {
  test(
    "changes limits, the seeding goal, labels, files and the order",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { ask, fields } = client
        yield* add(client)
        const changed = {
          downloadLimit: 100,
          downloadLimited: true,
          uploadLimit: 50,
          uploadLimited: true,
          seedRatioLimit: 1.5,
          seedRatioMode: 1,
          labels: ["x"],
          "peer-limit": 12,
          sequentialDownload: true
        }
        yield* ask("torrent-set", {
          ids: [1],
          ...changed,
          "files-unwanted": [0],
          "priority-high": [2],
          honorsSessionLimits: true,
          bandwidthPriority: 0,
          seedIdleMode: 2
        })
        const after = yield* fields(1, ...Object.keys(changed), "wanted", "priorities")
        const { options } = yield* (yield* session.get(small.metainfo.infoHash)).status
        yield* ask("torrent-set", {
          ids: [1],
          downloadLimited: false,
          seedRatioMode: 2,
          "files-wanted": [],
          "priority-normal": []
        })
        const lifted = yield* fields(1, "downloadLimited", "uploadLimited", "seedRatioMode", "wanted", "priorities")
        yield* ask("torrent-set", { ids: [1], seedRatioMode: 0 })

        assert.deepStrictEqual(after, { ...changed, wanted: [0, 1, 1], priorities: [0, 0, 1] })
        assert.deepStrictEqual(options.limits, { downloadBytesPerSecond: 100_000, uploadBytesPerSecond: 50_000 })
        assert.deepStrictEqual(lifted, {
          downloadLimited: false,
          uploadLimited: true,
          seedRatioMode: 2,
          wanted: [1, 1, 1],
          priorities: [0, 0, 0]
        })
        assert.deepStrictEqual(yield* fields(1, "seedRatioMode"), { seedRatioMode: 0 })
      })
    )
  )

  test(
    "refuses what it cannot do, and changes nothing then",
    Rpc.withRpc((client) =>
      Effect.gen(function* () {
        const { call, fields } = client
        yield* add(client)
        const refused = [
          { trackerAdd: ["udp://a.example:1"] },
          { trackerList: "" },
          { location: "x" },
          { bandwidthPriority: 1 },
          { group: "x" },
          { honorsSessionLimits: false },
          { seedIdleMode: 1 },
          { downloadLimit: 100 },
          { uploadLimited: true },
          { seedRatioLimit: 1 },
          { seedRatioMode: 1 },
          { "priority-low": [] },
          { "files-wanted": [3] },
          { downloadLimit: -1 },
          { seedRatioLimit: 0, seedRatioMode: 1 }
        ]
        for (const given of refused) {
          const { result } = yield* call("torrent-set", { ids: [1], ...given, labels: ["new"] })
          assert.notStrictEqual(result, "success", JSON.stringify(given))
        }
        assert.deepStrictEqual(yield* fields(1, "labels"), { labels: [] })
      })
    )
  )
})

describe("the queue of the Transmission RPC", () => {
  test(
    "is moved by steps, to its ends and to places",
    Rpc.withRpc(({ ask }) =>
      Effect.gen(function* () {
        for (let index = 0; index < 5; index++) {
          yield* ask("torrent-add", { filename: `magnet:?xt=urn:btih:${`${index}`.repeat(40)}`, paused: true })
        }
        const order = Effect.map(ask("torrent-get", { fields: ["id", "queuePosition"] }), ({ torrents }) => {
          assert.deepStrictEqual(
            torrents.map((torrent: { queuePosition: number }) => torrent.queuePosition),
            [0, 1, 2, 3, 4]
          )
          return torrents.map(({ id }: { id: number }) => id).join("")
        })
        const moved = (method: string, ids: ReadonlyArray<number>) => Effect.andThen(ask(method, { ids }), order)

        assert.strictEqual(yield* order, "12345")
        assert.strictEqual(yield* moved("queue-move-up", [3, 4]), "13425")
        assert.strictEqual(yield* moved("queue-move-up", [1, 3]), "13425")
        assert.strictEqual(yield* moved("queue-move-down", [1, 2]), "31452")
        assert.strictEqual(yield* moved("queue-move-top", [5, 2]), "52314")
        assert.strictEqual(yield* moved("queue-move-bottom", [5, 3]), "21453")
        yield* ask("torrent-set", { ids: [3], queuePosition: 1 })
        assert.strictEqual(yield* order, "23145")
        yield* ask("torrent-set", { ids: [2, 5], queuePosition: 99 })
        assert.strictEqual(yield* order, "31425")
      })
    )
  )
})

describe("the session of the Transmission RPC", () => {
  test(
    "has limits of rates and of the queue, whose values are remembered while they are off",
    Rpc.withRpc(({ ask }, session) =>
      Effect.gen(function* () {
        yield* ask("session-set", {
          "speed-limit-down": 50,
          "speed-limit-up": 20,
          "speed-limit-up-enabled": true,
          "download-queue-size": 3,
          "download-queue-enabled": true,
          "seed-queue-size": 4
        })
        const limits = yield* session.limits
        yield* ask("session-set", { "speed-limit-down-enabled": true, "download-queue-enabled": false })
        const later = yield* session.limits
        const fields = [
          "speed-limit-down",
          "speed-limit-down-enabled",
          "download-queue-size",
          "download-queue-enabled",
          "seed-queue-size",
          "seed-queue-enabled",
          "nothing"
        ]

        const none = { downloads: undefined, seeds: undefined, downloadBytesPerSecond: undefined }
        assert.deepStrictEqual({ ...none, ...limits }, { ...none, downloads: 3, uploadBytesPerSecond: 20_000 })
        assert.deepStrictEqual(
          { ...none, ...later },
          { ...none, downloadBytesPerSecond: 50_000, uploadBytesPerSecond: 20_000 }
        )
        assert.deepStrictEqual(yield* ask("session-get", { fields }), {
          "speed-limit-down": 50,
          "speed-limit-down-enabled": true,
          "download-queue-size": 3,
          "download-queue-enabled": false,
          "seed-queue-size": 4,
          "seed-queue-enabled": false
        })
      })
    )
  )

  test(
    "cannot be told what it does not have, unless it is so already",
    Rpc.withRpc(({ ask, call }) =>
      Effect.gen(function* () {
        const now = yield* ask("session-get")
        yield* ask("session-set", now)
        for (const given of [
          { "alt-speed-enabled": true },
          { "download-dir": "/x" },
          { "dht-enabled": false },
          { "peer-port": 1 },
          { "script-torrent-done-filename": "/bin/sh" },
          { units: {} }
        ]) {
          const { result } = yield* call("session-set", { ...given, "speed-limit-up-enabled": true })
          assert.strictEqual(result, `${Object.keys(given)[0]} cannot be changed here`)
        }
        assert.strictEqual((yield* ask("session-get"))["speed-limit-up-enabled"], false)
      })
    )
  )

  test(
    "counts torrents and bytes",
    Rpc.withRpc((client, session) =>
      Effect.gen(function* () {
        const { ask } = client
        yield* join
        yield* ask("torrent-add", { metainfo: inBase64(small) })
        yield* ask("torrent-add", { metainfo: inBase64(other), paused: true })
        yield* until(yield* session.get(small.metainfo.infoHash), "Active Complete")
        const found = yield* ask("session-stats")

        assert.deepInclude(found, { activeTorrentCount: 1, pausedTorrentCount: 1, torrentCount: 2 })
        assert.isAtLeast(found["current-stats"].downloadedBytes, small.metainfo.layout.geometry.totalLength)
        assert.deepInclude(found["cumulative-stats"], { filesAdded: 2, sessionCount: 1 })
      })
    )
  )

  test(
    "ends the service and tells the room on disks if it may",
    Effect.gen(function* () {
      let closed = 0
      const close = Effect.sync(() => void closed++)
      const space = (folder: string) =>
        folder === "/" ? Effect.succeed({ freeBytes: 1, totalBytes: 2 }) : Effect.fail({ message: `${folder}: no` })
      yield* Rpc.withRpc(
        ({ ask, call }) =>
          Effect.gen(function* () {
            assert.deepStrictEqual(yield* ask("free-space", { path: "/" }), {
              path: "/",
              "size-bytes": 1,
              total_size: 2
            })
            assert.strictEqual((yield* call("free-space", { path: "/x" })).result, "/x: no")
            yield* ask("session-close")
            yield* Effect.sleep("1 second")
          }),
        { close, space }
      )
      assert.strictEqual(closed, 1)
    })
  )
})
