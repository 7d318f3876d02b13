import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as EventStream from "../../../src/control/server/EventStream.ts"
import * as SessionEvents from "../../../src/session/SessionEvents.ts"
import { other, small } from "../../simulation/torrents.ts"
import { type Made, type Served, test } from "./serving.ts"

const params = { infoHash: small.metainfo.infoHash }

/** Reads the answer to a request in parts, and gives what has come so far. */
const listen = Effect.fnUntraced(function* ({ handler, request }: Served, headers: Record<string, string> = {}) {
  const aborting = new AbortController()
  const sent = new Request(request("/v1/events", { headers }), { signal: aborting.signal })
  const response = yield* Effect.promise(() => handler(sent))
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  const next = Effect.promise(async () => (await reader.read()).value ?? "")
  return { response, next, close: Effect.sync(() => aborting.abort()) }
})

const added = (name: string) => ({ infoHash: params.infoHash, event: { _tag: "Added" as const, name } })

/** A session whose events are those of the test. */
const reported = (): { readonly events: SessionEvents.SessionEvents; readonly made: Made } => {
  const events = SessionEvents.make("run")
  const made: Made = {
    session: (session) => ({ ...session, eventsSince: (id) => SessionEvents.since(events, id) })
  }
  return { events, made }
}

describe("the events of a service", () => {
  test("begin with the head and a comment, and repeat that while nothing happens", (served) =>
    Effect.gen(function* () {
      const { next, response } = yield* listen(served)
      assert.deepStrictEqual(
        [response.status, response.headers.get("content-type"), response.headers.get("cache-control")],
        [200, "text/event-stream", "no-cache"]
      )
      assert.strictEqual(yield* next, ":\n\n")
      const begun = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      assert.strictEqual(yield* next, ":\n\n")
      const ended = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      assert.approximately(ended - begun, 15_000, 2_000)
    }))

  test("reach the derived client as values", ({ add, client }) =>
    Effect.gen(function* () {
      const events = yield* client.service.events({ headers: {} })
      const reading = yield* Effect.forkScoped(Stream.runCollect(Stream.take(events, 2)), { startImmediately: true })
      yield* Effect.sleep("1 second")
      yield* add(small, { isPaused: true })
      yield* client.torrents.remove({ params, query: {} })
      const found = yield* Fiber.join(reading)
      assert.deepStrictEqual(
        found.map(({ data, event }) => [event, data.event._tag]),
        [
          ["torrent", "Added"],
          ["torrent", "Removed"]
        ]
      )
      assert.deepStrictEqual(
        found.map(({ id }) => id),
        found.map(({ data }) => data.id)
      )
    }))

  test("go on after an event that a client names, and say what is missing", ({ add, client, session }) =>
    Effect.gen(function* () {
      yield* add(small, { isPaused: true })
      const last = yield* session.lastEvent
      yield* add(other, { isPaused: true })
      const since = (id: string | undefined) =>
        client.service.events({ headers: { "last-event-id": id } }).pipe(
          Effect.flatMap((events) => Stream.runCollect(Stream.take(events, 1))),
          Effect.map(([first]) => [first?.event, first?.data.event])
        )
      assert.deepStrictEqual(yield* since(last), ["torrent", { _tag: "Added", name: "other" }])
      for (const id of ["another-run.1", "x", `${last}0`]) {
        assert.deepStrictEqual(yield* since(id), ["missed", { _tag: "Missed" }], id)
      }
    }))

  const { events, made } = reported()
  test(
    "wait for a slow client up to a bound, and then it learns that it has missed some",
    (served) =>
      Effect.gen(function* () {
        const { next } = yield* listen(served)
        assert.strictEqual(yield* next, ":\n\n")
        const total = 10_000
        for (let count = 1; count <= total; count++) SessionEvents.report(events, added(String(count)))
        let text = ""
        for (let part = ""; !part.includes(`"name":"${total}"`); text += part) part = yield* next
        const names = [...text.matchAll(/"name":"(\d+)"/g)].map(([, name]) => Number(name))
        assert.match(text, /event: missed\n/)
        // Some of the first may have been on their way already.
        assert.isBelow(names.length, 8_192 + 1_024)
        assert.deepStrictEqual(
          names.slice(-8_192),
          Array.from({ length: 8_192 }, (_, index) => total - 8_191 + index)
        )
      }),
    made
  )

  const named = reported()
  test(
    "cannot be forged by a name in them",
    (served) =>
      Effect.gen(function* () {
        const { next } = yield* listen(served)
        yield* next
        const name = "a\n\nevent: torrent\ndata: {}\r\rid: 9\u2028\u2029\0</script>"
        SessionEvents.report(named.events, added(name))
        const lines = (yield* next).split(/\r\n|\r|\n/)
        assert.deepStrictEqual(
          lines
            .map((line) => line.split(":", 1)[0])
            .filter(Boolean)
            .sort(),
          ["data", "event", "id"]
        )
        const data = JSON.parse(lines.find((line) => line.startsWith("data:"))!.slice(5))
        assert.strictEqual(data.event.name, name)
      }),
    named.made
  )

  const many = reported()
  test(
    "have at most so many listeners, and one that goes makes room",
    (served) =>
      Effect.gen(function* () {
        const all = yield* Effect.forEach(Array.from({ length: EventStream.maxListeners }), () => listen(served))
        const refused = yield* served.send("/v1/events")
        assert.deepStrictEqual(
          [refused.status, refused.headers.get("retry-after"), refused.json._tag],
          [503, "5", "piecewise/TooManyListeners"]
        )
        assert.strictEqual(
          (yield* Effect.flip(served.client.service.events({ headers: {} })))._tag,
          "piecewise/TooManyListeners"
        )
        yield* all[0]!.close
        yield* Effect.sleep("1 second")
        const { next, response } = yield* listen(served)
        assert.strictEqual(response.status, 200)
        yield* next
        SessionEvents.report(many.events, added("for all"))
        for (const each of [yield* next, yield* all[5]!.next, yield* all[5]!.next])
          assert.match(each, /for all|^:\n\n$/)
        // Whoever asks for the head alone does not stay.
        yield* all[1]!.close
        yield* Effect.sleep("1 second")
        for (let count = 0; count < 10; count++) {
          assert.strictEqual((yield* served.send("/v1/events", { method: "HEAD" })).status, 200)
        }
      }),
    many.made
  )
})
