import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as PeerBehaviour from "../../../src/testing/PeerBehaviour.ts"
import * as TestEngine from "../../../src/testing/TestEngine.ts"
import { other, small } from "../../simulation/torrents.ts"
import { type Served, test, until } from "./serving.ts"

const params = { infoHash: small.metainfo.infoHash }
const content = `/v1/torrents/${InfoHash.toHex(params.infoHash)}/content`
const nobody = { headers: { authorization: undefined } }

/** Adds a torrent that is complete. */
const complete = ({ add }: Served) =>
  Effect.gen(function* () {
    yield* TestEngine.TestEngine.use(({ join }) => join(small, PeerBehaviour.honest))
    const torrent = yield* add(small)
    yield* until(torrent, "Active Complete")
    return torrent
  })

describe("the files of a torrent", () => {
  test("are listed and read with credentials", (served) =>
    Effect.gen(function* () {
      yield* complete(served)
      const { send } = served
      const listed = yield* send(`${content}/`)
      assert.deepStrictEqual(
        listed.json.files.map(({ url }: { readonly url: string }) => url),
        ["./known/a.bin", "./known/empty", "./known/b/c.bin"]
      )
      const redirect = yield* send(content)
      assert.deepStrictEqual([redirect.status, redirect.headers.get("location")], [308, "./content/"])
      const part = yield* Effect.promise(async () => {
        const request = served.request(`${content}/known/a.bin?x=/y`, { headers: { range: "bytes=-4" } })
        const response = await served.handler(request)
        return [response.status, new Uint8Array(await response.arrayBuffer())]
      })
      assert.deepStrictEqual(part, [206, small.fileContent(0).slice(-4)])
      const head = yield* send(`${content}/known/a.bin`, { method: "HEAD" })
      assert.deepStrictEqual([head.status, head.headers.get("content-length"), head.text], [200, "500000", ""])
      assert.strictEqual((yield* send(`${content}/known/none`)).status, 404)
      assert.strictEqual((yield* send(`${content}/`, nobody)).status, 401)
    }))

  test("are not there for a torrent that is not, or that is not active", ({ add, send }) =>
    Effect.gen(function* () {
      const answers = [yield* send("/v1/torrents/x/content/"), yield* send(`/v1/torrents/${"0".repeat(40)}/content/`)]
      yield* add(small, { isPaused: true })
      answers.push(yield* send(`${content}/`))
      assert.deepStrictEqual(
        answers.map(({ json, status }) => [status, json._tag]),
        [
          [400, "piecewise/RequestRefused"],
          [404, "piecewise/TorrentNotFound"],
          [409, "piecewise/TorrentNotReady"]
        ]
      )
    }))
})

describe("a link to the files", () => {
  test("opens them to players without credentials, and nothing else", (served) =>
    Effect.gen(function* () {
      const { add, client, send } = served
      yield* complete(served)
      yield* until(yield* add(other), "Active Downloading")
      const { path } = yield* client.torrents.link({ params })
      assert.match(path, /^v1\/stream\/[\w-]{43}\/$/)
      const read = yield* send(`/${path}known/a.bin`, { headers: { ...nobody.headers, range: "bytes=0-0" } })
      assert.strictEqual(read.status, 206)
      const page = yield* send(`/${path}`, { headers: { ...nobody.headers, accept: "text/html" } })
      assert.include(page.text, `<a href="./known/a.bin">`)
      assert.strictEqual(
        (yield* send(`/${path.slice(0, -1)}`, nobody)).headers.get("location"),
        `./${path.split("/")[2]}/`
      )
      // The files of another torrent are not below it, and no operation takes it.
      assert.strictEqual((yield* send(`/${path}other`, nobody)).status, 404)
      assert.strictEqual((yield* send(`/${path}known/a.bin`, { ...nobody, method: "POST" })).status, 401)
      assert.strictEqual((yield* send(`/${path.slice(0, -2)}x/`, nobody)).status, 403)
      const bearer = { headers: { authorization: `Bearer ${path.split("/")[2]}` } }
      assert.strictEqual((yield* send("/v1/torrents", bearer)).status, 401)
    }))

  for (const [how, remove] of [
    ["by the API", ({ client }: Served) => client.torrents.remove({ params, query: {} })],
    [
      "by another program",
      ({ session }: Served) => Effect.flatMap(session.get(params.infoHash), (it) => it.remove({ data: false }))
    ]
  ] as const) {
    test(`ends when the torrent is removed ${how}, and does not come back with it`, (served) =>
      Effect.gen(function* () {
        yield* complete(served)
        const { path } = yield* served.client.torrents.link({ params })
        yield* remove(served)
        yield* Effect.sleep("1 second")
        assert.strictEqual((yield* served.send(`/${path}`, nobody)).status, 403)
        yield* until(yield* served.add(small), "Active Complete", "Active Downloading")
        assert.strictEqual((yield* served.send(`/${path}`, nobody)).status, 403)
        const again = yield* served.client.torrents.link({ params })
        assert.strictEqual((yield* served.send(`/${again.path}`, nobody)).status, 200)
      }))
  }
})
