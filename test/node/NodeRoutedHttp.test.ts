import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as Stream from "effect/Stream"
import * as Hops from "../../src/network/Hops.ts"
import * as NodeLookup from "../../src/node/NodeLookup.ts"
import * as NodeRoutedHttp from "../../src/node/NodeRoutedHttp.ts"
import { serve } from "../network/httpServer.ts"

/** A server that notes the port of each connection that a request came over. `/long` never ends. */
const noting = (ports: Array<number | undefined>) =>
  serve((request, response) => {
    ports.push(request.socket.remotePort)
    if (request.url === "/long") {
      const timer = setInterval(() => response.write("x".repeat(1_000)), 5)
      response.on("close", () => clearInterval(timer))
    } else response.end("hello")
  })

const get = (client: HttpClient.HttpClient, url: string) =>
  Effect.scoped(
    Effect.flatMap(Hops.get(client, new URL(url), { whyNot: () => undefined }), (response) => response.text)
  )

describe("NodeRoutedHttp.makeKept", () => {
  it.live("uses a connection again whose answer was read", () =>
    Effect.gen(function* () {
      const ports: Array<number | undefined> = []
      const url = yield* noting(ports)
      const client = yield* NodeRoutedHttp.makeKept(NodeLookup.system)

      const texts = [yield* get(client, url), yield* get(client, url), yield* get(client, url)]

      assert.deepStrictEqual(texts, ["hello", "hello", "hello"])
      assert.strictEqual(new Set(ports).size, 1)
    })
  )

  it.live("returns parts of a body that later reads leave as they are, at once and slowly", () =>
    Effect.gen(function* () {
      const length = 300_000
      const url = yield* serve((request, response) => {
        const parts = Array.from({ length: 20 }, (_, index) => Buffer.alloc(length / 20, index + 1))
        if (request.url === "/fast") return void response.end(Buffer.concat(parts))
        const timer = setInterval(() => {
          const part = parts.shift()
          if (part === undefined) response.end()
          else response.write(part)
        }, 2)
        response.on("close", () => clearInterval(timer))
      })
      const client = yield* NodeRoutedHttp.makeKept(NodeLookup.system)
      const expected = Uint8Array.from({ length }, (_, index) => Math.floor(index / (length / 20)) + 1)

      for (const path of ["/slow", "/fast", "/slow"]) {
        const chunks = yield* Effect.scoped(
          Effect.flatMap(Hops.get(client, new URL(url + path), { whyNot: () => undefined }), (response) =>
            Stream.runCollect(
              Stream.tap(response.stream, () => (path === "/fast" ? Effect.sleep("5 millis") : Effect.void))
            )
          )
        )

        assert.isTrue(Buffer.concat(chunks).equals(expected))
      }
    })
  )

  it.live("frees the chunks of a body that were lent once the next are pulled, and no others", () =>
    Effect.gen(function* () {
      const length = 1_000_000
      const url = yield* serve((_, response) => response.end(Buffer.alloc(length, 7)))
      const client = yield* NodeRoutedHttp.makeKept(NodeLookup.system)
      const read = (lentChunks: boolean) =>
        Effect.scoped(
          Effect.flatMap(Hops.get(client, new URL(url), { whyNot: () => undefined, lentChunks }), (response) => {
            const pulled: Array<ReadonlyArray<Uint8Array>> = []
            const held: Array<number> = []
            const count = () => pulled.flat().reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
            return Stream.runForEachArray(response.stream, (chunks) =>
              Effect.sync(() => {
                pulled.push(chunks)
                held.push(count())
                assert.isTrue(chunks.every((chunk) => chunk.every((byte) => byte === 7)))
              })
            ).pipe(Effect.map(() => ({ most: Math.max(...held), left: count() })))
          })
        )

      const lent = yield* read(true)
      const kept = yield* read(false)

      assert.isBelow(lent.most, length / 2)
      assert.strictEqual(lent.left, 0)
      assert.isAtLeast(kept.left, length)
    })
  )

  it.live("closes a connection whose answer was left", () =>
    Effect.gen(function* () {
      const ports: Array<number | undefined> = []
      const url = yield* noting(ports)
      const client = yield* NodeRoutedHttp.makeKept(NodeLookup.system)

      yield* Effect.scoped(
        Effect.flatMap(Hops.get(client, new URL(`${url}/long`), { whyNot: () => undefined }), (response) =>
          Stream.runCollect(Stream.take(response.stream, 1))
        )
      )
      yield* get(client, url)

      assert.strictEqual(new Set(ports).size, 2)
    })
  )

  it.live("survives an interruption before the answer", () =>
    Effect.gen(function* () {
      const url = yield* serve(() => {})
      const client = yield* NodeRoutedHttp.makeKept(NodeLookup.system)

      const fiber = yield* Effect.forkChild(get(client, url))
      yield* Effect.sleep("50 millis")
      const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))

      assert.isTrue(exit._tag === "Failure")
    })
  )

  it.live("fault 90: does not use a kept connection for a request whose route forbids its address", () =>
    Effect.gen(function* () {
      const ports: Array<number | undefined> = []
      const url = (yield* noting(ports)).replace("127.0.0.1", "localhost")
      const client = yield* NodeRoutedHttp.makeKept(() => Promise.resolve([{ address: "127.0.0.1", family: 4 }]))
      const reached: Array<string> = []
      const route = (whyNot: Hops.Route["whyNot"]) =>
        Effect.provideService(Hops.Route, { whyNot, reached: (address) => void reached.push(address) })
      const ask = Effect.scoped(Effect.flatMap(HttpClient.withScope(client).get(url), (response) => response.text))

      const first = yield* route(() => undefined)(ask)
      const second = yield* Effect.flip(route(() => "it is too near")(ask))

      assert.strictEqual(first, "hello")
      assert.deepStrictEqual(reached, ["127.0.0.1"])
      assert.strictEqual(ports.length, 1)
      const causes = "reason" in second ? Hops.causesOf(second) : []
      assert.isTrue(causes.some((cause) => cause instanceof Hops.RouteForbidden))
    })
  )
})
