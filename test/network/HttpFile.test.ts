import { createGzip, deflateSync, gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as HttpFile from "../../src/network/HttpFile.ts"
import * as NodeUnpacking from "../../src/network/provider/node/NodeUnpacking.ts"
import { Unpacking } from "../../src/network/Unpacking.ts"
import * as NodeLookup from "../../src/node/NodeLookup.ts"
import * as NodeRoutedHttp from "../../src/node/NodeRoutedHttp.ts"
import { serve } from "./httpServer.ts"

const maxBytes = 1_000_000

const node = NodeRoutedHttp.make(NodeLookup.system)

const zlib = Effect.provideService(Unpacking, NodeUnpacking.unpack)

const fetchFrom = (url: string, client = node, timeout?: "50 millis") =>
  HttpFile.get(client, new URL(url), { maxBytes, tooLong: "too long", whyNot: () => undefined, timeout })

const refusal = (url: string) => Effect.map(Effect.flip(fetchFrom(url)), ({ why }) => why)

const text = Buffer.from("d4:infod6:lengthi1eee".repeat(1_000))

describe("HttpFile over sockets", () => {
  it.live("says who asks, also after a redirect", () =>
    Effect.gen(function* () {
      const url = yield* serve((request, response) => {
        const isKnown = /^piecewise\/\d+\.\d+\.\d+$/.test(request.headers["user-agent"] ?? "")
        if (!isKnown) response.writeHead(403).end()
        else if (request.url === "/moved") response.writeHead(302, { location: "/t" }).end()
        else response.end(text)
      })

      assert.deepStrictEqual(yield* fetchFrom(`${url}/t`), new Uint8Array(text))
      assert.deepStrictEqual(yield* fetchFrom(`${url}/moved`), new Uint8Array(text))
    })
  )

  it.live("unpacks gzip and zlib that nobody asked for, with and without a header, in any cutting", () =>
    Effect.gen(function* () {
      const bodies: Readonly<Record<string, Uint8Array>> = { gzip: gzipSync(text), deflate: deflateSync(text) }
      const url = yield* serve((request, response) => {
        const [, format, manner] = request.url!.split("/")
        const body = bodies[format!]!
        if (manner === "header") response.setHeader("content-encoding", format!)
        if (manner !== "cut") return void response.end(body)
        response.flushHeaders()
        response.write(body.subarray(0, 1), () =>
          response.write(body.subarray(1, 2), () => response.end(body.subarray(2)))
        )
      })

      for (const format of ["gzip", "deflate"]) {
        for (const manner of ["header", "none", "cut"]) {
          const bytes = yield* fetchFrom(`${url}/${format}/${manner}`)
          assert.deepStrictEqual(bytes, new Uint8Array(text), `${format} ${manner}`)
        }
      }
    })
  )

  it.live("unpacks every member of gzip, and ignores what follows the last one and the end of zlib", () =>
    Effect.gen(function* () {
      const parts = [0, 7_000, text.length].flatMap((start, index, all) =>
        index === 0 ? [] : [gzipSync(text.subarray(all[index - 1], start))]
      )
      const bodies = {
        members: Buffer.concat(parts),
        zeros: Buffer.concat([...parts, Buffer.alloc(512)]),
        junk: Buffer.concat([...parts, Buffer.from("junk")]),
        method: Buffer.concat([...parts, Buffer.of(0x1f, 0x8b, 0xff, 0)]),
        zlib: Buffer.concat([deflateSync(text), Buffer.from("junk")])
      }
      const ends = [0, parts[0]!.length, parts[0]!.length + 1, parts[0]!.length + parts[1]!.length]
      const url = yield* serve((request, response) => {
        const [, name, end] = request.url!.split("/")
        const body = bodies[name as keyof typeof bodies]
        response.flushHeaders()
        // The rest is another packet, so it is another chunk.
        response.write(body.subarray(0, Number(end)), () =>
          setImmediate(() => response.end(body.subarray(Number(end))))
        )
      })

      for (const name of Object.keys(bodies)) {
        for (const end of ends) {
          const bytes = yield* fetchFrom(`${url}/${name}/${end}`)
          assert.deepStrictEqual(bytes, new Uint8Array(text), `${name} ${end}`)
        }
      }
    }).pipe(zlib)
  )

  it.live("unpacks every member of gzip in a page too, but no more than a few that only seem to begin", () =>
    Effect.gen(function* () {
      const member = Buffer.of(0x1f, 0x8b, 8)
      // Without compression, the data is in the body as it is.
      const stored = (times: number) => gzipSync(Buffer.concat([text, ...Array(times).fill(member)]), { level: 0 })
      const bodies = {
        members: Buffer.concat([gzipSync(text), gzipSync("i1e"), gzipSync("")]),
        seeming: Buffer.concat([stored(16), gzipSync("i1e")]),
        hostile: stored(17)
      }
      const url = yield* serve((request, response) =>
        response.end(bodies[request.url!.slice(1) as keyof typeof bodies])
      )

      const members = yield* fetchFrom(`${url}/members`)
      const seeming = yield* fetchFrom(`${url}/seeming`)

      assert.deepStrictEqual(Buffer.from(members), Buffer.concat([text, Buffer.from("i1e")]))
      assert.deepStrictEqual(Buffer.from(seeming), Buffer.concat([text, ...Array(16).fill(member), Buffer.from("i1e")]))
      assert.strictEqual(yield* refusal(`${url}/hostile`), "the answer's compressed data is damaged")
    })
  )

  it.live("fault 76: stops unpacking empty members of gzip when it is interrupted, and after a number of them", () =>
    Effect.gen(function* () {
      const members = (count: number) => Buffer.concat(Array<Buffer>(count).fill(gzipSync("")))
      const [some, many] = [members(5_000), members(10_001)]
      const url = yield* serve((request, response) => response.end(request.url === "/some" ? some : many))
      const Original = globalThis.DecompressionStream
      let unpacked = 0
      globalThis.DecompressionStream = class extends Original {
        constructor(format: "gzip" | "deflate" | "deflate-raw") {
          super(format)
          if (++unpacked === 10) fetching.interruptUnsafe()
        }
      }
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          globalThis.DecompressionStream = Original
        })
      )
      const fetching = yield* Effect.forkChild(fetchFrom(`${url}/some`))

      const exit = yield* Fiber.await(fetching)

      assert.isTrue(Exit.isFailure(exit))
      assert.isBelow(unpacked, 100)
      assert.strictEqual(yield* refusal(`${url}/many`), "the answer's compressed data is damaged")
    })
  )

  it.live("fault 76: stops at the limit of a body without an end, plain and packed", () =>
    Effect.gen(function* () {
      let isPacked = false
      let sent = 0
      const url = yield* serve((request, response) => {
        isPacked = request.url === "/bomb"
        const packed = createGzip()
        const zeros = Buffer.alloc(65_536)
        const out = isPacked ? packed : response
        if (isPacked) packed.pipe(response)
        const more = () => {
          while (!response.destroyed) {
            sent += zeros.length
            if (!out.write(zeros)) return
          }
        }
        response.on("close", () => packed.destroy())
        out.on("drain", more)
        more()
      })
      const held = process.memoryUsage().arrayBuffers

      assert.strictEqual(yield* refusal(`${url}/plain`), "too long")
      assert.strictEqual(yield* refusal(`${url}/bomb`), "too long")
      assert.strictEqual(yield* zlib(refusal(`${url}/bomb`)), "too long")

      assert.isAbove(sent, maxBytes)
      assert.isBelow(process.memoryUsage().arrayBuffers - held, 100 * maxBytes)
    })
  )

  it.live("fault 76: refuses what is damaged, cut off, refused, or redirects for ever", () =>
    Effect.gen(function* () {
      const packed = gzipSync(text)
      const url = yield* serve((request, response) => {
        if (request.url === "/damaged") response.end(packed.with(20, packed[20]! ^ 0xff))
        else if (request.url === "/short") response.end(packed.subarray(0, 40))
        else if (request.url === "/reset") {
          response.writeHead(200, { "content-length": "100" })
          response.write("x", () => response.destroy())
        } else if (request.url === "/loop") response.writeHead(302, { location: "/loop" }).end()
        else if (request.url === "/file") response.writeHead(302, { location: "file:///etc/passwd" }).end()
        else response.writeHead(404).end()
      })

      assert.strictEqual(yield* refusal(`${url}/damaged`), "the answer's compressed data is damaged")
      assert.strictEqual(yield* refusal(`${url}/short`), "the answer's compressed data is damaged")
      assert.strictEqual(yield* zlib(refusal(`${url}/damaged`)), "the answer's compressed data is damaged")
      assert.strictEqual(yield* zlib(refusal(`${url}/short`)), "the answer's compressed data is damaged")
      assert.match(yield* refusal(`${url}/reset`), /^connection reset|aborted/)
      assert.strictEqual(yield* refusal(`${url}/loop`), "it redirects more than 5 times")
      assert.strictEqual(yield* refusal(`${url}/file`), "it redirects to a file: URL")
      assert.strictEqual(yield* refusal(`${url}/none`), "HTTP status 404")
    })
  )

  it.live("tells where a redirect to another scheme leads", () =>
    Effect.gen(function* () {
      const link = `magnet:?xt=urn:btih:${"a".repeat(40)}&dn=a%20b`
      const url = yield* serve((_, response) => response.writeHead(302, { location: link }).end())

      const error = yield* Effect.flip(fetchFrom(url))

      assert.deepStrictEqual(error.elsewhere, { url: link, from: "loopback" })
    })
  )

  it.live("gives up on a server that does not answer", () =>
    Effect.gen(function* () {
      const url = yield* serve(() => {})

      const error = yield* Effect.flip(fetchFrom(url, node, "50 millis"))

      assert.strictEqual(error.why, "no answer within 0.05 seconds")
    })
  )
})

describe("HttpFile", () => {
  it.effect("returns any bytes as they are, or unpacked, or fails", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), fc.boolean(), async (bytes, isPacked) => {
          const body = isPacked ? gzipSync(bytes) : bytes
          const client = HttpClient.make((request) =>
            Effect.succeed(HttpClientResponse.fromWeb(request, new Response(body as Uint8Array<ArrayBuffer>)))
          )

          const got = await Effect.runPromise(Effect.result(fetchFrom("http://a.example/", client)))

          const isOther =
            !isPacked && /^(?:1f8b|78(?:01|5e|9c|da|20|3f|7d|bb|f9))/.test(Buffer.from(bytes).toString("hex"))
          if (!isOther) assert.deepStrictEqual(Result.getOrThrow(got), bytes)
        }),
        { numRuns: 100 }
      )
    )
  )
})
