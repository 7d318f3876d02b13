import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as fc from "fast-check"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as TransmissionRpc from "../../../src/control/transmission/TransmissionRpc.ts"
import * as Session from "../../../src/session/Session.ts"
import { fileOf, test } from "../../session/sessions.ts"
import { seed, small } from "../../simulation/torrents.ts"
import * as Rpc from "./rpc.ts"

const hash = InfoHash.toHex(small.metainfo.infoHash)
const inBase64 = (known: typeof small) => Base64.encode(fileOf(known).metainfo)

describe("the route of the Transmission RPC", () => {
  const withRoute = <A, E, R>(use: (send: Effect.Success<ReturnType<typeof Rpc.serve>>) => Effect.Effect<A, E, R>) =>
    Effect.scoped(
      Effect.flatMap(Session.make, (session) =>
        Effect.provideService(Effect.flatMap(Rpc.serve(), use), Session.Session, session)
      )
    )
  const body = JSON.stringify({ method: "session-get", arguments: { fields: ["version"] }, tag: 7 })

  test(
    "tells its id to whoever does not have it, and does nothing for them",
    withRoute((send) =>
      Effect.gen(function* () {
        const wrong = [{}, { [TransmissionRpc.header]: "" }, { [TransmissionRpc.header]: "x".repeat(43) }]
        for (const method of ["POST", "GET", "HEAD", "DELETE"] as const) {
          for (const headers of wrong) {
            const { headers: told, status } = yield* send(method, method === "POST" ? body : undefined, headers)
            assert.strictEqual(status, 409)
            assert.match(told.get(TransmissionRpc.header) ?? "", /^[\w-]{43}$/)
          }
        }
      })
    )
  )

  test(
    "answers a request that has the id, with its tag, and no other method than POST",
    withRoute((send) =>
      Effect.gen(function* () {
        const id = (yield* send("POST", body, {})).headers.get(TransmissionRpc.header)!
        const headers = { [TransmissionRpc.header]: id }
        const answered = yield* send("POST", body, headers)
        const text = yield* Effect.promise(() => answered.text())
        // `transmission-remote` adds a slash.
        const slashed = yield* send("POST", body, headers, "/transmission/rpc/")
        const refused = yield* Effect.forEach(["GET", "PUT", "DELETE"] as const, (method) =>
          send(method, undefined, headers)
        )

        assert.deepStrictEqual(JSON.parse(text), {
          result: "success",
          arguments: { version: "4.0.6 (piecewise 0.1.0)" },
          tag: 7
        })
        assert.strictEqual(slashed.status, 200)
        assert.deepStrictEqual(
          refused.map(({ status }) => status),
          [405, 405, 405]
        )
      })
    )
  )

  test(
    "has another id in each run",
    Effect.gen(function* () {
      const id = withRoute((send) =>
        Effect.map(send("POST", body, {}), ({ headers }) => headers.get(TransmissionRpc.header))
      )
      assert.notStrictEqual(yield* id, yield* id)
    })
  )

  test(
    "notes what changes something, whether or not that succeeds",
    Effect.gen(function* () {
      const noted: Array<string> = []
      yield* Rpc.withRpc(
        ({ ask, call }) =>
          Effect.gen(function* () {
            yield* ask("session-get")
            yield* ask("torrent-add", { metainfo: inBase64(small), paused: true })
            yield* ask("torrent-get", { fields: ["id"] })
            yield* ask("torrent-set", { ids: [1], labels: ["x"] })
            yield* call("torrent-set", { ids: hash, group: "x" })
            yield* call("session-set", { "dht-enabled": "maybe", "alt-speed-enabled": true })
            yield* ask("torrent-remove", { ids: 1 })
            yield* ask("torrent-stop")
            yield* call("nothing")
          }),
        {
          record: ({ caller, failure, infoHash, operation }) => {
            noted.push([operation, caller, infoHash && InfoHash.toHex(infoHash), failure].join(" "))
          }
        }
      )

      assert.deepStrictEqual(noted, [
        `transmission.torrent-add Nobody ${hash} `,
        `transmission.torrent-set Nobody ${hash} `,
        `transmission.torrent-set Nobody ${hash} RpcRefused`,
        "transmission.session-set Nobody  RpcRefused",
        `transmission.torrent-remove Nobody ${hash} `,
        "transmission.torrent-stop Nobody  "
      ])
    })
  )

  test(
    "says in `result` what is wrong with a request, always with status 200",
    Rpc.withRpc(({ raw }) =>
      Effect.gen(function* () {
        for (const [sent, result] of [
          ["", "the request is not JSON"],
          ["{", "the request is not JSON"],
          ["[]", /Expected/],
          ["{}", /method: /],
          ['{"method":5}', /method: /],
          ['{"method":"toString"}', "method name not recognized"],
          ['{"method":"__proto__","tag":3}', "method name not recognized"],
          ['{"method":"torrent-get","arguments":[]}', /Expected/],
          ['{"method":"torrent-get","arguments":{}}', /fields: /],
          ['{"method":"torrent-get","arguments":{"fields":["id"],"ids":{}}}', /ids: /]
        ] as const) {
          const { status, text } = yield* raw(sent)
          const answer = JSON.parse(text)
          assert.strictEqual(status, 200)
          assert.deepStrictEqual(answer.arguments, {})
          if (typeof result === "string") assert.strictEqual(answer.result, result)
          else assert.match(answer.result, result, sent)
        }
      })
    )
  )
})

const methods = [
  "torrent-get",
  "torrent-set",
  "torrent-add",
  "torrent-remove",
  "torrent-start",
  "torrent-start-now",
  "torrent-stop",
  "torrent-verify",
  "torrent-reannounce",
  "torrent-set-location",
  "torrent-rename-path",
  "queue-move-top",
  "queue-move-up",
  "queue-move-down",
  "queue-move-bottom",
  "session-get",
  "session-set",
  "session-stats",
  "session-close",
  "free-space",
  "blocklist-update",
  "port-test",
  "group-get",
  "group-set"
]

/** Whatever may be sent: any JSON, and values that mean something in places where they may not. */
const hostile = (() => {
  const keys = [
    "ids",
    "fields",
    "format",
    "filename",
    "metainfo",
    "paused",
    "download-dir",
    "labels",
    "files-wanted",
    "files-unwanted",
    "priority-high",
    "priority-normal",
    "priority-low",
    "peer-limit",
    "bandwidthPriority",
    "downloadLimit",
    "downloadLimited",
    "uploadLimit",
    "uploadLimited",
    "seedRatioLimit",
    "seedRatioMode",
    "seedIdleMode",
    "queuePosition",
    "sequentialDownload",
    "trackerList",
    "location",
    "move",
    "path",
    "name",
    "group",
    "delete-local-data",
    "speed-limit-down",
    "speed-limit-down-enabled",
    "download-queue-size",
    "dht-enabled",
    "seed-queue-enabled",
    "start-added-torrents",
    "__proto__",
    "constructor",
    "units"
  ]
  const plausible = fc.constantFrom<unknown>(
    1,
    2,
    -1,
    0.5,
    1e308,
    true,
    false,
    "",
    "recently-active",
    hash,
    [1, hash],
    [],
    [0],
    [99],
    ["id", "name", "files"],
    "../../etc/passwd",
    "/",
    "\0",
    "\ud800",
    "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a",
    "https://a.example/t",
    inBase64(small),
    "AAAA",
    ["a", "b/c"],
    "known/a.bin",
    "table",
    [...Array(50).keys()]
  )
  const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), plausible, plausible)
  return fc.record({
    method: fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...methods) }, { weight: 1, arbitrary: fc.string() }),
    arguments: fc.oneof(
      { weight: 20, arbitrary: fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 6 }) },
      { weight: 1, arbitrary: fc.jsonValue() }
    ),
    tag: fc.oneof(fc.nat(), fc.jsonValue({ maxDepth: 1 }))
  })
})()

describe("a hostile client of the Transmission RPC", () => {
  test(
    "gets an answer with status 200 whatever it sends, and the service goes on",
    Rpc.withRpc(({ ask, raw }) =>
      Effect.gen(function* () {
        let successes = 0
        for (const request of fc.sample(hostile, { numRuns: 600, seed })) {
          yield* ask("torrent-add", { metainfo: inBase64(small), paused: true })
          const { status, text } = yield* raw(JSON.stringify(request))
          const { result } = JSON.parse(text) as Rpc.Answer
          assert.strictEqual(status, 200, JSON.stringify(request))
          assert.isAbove(result.length, 0, JSON.stringify(request))
          assert.notInclude(result, "\n")
          if (result === "success") successes++
        }
        const { torrents } = yield* ask("torrent-get", { fields: ["id", "name", "files", "status"] })
        assert.isAbove(torrents.length, 0)
        assert.isAbove(successes, 100)
      })
    )
  )

  test(
    "reads no file of the service, and gets no torrent from it",
    Rpc.withRpc(({ call }) =>
      Effect.gen(function* () {
        for (const filename of ["/etc/passwd", "file:///etc/passwd", "known.torrent", "ftp://a.example/t", "data:,x"]) {
          const { result } = yield* call("torrent-add", { filename })
          assert.match(result, /^filename can be a magnet link or an http\(s\) URL/)
        }
      })
    )
  )
})
