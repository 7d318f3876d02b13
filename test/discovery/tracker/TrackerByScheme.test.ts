import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TrackerByScheme from "../../../src/discovery/tracker/provider/TrackerByScheme.ts"
import { Tracker, TrackerError } from "../../../src/discovery/tracker/Tracker.ts"
import { request } from "./requests.ts"

/** Both trackers fail with their name and the requested operation. */
const routed = () => {
  const loaded: Array<string> = []
  const named = (name: string) =>
    Effect.sync(() => {
      loaded.push(name)
      return Tracker.of({
        announce: (url) => Effect.fail(new TrackerError({ url, why: `${name} announce` })),
        scrape: (url) => Effect.fail(new TrackerError({ url, why: `${name} scrape` }))
      })
    })
  return { loaded, tracker: TrackerByScheme.make({ http: named("http"), udp: named("udp") }) }
}

describe("TrackerByScheme", () => {
  it.effect.each([
    ["http://tracker.example/announce", "http"],
    ["HTTPS://tracker.example/announce", "http"],
    ["udp://tracker.example:1", "udp"],
    ["UDP://tracker.example:1", "udp"]
  ] as const)("passes %s to %s only", ([url, name]) =>
    Effect.gen(function* () {
      const { loaded, tracker } = routed()

      const announce = yield* Effect.flip(tracker.announce(url, request))
      const scrape = yield* Effect.flip(tracker.scrape(url, request.infoHash))

      assert.deepStrictEqual([announce.why, scrape.why], [`${name} announce`, `${name} scrape`])
      assert.deepStrictEqual([announce.url, ...loaded], [url, name, name])
    })
  )

  it.effect.each([
    ["ws://tracker.example", "WebSocket trackers are not supported yet"],
    ["wss://tracker.example", "WebSocket trackers are not supported yet"],
    ["ftp://tracker.example", "trackers with this kind of URL are not supported"],
    ["nowhere", "this is not a URL"]
  ] as const)("fails for good for %s", ([url, why]) =>
    Effect.gen(function* () {
      const { loaded, tracker } = routed()

      const announce = yield* Effect.flip(tracker.announce(url, request))
      const scrape = yield* Effect.flip(tracker.scrape(url, request.infoHash))

      assert.deepStrictEqual([announce.url, announce.why, announce.retryAfter], [url, why, "never"])
      assert.deepStrictEqual([scrape.url, scrape.why, scrape.retryAfter], [url, why, "never"])
      assert.deepStrictEqual(loaded, [])
    })
  )
})
